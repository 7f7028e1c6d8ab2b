"""How long each question and its right answer are, in tokens, read from the evaluations.

Invariant: a length is of the sentence with the right answer in its blank, the same for every trial,
as all share a tokenizer; a question without a blank or without its answer among the options has
no length of the answer: NaN.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from ccx_ray.analysis.measures.answers import STEP_FILE
from ccx_ray.analysis.statistics.intervals import Floats
from ccx_ray.evaluation.results import read_results

COLUMNS = ("probe", "question", "gold", "tokens", "option_tokens")


@dataclass(frozen=True, kw_only=True, eq=False)
class Lengths:
    """Of the questions of one probe [Q]."""

    question: NDArray[np.int32]
    sentence: Floats
    """Tokens of the filled sentence, without end-of-text."""
    answer: Floats
    """Those of them that hold characters of the answer."""


def read_lengths(evaluations: Mapping[str, Path]) -> dict[str, Lengths]:
    """Probe -> lengths, from one checkpoint of every run that has a probe not read before."""
    found: dict[str, Lengths] = {}
    for folder in evaluations.values():
        for path in sorted(one for one in folder.iterdir() if STEP_FILE.match(one.name))[:1]:
            probes = set(read_results(path, ("probe",))["probe"].unique().to_pylist())
            if probes <= found.keys():
                continue
            table = read_results(path, COLUMNS)
            for probe in sorted(probes - found.keys()):
                rows = table.filter(pc.equal(table["probe"], probe)).sort_by("question").to_pylist()
                lengths = [
                    (row["tokens"][row["gold"]], sum(row["option_tokens"][row["gold"]]))
                    if row["gold"] >= 0
                    else (0, 0)
                    for row in rows
                ]
                sentence, answer = np.array(lengths, np.float64).reshape(-1, 2).T
                found[probe] = Lengths(
                    question=np.array([row["question"] for row in rows], np.int32),
                    sentence=np.where(sentence > 0, sentence, np.nan),
                    answer=np.where(answer > 0, answer, np.nan),
                )
    return found
