"""Which scripts a column of text is written in, over every character, and where it is not."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any
from unicodedata import is_normalized

import numpy as np
import numpy.typing as npt

from ccx_ray.corpus.audit.code_points import (
    SCRIPT_NAMES,
    Batch,
    script_numbers,
    scripts_among,
)
from ccx_ray.corpus.audit.figures import ScriptFigures
from ccx_ray.corpus.audit.findings import Findings
from ccx_ray.corpus.audit.inputs import Column

WORST_TEXTS = 20
EXCERPT_CHARACTERS = 120


def count_scripts(found: Findings, column: Column, batch: Batch, ids: Sequence[str]) -> None:
    """Count the characters of a batch by script, and keep the texts that are least as expected."""
    corpus, by_point = column.corpus, np.bincount(batch.points)
    numbers = np.bincount(script_numbers()[: len(by_point)], by_point, len(SCRIPT_NAMES))
    odd = ~scripts_among(column.expected or SCRIPT_NAMES)
    wrong = [
        id_ for id_, text in zip(ids, batch.texts, strict=True) if not is_normalized("NFC", text)
    ]
    for name, number in zip(SCRIPT_NAMES, numbers.astype(int).tolist(), strict=True):
        found.counts["script", corpus, name] += number
    found.counts["texts", corpus] += len(ids)
    found.counts["not NFC", corpus] += len(wrong)
    found.keep(("not NFC", corpus), ((id_,) for id_ in wrong), WORST_TEXTS)
    if numbers[odd].any():
        found.keep(("worst", corpus), _worst(batch, ids, odd), WORST_TEXTS)


def _worst(
    batch: Batch, ids: Sequence[str], unexpected: npt.NDArray[np.bool_]
) -> Iterator[tuple[Any, ...]]:
    """Texts with the largest share of unexpected scripts, then with most of them, then by id."""
    scripts = script_numbers()[batch.points]
    odd = unexpected[scripts]
    before = np.concatenate([[0], np.cumsum(odd)])
    count = before[batch.ends] - before[batch.starts]
    share = count / np.maximum(batch.ends - batch.starts, 1)
    least = np.sort(share)[-WORST_TEXTS:][0]
    for i in np.flatnonzero((count > 0) & (share >= least)).tolist():
        start, text = int(batch.starts[i]), batch.texts[i]
        places = np.flatnonzero(odd[start : batch.ends[i]])
        script = SCRIPT_NAMES[np.bincount(scripts[start + places]).argmax()]
        first = max(0, int(places[0]) - EXCERPT_CHARACTERS // 3)
        excerpt = text[first : first + EXCERPT_CHARACTERS]
        yield -float(share[i]), -int(count[i]), ids[i], script, excerpt


def script_figures(found: Findings, column: Column) -> ScriptFigures:
    """What a column of text is written in."""
    corpus, (keep, remove) = column.corpus, (column.isolation.keep, column.isolation.remove)
    by_script = Counter({name: found.counts["script", corpus, name] for name in SCRIPT_NAMES})
    excluded = set(SCRIPT_NAMES) - set(keep) if keep else set(remove)
    unexpected = set(SCRIPT_NAMES) - set(column.expected or SCRIPT_NAMES)
    worst = [
        {"id": id_, "share": -share, "characters": -number, "script": script, "excerpt": excerpt}
        for share, number, id_, script, excerpt in found.kept(("worst", corpus))
    ]
    return ScriptFigures(
        corpus=corpus,
        language=column.language,
        texts=found.counts["texts", corpus],
        bytes=found.counts["bytes", corpus],
        characters=by_script.total(),
        scripts={script: number for script, number in by_script.most_common() if number},
        expected=column.expected,
        unexpected=sum(by_script[script] for script in unexpected),
        forbidden=sum(by_script[script] for script in excluded),
        not_normalized=found.counts["not NFC", corpus],
        not_normalized_ids=[id_ for (id_,) in found.kept(("not NFC", corpus))],
        worst=worst,
    )
