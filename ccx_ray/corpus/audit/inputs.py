"""What is audited, the folders of a study and the questions that must not stand in its text; and
what the tasks of an audit find.

Plain data, so that this package knows neither the steps before it nor the probes' files. Invariant:
``Findings.add`` is commutative and associative, so that the figures depend neither on how the text
is cut into parts, nor on the order of the tasks.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ccx_ray.corpus.interventions import PLANTED
from ccx_ray.corpus.parts import part_files
from ccx_ray.study.spec import Condition
from ccx_ray.study.text_spec import ENGLISH_ISOLATION, IsolationSpec

Hashes = npt.NDArray[np.uint64]
Key = tuple[str | int, ...]
"""What is counted or kept, such as ``("script", "ko documents", "Hangul")``."""

FOUND = np.dtype(
    [("text", np.int64), ("start", np.int64), ("end", np.int64), ("side", np.int8),
     ("pair", np.int64)]
)  # fmt: skip
"""A half of a pair in a text: from its first unit into its last one, in bytes."""
SIDES = ("english", "target")
"""Of a pair; a side's number is its place."""

_LANGUAGES = {
    ("Arabic",): "ar fa ps ug ur", ("Armenian",): "hy", ("Bengali",): "bn",
    ("Cyrillic",): "be bg kk ky mk ru tg tt uk", ("Devanagari",): "hi mr ne sa",
    ("Ethiopic",): "am ti", ("Georgian",): "ka", ("Greek",): "el", ("Han", "Bopomofo"): "zh",
    ("Han", "Hiragana", "Katakana"): "ja", ("Hangul", "Han"): "ko", ("Hebrew",): "he yi",
    ("Khmer",): "km", ("Lao",): "lo", ("Mongolian",): "mn", ("Myanmar",): "my",
    ("Sinhala",): "si", ("Tamil",): "ta", ("Telugu",): "te", ("Thai",): "th",
    ("Tibetan",): "bo dz", ("Yi",): "ii",
}  # fmt: skip
EXPECTED_SCRIPTS: Mapping[str, tuple[str, ...]] = {
    code: scripts for scripts, codes in _LANGUAGES.items() for code in codes.split()
}
"""What the letters of a language are; ``mn`` is the paper's traditional Mongolian. Of a language
that is not named, everything is expected that its isolation keeps."""


class Column(NamedTuple):
    """One column of text."""

    name: str
    """``text``, ``english`` or ``target``."""
    language: str
    isolation: IsolationSpec
    corpus: str
    """What figures call it, such as ``en-ko pairs english``."""
    is_planted: bool = False
    """Whether it holds sentences of the probe by design: what questions stand in it, and which of
    its texts are repeated, is not asked."""

    @property
    def expected(self) -> tuple[str, ...]:
        """Scripts that are no surprise here; empty when nothing is known to be one."""
        kept = self.isolation.keep
        letters = EXPECTED_SCRIPTS.get(self.language, kept)
        return (*letters, "Common", "Inherited") if letters and not kept else kept


class TextTable(NamedTuple):
    """The documents or the pairs of a language."""

    name: str
    """``ko documents`` or ``en-ko pairs``."""
    kind: str
    folder: Path
    """Of its parts."""
    columns: tuple[Column, ...]

    @property
    def page(self) -> str:
        """File name of its sample."""
        return f"{self.name.replace(' ', '-')}.html"


@dataclass(frozen=True, kw_only=True)
class AuditedLanguage:
    """The text folder of one language."""

    code: str
    folder: Path
    isolation: IsolationSpec
    base: str = "en"
    """Code of the base language, which is the other half of every pair."""
    base_isolation: IsolationSpec = ENGLISH_ISOLATION
    """Of that other half."""
    counts: Mapping[str, Any] = field(default_factory=dict)
    """What the text step counted: of ``documents`` and ``pairs``, ``read``, ``kept`` and
    ``rejected`` by reason."""
    planted: Path | None = None
    """The folder of the step that planted documents into this text, which ``folder`` is without."""

    def parts(self, kind: str) -> list[Path]:
        """Of its ``documents``, ``pairs`` or ``rejected``."""
        return part_files(self.folder / kind)

    @property
    def tables(self) -> tuple[TextTable, ...]:
        """``documents``, and ``pairs`` and ``planted`` ones where there are any."""
        name = f"{self.code} documents"
        own = Column("text", self.code, self.isolation, name)
        tables = [TextTable(name, "documents", self.folder / "documents", (own,))]
        if self.code != self.base:
            name = f"{self.base}-{self.code} pairs"
            english = Column("english", self.base, self.base_isolation, f"{name} english")
            target = Column("target", self.code, self.isolation, f"{name} target")
            tables.append(TextTable(name, "pairs", self.folder / "pairs", (english, target)))
        if self.planted is not None:
            name = f"{self.code} {PLANTED}"
            own = Column("text", self.code, self.isolation, name, is_planted=True)
            tables.append(TextTable(name, PLANTED, self.planted / PLANTED, (own,)))
        return tuple(table for table in tables if part_files(table.folder))


