"""BMLAMA: the balanced multilingual LAMA of Cross-Lingual-Consistency, one TSV file a language.

A line is ``Prompt, Ans, Candidate Ans, Subject``: a prompt with ``<mask>``, its answer, and ten
candidates separated by a comma and a space. Line i of every language is the same question and its
candidates are in the same order, which RankC rests on. Columns are taken by their place, because
the header is wrong in published files: the Chinese one has five names for four columns.
"""

from pathlib import Path

from ccx_ray.errors import UserError
from ccx_ray.evaluation.external.lines import read_lines
from ccx_ray.evaluation.probes import Probe, ProbeItem, check_options, read_items, shown

MASK = "<mask>"
HEADER = "Prompt"
SEPARATOR = ", "


def load_bmlama(path: Path, name: str, *, lenient: bool = False) -> Probe:
    """Read one language.

    Raises:
        UserError: the file cannot be read, or a line of it has the wrong shape, or none is left.
    """
    lines = [(number, line) for number, line in read_lines(path) if _cells(line)[0] != HEADER]
    if not lines:
        raise UserError(f"{path}: only the header where questions are expected")
    return read_items(path, name, lines, _read_line, lenient=lenient)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().split("\t")]


def _read_line(numbered: tuple[int, str]) -> ProbeItem:
    number, line = numbered
    place = f" (line {number})"
    cells = _cells(line)
    if len(cells) < 3:
        raise ValueError(
            f"{place}: {shown(line)} has {len(cells)} of the columns Prompt, Ans, Candidate Ans"
        )
    prompt, answer, candidates = cells[:3]
    if SEPARATOR in answer:
        raise ValueError(f"{place}, Ans: {shown(answer)} is several answers; one can be right")
    if not answer or not prompt:
        raise ValueError(f"{place}: {'Prompt' if answer else 'Ans'} is empty")
    options = candidates.split(SEPARATOR)
    try:
        check_options(options)
    except ValueError as error:
        raise ValueError(f"{place}{error}") from None
    return ProbeItem(
        question=prompt, options=tuple(options), answer=answer, pieces=tuple(prompt.split(MASK))
    )
