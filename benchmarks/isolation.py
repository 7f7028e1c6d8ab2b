"""Isolation: ours beside RE2 and the ``regex`` module, in one run over one text.

The alternatives only take the characters out. Ours also brings the text into NFC before and after,
counts what it took out by character, takes marks with their letters and tidies white space.

    python benchmarks/isolation.py [--megabytes 8]

One core, the best of some rounds, by the processor time of this process. ``pip install regex`` for
one of the alternatives. "Needing it" are the texts alone that hold something to take out or to
tidy, the worst case: then no text can be passed over.
"""

import argparse
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from benchmark_tables import BenchmarkTable
from bundled_text import bundled_texts, fastest_seconds, repeated, size

from ccx_ray.corpus.cleaning.scripts import isolate
from ccx_ray.study.text_spec import ENGLISH_ISOLATION, IsolationSpec

LANGUAGES = ("en", "ko", "zh", "bo", "mn")
BATCH_BYTES = 4 * 2**20
SLOW_SHARE = 0.25
"""Of the text, for what is ten times slower."""


class Corpus(NamedTuple):
    name: str
    texts: list[str]
    isolation: IsolationSpec

    def batches(self) -> list[pa.Array]:
        """As the corpus stage gives them: arrays of some MB."""
        texts = pa.array(self.texts, pa.string())
        rows = max(1, len(texts) * BATCH_BYTES // max(size(self.texts), 1))
        return [texts.slice(start, rows) for start in range(0, len(texts), rows)]

    def touched(self) -> list[str]:
        """The texts that isolation changes."""
        kept = isolate(pa.array(self.texts), self.isolation).text.to_pylist()
        return [text for text, after in zip(self.texts, kept, strict=True) if text != after]


def corpora(megabytes: float) -> Iterator[Corpus]:
    """Documents and sentences of every language."""
    target = IsolationSpec(remove=("Latin",))
    for code in LANGUAGES:
        isolation = ENGLISH_ISOLATION if code == "en" else target
        pairs = f"parallel/en-{'ko' if code == 'en' else code}"
        documents = bundled_texts(f"mono/{code}", "text", megabytes)
        yield Corpus(f"{code} documents", documents, isolation)
        yield Corpus(f"{code} sentences", bundled_texts(pairs, code, megabytes), isolation)


def script_class(isolation: IsolationSpec, name: str) -> str:
    """The excluded characters as a class of RE2 or ``regex``, which write a script differently."""
    scripts = "".join(rf"\p{{{name}{script}}}" for script in isolation.keep or isolation.remove)
    return f"[^{scripts}]" if isolation.keep else f"[{scripts}]"


def with_ours(corpus: Corpus) -> Callable[[], object]:
    """All that isolation does."""
    batches = corpus.batches()
    return lambda: [isolate(batch, corpus.isolation) for batch in batches]


def with_re2(corpus: Corpus) -> Callable[[], object]:
    """One replacement inside Arrow."""
    batches, pattern = corpus.batches(), f"{script_class(corpus.isolation, '')}+"
    return lambda: [pc.replace_substring_regex(batch, pattern, "") for batch in batches]


def with_regex(corpus: Corpus) -> Callable[[], object]:
    """One substitution a text."""
    import regex

    pattern = regex.compile(f"{script_class(corpus.isolation, 'Script=')}+")
    return lambda: [pattern.sub("", text) for text in corpus.texts]


def speed(work: Callable[[], object], texts: list[str]) -> float:
    """MB/s after one round that does not count."""
    work()
    return size(texts) / fastest_seconds(work) / 1e6


def script_table(megabytes: float) -> BenchmarkTable:
    """MB/s of each way to take scripts out, over every corpus and the part that needs it."""
    rows = []
    slow = {"regex": with_regex} if find_spec("regex") else {}
    for whole in corpora(megabytes):
        touched = whole.touched()
        share = size(touched) / size(whole.texts)
        needing = whole._replace(
            name=f"{whole.name}, needing it", texts=repeated(touched, megabytes) if touched else []
        )
        for corpus in filter(lambda each: each.texts, (whole, needing)):
            few = corpus._replace(texts=repeated(corpus.texts, megabytes * SLOW_SHARE))
            ours = speed(with_ours(corpus), corpus.texts)
            others = [speed(with_re2(corpus), corpus.texts)]
            others += [speed(way(few), few.texts) for way in slow.values()]
            rows.append(
                [
                    corpus.name,
                    f"{size(corpus.texts) / len(corpus.texts):,.0f}",
                    f"{share if corpus is whole else 1:.0%}",
                    *(f"{value:,.0f}" for value in (ours, *others)),
                    *(f"{ours / value:.1f}" for value in others),
                ]
            )
    names = ("RE2", *slow)
    return BenchmarkTable(
        part="scripts",
        title="Isolation by script, MB/s on one core",
        columns=("text", "bytes a text", "needing it", "ours", *names, *(f"/ {n}" for n in names)),
        rows=rows,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=float, default=8, help="of text a row (default 8)")
    arguments = parser.parse_args()
    print(script_table(arguments.megabytes).text())


if __name__ == "__main__":
    main()
