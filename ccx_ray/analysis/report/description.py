"""What was run, in one paragraph made of the spec and of what the trainings and markers say.

Invariant: a fact that is not known is left out of the sentence, never filled in.
"""

from ccx_ray.analysis.measures.run_facts import StudyFacts
from ccx_ray.analysis.report.wording import amount, duration, listing, plural, short_name
from ccx_ray.study.spec import StudySpec

NAMED_PACKAGES = ("torch", "deepspeed", "ray", "transformers")


def what_was_run(study: StudySpec, facts: StudyFacts) -> str:
    """The report's first paragraph."""
    return " ".join(
        sentence
        for sentence in (
            _model(study, facts),
            _trials(study, facts),
            _times(facts),
            _made_by(facts),
        )
        if sentence
    )


def _model(study: StudySpec, facts: StudyFacts) -> str:
    model = study.model
    return (
        f"A {model.architecture} model with {facts.parameters:,} parameters ({model.layers} layers "
        f"of width {model.hidden_size}, a vocabulary of {study.tokenizer.vocabulary_size:,}, "
        f"sequences of {study.sequence_length:,} tokens) was pretrained on "
        f"{study.base_language.name} for {plural(study.base.steps, 'step')}"
        f"{_tokens(facts.base_tokens)}."
    )


def _trials(study: StudySpec, facts: StudyFacts) -> str:
    conditions = study.trials.conditions
    compared = (
        "with and without bridges"
        if len(conditions) == 2
        else f"{'with' if conditions == ('bridge',) else 'without'} bridges"
    )
    languages = listing([short_name(language) for language in study.trial_languages])
    return (
        f"From its last checkpoint {plural(facts.trials_trained, 'trial')} went on: {languages}, "
        f"each {compared}, with {plural(len(study.trials.seeds), 'seed')}, for "
        f"{plural(study.trials.steps, 'step')}"
        f"{_tokens(facts.trial_tokens, ' in all trials together')}."
    )


def _times(facts: StudyFacts) -> str:
    if facts.wall_seconds is None:
        return ""
    return (
        "From the first step's start to the last end before this report "
        f"{duration(facts.wall_seconds)} passed. The optimizer steps of all trainings add up to "
        f"{duration(facts.training_seconds)}; trainings may have run side by side."
    )


def _made_by(facts: StudyFacts) -> str:
    versions = [
        f"{name} {facts.versions[name]}" for name in NAMED_PACKAGES if name in facts.versions
    ]
    if facts.python:
        versions.append(f"Python {facts.python}")
    machine = f" on {plural(facts.processors, 'processor')}" if facts.processors else ""
    commits = f"Commit {listing([short_commit(commit) for commit in facts.commits])}"
    made = ", ".join(versions) + machine
    return f"{commits if facts.commits else 'Commit unknown'}{'; ' if made else ''}{made}."


def short_commit(commit: str) -> str:
    """The first 12 digits, and whether the tree differed from the commit."""
    return commit.partition("+")[0][:12] + ("+changes" if commit.endswith("+changes") else "")


def _tokens(tokens: int, where: str = "") -> str:
    return f" ({amount(tokens)} tokens{where})" if tokens else ""
