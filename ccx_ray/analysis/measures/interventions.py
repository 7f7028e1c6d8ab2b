"""Transfer by dose of what interventions planted into real text, and whether the doses were given.

Doses are assigned at random, so what differs between the items of two doses is the dose.
Invariants: a dose is compared with two measurements that do not know it, the count of every
document by the lexical judge and the exposure that is read off the streams; what the text held
before, and what sentences of other items happen to say, stands beside them and is not subtracted
from anything.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from ccx_ray.analysis.measures.planted import (
    CONDITIONS,
    by_direction,
    dose_row,
    estimate,
    last_answers,
    sample,
    slope,
)
from ccx_ray.analysis.measures.transfer import Answers, interval_of
from ccx_ray.analysis.tables import AnalysisInputs, Results, Row
from ccx_ray.analysis.wording import (
    condition_name,
    direction_name,
    listing,
    names_of,
    percent,
    plural,
    points,
    span,
)
from ccx_ray.corpus.interventions import read_interventions
from ccx_ray.frequency.counting.planted_exposure import PLANTED_EXPOSURE
from ccx_ray.frequency.text.documents import DOCUMENTS
from ccx_ray.study.spec import Direction, StudySpec

SOURCE: Mapping[str, Direction] = {"base": "base-to-target", "target": "target-to-base"}
"""Kind of text that is planted into -> the direction in which knowledge moves out of it."""
KEYS = ["text", "culture"]
"""Of an intervention."""
COUNTS = ["exact", "planted", "before", "others", "exposure"]
"""Means of these are shown by dose."""
EPSILON = 1e-6
"""Exposure is a sum of shares of documents."""


def intervention_tables(inputs: AnalysisInputs, answers: Answers) -> dict[str, list[Row]]:
    """The tables that interventions add; without rows where there are none.

    Returns:
        ``intervention_plans``: one row an intervention, what was planted and what was left out.
        ``intervention_items``: one row an item, as ``_items`` counts it.
        ``intervention_doses``: one row a dose and direction: means of the items' counts, how many
        of them are ``counted`` and ``exposed`` as their dose says, accuracies and transfer.
        ``intervention_slopes``: of ``transfer`` and of the accuracy under each condition (``of``)
        on log2(1 + dose), in shares for each doubling of 1 + dose.
    """
    if not inputs.interventions:
        names = ("plans", "items", "doses", "slopes")
        return {f"intervention_{name}": [] for name in names}
    study, items = inputs.study, _items(inputs)
    facts = last_answers(answers).rename(columns={"cluster": "entity"})
    joined = facts.merge(items, on=["culture", "question"])
    return {
        "intervention_plans": list(_plan_rows(inputs, items)),
        "intervention_items": [Row(**row) for row in items.to_dict("records")],
        "intervention_doses": list(_dose_rows(study, joined, items)),
        "intervention_slopes": list(_slope_rows(study, joined)),
    }


def _items(inputs: AnalysisInputs) -> pd.DataFrame:
    """One row an item with a dose: ``text, culture, kind`` (of the text: ``base`` or ``target``),
    ``question, dose``; by the lexical judge, of all documents of the text those that hold its
    knowledge (``exact``): its own ``planted`` ones, those that stood there ``before``, and
    ``others`` that were planted for other items; ``exposure``, the times that its planted
    documents had been read by the last checkpoints, mean, ``least`` and ``most`` over the trials.
    NaN where nothing was counted."""
    rows = read_interventions(inputs.interventions).to_pandas()
    base = inputs.study.base_language.code
    rows["kind"] = np.where(rows["text"] == base, "base", "target")
    found = _supports(inputs.frequencies).merge(
        rows.explode("documents")[[*KEYS, "question", "documents"]].rename(
            columns={"documents": "document", "culture": "for_culture", "question": "for_question"}
        ),
        on=["text", "document"],
        how="left",
    )
    own = (found["culture"] == found["for_culture"]) & (found["question"] == found["for_question"])
    found = found.assign(
        exact=1, planted=own, before=found["for_question"].isna(),
        others=found["for_question"].notna() & ~own,
    )  # fmt: skip
    sums = found.groupby([*KEYS, "question"])[COUNTS[:-1]].sum().reset_index()
    items = rows[[*KEYS, "kind", "question", "dose"]].merge(
        sums, on=[*KEYS, "question"], how="left"
    )
    counted = items["culture"].isin(list(inputs.frequencies))
    items[COUNTS[:-1]] = items[COUNTS[:-1]].fillna(0.0).where(counted, axis=0)
    read = _exposures(inputs.exposures)
    return items.merge(read, on=[*KEYS, "question"], how="left")


def _supports(frequencies: Mapping[str, Path]) -> pd.DataFrame:
    """``text, culture, question, document`` of the documents that the lexical judge accepts."""
    columns = ["culture", "question", "corpus", "part", "document"]
    tables = [
        pq.read_table(folder / "exhaustive.parquet", columns=columns).to_pandas()
        for folder in frequencies.values()
    ]
    found = pd.concat([pd.DataFrame(columns=columns), *tables])
    return found[found["part"] == DOCUMENTS].rename(columns={"corpus": "text"})


def _exposures(exposures: Mapping[str, Path]) -> pd.DataFrame:
    """``text, culture, question, exposure, least, most`` at the last checkpoints, over trials."""
    tables = [
        pq.read_table(folder / PLANTED_EXPOSURE).to_pandas().assign(culture=culture)
        for culture, folder in exposures.items()
        if (folder / PLANTED_EXPOSURE).exists()
    ]
    columns = [*KEYS, "question", "step", "exposure"]
    found = pd.concat([pd.DataFrame(columns=columns).astype({"exposure": float}), *tables])
    last = found[found["step"] == found.groupby(KEYS)["step"].transform("max")]
    over_trials = last.groupby([*KEYS, "question"])["exposure"]
    return over_trials.agg(exposure="mean", least="min", most="max").reset_index()


def _as_dosed(items: pd.DataFrame) -> dict[str, int]:
    """How many items are counted, and read by every trial, as often as their dose says."""
    read = items[["least", "most"]].sub(items["dose"], axis=0).abs().max(axis=1, skipna=False)
    return {
        "counted": int((items["planted"] == items["dose"]).sum()),
        "exposed": int((read < EPSILON).sum()),
    }


def _plan_rows(inputs: AnalysisInputs, items: pd.DataFrame) -> Iterator[Row]:
    """``share`` is that of planted tokens among the monolingual ones that a stream shows, and
    ``in_two_rows`` the share of planted documents that a row's end cuts; None where no stream was
    made. Of all interventions in a text together."""
    base = inputs.study.base_language.code
    for (text, culture), own in items.groupby(KEYS, sort=False):
        counts = inputs.markers.get(f"interventions-{text}", {}).get("counts", {})
        streams = (
            marker["counts"].get("bridge", marker["counts"])
            for name, marker in inputs.markers.items()
            if name.startswith("stream-base" if text == base else f"stream-{text}-")
        )
        stream = next(streams, None)
        yield Row(
            text=text,
            culture=culture,
            kind=own["kind"].iloc[0],
            items=len(own),
            doses=sorted(own["dose"].unique().tolist()),
            documents=int(own["dose"].sum()),
            left_out=counts.get(culture, {}).get("left_out", {}),
            **_as_dosed(own),
            share=stream and stream["planted_tokens"] / stream["tokens"]["monolingual"],
            in_two_rows=stream
            and stream["planted_in_two_rows"] / max(1, stream["planted_documents"]),
        )


def _dose_rows(study: StudySpec, joined: pd.DataFrame, items: pd.DataFrame) -> Iterator[Row]:
    for place, here in _cells(study, joined):
        names = ("interventions", place["culture"], place["direction"], place["kind"])
        for dose, facts in here.groupby("dose"):
            own = items[
                (items[KEYS] == [place["text"], place["culture"]]).all(axis=1)
                & (items["dose"] == dose)
            ]
            row = dose_row(study, facts, [*names, str(dose)], dose=int(str(dose)))
            means = {name: float(own[name].mean()) for name in COUNTS}
            yield Row(**place | vars(row), items=len(own), **means, **_as_dosed(own))


def _slope_rows(study: StudySpec, joined: pd.DataFrame) -> Iterator[Row]:
    for place, here in _cells(study, joined):
        present = set(here["condition"])
        samples: dict[str, tuple[str, str | None]] = {
            name: (name, None) for name in CONDITIONS if name in present
        }
        if {"bridge", "nobridge"} <= present:
            samples = {"transfer": ("bridge", "nobridge"), **samples}
        for of, (condition, minus) in samples.items():
            dosed = [sample(here, condition, minus, "dose")]
            found = estimate(
                study, slope, dosed, "intervention slope", *map(str, place.values()), of
            )
            yield Row(**place, of=of, slope=found.pop("estimate"), **found)


def _cells(study: StudySpec, joined: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The answers about the items of one intervention in one direction, that out of the text that
    was planted into first; ``is_source`` tells which that is."""
    for text in dict.fromkeys(joined["text"]):
        here = joined[joined["text"] == text]
        kind = here["kind"].iloc[0]
        cells = [
            ({"text": text, "culture": culture, "kind": kind, "direction": direction,
              "is_source": direction == SOURCE[kind]}, rows[rows["direction"] == direction])
            for culture, direction, rows in by_direction(study, here)
        ]  # fmt: skip
        cells = [(place, rows) for place, rows in cells if len(rows)]
        yield from sorted(cells, key=lambda cell: not cell[0]["is_source"])


