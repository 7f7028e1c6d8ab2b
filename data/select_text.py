"""Draws the bundled corpus from the collected text; run once, kept so that anybody can check it.

    python data/select_text.py --collected FOLDER [--out data]

FOLDER holds ``mono/<language>.jsonl.gz`` and ``parallel/en-<language>.jsonl.gz``. Records are
copied as they are: isolation, deduplication and normalisation are the platform's work, and an
error in the source stays visible. The same collected text gives the same bytes: sampling is
seeded, records keep their order, gzip stores no time.
"""

import argparse
import gzip
import json
import random
import re
from pathlib import Path
from typing import Any

SEED = 20250601

# Bytes of unpacked text kept of each monolingual file; None keeps the whole file. Together with
# the parallel files, which are all kept, they make 6.6 MB packed.
MONOLINGUAL_BYTES: dict[str, int | None] = {
    "en": 3_700_000,
    "zh": 2_200_000,
    "bo": 4_000_000,
    "ko": None,
    "mn": None,
}
PARALLEL = ("en-ko", "en-zh", "en-bo", "en-mn")

EAST_ASIA = re.compile(
    r"\b(Korea|Seoul|Pyongyang|Chin(?:a|ese)\b|Beijing|Taiwan|Hong Kong|Macau|Confuci|Buddh"
    r"|Tibet|Lhasa|Dalai Lama|Mongol|Genghis|Kublai|Ulaanbaatar)"
)
# A country profile names China as a trading partner; twenty mentions mean that it is a subject.
MENTIONS_OF_A_SUBJECT = 20


def preference(record: dict[str, Any]) -> int:
    """0 for text about the probed cultures, 1 for other prose, 2 for telegraphic profiles."""
    if len(EAST_ASIA.findall(record["text"])) >= MENTIONS_OF_A_SUBJECT:
        return 0
    return 2 if record["source"] == "factbook" else 1


def select(lines: list[bytes], language: str, limit: int | None) -> list[bytes]:
    """A seeded sample of whole records, preferred ones first, up to ``limit`` bytes of text."""
    if limit is None:
        return lines
    records = [json.loads(line) for line in lines]
    order = list(range(len(lines)))
    random.Random(f"{SEED} {language}").shuffle(order)
    if language == "en":
        order.sort(key=lambda i: preference(records[i]))
    kept, size = [], 0
    for index in order:
        length = len(records[index]["text"].encode())
        if size + length <= limit:
            kept.append(index)
            size += length
    return [lines[index] for index in sorted(kept)]


def main() -> None:
    """Write the bundled files and print what was kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--collected", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    limits = {f"mono/{language}": limit for language, limit in MONOLINGUAL_BYTES.items()}
    limits |= {f"parallel/{pair}": None for pair in PARALLEL}
    for name, limit in limits.items():
        with gzip.open(arguments.collected / f"{name}.jsonl.gz", "rb") as file:
            lines = file.read().splitlines(keepends=True)
        kept = select(lines, Path(name).name, limit)
        packed = gzip.compress(b"".join(kept), compresslevel=9, mtime=0)
        path = arguments.out / f"{name}.jsonl.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(packed)
        print(f"{name:14} {len(kept):6} of {len(lines):6} records, {len(packed):9,} bytes packed")


if __name__ == "__main__":
    main()
