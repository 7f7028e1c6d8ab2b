"""MinHash signatures: ours and datasketch's, in one run over the same text.

Each makes 128 slots of shingles of three units on one core. datasketch is given the units by a
regular expression, and xxhash.

    python benchmarks/near_duplicates.py [--megabytes 8] [--slow-megabytes 0.5]

``pip install datasketch regex`` for the alternative; what is not installed is left out.
"""

import argparse
from collections.abc import Callable
from importlib.util import find_spec

from benchmark_tables import BenchmarkTable
from bundled_text import bundled_texts, fastest_seconds, size

from ccx_ray.corpus.cleaning.near_duplicates import PERMUTATIONS, UNITS_PER_SHINGLE, signatures

LANGUAGES = ("en", "ko", "zh", "bo", "mn")


def with_datasketch() -> Callable[[list[str]], object]:
    """One ``MinHash`` a document, as its documentation does it in bulk."""
    import regex
    import xxhash
    from datasketch import MinHash

    units = regex.compile(r"\p{Han}|[\p{L}\p{M}\p{N}\p{Cf}--\p{Han}]+", regex.VERSION1)

    def shingles(text: str) -> list[bytes]:
        words = units.findall(text)
        count = len(words) - UNITS_PER_SHINGLE + 1
        return [" ".join(words[i : i + UNITS_PER_SHINGLE]).encode() for i in range(count)]

    def sign(texts: list[str]) -> object:
        return MinHash.bulk(
            map(shingles, texts), num_perm=PERMUTATIONS, seed=1, hashfunc=xxhash.xxh32_intdigest
        )

    return sign


def speed(sign: Callable[[list[str]], object], texts: list[str]) -> float:
    """MB/s."""
    return size(texts) / 1e6 / fastest_seconds(lambda: sign(texts))


def signature_table(megabytes: float, slow_megabytes: float) -> BenchmarkTable:
    """One row a language."""
    datasketch = with_datasketch() if find_spec("datasketch") else None
    signatures(["builds the tables once"])
    rows = []
    for language in LANGUAGES:
        ours = speed(signatures, bundled_texts(f"mono/{language}", "text", megabytes))
        cells = [language, f"{ours:.1f}"]
        if datasketch:
            theirs = speed(datasketch, bundled_texts(f"mono/{language}", "text", slow_megabytes))
            cells += [f"{theirs:.2f}", f"{ours / theirs:.0f}"]
        rows.append(cells)
    columns = ("language", "ours", "datasketch", "ratio")[: len(rows[0])]
    return BenchmarkTable(
        part="signatures", title="MinHash signatures, MB/s on one core", columns=columns, rows=rows
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=8.0, help="of each language, for us")
    parser.add_argument("--slow-megabytes", type=float, default=0.5, help="for datasketch")
    arguments = parser.parse_args()
    print(signature_table(arguments.megabytes, arguments.slow_megabytes).text())


if __name__ == "__main__":
    main()
