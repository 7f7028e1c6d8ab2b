"""The steps that plant documents into text, and what the steps behind them need to know of it.

Invariant: a step behind a text into which nothing is planted has the identity and the needs of a
study without interventions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ccx_ray.orchestration.graph import Step
from ccx_ray.orchestration.runner import StepWork
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.intervention_spec import FROM_PROBE
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.text_spec import LanguageSpec


class Statement(NamedTuple):
    """What a probe says of one item in one language."""

    answer: str
    sentence: str
    """The question with the right answer in its blank."""
    fault: str
    """Why that is no sentence to plant; empty where it is one."""


Statements = Callable[[LanguageSpec], Mapping[str, Sequence[Statement]]]
"""Language code -> the items of a culture's probe in that language."""


def intervention_steps(
    study: StudySpec, texts: Mapping[str, Step], inputs: InputFiles, statements: Statements
) -> dict[str, Step]:
    """By the language of the text, those that plant documents into it."""

    def plant_documents(work: StepWork) -> Mapping[str, Any]:
        from ccx_ray.corpus.interventions import plant

        return plant(
            study, work.input("text"), work.folder, root=inputs.root, statements=statements
        )

    def identity(place: int) -> dict[str, object]:
        spec = study.interventions[place]
        is_file = spec.sentences != FROM_PROBE
        field = f"interventions.{place}.sentences"
        sentences = inputs.hash(spec.sentences, field) if is_file else FROM_PROBE
        probes = inputs.probe_hashes(study.language(spec.probe))
        return {**spec.model_dump(), "sentences": sentences, "probes": probes}

    own: dict[str, list[int]] = {}
    for place, spec in enumerate(study.interventions):
        own.setdefault(spec.text, []).append(place)
    return {
        code: Step(
            name=f"interventions-{code}",
            kind="interventions",
            version=1,
            identity={"interventions": [identity(place) for place in places]},
            needs={"text": texts[code]},
            run=plant_documents,
        )
        for code, places in own.items()
    }


def planting_steps(interventions: Mapping[str, Step], *codes: str) -> dict[str, dict[str, Step]]:
    """What a stream needs to know of planted documents; nothing where there are none, so that it
    keeps its fingerprint."""
    own = {code: interventions[code] for code in codes if code in interventions}
    return {"interventions": own} if own else {}


def planted_documents(work: StepWork, code: str) -> int:
    """How many documents are planted into a language's text."""
    from ccx_ray.corpus.interventions import INTERVENTIONS, planted_count

    folder = work.inputs("interventions").get(code)
    return 0 if folder is None else planted_count(folder / INTERVENTIONS)
