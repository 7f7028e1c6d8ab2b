"""The card of every model of an export, in the form of the Hugging Face hub.

Invariant: a card states facts of the study, of the training, its text, its checkpoints and the
report; nothing is said of a model that was not measured.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ccx_ray.analysis import wording
from ccx_ray.analysis.report.limits import TINY_PARAMETERS
from ccx_ray.analysis.tables import BASE_RUN
from ccx_ray.corpus.packing.stream import Stream
from ccx_ray.export.checkpoints import Checkpoint
from ccx_ray.export.finished import FinishedStudy, Training
from ccx_ray.export.licences import TextSource, licence_metadata
from ccx_ray.export.rendering import card_languages, front_matter, render
from ccx_ray.study.spec import StudySpec

CONDITIONS = {
    "bridge": "with bridges: a sentence and its translation stand together",
    "nobridge": "without bridges: the same sentences, no translation in the same row",
    "deranged": "with deranged pairs: the same sentences, each beside the translation of another",
}


def model_card(
    finished: FinishedStudy,
    training: Training,
    checkpoints: Mapping[str, Sequence[Checkpoint]],
    sources: Sequence[TextSource],
) -> str:
    """``README.md`` of one model.

    Args:
        checkpoints: of every training.
        sources: of the text that it was trained on.
    """
    study, trial, own = finished.study, training.trial, checkpoints[training.name]
    counts, spec = training.step.counts, study.trials if trial else study.base
    base = checkpoints[trial.base][-1] if trial else None
    accuracies, proficiencies = _results_of(finished, training)
    weights_here = bool(own and own[-1].folder)
    codes = [trial.language] if trial else []
    datasets = list(dict.fromkeys(source.dataset for source in sources if source.dataset))
    fields = {
        "language": card_languages(study, codes),
        **licence_metadata(sources),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["ccx_ray", "controlled-study", training.condition or "base"],
        **({"datasets": datasets} if datasets else {}),
        **({"base_checkpoint": {"model": base.training, "step": base.step, "sha256": base.weights}}
           if base else {}),
        **_model_index(study, training, accuracies),
    }  # fmt: skip
    names = {lang.code: lang.name for lang in (study.base_language, *study.languages)}
    stream = Stream.open(training.stream)
    return front_matter(fields) + render(
        "model_card.md.j2",
        study=study,
        training=training,
        counts=counts,
        spec=spec,
        names=names,
        condition_words=CONDITIONS.get(training.condition or "", ""),
        not_for_use=_not_for_use(training),
        shape=_shape(study),
        base=base,
        stream=stream,
        passes=counts["steps"] * spec.sequences_per_step / stream.rows,
        parts=_parts(study, training, stream),
        texts=list(_texts(finished, training)),
        sources=[one for one in sources if ".probes." not in one.field],
        checkpoints=[
            {"step": one.step, "bytes": one.bytes, "weights": one.weights, "where": _where(one)}
            for one in own
        ],
        weights_here=weights_here,
        accuracies=accuracies,
        proficiencies=proficiencies,
        limits=list(_limits(finished, training)),
    )


def _results_of(
    finished: FinishedStudy, training: Training
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Accuracies and bits per byte of a training at its last checkpoint, as the report has them; of
    further bases it has none."""
    results, trial = finished.results, training.trial

    def is_own(row: Mapping[str, Any]) -> bool:
        if trial is None:
            return training.name == BASE_RUN and row["condition"] == BASE_RUN
        place = (row["language"], row["condition"], row["seed"], row["step"])
        return place == (trial.language, trial.condition, trial.seed, finished.study.trials.steps)

    chance = {row["probe"]: row["chance"] for row in results["probes"]}
    accuracies = [
        {**row, "chance": chance[row["probe"]]} for row in results["accuracies"] if is_own(row)
    ]
    # The base's proficiency in its own language stands beside each language's.
    proficiencies = {row["text"]: row for row in results["proficiencies"] if is_own(row)}
    return accuracies, list(proficiencies.values())


