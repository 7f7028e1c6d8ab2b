"""What was run, and what other steps found of it: from markers, losses, audit and validation.

Invariants: a fact that no marker holds is absent (None), never guessed; figures of the audit are
its own, and nothing is counted here again; a test of the frequency estimate that was not made has
no row.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from ccx_ray.analysis.statistics import resampling, spearman, spearman_interval
from ccx_ray.analysis.tables import BASE_RUN, Results, Row
from ccx_ray.analysis.wording import listing, plural
from ccx_ray.corpus.audit.auditing import read_figures
from ccx_ray.corpus.audit.figures import AuditFigures, Verdict, verdicts
from ccx_ray.study.frequency_spec import FrequencySpec
from ccx_ray.study.spec import AnalysisSpec, StudySpec
from ccx_ray.study.trials import Trial
from ccx_ray.training.size import model_size

Markers = Mapping[str, Mapping[str, Any]]
"""Step name -> its completion marker."""
EVERY_DOCUMENT = "every document"
"""The retriever of planted facts that were counted without one."""
REVIEW_COLUMNS = [
    *("corpus", "culture", "reviewed", "agreed", "precision", "precision_low", "precision_high"),
    *("omission", "kappa", "kappa_low", "kappa_high", "density", "corrected_density"),
    *("corrected_low", "corrected_high", "unclear", "accepted_reviewed", "refused_reviewed"),
]
"""Of ``review.parquet``, those that the report shows."""


def loss_curves(trainings: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    """Run -> loss in nats a token, tokens and seconds of every optimizer step."""
    columns = ["step", "loss", "tokens", "seconds"]
    return {
        run: pq.read_table(folder / "losses.parquet", columns=columns).sort_by("step").to_pandas()
        for run, folder in trainings.items()
    }


def training_rows(curves: Mapping[str, pd.DataFrame]) -> list[Row]:
    """Steps, predicted tokens (padding and first tokens of rows are none), losses in nats a token,
    and the seconds of the optimizer steps alone, without start-up and checkpoints, of every run."""
    return [
        Row(
            run=run,
            steps=len(curve),
            tokens=int(curve["tokens"].sum()),
            first_loss=curve["loss"].tolist()[0],
            last_loss=curve["loss"].tolist()[-1],
            seconds=sum(curve["seconds"].tolist()),
        )
        for run, curve in curves.items()
    ]


def token_rows(trials: Sequence[Trial], trainings: Sequence[Row]) -> list[Row]:
    """The tokens of the trials of every language and seed that were trained with and without
    bridges (``difference``): a condition must not win by having more to learn from. ``deranged``
    is a column where the study has that condition, None where it was not trained."""
    tokens = {row.run: row.tokens for row in trainings}
    pairs: dict[tuple[str, int], dict[str, int]] = {}
    for trial in (trial for trial in trials if trial.name in tokens):
        pairs.setdefault((trial.language, trial.seed), {})[trial.condition] = tokens[trial.name]
    languages = list(dict.fromkeys(trial.language for trial in trials))
    has_deranged = any(trial.condition == "deranged" for trial in trials)
    return [
        Row(
            language=language,
            seed=seed,
            bridge=found["bridge"],
            nobridge=found["nobridge"],
            **({"deranged": found.get("deranged")} if has_deranged else {}),
            difference=found["bridge"] - found["nobridge"],
        )
        for (language, seed), found in sorted(
            pairs.items(), key=lambda pair: languages.index(pair[0][0])
        )
        if {"bridge", "nobridge"} <= found.keys()
    ]


def corpus_rows(study: StudySpec, markers: Markers) -> Iterator[Row]:
    """Each language's text after isolation and deduplication, where its step's marker is given;
    characters and tokens are of the documents, ``characters_removed`` of the pairs too."""
    for language in (study.base_language, *study.languages):
        if f"text-{language.code}" not in markers:
            continue
        text = markers[f"text-{language.code}"]["counts"]
        tokens = markers.get(f"tokens-{language.code}", {}).get("counts", {})
        parts = [text[kind] for kind in ("documents", "pairs") if kind in text]
        yield Row(
            language=language.code,
            documents=text["documents"]["kept"],
            characters=text["documents"]["characters_out_text"],
            pairs=text.get("pairs", {}).get("kept", 0),
            rejected=sum(sum(part["rejected"].values()) for part in parts),
            characters_removed=sum(text["characters_removed_by_script"].values()),
            tokens=tokens.get("text_tokens", 0),
        )


def step_rows(markers: Markers) -> list[Row]:
    """Every finished step with its wall time and counts, in the order of the study's graph."""
    return [
        Row(
            step=name,
            kind=marker.get("kind", ""),
            fingerprint=marker["fingerprint"],
            commit=marker.get("commit") or "unknown",
            started=marker["started"],
            seconds=_seconds(marker["started"], marker["finished"]),
            counts=_flat(marker.get("counts", {})),
        )
        for name, marker in markers.items()
    ]