@dataclass(frozen=True, kw_only=True)
class AuditedStream:
    """The streams of one language and seed."""

    language: str
    seed: int
    folder: Path
    """Holds one folder a condition."""
    tokens: Path
    """The tokens folder of the language."""
    conditions: tuple[Condition, ...] = ("bridge", "nobridge")

    @property
    def name(self) -> str:
        return f"{self.language} s{self.seed}"


class ProbeQuestion(NamedTuple):
    """One cloze question in one language."""

    number: int
    question: str
    """With its blanks, each a run of underscores."""
    filled: str
    """With the right answer in every blank."""


class ProbeSide(NamedTuple):
    """One culture's questions in one language."""

    culture: str
    language: str
    questions: tuple[ProbeQuestion, ...]


@dataclass(frozen=True, kw_only=True)
class AuditInputs:
    """Everything that one audit reads."""

    languages: tuple[AuditedLanguage, ...]
    streams: tuple[AuditedStream, ...] = ()
    probes: tuple[ProbeSide, ...] = ()

    @property
    def tables(self) -> tuple[TextTable, ...]:
        return tuple(table for language in self.languages for table in language.tables)

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(column for table in self.tables for column in table.columns)

    @property
    def paired(self) -> tuple[AuditedLanguage, ...]:
        """The languages that have pairs."""
        return tuple(one for one in self.languages if one.parts("pairs"))

    def language(self, code: str) -> AuditedLanguage:
        return next(language for language in self.languages if language.code == code)


def probe_side(culture: str, language: str, items: Iterable[tuple[str, str]]) -> ProbeSide:
    """A culture's questions from (question, filled sentence), in the order of the file."""
    questions = (ProbeQuestion(i, *item) for i, item in enumerate(items))
    return ProbeSide(culture, language, tuple(questions))


def sides_of(column: Column, probes: Iterable[ProbeSide]) -> tuple[ProbeSide, ...]:
    """The questions that could stand in a column and must not."""
    if column.is_planted:
        return ()
    return tuple(side for side in probes if side.language == column.language)


@dataclass(kw_only=True)
class Findings:
    """What one task found, or several together; the module that writes a key also reads it."""

    counts: Counter[Key] = field(default_factory=Counter)
    smallest: dict[Key, tuple[int, list[Any]]] = field(default_factory=dict)
    """A limit, and the smallest of the tuples that were found: at most as many, rising."""
    digests: dict[str, dict[int, Hashes]] = field(default_factory=dict)
    """Corpus -> part -> [rows] digests of the texts."""
    halves: dict[tuple[str, str], dict[int, npt.NDArray[np.void]]] = field(default_factory=dict)
    """Corpus and language of the pairs -> part -> [found] of ``FOUND``; a text is a row of
    its part."""

    def keep(self, key: Key, found: Iterable[tuple[Any, ...]], limit: int) -> None:
        """Keep the smallest of these tuples and of those that were found before."""
        self.smallest[key] = limit, sorted([*self.kept(key), *found])[:limit]

    def kept(self, key: Key) -> list[Any]:
        """The smallest tuples of a key, rising."""
        return self.smallest.get(key, (0, []))[1]

    def texts(self, corpus: str) -> Hashes:
        """[texts] the digests of a corpus, in the order of its parts."""
        parts = self.digests.get(corpus, {})
        return np.concatenate([np.zeros(0, np.uint64), *(parts[part] for part in sorted(parts))])

    def halves_in(self, corpus: str, language: str) -> npt.NDArray[np.void]:
        """[found] the halves of a language's pairs in a corpus; a text is a row of the corpus."""
        parts, first, found = self.halves.get((corpus, language), {}), 0, list[Any]()
        for part, own in sorted(self.digests.get(corpus, {}).items()):
            if part in parts:
                found.append(parts[part].copy())
                found[-1]["text"] += first
            first += len(own)
        return np.concatenate(found) if found else np.zeros(0, FOUND)

    def add(self, other: "Findings") -> None:
        """Merge what another task found."""
        self.counts.update(other.counts)
        for key, (limit, found) in other.smallest.items():
            self.keep(key, found, limit)
        for corpus, parts in other.digests.items():
            self.digests.setdefault(corpus, {}).update(parts)
        for where, halves in other.halves.items():
            self.halves.setdefault(where, {}).update(halves)
