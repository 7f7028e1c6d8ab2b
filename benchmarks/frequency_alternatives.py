"""The same documents in bm25s, asked the same; run by ``frequency.py``.

Its own tokenizer knows words between blanks, its index is in memory, and it cuts no passages.
"""

import json
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import bm25s
import pyarrow.parquet as pq
from frequency_text import questions

TOP = 50


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """Over which text."""

    text: str
    queries: int = 20


def main() -> None:
    """Build and ask as the JSON file says and write seconds."""
    alternative = Alternative(**json.loads(Path(sys.argv[1]).read_text("utf-8")))
    texts: list[str] = []
    for path in sorted(Path(alternative.text, "documents").glob("*.parquet")):
        texts.extend(pq.read_table(path, columns=["text"])["text"].to_pylist())
    words = partial(bm25s.tokenize, stopwords=None, show_progress=False)
    began = time.perf_counter()
    library = bm25s.BM25(method="lucene")
    library.index(words(texts), show_progress=False)
    build = time.perf_counter() - began
    began = time.perf_counter()
    for query in questions(alternative.queries):
        library.retrieve(words([query], return_ids=False), k=TOP, show_progress=False)
    seconds = (time.perf_counter() - began) / alternative.queries
    result = {"build_seconds": build, "milliseconds": 1000 * seconds}
    Path(sys.argv[2]).write_text(json.dumps(result), "utf-8")


if __name__ == "__main__":
    main()
