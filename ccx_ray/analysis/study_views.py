"""The views of a study's MLflow experiment: which runs, columns and charts its page shows."""

from ccx_ray.analysis.tracked import transfer_metric
from ccx_ray.evaluation.probes import probe_name
from ccx_ray.study.spec import StudySpec
from ccx_ray.tracking.runs import GROUP
from ccx_ray.tracking.views import LineChart, View

TRAININGS = "ccx-trainings"
"""Id of the view that opens on the trials, grouped by language and condition."""
EACH = "ccx-each-training"
BASES = "ccx-bases"


def study_views(study: StudySpec) -> dict[str, View]:
    """Id -> view.

    Bases stand apart: their checkpoint comes at a step that is far right of the trials' curves.
    """
    base, languages = study.base_language.code, study.trial_languages
    probes = {
        (language.name, shown): f"eval/{probe_name(language.code, code)}/accuracy"
        for language in languages
        for code, shown in (
            (base, f"asked in {study.base_language.name}"),
            (language.code, f"asked in {language.name}"),
        )
    }
    texts = [*(language.code for language in languages), base] if study.held_out.share else []
    held_out = {code: f"perplexity/{code}/bits_per_byte" for code in texts}
    training = [
        LineChart(title=title, metrics=[f"train/{name}"])
        for name, title in (
            ("loss", "training loss, nats a token"),
            ("tokens_per_second", "tokens a second"),
            ("learning_rate", "learning rate"),
            ("data_wait_share", "share of a step that waits for rows"),
        )
    ]
    sections = {
        "Transfer: accuracy of bridge - no-bridge, with its interval": [
            LineChart(
                title=f"{language.name}, {shown}",
                metrics=[transfer_metric(*direction) + end for end in ("", "_low", "_high")],
            )
            for language in languages
            for direction, shown in (
                ((base, language.code), f"{study.base_language.name} → {language.name}"),
                ((language.code, base), f"{language.name} → {study.base_language.name}"),
            )
        ],
        "Accuracy of the conditions": [
            LineChart(title=", ".join(words), metrics=[metric]) for words, metric in probes.items()
        ],
        "Held-out text": [
            LineChart(title=f"bits per byte, {code}", metrics=[metric])
            for code, metric in held_out.items()
        ],
        "Training": training,
    }
    columns = [
        *(("metrics", metric) for metric in probes.values()),
        *(("metrics", metric) for metric in list(held_out.values())[:-1]),
        ("metrics", "train/loss"),
        ("params", "steps"),
    ]
    told = [("tags", f"ccx.{name}") for name in ("language", "condition", "seed")]
    more = [("attributes", "Dataset"), ("attributes", "Models")]
    trials = "tags.`ccx.kind` = 'trial'"
    return {
        TRAININGS: View(
            name="Trials by language and condition",
            filter=f"tags.`ccx.kind` != 'base' and tags.`{GROUP}` LIKE '%'",
            group_by=GROUP,
            columns=columns,
            sections=sections,
        ),
        EACH: View(
            name="Every trial by itself",
            filter=trials,
            group_by=None,
            columns=[*told, *columns, *more],
            sections=dict(list(sections.items())[1:]),
        ),
        BASES: View(
            name="The bases",
            filter="tags.`ccx.kind` = 'base'",
            group_by=None,
            columns=[("metrics", "train/loss"), ("params", "steps"), *more],
            sections={"Training": training},
        ),
    }


def view_tags(study: StudySpec) -> dict[str, str]:
    """The tags of the experiment that hold the views."""
    return {
        key: value
        for identifier, view in study_views(study).items()
        for key, value in view.as_tag(identifier).items()
    }
