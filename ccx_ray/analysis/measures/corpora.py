"""What each language's text came to: a row a corpus, read from the markers of its steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ccx_ray.study.spec import StudySpec


@dataclass(frozen=True, kw_only=True)
class CorpusRow:
    """One language's text after isolation and deduplication."""

    language: str
    documents: int
    characters: int
    """Of the documents."""
    pairs: int
    """Of parallel sentences with English; 0 for the base language."""
    rejected: int
    """Documents and pairs that were not used, for whatever reason."""
    characters_removed: int
    """Of other scripts, in documents and pairs together."""
    tokens: int
    """Of the documents."""


def corpus_rows(study: StudySpec, markers: Mapping[str, Mapping[str, Any]]) -> list[CorpusRow]:
    """A row for every language whose text step's marker is given."""
    rows = []
    for language in (study.base_language, *study.languages):
        if f"text-{language.code}" not in markers:
            continue
        text = markers[f"text-{language.code}"]["counts"]
        tokens = markers.get(f"tokens-{language.code}", {}).get("counts", {})
        rows.append(
            CorpusRow(
                language=language.code,
                documents=text["documents"]["kept"],
                characters=text["documents"]["characters_out_text"],
                pairs=text.get("pairs", {}).get("kept", 0),
                rejected=sum(
                    sum(text[kind]["rejected"].values())
                    for kind in ("documents", "pairs")
                    if kind in text
                ),
                characters_removed=sum(text["characters_removed_by_script"].values()),
                tokens=tokens.get("text_tokens", 0),
            )
        )
    return rows
