"""The scores of a question's options, the choice that follows, and both as Parquet rows.

A score is in nats and lower is better; what a ``ScoreType`` means:

- ``reference``: mean cross-entropy of all tokens after end-of-text, the published rule.
- ``sum``: of the whole sentence, -log p(sentence).
- ``per_byte``: the sum per UTF-8 byte, which does not reward options of few tokens.
- ``option_sum``, ``option_mean``, ``option_per_byte``: the same of the tokens that the option
  fills, given what stands before them; what stands after the blank does not count.
- ``mutual_information``: -log p(sentence) + log p(option after end-of-text alone). It ranks
  options as the pointwise mutual information of option and question does, because the question's
  own probability is the same for all; an option that is likely anywhere gains nothing by it.

In a question without a blank all options are the same sentence, and tie in every score.

Invariants: one row per (trial, step, probe, question), in question order, and a file is either
whole or not there; choices and accuracies under any score follow from the rows, without a model;
of options that share the best score the first is chosen, and the row says that it was a tie.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ccx_ray.evaluation.probes import ProbeItem, quality
from ccx_ray.storage.publishing import publish_first
from ccx_ray.study.spec import ScoreType

SCORE_TYPES: tuple[ScoreType, ...] = get_args(ScoreType)

SCHEMA = pa.schema(
    [
        ("trial", pa.string()),  # "base" for the base model
        ("step", pa.int32()),
        ("probe", pa.string()),
        ("question", pa.int32()),
        ("gold", pa.int32()),  # -1: the answer is not among the options
        ("right", pa.list_(pa.bool_())),  # one an option: its text is the answer
        ("quality", pa.list_(pa.string())),  # what is odd about the question
        ("group", pa.string()),  # of the probe file; empty where it gives none
        ("cluster", pa.string()),
        # Of the published rule.
        ("choice", pa.int32()),
        ("correct", pa.bool_()),
        ("tied", pa.bool_()),  # the best score is shared
        # One value an option, in nats, lower is better.
        *((kind, pa.list_(pa.float64())) for kind in SCORE_TYPES),
        # What the scores are made of, one entry an option.
        ("tokens", pa.list_(pa.int32())),
        ("bytes", pa.list_(pa.int32())),
        ("option_bytes", pa.list_(pa.int32())),
        ("alone_nats", pa.list_(pa.float64())),  # -log p of the option after end-of-text alone
        ("token_nats", pa.list_(pa.list_(pa.float32()))),  # -log p of every token
        ("option_tokens", pa.list_(pa.list_(pa.bool_()))),  # which of them the option fills
    ]
)


@dataclass(frozen=True, kw_only=True)
class ScoredOption:
    """One option of one question, as a model sees it. Arrays are [T], tokens after end-of-text."""

    token_nats: NDArray[np.float32]
    """-log p of every token, given all before it."""
    option_tokens: NDArray[np.bool_]
    """Which of them hold characters of the option."""
    bytes: int
    """UTF-8 bytes of the filled sentence."""
    option_bytes: int
    """UTF-8 bytes of the option, once for every blank."""
    alone_nats: float
    """-log p(option) after end-of-text alone; 0 without a blank, NaN where nobody asked for it."""
    reference: float
    """The published rule's mean; where options are close, as one pass of one sentence has it."""

    def score(self, kind: ScoreType) -> float:
        """A score in nats, or nats per token or byte; lower is better."""
        if kind == "reference":
            return self.reference
        of_option = kind.startswith("option")
        counted = self.token_nats[self.option_tokens] if of_option else self.token_nats
        nats = float(counted.sum(dtype=np.float64))
        return nats - self.alone_nats if kind == "mutual_information" else nats / self.divisor(kind)

    def divisor(self, kind: ScoreType) -> int:
        """What the sum of a score's tokens is divided by: tokens, bytes or nothing; 1 or more."""
        of_option = kind.startswith("option")
        if kind.endswith("per_byte"):
            return max(1, self.option_bytes if of_option else self.bytes)
        return self.summed_tokens(kind) if kind in ("reference", "option_mean") else 1

    def summed_tokens(self, kind: ScoreType) -> int:
        """How many tokens a score is the sum over, 1 or more."""
        of_option = kind.startswith("option")
        return max(1, int(self.option_tokens.sum()) if of_option else len(self.token_nats))


