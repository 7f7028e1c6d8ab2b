"""The same documents in scikit-learn and bm25s, asked the same; run by ``frequency.py``.

scikit-learn: TF-IDF of character n-grams of 2 to 4 within words, every document compared by a
sparse product. bm25s: its own tokenizer, which knows words between blanks, its index in memory.
Neither cuts documents into passages.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from frequency_text import questions

TOP = 50


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """Which library, over which text."""

    name: str
    text: str
    queries: int = 20


def main() -> None:
    """Build and ask as the JSON file says and write seconds."""
    alternative = Alternative(**json.loads(Path(sys.argv[1]).read_text("utf-8")))
    texts: list[str] = []
    for path in sorted(Path(alternative.text, "documents").glob("*.parquet")):
        texts.extend(pq.read_table(path, columns=["text"])["text"].to_pylist())
    began = time.perf_counter()
    ask = {"scikit-learn": _scikit_learn, "bm25s": _bm25s}[alternative.name](texts)
    build = time.perf_counter() - began
    began = time.perf_counter()
    for query in questions(alternative.queries):
        ask(query)
    seconds = (time.perf_counter() - began) / alternative.queries
    result = {"build_seconds": build, "milliseconds": 1000 * seconds, "documents": len(texts)}
    Path(sys.argv[2]).write_text(json.dumps(result), "utf-8")


def _scikit_learn(texts: list[str]) -> Callable[[str], Any]:
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, dtype=np.float32
    )
    matrix = vectorizer.fit_transform(texts)

    def ask(query: str) -> Any:
        scores = (matrix @ vectorizer.transform([query]).T).toarray()[:, 0]
        return np.argpartition(-scores, TOP)[:TOP]

    return ask


def _bm25s(texts: list[str]) -> Callable[[str], Any]:
    import bm25s

    library = bm25s.BM25(method="lucene")
    library.index(bm25s.tokenize(texts, stopwords=None, show_progress=False), show_progress=False)

    def ask(query: str) -> Any:
        tokens = bm25s.tokenize([query], stopwords=None, show_progress=False, return_ids=False)
        return library.retrieve(tokens, k=TOP, show_progress=False)

    return ask


if __name__ == "__main__":
    main()
