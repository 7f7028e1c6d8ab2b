"""The figures of the two conditions of every language and seed.

What a stream's documents are is taken from the text and the tokens, not from the stream's plan, so
that the audit does not lean on what it audits.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ccx_ray.corpus.audit.code_points import Ints
from ccx_ray.corpus.audit.figures import ConditionFigures, StreamFigures
from ccx_ray.corpus.audit.findings import Findings, Hashes
from ccx_ray.corpus.audit.shared_texts import text_digests
from ccx_ray.corpus.packing.conditions import Documents, describe_documents, same_halves
from ccx_ray.corpus.packing.stream import Stream


def audited_documents(stream: Stream, pairs: Sequence[Path], token_lengths: Ints) -> Documents:
    """[documents] every document of a language's streams; see ``describe_documents``.

    Args:
        pairs: the parts of the language's pairs.
    """
    english, english_bytes = _halves(pairs, "english")
    target, target_bytes = _halves(pairs, "target")
    sizes = (english_bytes, target_bytes)
    return describe_documents(stream, token_lengths, english, target, sizes=sizes)


def _halves(pairs: Sequence[Path], column: str) -> tuple[Hashes, Ints]:
    """[pairs] digests and bytes of one side."""
    digests, sizes = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for part in pairs:
        for rows in pq.ParquetFile(part).iter_batches(columns=[column]):
            digests.append(text_digests(rows[column].to_pylist()))
            sizes.append(pc.binary_length(rows[column]).to_numpy().astype(np.int64))
    return np.concatenate(digests), np.concatenate(sizes)


def stream_figures(found: Findings, stream: str) -> StreamFigures:
    """The figures of two conditions from the sums over their rows."""
    counts = Counter(
        {str(what): n for (*of, what), n in found.counts.items() if of == ["row", stream]}
    )

    def condition(of: str) -> ConditionFigures:
        own = {what.removeprefix(f"{of}/"): n for what, n in counts.items() if what.startswith(of)}
        tokens = {what.removeprefix("tokens/"): n for what, n in own.items() if "/" in what}
        figures = {name: own.get(name, 0) for name in ConditionFigures.model_fields}
        return ConditionFigures(**(figures | {"tokens": tokens}))

    return StreamFigures(
        stream=stream,
        bridge=condition("bridge"),
        nobridge=condition("nobridge"),
        rows_at_equal_positions=counts["both/monolingual_rows"],
        identical_rows=counts["both/identical_rows"],
        same_halves=same_halves(counts),
    )