def intervention_sentences(study: StudySpec, results: Results) -> Iterator[str]:
    """What was planted, whether the doses were given, and what they do, one text a sentence."""
    names, base = names_of(study), study.base_language.name
    for plan in results.intervention_plans:
        left_out = [f"{count} ({reason})" for reason, count in plan.left_out.items()]
        doses = listing(list(map(str, plan.doses)))
        yield (
            f"Into the {names[plan.text]} text {plural(plan.documents, 'document')} of one "
            f"sentence are planted, for {plural(plan.items, 'item')} of the "
            f"{names[plan.culture]} probe, whose doses of {doses} are assigned "
            "at random and the same in all conditions and seeds."
            + (f" Without a dose: {listing(left_out)}." if left_out else "")
            + (
                f" Planted documents are {percent(plan.share)} of the monolingual tokens that a "
                f"stream shows; the end of a row cuts {percent(plan.in_two_rows)} of them."
                if plan.share is not None
                else ""
            )
        )
        yield (
            f"Doses as given: the count of every document finds as many planted ones as the dose "
            f"says for {plan.counted} of {plan.items} items, and every trial had read them as "
            f"often as the dose says for {plan.exposed} of {plan.items}."
        )
        for row in results.intervention_slopes:
            if (row.text, row.culture) != (plan.text, plan.culture):
                continue
            asked_in_text = not row.is_source
            low, high = interval_of(row)
            told = "rises" if low > 0 else "falls" if high < 0 else "does not visibly move"
            change = f"{points(row.slope)} points ({span(low, high, points)})"
            if row.of == "transfer" and row.is_source:
                cell = direction_name(row.direction, base, names[plan.culture])
                yield (
                    f"Transfer {cell} {told} with the dose: {change} for each doubling of 1 + dose."
                )
            elif row.of == "bridge" and asked_in_text:
                yield (
                    f"Asked in {names[plan.text]} itself, accuracy under {condition_name(row.of)} "
                    f"{told} with the dose: {change}; where it does not, the sentences were not "
                    "learnt, and transfer of them cannot be expected."
                )
