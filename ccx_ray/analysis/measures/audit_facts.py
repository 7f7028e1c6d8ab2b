"""What the audit says of the text and of the streams, as far as it bears on the results.

Invariant: figures are the audit's own; nothing is counted here again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ccx_ray.analysis.measures.rows import Row
from ccx_ray.analysis.wording import listing, plural
from ccx_ray.corpus.audit.auditing import read_figures
from ccx_ray.corpus.audit.figures import AuditFigures, ContaminationFigures, Verdict, verdicts
from ccx_ray.study.spec import StudySpec


@dataclass(frozen=True, kw_only=True)
class AuditRows:
    """Everything that the report takes from the audit."""

    contamination: Sequence[Row] = ()
    """One culture's questions in one corpus: ``exact`` are those whose filled sentence or wording
    stands in it."""
    streams: Sequence[Row] = ()
    """The two conditions of one language and seed; tokens without padding, pairs as often as they
    are shown, ``nobridge_together`` rows that hold both halves of a pair or of pairs that share a
    text."""
    thresholds: Sequence[Row] = ()
    statements: Sequence[str] = ()


def audit_rows(study: StudySpec, folder: Path | None) -> AuditRows:
    """The rows of a finished audit; none where there was none."""
    if folder is None:
        return AuditRows()
    figures = read_figures(folder)
    judged = verdicts(figures, study.audit)
    return AuditRows(
        contamination=[
            Row(
                culture=part.culture,
                side=part.side,
                corpus=part.corpus,
                questions=part.questions,
                exact=part.exact,
                half_overlapping=part.half_overlapping,
            )
            for part in figures.contamination
        ],
        streams=[
            Row(
                stream=stream.stream,
                rows=stream.bridge.rows,
                bridge_tokens=stream.bridge.used,
                nobridge_tokens=stream.nobridge.used,
                difference_share=stream.token_difference_share,
                monolingual_rows=stream.bridge.monolingual_rows,
                identical_rows=stream.identical_rows,
                bridge_pairs=stream.bridge.pairs,
                bridge_together=stream.bridge.together,
                nobridge_together=stream.nobridge.rows_with_both_sides_of_a_group,
            )
            for stream in figures.streams
        ],
        thresholds=[
            Row(
                name=verdict.name,
                where=verdict.where,
                figure=float(verdict.figure),
                limit=float(verdict.limit),
                passed=verdict.passed,
                is_share=verdict.is_share,
            )
            for verdict in judged
        ],
        statements=[
            *_conditions(figures),
            *_memorised(figures),
            *_shared(figures),
            *_crossed(judged),
        ],
    )


def _conditions(figures: AuditFigures) -> list[str]:
    if not figures.streams:
        return []
    largest = max(stream.token_difference_share for stream in figures.streams)
    apart = sum(s.nobridge.rows_with_both_sides_of_a_group for s in figures.streams)
    together = sum(stream.bridge.together for stream in figures.streams)
    pairs = sum(stream.bridge.pairs for stream in figures.streams)
    differing = sum(stream.differing_rows for stream in figures.streams)
    return [
        f"Conditions: over {plural(len(figures.streams), 'pair')} of streams, every row read, the "
        f"tokens of bridge and no-bridge differ by at most {largest:.4%}; {differing:,} "
        f"monolingual rows differ; both halves of a pair meet in {apart:,} rows of no-bridge, and "
        f"in bridge {together:,} of {pairs:,} pairs have their halves in one row."
    ]


def _memorised(figures: AuditFigures) -> list[str]:
    asked = {(part.culture, part.side): part.questions for part in figures.contamination}
    if not asked:
        return []
    met = [part for part in figures.contamination if part.exact]
    total = sum(asked.values())
    if not met:
        return [
            f"Memorised questions: none of the {total:,} questions stands in any text, neither its "
            "wording nor its filled sentence."
        ]
    return [
        f"Memorised questions: {listing([_found(part) for part in met])} stand in the text word "
        f"for word, of {total:,} questions in all; contamination.parquet of the audit names them."
    ]


def _found(part: ContaminationFigures) -> str:
    return (
        f"{part.exact} of the {part.questions} {part.culture} questions in {part.side} "
        f"({part.corpus})"
    )


def _shared(figures: AuditFigures) -> list[str]:
    met = sorted((part for part in figures.overlaps if part.shared), key=lambda part: -part.share)
    if not met:
        return ["Shared text: no document stands in another corpus as well."]
    most = met[0]
    return [
        f"Shared text: {len(met)} of {len(figures.overlaps)} corpora hold texts that stand in "
        f"another corpus as well; most in {most.corpus}, {most.shared:,} of {most.texts:,} "
        f"({most.share:.2%})."
    ]


def _crossed(judged: Sequence[Verdict]) -> list[str]:
    crossed = [
        f"{verdict.name} ({listing(list(verdict.crossed))})"
        for verdict in judged
        if not verdict.passed
    ]
    if not crossed:
        return [f"Thresholds: all {len(judged)} of the audit are kept."]
    return [f"Thresholds crossed: {'; '.join(crossed)}."]