def _model_index(
    study: StudySpec, training: Training, accuracies: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The results in the form of the hub's pages."""
    if not accuracies:
        return {}
    found = [
        {
            "task": {"type": "multiple-choice", "name": "cloze questions"},
            "dataset": {"type": row["probe"], "name": f"{row['probe']} questions of {study.name}"},
            "metrics": [
                {"type": "accuracy", "value": row["accuracy"], "name": "accuracy"},
            ],
        }
        for row in accuracies
    ]
    return {"model-index": [{"name": f"{study.name}-{training.name}", "results": found}]}


def _not_for_use(training: Training) -> str:
    counts = training.step.counts
    made = (
        f"{wording.amount(counts['parameters'])} parameters, trained on "
        f"{wording.amount(counts['tokens'])} tokens"
        f"{' on top of its base' if training.trial else ''}"
    )
    if counts["parameters"] < TINY_PARAMETERS:
        return f"Too small for any use: {made}. It was made to be measured in this study."
    return f"Not made for use: {made}. It was made to be measured in this study."


def _shape(study: StudySpec) -> list[str]:
    model = study.model
    heads = model.attention_heads
    found = [
        wording.plural(model.layers, "layer"),
        f"width {model.hidden_size}",
        f"{heads} attention heads" if heads else "",
        f"{model.key_value_heads} of keys and values" if model.key_value_heads else "",
        f"feed-forward width {model.intermediate_size}" if model.intermediate_size else "",
        f"rows of {study.sequence_length} tokens",
    ]
    return [one for one in found if one]


def _parts(study: StudySpec, training: Training, stream: Stream) -> list[tuple[str, int]]:
    """What one pass over a training's rows holds, in words and tokens."""
    names = {lang.code: lang.name for lang in (study.base_language, *study.languages)}
    base, own = study.base_language.name, names[training.language]
    words = {
        "monolingual": f"{own} documents",
        "english": f"halves of pairs in {base}",
        "target": f"halves of pairs in {own}",
        "replay": f"{base} documents, seen again",
        "end_of_text": "ends of documents",
        "separator": "separators between two halves",
        "padding": "padding",
    }
    counted: dict[str, int] = stream.counts["tokens"]
    return [(words.get(part, part), count) for part, count in counted.items() if count]


def _texts(finished: FinishedStudy, training: Training) -> Iterable[dict[str, Any]]:
    """The cleaned texts, and those with planted documents, that the rows are made of."""
    replays = training.trial is not None and finished.study.trials.mixture.replay > 0
    base = finished.study.base_language.code
    for code in dict.fromkeys([training.language, *([base] if replays else [])]):
        for kind in ("text", "interventions"):
            step = finished.steps.get(f"{kind}-{code}")
            if step is None:
                continue
            documents, pairs = step.counts["documents"], step.counts.get("pairs", {})
            yield {
                "name": step.name,
                "documents": documents["kept"] if isinstance(documents, dict) else documents,
                "pairs": pairs.get("kept") if isinstance(pairs, dict) else pairs,
                "digest": step.marker["fingerprint"],
            }


def _where(checkpoint: Checkpoint) -> str:
    if checkpoint.folder is not None:
        own = f"models/{checkpoint.training}"
        return f"in this folder{checkpoint.folder.removeprefix(own)}"
    return checkpoint.uri or f"{checkpoint.place} of the study's storage"


def _limits(finished: FinishedStudy, training: Training) -> Iterable[str]:
    """What holds of one model, from the study's text, training and report."""
    study, trial = finished.study, training.trial
    yield (
        "It continues text of the kind that it was trained on. It was not trained to follow "
        "instructions, and nobody has looked at what it writes for truth or harm."
    )
    yield (
        "All that was measured of it are the questions and the held-out text above; an accuracy "
        "near guessing carries no knowledge."
    )
    codes = [study.base_language.code, *([trial.language] if trial else [])]
    for language in (study.base_language, *study.languages):
        if language.code in codes and language.note.strip():
            yield f"{language.name} text: {language.note}"
    for row in finished.results["limits"]:
        if row["limit"] in ("Size", "Seeds", "Bases"):
            yield f"{row['limit']}: {row['here']}. {row['consequence']}"