class RankedItem(NamedTuple):
    """One question with its options ranked. ``scores`` are one per option, lower is better."""

    scores: tuple[float, ...]
    ranking: tuple[int, ...]
    """Options, the best first; those of equal score in their order."""
    choice: int
    correct: bool
    tied: bool


@dataclass(frozen=True, kw_only=True)
class ScoredItem:
    """One scored question."""

    item: ProbeItem
    index: int
    """Its position in the probe file."""
    options: tuple[ScoredOption, ...]

    @property
    def right(self) -> list[bool]:
        """One an option: whether its *text* is the answer; of two repeated ones either may be."""
        return [option == self.item.answer for option in self.item.options]

    def scores(self, kind: ScoreType) -> tuple[float, ...]:
        return tuple(option.score(kind) for option in self.options)

    def ranked(self, kind: ScoreType = "reference") -> RankedItem:
        scores_1O = np.array([self.scores(kind)])
        found = choose(scores_1O, np.array([self.right]))
        ranking = tuple(rankings(scores_1O)[0].tolist())
        outcome = (bool(found.correct[0]), bool(found.tied[0]))
        return RankedItem(self.scores(kind), ranking, ranking[0], *outcome)


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """The choice of every question [Q] under one score, and whether it is right."""

    choice: NDArray[np.int64]
    correct: NDArray[np.bool_]
    """As published: of options that share the best score the first is chosen."""
    tied: NDArray[np.bool_]
    """The best score is shared."""
    shared: NDArray[np.float64]
    """Ties shared: the chance of being right when one of the best options is drawn."""

    @property
    def strict(self) -> NDArray[np.bool_]:
        """Ties wrong: what only option order made right does not count."""
        return np.asarray(self.correct & ~self.tied)


def choose(scores_QO: NDArray[np.float64], right_QO: NDArray[np.bool_]) -> Outcomes:
    """Choose the option of the lowest score of every question; scores are infinity where a question
    has fewer options than others."""
    best_QO = scores_QO == scores_QO.min(axis=1, keepdims=True)
    choice = best_QO.argmax(axis=1)  # the first of them
    return Outcomes(
        choice=choice,
        correct=right_QO[np.arange(len(right_QO)), choice],
        tied=best_QO.sum(axis=1) > 1,
        shared=(right_QO & best_QO).sum(axis=1) / best_QO.sum(axis=1),
    )


def rankings(scores_QO: NDArray[np.float64]) -> NDArray[np.int64]:
    """Options of every question [Q, O], the best first, those of equal score in their order."""
    return np.argsort(scores_QO, axis=1, kind="stable")


def outcomes(rows: pa.Table, kind: ScoreType) -> Outcomes:
    """Choose anew from the scores of one kind; the columns ``right`` and ``kind`` are read."""
    return choose(padded(rows[kind], fill=np.inf), padded(rows["right"], fill=0) > 0)


def padded(column: pa.ChunkedArray, *, fill: float) -> NDArray[np.float64]:
    """Lists as an array [Q, most options]; questions may differ in options."""
    values = column.combine_chunks()
    lengths = values.value_lengths().to_numpy(zero_copy_only=False)
    found = np.full((len(lengths), int(lengths.max(initial=0))), fill, np.float64)
    found[np.arange(found.shape[1]) < lengths[:, None]] = values.flatten().to_numpy(
        zero_copy_only=False
    )
    return found