def study_facts(
    study: StudySpec, trials: Sequence[Trial], markers: Markers, trainings: Sequence[Row]
) -> Row:
    """The figures of the report's first paragraph."""
    found = markers.values()
    latest: Mapping[str, Any] = max(found, key=lambda marker: marker["finished"], default={})
    started = min((marker["started"] for marker in found), default=None)
    finished = latest.get("finished")
    vocabulary = study.tokenizer.vocabulary_size
    counted = markers.get(BASE_RUN, {}).get("counts", {}).get("parameters")
    return Row(
        parameters=counted or model_size(study.model, vocabulary).parameters,
        trials=len(trials),
        # The others are missing from every result.
        trials_trained=sum(row.run != BASE_RUN for row in trainings),
        base_tokens=sum(row.tokens for row in trainings if row.run == BASE_RUN),
        trial_tokens=sum(row.tokens for row in trainings if row.run != BASE_RUN),
        started=started,
        finished=finished,  # the last step before the analysis
        # From the first start to the last end; steps that were reused may make it long.
        wall_seconds=_seconds(started, finished) if started and finished else None,
        training_seconds=sum(row.seconds for row in trainings),
        commits=tuple(dict.fromkeys(m["commit"] for m in found if m.get("commit"))),
        python=latest.get("python"),
        platform=latest.get("platform"),
        processors=latest.get("processors"),
        versions={k: v for k, v in (latest.get("versions") or {}).items() if v},
    )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The scalars of a marker's counts, nested names joined by a slash."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}/")
        elif isinstance(value, bool | int | float | str):
            flat[prefix + key] = value
    return flat


