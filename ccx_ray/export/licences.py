"""Where a study's text and questions come from, and under which licences they stand."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ccx_ray.export.finished import FinishedStudy
from ccx_ray.study.intervention_spec import FROM_PROBE
from ccx_ray.study.text_spec import BaseLanguageSpec, LanguageSpec

LICENCES_FILE = "LICENSES.md"
HUB_LICENCES = frozenset(
    {
        "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bsd", "bsd-2-clause",
        "bsd-3-clause", "bsd-3-clause-clear", "bsl-1.0", "c-uda", "cc", "cc-by-2.0",
        "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0",
        "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0",
        "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0",
        "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0", "ecl-2.0", "epl-1.0",
        "epl-2.0", "etalab-2.0", "eupl-1.1", "eupl-1.2", "gfdl", "gpl", "gpl-2.0", "gpl-3.0",
        "isc", "lgpl", "lgpl-2.1", "lgpl-3.0", "lppl-1.3c", "mit", "mpl-2.0", "ms-pl", "ncsa",
        "odbl", "odc-by", "ofl-1.1", "openrail", "osl-3.0", "pddl", "postgresql", "unlicense",
        "wtfpl", "zlib",
    }
)  # fmt: skip
"""Identifiers of the Hugging Face hub. They are SPDX's in small letters, without ``-only`` and
``-or-later``; what is not among them is ``other`` there."""
NOT_STATED = "not stated"
NO_TEXT_OF_OTHERS = "no-third-party-text"
"""``license_name`` of a study that plants its whole world."""


@dataclass(frozen=True, kw_only=True)
class TextSource:
    """A source of text or of questions."""

    field: str
    """Of the study file."""
    language: str
    label: str
    """As the study file names it."""
    licenses: tuple[str, ...]
    """Empty where none is stated."""
    files: tuple[tuple[str, str], ...] = ()
    """Name and hash of each file that was read; none of a data set of the hub, whose revision is
    in ``label``."""
    dataset: str = ""
    """On the hub."""


def text_sources(finished: FinishedStudy) -> list[TextSource]:
    """All sources of text and questions of a study; none where it plants its whole world."""
    study = finished.study
    if study.world is not None:
        return []
    found: list[TextSource] = []
    for language in (study.base_language, *study.languages):
        found += _of_language(finished, language)
    for place, spec in enumerate(study.interventions):
        if spec.sentences != FROM_PROBE:
            field = f"interventions.{place}.sentences"
            found.append(
                TextSource(field=field, language=spec.text, label=spec.sentences, licenses=())
            )
    return found


def _of_language(
    finished: FinishedStudy, language: BaseLanguageSpec | LanguageSpec
) -> list[TextSource]:
    field, found = f"languages.{language.code}", []
    text = finished.steps.get(f"text-{language.code}")
    kinds = ("monolingual", "parallel") if isinstance(language, LanguageSpec) else ("monolingual",)
    for kind in kinds if text else ():
        identities: Sequence[dict[str, Any]] = text.marker["identity"][kind] if text else ()
        for source, identity in zip(getattr(language, kind), identities, strict=True):
            found.append(
                TextSource(
                    field=f"{field}.{kind}",
                    language=language.code,
                    label=source.label,
                    licenses=source.license,
                    files=tuple((name, digest) for name, digest in identity["files"]),
                    dataset=source.dataset,
                )
            )
    if isinstance(language, LanguageSpec):
        asked = finished.steps["evaluate-base"].marker["identity"]["probes"].get(language.code, {})
        for side, digest in asked.items():
            label = getattr(language.probes, side)
            found.append(
                TextSource(
                    field=f"{field}.probes.{side}",
                    language=language.code,
                    label=label,
                    licenses=language.probes.license,
                    files=((label.rpartition("/")[2], digest),),
                )
            )
    return found


def hub_licence(stated: str) -> str:
    """The hub's identifier of a licence; ``other`` where it has none."""
    plain = re.sub(r"[\s_]+", "-", stated.strip().lower())
    plain = re.sub(r"-(only|or-later)$", "", plain)
    plain = "gfdl" if plain.startswith("gfdl-") else plain
    return plain if plain in HUB_LICENCES else "other"


def licence_metadata(sources: Sequence[TextSource]) -> dict[str, Any]:
    """The fields of a card's front matter: the licences of the text that the numbers or the weights
    are made of. What the publisher allows beyond them is the publisher's to say."""
    if not sources:
        names, other = ["other"], NO_TEXT_OF_OTHERS
    else:
        names = _in_order(
            hub_licence(one) if one else "unknown"
            for source in sources
            for one in source.licenses or ("",)
        )
        other = "several" if len(names) > 1 else "see-licenses"
    found: dict[str, Any] = {"license": names[0] if len(names) == 1 else names}
    if "other" in names:
        found |= {"license_name": other, "license_link": LICENCES_FILE}
    return found


def _in_order(names: Iterable[str]) -> list[str]:
    """Licence names without repetitions, with ``other`` and ``unknown`` last."""
    found = list(dict.fromkeys(names))
    return sorted(found, key=lambda name: name in ("other", "unknown"))
