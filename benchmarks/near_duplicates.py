"""MinHash signatures: ours, datasketch's and datatrove's, in one run over the same text.

Each makes 128 slots of shingles of three units on one core. The other two are given the units by a
regular expression, which is faster than the word tokenizers that datatrove would choose, and
xxhash.

    python benchmarks/near_duplicates.py [--megabytes 8] [--slow-megabytes 0.5]

``pip install datasketch datatrove[processing] regex`` for the alternatives; what is not installed
is left out.
"""

import argparse
import gzip
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from ccx_ray.corpus.cleaning.minhash import PERMUTATIONS, UNITS_PER_SHINGLE, signatures
from ccx_ray.corpus.cleaning.near_duplicates import near_duplicates

LANGUAGES = ("en", "ko", "zh", "bo", "mn")
DATA = Path(__file__).parents[1] / "data/mono"
ROUNDS = 3
ROWS_PER_BAND = 8

Signing = Callable[[list[str]], object]


def corpus(language: str, megabytes: float) -> list[str]:
    """The bundled documents, over and over until there are enough."""
    with gzip.open(DATA / f"{language}.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    size, chosen = 0, []
    while size < megabytes * 1e6:
        for text in texts:
            chosen.append(text)
            size += len(text.encode())
            if size >= megabytes * 1e6:
                break
    return chosen


def unit_pattern() -> Callable[[str], list[str]]:
    """The units of ``ccx_ray.corpus.cleaning.minhash`` as a regular expression."""
    import regex

    pattern = regex.compile(r"\p{Han}|[\p{L}\p{M}\p{N}\p{Cf}--\p{Han}]+", regex.VERSION1)
    return lambda text: list(pattern.findall(text))


def with_datasketch() -> Signing:
    """One ``MinHash`` a document, as its documentation does it in bulk."""
    import xxhash
    from datasketch import MinHash

    units = unit_pattern()

    def shingles(text: str) -> list[bytes]:
        words = units(text)
        count = len(words) - UNITS_PER_SHINGLE + 1
        return [" ".join(words[i : i + UNITS_PER_SHINGLE]).encode() for i in range(count)]

    def sign(texts: list[str]) -> object:
        return MinHash.bulk(
            map(shingles, texts), num_perm=PERMUTATIONS, seed=1, hashfunc=xxhash.xxh32_intdigest
        )

    return sign


def with_datatrove() -> Signing:
    """Its pipeline step, which writes the signatures of each band to a file and sorts them."""
    import xxhash
    from datatrove.data import Document
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.utils.logging import logger
    from datatrove.utils.word_tokenizers import WordTokenizer

    logger.remove()
    find_units = unit_pattern()

    class Units(WordTokenizer):  # type: ignore[misc]
        def word_tokenize(self, text: str) -> list[str]:
            return find_units(text)

        def sent_tokenize(self, text: str) -> list[str]:
            raise NotImplementedError

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            raise NotImplementedError

    config = MinhashConfig(
        n_grams=UNITS_PER_SHINGLE,
        num_buckets=PERMUTATIONS // ROWS_PER_BAND,
        hashes_per_bucket=ROWS_PER_BAND,
    )

    def sign(texts: list[str]) -> object:
        documents: Iterator[Document] = (Document(text=text, id="") for text in texts)
        with tempfile.TemporaryDirectory() as folder:
            step = MinhashDedupSignature(folder, config=config, language=Units())
            # datatrove 0.10 hands its strings to xxhash as they are, which xxhash 4 refuses.
            step._hash_func = lambda shingle: xxhash.xxh64_intdigest(shingle.encode())
            return step.run(documents)

    return sign


def megabytes_per_second(sign: Signing, texts: list[str]) -> float:
    """The best of some rounds, by the processor time of this process."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        sign(texts)
        seconds.append(time.process_time() - start)
    return sum(len(text.encode()) for text in texts) / 1e6 / min(seconds)


def compare_signatures(console: Console, megabytes: float, slow_megabytes: float) -> None:
    """One row a language."""
    others = {
        name: make()
        for name, make in (("datasketch", with_datasketch), ("datatrove", with_datatrove))
        if find_spec(name)
    }
    table = Table(title="MinHash signatures, UTF-8 MB/s on one core")
    for column in ("language", "ccx_ray", *others, *(f"ccx_ray / {name}" for name in others)):
        table.add_column(column, justify="left" if column == "language" else "right")
    signatures(["builds the tables once"])
    for language in LANGUAGES:
        ours = megabytes_per_second(signatures, corpus(language, megabytes))
        text = corpus(language, slow_megabytes)
        theirs = [megabytes_per_second(sign, text) for sign in others.values()]
        ratios = [f"{ours / speed:.0f} x" for speed in theirs]
        table.add_row(language, f"{ours:.1f}", *(f"{speed:.2f}" for speed in theirs), *ratios)
    console.print(table)


def time_decisions(console: Console, documents: int) -> None:
    """The driver's part, by the share of documents that are altered copies."""
    table = Table(title=f"Which of {documents:,} documents go")
    for column in ("copies", "dropped", "seconds", "documents/s"):
        table.add_column(column, justify="right")
    generator = np.random.default_rng(0)
    for share in (0.0, 0.1, 0.5, 1.0):
        rows = generator.integers(0, 2**32 - 1, (documents, PERMUTATIONS), dtype=np.uint32)
        copies = np.flatnonzero(generator.random(documents) < share)
        changed = generator.random((len(copies), PERMUTATIONS)) < 0.1
        originals = rows[generator.integers(0, 1000, len(copies))]
        rows[copies] = np.where(changed, rows[copies], originals)
        start = time.perf_counter()
        found = near_duplicates([rows], [np.ones(documents, np.bool_)], 0.8)
        seconds = time.perf_counter() - start
        dropped = int((found >= 0).sum())
        table.add_row(
            f"{share:.0%}", f"{dropped:,}", f"{seconds:.1f}", f"{documents / seconds:,.0f}"
        )
    console.print(table)


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=8.0, help="of each language, for us")
    parser.add_argument("--slow-megabytes", type=float, default=0.5, help="for the others")
    parser.add_argument("--documents", type=int, default=300_000, help="for the decisions")
    arguments = parser.parse_args()
    console = Console()
    compare_signatures(console, arguments.megabytes, arguments.slow_megabytes)
    time_decisions(console, arguments.documents)
    return 0


if __name__ == "__main__":
    sys.exit(main())
