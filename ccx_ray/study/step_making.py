"""How steps are made: each kind of step carries the version of the code behind it."""

from collections.abc import Mapping, Sequence

from ccx_ray.orchestration.graph import Step
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.text_spec import LanguageSpec

# Raised when the code behind a kind of step changes what it computes from the same input.
VERSIONS = {
    "text": 2, "heldout": 1, "tokenizer": 2, "tokens": 2, "stream": 3, "audit": 1, "training": 2,
    "evaluation": 2, "lexicon": 1, "index": 2, "frequency": 2, "exposure": 1,
    "validation": 1, "review": 1, "analysis": 4,
}  # fmt: skip


def make_step(
    name: str,
    kind: str,
    identity: Mapping[str, object],
    upstream: Sequence[Step],
    *,
    follows: tuple[Step, ...] = (),
    resumable: bool = False,
) -> Step:
    """A step of a kind, with the kind's version."""
    return Step(
        name=name,
        kind=kind,
        version=VERSIONS[kind],
        identity=identity,
        upstream=tuple(upstream),
        follows=follows,
        resumable=resumable,
    )


def probe_hashes(language: LanguageSpec, inputs: InputFiles) -> dict[str, str]:
    """Side -> hash of the probe file of a culture."""
    return {
        side: inputs.hash(name, f"languages.{language.code}.probes.{side}")
        for side, name in language.probes.model_dump().items()
    }