def _seconds(started: str, finished: str) -> float:
    return (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()


def audit_tables(study: StudySpec, folder: Path | None) -> dict[str, Any]:
    """What the audit says, as far as it bears on the results; nothing where there was none.

    Returns:
        ``contamination``: one culture's questions in one corpus; ``exact`` are those whose filled
        sentence or wording stands in it. ``streams``: the conditions of one language and seed;
        tokens without padding, pairs as often as they are shown, ``nobridge_together`` (and, where
        the study has that condition, ``deranged_together``) rows that hold both halves of a pair or
        of pairs that share a text. ``thresholds``. ``audit``: the statements.
    """
    if folder is None:
        return {"contamination": [], "streams": [], "thresholds": [], "audit": []}
    figures = read_figures(folder)
    judged = verdicts(figures, study.audit)
    shown = ("culture", "side", "corpus", "questions", "exact", "half_overlapping")
    return {
        "contamination": [
            Row(**{column: getattr(part, column) for column in shown})
            for part in figures.contamination
        ],
        "streams": [
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
                **(
                    {
                        "deranged_tokens": stream.deranged.used,
                        "deranged_together": stream.deranged.rows_with_both_sides_of_a_group,
                    }
                    if stream.deranged is not None
                    else {}
                ),
            )
            for stream in figures.streams
        ],
        "thresholds": [
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
        "audit": _statements(figures, judged),
    }


def _statements(figures: AuditFigures, judged: Sequence[Verdict]) -> list[str]:
    stated, streams = [], figures.streams
    if streams:
        largest = max(stream.token_difference_share for stream in streams)
        apart = sum(stream.nobridge.rows_with_both_sides_of_a_group for stream in streams)
        together = sum(stream.bridge.together for stream in streams)
        pairs = sum(stream.bridge.pairs for stream in streams)
        differing = sum(stream.differing_rows for stream in streams)
        deranged = [stream.deranged for stream in streams if stream.deranged is not None]
        beside = sum(stream.rows_with_both_sides_of_a_group for stream in deranged)
        read = f"{plural(len(streams), 'set' if deranged else 'pair')} of streams"
        compared = "bridge, no-bridge and deranged" if deranged else "bridge and no-bridge"
        elsewhere = f" and {beside:,} of deranged" if deranged else ""
        stated.append(
            f"Conditions: over {read}, every row read, the "
            f"tokens of {compared} differ by at most {largest:.4%}; {differing:,} monolingual rows "
            f"differ; both halves of a pair meet in {apart:,} rows of no-bridge{elsewhere}, "
            f"and in bridge {together:,} of {pairs:,} pairs have their halves in one row."
        )
    asked = {(part.culture, part.side): part.questions for part in figures.contamination}
    found = [
        f"{part.exact} of the {part.questions} {part.culture} questions in {part.side} "
        f"({part.corpus})"
        for part in figures.contamination
        if part.exact
    ]
    if found:
        stated.append(
            f"Memorised questions: {listing(found)} stand in the text word for word, of "
            f"{sum(asked.values()):,} questions in all; contamination.parquet of the audit names "
            "them."
        )
    elif asked:
        stated.append(
            f"Memorised questions: none of the {sum(asked.values()):,} questions stands in any "
            "text, neither its wording nor its filled sentence."
        )
    met = [part for part in figures.overlaps if part.shared]
    if met:
        most = max(met, key=lambda part: part.share)
        stated.append(
            f"Shared text: {len(met)} of {len(figures.overlaps)} corpora hold texts that stand in "
            f"another corpus as well; most in {most.corpus}, {most.shared:,} of {most.texts:,} "
            f"({most.share:.2%})."
        )
    else:
        stated.append("Shared text: no document stands in another corpus as well.")
    crossed = [f"{one.name} ({listing(list(one.crossed))})" for one in judged if not one.passed]
    if crossed:
        return [*stated, f"Thresholds crossed: {'; '.join(crossed)}."]
    return [*stated, f"Thresholds: all {len(judged)} of the audit are kept."]


def validation_tables(
    spec: AnalysisSpec, folder: Path | None, review: Path | None
) -> dict[str, Any]:
    """How far the estimate of frequency can be trusted, from the folders of the validation and of
    the review, where there are any.

    Returns:
        ``recalls``: of the documents that support a question's answer, those among the first;
        ``agreements``: two judges on the same pairs of question and document; ``planted``: facts
        that were written into a sample of a corpus, and what was then estimated, and
        ``planted_ranks``, how well the estimates rank them; ``reviews``: what people said of
        retrieved documents. ``validated`` and ``validation`` as in ``Results``.
    """
    planted = _read(folder, "planted.parquet")
    summary = folder / "validation.json" if folder else None
    has_summary = summary is not None and summary.exists()
    return {
        "validated": folder is not None,
        "validation": json.loads(summary.read_text("utf-8")) if summary and has_summary else {},
        "recalls": _read(folder, "recall.parquet"),
        "agreements": _read(folder, "agreement.parquet"),
        "planted": planted,
        "planted_ranks": list(_planted_ranks(spec, planted)),
        "reviews": _read(review, "review.parquet", REVIEW_COLUMNS),
    }


def own_planted(spec: FrequencySpec, results: Results, table: str) -> list[Row]:
    """The rows of the retriever and the judge of the study, out of all that were tested."""
    own = (spec.retriever_name, judge := results.validation.get("judge"))
    return [row for row in getattr(results, table) if (row.retriever, judge and row.judge) == own]


def _planted_ranks(spec: AnalysisSpec, planted: Sequence[Row]) -> Iterator[Row]:
    facts = pd.DataFrame([vars(row) for row in planted])
    names = ["corpus", "retriever", "judge"]
    for place, here in facts.groupby(names, sort=False) if planted else ():
        true, estimated = here[["planted", "estimated"]].to_numpy(np.float64).T
        interval = spearman_interval([(true, estimated)], resampling(spec, "planted", *place))
        yield Row(
            **dict(zip(names, place, strict=True)),
            facts=len(here),
            exact=int((true == estimated).sum()),  # facts
            mean_planted=float(true.mean()),
            mean_estimated=float(estimated.mean()),
            correlation=spearman([(true, estimated)]),
            **interval._asdict(),
        )


def _read(folder: Path | None, name: str, columns: list[str] | None = None) -> list[Row]:
    if folder is None or not (folder / name).exists():
        return []
    return [Row(**row) for row in pq.read_table(folder / name, columns=columns).to_pylist()]
