"""What a language is read from: its sources in order, and what each of their records holds.

Light to import: a mistake in a study file is told before anything heavy is.
"""

from dataclasses import dataclass
from typing import Literal

from ccx_ray.study.text_spec import (
    BaseLanguageSpec,
    IsolationSpec,
    LanguageSpec,
    SourceSpec,
)

Kind = Literal["documents", "pairs"]


@dataclass(frozen=True, kw_only=True)
class TextSource:
    """One source of a language: what its records hold, and how each side is isolated."""

    spec: SourceSpec
    kind: Kind
    sides: tuple[str, ...]
    """``text`` of a document; the language codes of the halves of a pair."""
    codes: tuple[str, ...]
    """The language of each side."""
    isolations: tuple[IsolationSpec, ...]


def side_names(kind: Kind) -> tuple[str, ...]:
    """The columns that hold the text of a document or of a pair."""
    return ("text",) if kind == "documents" else ("english", "target")


def text_sources(
    language: BaseLanguageSpec | LanguageSpec, base: BaseLanguageSpec
) -> list[tuple[TextSource, str]]:
    """The sources of a language in their order, each with the field that names it.

    Args:
        base: the language of the other half of every pair.
    """
    field = f"languages.{language.code}"
    sources = [
        (
            TextSource(
                spec=spec,
                kind="documents",
                sides=("text",),
                codes=(language.code,),
                isolations=(language.isolation,),
            ),
            f"{field}.monolingual",
        )
        for spec in language.monolingual
    ]
    if isinstance(language, LanguageSpec):
        sources += [
            (
                TextSource(
                    spec=spec,
                    kind="pairs",
                    sides=(base.code, language.code),
                    codes=(base.code, language.code),
                    isolations=(base.isolation, language.isolation),
                ),
                f"{field}.parallel",
            )
            for spec in language.parallel
        ]
    return sources
