"""Isolation: ours beside RE2, the ``regex`` module and ``str.translate``, in one run over one text.

The alternatives only take the characters out. Ours also brings the text into NFC before and after,
counts what it took out by character, takes marks with their letters and tidies white space.

    python benchmarks/isolation.py [--megabytes 8]

One core, the best of some rounds, by the processor time of this process. ``pip install regex`` for
one of the alternatives. "Needing it" are the texts alone that hold something to take out or to
tidy, the worst case: then no text can be passed over.
"""

import argparse
import gzip
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from ccx_ray.corpus.cleaning.language_identification import isolate_language
from ccx_ray.corpus.cleaning.scripts import SCRIPTS, isolate
from ccx_ray.corpus.cleaning.unicode_scripts import script_ranges
from ccx_ray.study.text_spec import ENGLISH_ISOLATION, IsolationSpec

DATA = Path(__file__).parents[1] / "data"
LANGUAGES = ("ko", "zh", "bo", "mn")
BATCH_BYTES = 4 * 2**20
ROUNDS = 3
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

    def needing_it(self, megabytes: float) -> "Corpus":
        return self._replace(
            name=f"{self.name}, needing it", texts=repeated(touched(self), megabytes)
        )


def size(texts: list[str]) -> int:
    """Bytes of UTF-8."""
    return sum(len(text.encode()) for text in texts)


def repeated(texts: list[str], megabytes: float) -> list[str]:
    """The texts over and over until there are enough bytes."""
    chosen, missing = [], megabytes * 1e6
    for text in cycle(texts):
        chosen.append(text)
        missing -= len(text.encode())
        if missing <= 0:
            break
    return chosen


def bundled(name: str, field: str, megabytes: float) -> list[str]:
    """The field of the bundled records."""
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return repeated([json.loads(line)[field] for line in lines], megabytes)


def corpora(megabytes: float) -> Iterator[Corpus]:
    """Documents and sentences of every language."""
    target = IsolationSpec(remove=("Latin",))
    yield Corpus("en documents", bundled("mono/en", "text", megabytes), ENGLISH_ISOLATION)
    for code in LANGUAGES:
        yield Corpus(f"{code} documents", bundled(f"mono/{code}", "text", megabytes), target)
    yield Corpus("en sentences", bundled("parallel/en-ko", "en", megabytes), ENGLISH_ISOLATION)
    for code in LANGUAGES:
        yield Corpus(f"{code} sentences", bundled(f"parallel/en-{code}", code, megabytes), target)


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


def with_translate(corpus: Corpus) -> Callable[[], object]:
    """``str.translate`` with every excluded code point mapped to nothing."""
    isolation = corpus.isolation
    excluded = SCRIPTS - set(isolation.keep) if isolation.keep else set(isolation.remove)
    ranges = script_ranges(excluded)
    nothing = {point: None for first, last in ranges for point in range(first, last + 1)}
    return lambda: [text.translate(nothing) for text in corpus.texts]


def megabytes_per_second(work: Callable[[], object], texts: list[str]) -> float:
    """The best of some rounds after one that does not count."""
    work()
    seconds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return size(texts) / min(seconds) / 1e6


def script_table(megabytes: float) -> Table:
    """MB/s of each way to take scripts out, over every corpus and the part that needs it."""
    table = Table(title="Isolation by script, MB/s on one core", title_justify="left")
    for heading in ("text", "bytes a text", "needing it", "ours", "RE2", "regex", "translate"):
        table.add_column(heading, justify="left" if heading == "text" else "right")
    table.add_column("ours / regex", justify="right")
    table.add_column("ours / translate", justify="right")
    has_regex = find_spec("regex") is not None
    for whole in corpora(megabytes):
        share = size(touched(whole)) / size(whole.texts)
        for corpus in filter(lambda each: each.texts, (whole, whole.needing_it(megabytes))):
            few = corpus._replace(texts=repeated(corpus.texts, megabytes * SLOW_SHARE))
            ours = megabytes_per_second(with_ours(corpus), corpus.texts)
            re2 = megabytes_per_second(with_re2(corpus), corpus.texts)
            by_regex = megabytes_per_second(with_regex(few), few.texts) if has_regex else None
            translate = megabytes_per_second(with_translate(few), few.texts)
            table.add_row(
                corpus.name,
                f"{size(corpus.texts) / len(corpus.texts):,.0f}",
                f"{share if corpus is whole else 1:.0%}",
                f"[bold]{ours:,.0f}[/]",
                f"{re2:,.0f}",
                f"{by_regex:,.0f}" if by_regex else "-",
                f"{translate:,.0f}",
                f"{ours / by_regex:.1f}" if by_regex else "-",
                f"{ours / translate:.1f}",
            )
    return table


def touched(corpus: Corpus) -> list[str]:
    """The texts that isolation changes."""
    kept = isolate(pa.array(corpus.texts), corpus.isolation).text.to_pylist()
    return [text for text, after in zip(corpus.texts, kept, strict=True) if text != after]


def language_table(megabytes: float) -> Table:
    """MB/s of language identification by level."""
    table = Table(title="Isolation by language (en or id), MB/s on one core", title_justify="left")
    for heading in ("text", "level", "MB/s", "texts a second"):
        table.add_column(heading, justify="left" if heading in {"text", "level"} else "right")
    documents = bundled("mono/en", "text", megabytes)
    sentences = bundled("parallel/en-ko", "en", megabytes)
    for name, texts, level in (
        ("en documents", documents, "line"),
        ("en documents", documents, "document"),
        ("en sentences", sentences, "line"),
    ):
        isolation = IsolationSpec.model_validate({"strategy": "language", "level": level})
        array = pa.array(texts)
        speed = megabytes_per_second(partial(isolate_language, array, "id", isolation), texts)
        rate = speed * 1e6 / size(texts) * len(texts)
        table.add_row(name, level, f"{speed:.1f}", f"{rate:,.0f}")
    return table


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=float, default=8, help="of text a row (default 8)")
    arguments = parser.parse_args()
    console = Console()
    console.print(script_table(arguments.megabytes))
    console.print(language_table(arguments.megabytes / 16))
    return 0


if __name__ == "__main__":
    sys.exit(main())
