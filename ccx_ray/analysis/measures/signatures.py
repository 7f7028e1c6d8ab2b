"""Detectors of the failure signatures: what would make transfer mean something else than it says.

Each detector looks at one thing in one place (a corpus, a stream, a language and direction),
compares one value with one limit, and gives a verdict. Invariants: a value whose interval holds the
limit, and what was not looked at, "cannot be told"; a detector never says why it fires, only what a
reader has to rule out; figures of the audit and of the validation are theirs, nothing is counted
here again.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from ccx_ray.analysis.crossed import crossed, mean_influences
from ccx_ray.analysis.measures.languages import bits_by_run
from ccx_ray.analysis.measures.run_facts import own_planted
from ccx_ray.analysis.measures.transfer import (
    Answers,
    by_run,
    cells,
    clusters_of,
    headline_group,
    trainings_of,
)
from ccx_ray.analysis.statistics import (
    UNKNOWN,
    Interval,
    bootstrap_ratio_interval,
    resampling,
)
from ccx_ray.analysis.tables import BASE_RUN, Results, Row
from ccx_ray.analysis.wording import condition_name, direction_name, listing, names_of, plural
from ccx_ray.corpus.audit.auditing import read_figures
from ccx_ray.corpus.audit.figures import AuditFigures
from ccx_ray.study.spec import StudySpec

Verdict = Literal["clear", "fires", "cannot be told"]
VERDICTS: tuple[Verdict, ...] = ("clear", "fires", "cannot be told")
Unit = Literal["share", "points", "ratio", "characters"]
"""How a value is shown."""

ROWS = "pairs co-occur in a row"
DOCUMENTS = "pairs co-occur in a document"
SCRIPT = "script filter leaks"
COLLAPSE = "base language collapses"
GAIN = "no-bridge above the base"
RECALL = "retrieval misses documents"
PLANTED = "planted evidence is missed"

COLLAPSED = 1.25
"""Bits per byte of held-out text after a trial over those of the base. The trials of the laptop
study came to 1.02 to 1.08, those of the healthy control study to 1.13."""
GAINED = 0.05
"""Accuracy without bridges over the base, which is also what counts as zero in a control study."""
LOW_RECALL = 0.8
"""Of the reachable documents: below it occurrences are more than a fifth too few."""
FEWEST_REACHABLE = 10
"""Of fewer documents a recall says nothing, whatever its interval: all of two is no proof."""
NO_AUDIT = "the text was not audited"


def signature_rows(
    study: StudySpec, results: Results, answers: Answers, held_out: pd.DataFrame, audit: Path | None
) -> list[Row]:
    """Every detector in every place: ``name``, ``cell`` (the place in words), ``language``,
    ``direction`` (None where it has none), ``looked_at`` (what was measured, in words), ``value``
    and ``limit`` in ``unit``, ``low`` and ``high`` where it has an interval, ``verdict``,
    ``reason``."""
    figures = None if audit is None else read_figures(audit)
    return [
        *_pairs_together(study, figures),
        *_scripts(study, figures),
        *_collapse(study, held_out),
        *_gains(study, answers),
        *_retrieval(study, results),
    ]


def verdict_of(value: float, limit: float, interval: Interval = UNKNOWN) -> Verdict:
    """``fires`` above the limit, or where the whole interval is; an interval that holds the limit
    tells neither."""
    if math.isnan(value):
        return "cannot be told"
    if math.isnan(interval.low):
        return "fires" if value > limit else "clear"
    if interval.low <= limit < interval.high:
        return "cannot be told"
    return "fires" if interval.low > limit else "clear"


def _pairs_together(study: StudySpec, figures: AuditFigures | None) -> Iterator[Row]:
    """A sentence and its translation in one row of a no-bridge stream, or in one document."""
    limit = study.audit.translations_share
    if figures is None:
        for name in (ROWS, DOCUMENTS):
            yield _row(name, limit=limit, reason=NO_AUDIT)
        return
    for part in figures.streams:
        own = part.nobridge
        by_id, found = own.rows_with_both_sides_of_a_group, own.rows_with_both_sides_by_content
        share = found / max(1, own.rows)
        yield _row(
            ROWS,
            cell=part.stream,
            language=part.stream.partition(" ")[0],
            looked_at=f"{found:,} of {own.rows:,} no-bridge rows hold a sentence and its "
            "translation, by content",
            value=share,
            limit=limit,
            # By id a single one is a fault of the program.
            verdict="fires" if by_id else verdict_of(share, limit),
            reason=f"{by_id:,} of them by id" if by_id else "",
        )
    for corpus in figures.translations:
        yield _row(
            DOCUMENTS,
            cell=corpus.corpus,
            language=corpus.corpus.partition(" ")[0],
            looked_at=f"{corpus.holding:,} of {corpus.documents:,} documents hold both halves of a "
            f"pair ({corpus.short_halves:,} of {corpus.halves:,} halves are too short to look for)",
            value=math.nan if corpus.short_halves == corpus.halves else corpus.share,
            limit=limit,
            reason="every half is too short to be looked for"
            if corpus.short_halves == corpus.halves
            else "",
        )


def _scripts(study: StudySpec, figures: AuditFigures | None) -> Iterator[Row]:
    """Characters of an excluded script in the text of each language, documents and pairs."""
    limit = study.audit.forbidden_characters
    for language in (study.base_language, *study.trial_languages):
        parts = [p for p in figures.scripts if p.language == language.code] if figures else []
        by_script = language.isolation.keep or language.isolation.remove
        most = max(parts, key=lambda part: part.forbidden) if parts and by_script else None
        yield _row(
            SCRIPT,
            cell=names_of(study)[language.code],
            language=language.code,
            unit="characters",
            looked_at=""
            if most is None
            else f"most in {most.corpus}, of {sum(part.characters for part in parts):,} characters",
            value=math.nan if most is None else float(most.forbidden),
            limit=float(limit),
            reason=NO_AUDIT
            if figures is None
            else ""
            if by_script
            else "no script is excluded: the languages are told apart by identification",
        )


def _collapse(study: StudySpec, held_out: pd.DataFrame) -> Iterator[Row]:
    """Bits per byte of the base language at the trials' last checkpoints, over the base's."""
    base, names = study.base_language, names_of(study)
    rows = held_out[held_out["text"] == base.code]
    is_base = rows["condition"] == BASE_RUN
    before = bits_by_run(rows[is_base])[0] if is_base.any() else None  # bits a document, [D]
    trials = rows[~is_base]
    last = trials[trials["step"] == trials.groupby("language")["step"].transform("max")]
    for language in study.trial_languages:
        here = last[last["language"] == language.code]
        if before is None or here.empty:
            reason = f"no trial was scored on held-out {base.name} text"
            yield _row(
                COLLAPSE,
                cell=names[language.code],
                language=language.code,
                unit="ratio",
                limit=COLLAPSED,
                reason=reason,
            )
            continue
        for place, trained in cells(here, "language", "condition"):
            bits = bits_by_run(trained)  # [R, D]
            assert by_run(trained, "document")[0].tolist() == rows[is_base]["document"].tolist()
            resample = resampling(study.analysis, "collapse", *place.values())
            yield _row(
                COLLAPSE,
                cell=f"{names[language.code]}, {condition_name(place['condition'])}",
                language=language.code,
                unit="ratio",
                looked_at=f"bits per byte of {plural(len(before), 'held-out document')} in "
                f"{base.name}, last checkpoint over base, {plural(len(bits), 'seed')}",
                value=float(bits.mean(axis=0).sum() / before.sum()),
                limit=COLLAPSED,
                interval=bootstrap_ratio_interval(bits.mean(axis=0), before, resample),
            )


def _gains(study: StudySpec, answers: Answers) -> Iterator[Row]:
    """Accuracy of no-bridge over the base on the questions of the headline.

    What only the other language states cannot be learnt without bridges, so a gain there needs
    another way across. Where no probe says what is stated where, monolingual text may have taught
    what is asked in its own language: such a gain is no signature, and no proof of health.
    """
    rows, names = answers.rows[answers.rows["headline"]], names_of(study)
    for place, cell in cells(rows, "language", "direction"):
        after, before = (cell[cell["condition"] == c] for c in ("nobridge", BASE_RUN))
        if after.empty or before.empty:
            continue
        after = after[after["step"] == after["step"].max()]
        right = by_run(after, "published")  # [S, Q]
        gains, clusters = right - by_run(before, "published"), clusters_of(after)
        value, group = float(gains.mean()), headline_group(cell)
        over = crossed(
            value,
            mean_influences(gains),
            confidence=study.analysis.confidence,
            clusters=clusters,
            trainings=trainings_of(study, after["seed"].unique().tolist()),
        )
        is_constant = over.is_claim and math.isnan(over.interval.low)
        interval = Interval(value, value) if is_constant else over.interval
        verdict, reason = _gain_verdict(place["direction"], group, over.trainings, interval)
        target, base = names[place["language"]], study.base_language.name
        yield _row(
            GAIN,
            cell=direction_name(place["direction"], base, target),
            language=place["language"],
            direction=place["direction"],
            unit="points",
            looked_at=f"accuracy of no-bridge over the base, {plural(gains.shape[1], 'question')}"
            f"{', facts of the other language alone' if group else ''}, "
            f"{plural(len(gains), 'seed')}",
            value=value,
            limit=GAINED,
            interval=interval,
            verdict=verdict,
            reason=reason,
        )


def _gain_verdict(
    direction: str, group: str, trainings: int, interval: Interval
) -> tuple[Verdict, str]:
    """The verdict on a gain of no-bridge: above 0, and not certainly within the limit."""
    if math.isnan(interval.low):
        seen = "1 training does" if trainings == 1 else f"{trainings} trainings do"
        return "cannot be told", f"{seen} not say how much others would differ"
    if interval.high <= GAINED:
        return "clear", ""
    if interval.low <= 0:
        return "cannot be told", f"{trainings} trainings leave room for more than the limit"
    leak = "a script filter that leaks, or a shared vocabulary, has to be ruled out"
    if group:
        return "fires", f"no text states these facts in the language that is asked in: {leak}"
    if direction == "base-to-target":
        return "cannot be told", (
            "the target text itself may state what is asked in its language: a gain is learning "
            "from it as well as a leak"
        )
    return "fires", (
        "the base language's halves of the pairs and replayed text may state what is asked (see "
        f"Exposure); if they do not, {leak}"
    )


def _retrieval(study: StudySpec, results: Results) -> Iterator[Row]:
    """Recall of the study's retriever, and what the estimate finds of planted evidence."""
    names, own = names_of(study), study.frequency.retriever_name
    recalls = [row for row in results.recalls if row.retriever == own]
    planted = pd.DataFrame([vars(row) for row in own_planted(study.frequency, results, "planted")])
    planted = planted[planted["planted"] > 0] if len(planted) else planted
    reason = "" if results.validated else "the frequency estimate was not validated"
    if not recalls:
        nothing = "no document of any corpus holds an answer"
        yield _row(RECALL, limit=LOW_RECALL, reason=reason or nothing)
    for row in recalls:
        known = row.recall is not None and row.recall_low is not None
        enough = row.reachable >= FEWEST_REACHABLE
        interval = Interval(row.recall_low, row.recall_high) if known else UNKNOWN
        yield _low_row(
            RECALL,
            cell=f"{names[row.culture]} questions in {names[row.corpus]} text",
            language=row.culture,
            looked_at=f"{row.found:,} of {row.reachable:,} reachable documents that hold an answer "
            f"are among the first {row.top}",
            value=math.nan if row.recall is None else row.recall,
            interval=interval,
            reason="" if enough else f"{plural(row.reachable, 'document')} to be found",
            verdict=None if enough else "cannot be told",
        )
    if planted.empty:
        yield _row(PLANTED, limit=LOW_RECALL, reason=reason or "no facts were planted")
        return
    for corpus, facts in planted.groupby("corpus", sort=False):
        there = facts["planted"].to_numpy(np.float64)
        found = np.minimum(facts["estimated"].to_numpy(np.float64), there)
        draws = resampling(study.analysis, "planted evidence", str(corpus))
        yield _low_row(
            PLANTED,
            cell=f"{names[str(corpus)]} text",
            language=str(corpus),
            looked_at=f"{found.sum():,.0f} of {there.sum():,.0f} planted documents of "
            f"{plural(len(facts), 'fact')} are found and accepted",
            value=float(found.sum() / there.sum()),
            interval=bootstrap_ratio_interval(found, there, draws),
        )