def probe_results(trial: str, step: int, probe: str, scored: Sequence[ScoredItem]) -> pa.Table:
    """The rows of one probe, in question order."""
    rows = []
    for one in scored:
        ranked, options = one.ranked(), one.options
        row: dict[str, Any] = {
            "trial": trial,
            "step": step,
            "probe": probe,
            "question": one.index,
            "gold": one.item.gold,
            "right": one.right,
            "quality": quality(one.item),
            "group": one.item.group,
            "cluster": one.item.cluster,
            "choice": ranked.choice,
            "correct": ranked.correct,
            "tied": ranked.tied,
            **{kind: one.scores(kind) for kind in SCORE_TYPES},
            "tokens": [len(option.token_nats) for option in options],
        }
        of_options = ("bytes", "option_bytes", "alone_nats", "token_nats", "option_tokens")
        rows.append(row | {name: [getattr(o, name) for o in options] for name in of_options})
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def publish_results(path: Path, tables: Sequence[pa.Table]) -> None:
    """Write the rows of one checkpoint as one file, at once, unless there is one."""
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.concat_tables(tables), buffer, compression="zstd")
    publish_first(path, buffer.getvalue().to_pybytes())


def read_results(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a results file, or some of their columns."""
    schema = SCHEMA if columns is None else pa.schema([SCHEMA.field(name) for name in columns])
    return pq.read_table(path, columns=list(schema.names), schema=SCHEMA)


def summarize(table: pa.Table) -> dict[str, dict[str, Any]]:
    """Accuracies of one checkpoint, per probe, as JSON-able numbers.

    The first level is of the published rule, ``scores`` holds all; see ``accuracies``.
    """
    found = {}
    for name in pc.unique(table["probe"]).to_pylist():
        rows = table.filter(pc.equal(table["probe"], name))
        by_kind = {kind: accuracies(rows, kind) for kind in SCORE_TYPES}
        found[name] = {"questions": rows.num_rows, **by_kind["reference"], "scores": by_kind}
    return found


def accuracies(rows: pa.Table, kind: ScoreType) -> dict[str, Any]:
    """Accuracies of one probe at one checkpoint under one score.

    ``accuracy`` is as published; ``accuracy_ties_wrong`` counts a right answer that only option
    order picked as wrong, ``accuracy_ties_shared`` as the chance of drawing it. The standard error
    is over clusters; where every question is one by itself, the binomial one, sqrt(p (1 - p) / n).
    ``by_gold_position`` shows what option order alone would explain.
    """
    found, gold = outcomes(rows, kind), rows["gold"].to_numpy()
    accuracy = float(found.correct.mean())
    return {
        "correct": int(found.correct.sum()),
        "accuracy": accuracy,
        "accuracy_ties_wrong": float(found.strict.mean()),
        "accuracy_ties_shared": float(found.shared.mean()),
        "standard_error": _standard_error(found.correct, rows["cluster"].to_pylist()),
        "tied": int(found.tied.sum()),
        "by_gold_position": {
            str(position): {
                "questions": int((gold == position).sum()),
                "correct": int(found.correct[gold == position].sum()),
                "accuracy": float(found.correct[gold == position].mean()),
            }
            for position in sorted(set(gold.tolist()))
        },
    }


def _standard_error(correct: NDArray[np.bool_], clusters: Sequence[str]) -> float | None:
    """Standard error of an accuracy over clusters of questions; those without one are one each.
    None where all questions are of one cluster, which says nothing of how clusters differ."""
    accuracy = float(correct.mean())
    residuals: dict[str | int, float] = defaultdict(float)
    for place, (cluster, right) in enumerate(zip(clusters, correct.tolist(), strict=True)):
        residuals[cluster or place] += right - accuracy
    if len(residuals) == len(correct):
        return math.sqrt(accuracy * (1 - accuracy) / len(correct))
    if len(residuals) == 1:
        return None
    return math.sqrt(sum(residual**2 for residual in residuals.values())) / len(correct)
