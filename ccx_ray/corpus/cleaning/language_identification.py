"""Isolation by language identification, for languages that share a script with English.

Invariant: every line (or document) that was given is either kept or dropped, whole, and the dropped
text is handed back to be read.

The library is lingua: Rust, no download, and it says how probable a language is among a few. With
160 sentences of five languages and 5,000 lines of English text it keeps every sentence and drops
99.8 to 100 % of the English sentences and 96 to 99 % of all lines of the articles. py3langid keeps
every sentence too and drops 99.8 to 100 and 95 to 99 %, two to three times as fast; CLD2 gives no
probability and drops 96 and 80 %. lingua's models load on first use, 0.5 s and 80 MB for two
languages. On one core it reads 2 MB/s of articles by line and 15 by document, and 7,500 sentences a
second (0.8 MB/s).

A language is known by its alphabet and its words: text in a script that lingua does not expect of
the language (traditional Mongolian under ``mn``) is not recognised, so it is dropped.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import accumulate, compress
from typing import TYPE_CHECKING

from ccx_ray.corpus.cleaning.scripts import Isolated, isolate
from ccx_ray.errors import UserError
from ccx_ray.study.text_spec import IsolationSpec

if TYPE_CHECKING:
    import pyarrow as pa
    from lingua import Language

LETTERS_TO_JUDGE = 8
"""A line of fewer letters says little: 6 to 40 % of English ones pass for another language."""
PIECE_CHARACTERS = 125
"""lingua needs a third of the time a character from 120 characters on, where it looks at three at
a time only."""
PIECES = {"line": 2, "document": 8}
"""Of a long text, so many evenly spread pieces are judged: no line of 5,000 was judged otherwise,
and it saves a third of the time by line, five sixths by document."""


def check_language_codes(isolation: IsolationSpec, code: str, field: str) -> None:
    """Refuse a language that cannot be told from the others, before any compute is spent.

    Raises:
        UserError: names the field, the code and what is right.
    """
    if isolation.strategy != "language":
        return
    known = _languages()
    if code not in known:
        raise UserError(
            f"{field}.strategy: language identification does not support {code!r}; use "
            "strategy script, with keep or remove"
        )
    for other in isolation.against:
        if other not in known:
            raise UserError(
                f"{field}.against: language identification does not support {other!r}; give "
                "ISO 639 codes such as en, fr or id"
            )
        if known[other] == known[code]:
            raise UserError(
                f"{field}.against: {other!r} is the text's own language; give only other languages"
            )


def isolate_language(texts: "pa.Array", code: str, isolation: IsolationSpec) -> Isolated:
    """Texts in NFC, first isolated by script, then without the lines in another language.

    A line (at ``level: document``, a text) stays if its own language has at least
    ``isolation.confidence`` of the probability among itself and ``isolation.against``. A line with
    fewer than ``LETTERS_TO_JUDGE`` letters (a blank line, a number, a name) follows the judged line
    before it, or where there is none, the first one after it. A text of such lines alone is judged
    as a whole; one without letters stays. The lines that stay are joined by newlines again.

    Args:
        texts: strings without nulls, some MB at most.
        code: the texts' own language.

    Returns:
        ``dropped`` holds, per text, the lines that went, as they were after isolation by script.
    """
    import pyarrow as pa

    by_script = isolate(texts, isolation)
    probability = _probability(code, isolation.against)
    kept: list[str] = []
    dropped: list[str] = []
    for text in by_script.text.to_pylist():
        units = text.split("\n") if isolation.level == "line" else [text]
        judged = [
            _judged(unit, probability, isolation, at_least=LETTERS_TO_JUDGE) for unit in units
        ]
        stays = _filled(judged)
        if stays is None:
            whole = _judged(text, probability, isolation, at_least=1)
            stays = [whole is not False] * len(units)
        kept.append("\n".join(compress(units, stays)).strip(" \r\n"))
        dropped.append("\n".join(compress(units, (not stay for stay in stays))).strip(" \r\n"))
    return replace(
        by_script, text=pa.array(kept, pa.string()), dropped=pa.array(dropped, pa.string())
    )


def _judged(
    text: str, probability: Callable[[str], float], isolation: IsolationSpec, *, at_least: int
) -> bool | None:
    """Whether the text is in its own language; None where it holds too few letters to say."""
    excerpt = _excerpt(text, PIECES[isolation.level])
    if sum(map(str.isalpha, excerpt)) < at_least:
        return None
    return probability(excerpt) >= isolation.confidence


def _filled(judged: list[bool | None]) -> list[bool] | None:
    """Every entry from the nearest judgement, the one before if there is any; None without any."""
    first = next((judgement for judgement in judged if judgement is not None), None)
    if first is None:
        return None
    nearest = accumulate(judged, lambda last, own: last if own is None else own, initial=first)
    return list(nearest)[1:]


def _excerpt(text: str, pieces: int) -> str:
    if len(text) <= pieces * PIECE_CHARACTERS:
        return text
    step = (len(text) - PIECE_CHARACTERS) // (pieces - 1)
    starts = range(0, pieces * step, step)
    return " ".join(text[start : start + PIECE_CHARACTERS] for start in starts)


@cache
def _languages() -> "dict[str, Language]":
    """Every language of the library by its two codes: 20 ms, no model is loaded."""
    from lingua import Language

    codes: dict[str, Language] = {}
    for language in Language.all():
        codes[language.iso_code_639_1.name.lower()] = language
        codes[language.iso_code_639_3.name.lower()] = language
    return codes


@cache
def _probability(code: str, against: tuple[str, ...]) -> Callable[[str], float]:
    """The share of the language in the probability of all of them, of a text."""
    from lingua import LanguageDetectorBuilder

    own = _languages()[code]
    others = {_languages()[other] for other in against}
    detector = LanguageDetectorBuilder.from_languages(own, *others).build()
    return lambda text: detector.compute_language_confidence(text, own)