def _low_row(
    name: str,
    *,
    value: float,
    interval: Interval,
    verdict: Verdict | None = None,
    **columns: Any,
) -> Row:
    """The row of a recall, which fires below its limit."""
    below = Interval(-interval.high, -interval.low)
    told = verdict or verdict_of(-value, -LOW_RECALL, below)
    return _row(name, value=value, limit=LOW_RECALL, interval=interval, verdict=told, **columns)


def _row(
    name: str,
    *,
    limit: float,
    cell: str = "",
    language: str | None = None,
    direction: str | None = None,
    unit: Unit = "share",
    looked_at: str = "",
    value: float = math.nan,
    interval: Interval = UNKNOWN,
    verdict: Verdict | None = None,
    reason: str = "",
) -> Row:
    found = verdict or verdict_of(value, limit, interval)
    if found == "cannot be told" and not reason:
        reason = "the interval holds the limit"
    return Row(
        name=name, cell=cell, language=language, direction=direction, looked_at=looked_at,
        unit=unit, value=value, limit=limit, **interval._asdict(), verdict=found, reason=reason,
    )  # fmt: skip


def signature_counts(rows: Sequence[Row]) -> dict[str, int]:
    """How many detectors have each verdict."""
    counted = Counter(row.verdict for row in rows)
    return {one: counted[one] for one in VERDICTS}


def signature_sentence(rows: Sequence[Row]) -> str:
    """Which detectors fire, or that none does, and how many cannot be told."""
    firing = [f"{row.name} ({row.cell})" if row.cell else row.name for row in rows
              if row.verdict == "fires"]  # fmt: skip
    counts = signature_counts(rows)
    verb = "fires" if len(firing) == 1 else "fire"
    first = f"{len(firing)} of {len(rows)} {verb}: {listing(firing)}"
    if not firing:
        first = f"none of {len(rows)} fires"
    untold = counts["cannot be told"]
    return f"Of the detectors of failure signatures {first}; {untold} cannot be told."
