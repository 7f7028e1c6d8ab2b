"""lm-evaluation-harness itself and ours choose alike, on our questions and on tasks of its own."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lm_eval
import numpy as np
import pytest

from ccx_ray.errors import UserError
from ccx_ray.evaluation.external.harness import (
    GROUP,
    export_tasks,
    harness_accuracies,
    task_name,
)
from ccx_ray.evaluation.external.probe_files import load_probe_file
from ccx_ray.evaluation.models import CausalModel, load_causal_model
from ccx_ray.evaluation.probes import Probe
from ccx_ray.evaluation.results import ScoredItem
from tests.probe_models import PROBES, score_probe, write_random_model

BUNDLED = [
    path
    for path in PROBES
    if path.stem in ("ko-culture-cloze_en", "mn-culture-cloze_en", "bo-culture-cloze_bo")
]
SOME = 30
"""Questions of each, the odd ones first."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CausalModel:
    return load_causal_model(write_random_model(tmp_path_factory.mktemp("model")), "cpu")


@pytest.fixture(scope="module")
def harness_model(model: CausalModel) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=model.network, tokenizer=model.tokenizer, device="cpu", batch_size=16)


def run_harness(harness_model: Any, folder: Path, tasks: Sequence[str]) -> dict[str, Any]:
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    return lm_eval.simple_evaluate(
        model=harness_model,
        tasks=list(tasks),
        task_manager=manager,
        bootstrap_iters=0,
        log_samples=True,
        verbosity="ERROR",
    )


def choices(samples: Sequence[dict[str, Any]], size: Any) -> list[int]:
    """What the harness chose, in the order of the documents."""
    return [
        int(
            np.argmax(
                [
                    nats / size(text)
                    for (nats, _), text in zip(
                        sample["filtered_resps"], sample["doc"]["choices"], strict=True
                    )
                ]
            )
        )
        for sample in sorted(samples, key=lambda sample: sample["doc_id"])
    ]


def interesting(path: Path) -> list[dict[str, Any]]:
    """The odd questions of a file first."""
    items = json.loads(path.read_text("utf-8"))
    return sorted(
        items,
        key=lambda item: (
            "_" in item["question"]
            and len(set(item["options"])) == 4
            and item["answer"] in item["options"]
        ),
    )[:SOME]


def test_our_questions_are_chosen_alike(model: CausalModel, harness_model: Any, tmp_path: Path):
    probes = []
    for path in BUNDLED:
        file = tmp_path / path.name
        file.write_text(json.dumps(interesting(path), ensure_ascii=False), "utf-8")
        probes.append((file, load_probe_file(file)))
    names = export_tasks(probes, tmp_path)
    found = run_harness(harness_model, tmp_path, [GROUP])
    for name, (_, probe) in zip(names, probes, strict=True):
        scored = score_probe(model, probe, tokens_per_batch=2048, kinds=("sum", "per_byte"))
        for metric, kind, size in (
            ("acc", "sum", lambda text: 1),
            ("acc_bytes", "per_byte", lambda text: len(text.encode())),
        ):
            ranked = [one.ranked(kind) for one in scored]
            assert choices(found["samples"][name], size) == [one.choice for one in ranked]
            correct = sum(one.correct for one in ranked)
            assert found["results"][name][f"{metric},none"] == pytest.approx(correct / SOME)
        nats = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
        for sample, one in zip(nats, scored, strict=True):
            theirs = [-nats for nats, _ in sample["filtered_resps"]]
            assert one.scores("sum") == pytest.approx(theirs, abs=2e-3)


FRUIT = [
    {"place": "a market", "kinds": ["apples", "a boat", "two shoes"], "label": 0, "note": "x"},
    {"place": "the sea ", "kinds": ["fish", "fish", "apples"], "label": 1, "note": "y"},
    {"place": "장터", "kinds": ["사과", "배 한 척", "신발"], "label": 2, "note": "z"},
    {"place": "nowhere", "kinds": ["a", "b", "c"], "label": 7, "note": "none of them"},
]

TASK = """
task: {name}
dataset_path: {format}
dataset_kwargs:
  data_files:
    validation: {data}
validation_split: validation
output_type: multiple_choice
description: "Choose. {{{{note}}}}\\n"
doc_to_text: {text}
doc_to_choice: {choice}
doc_to_target: {target}
{more}
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
  - metric: acc_norm
    aggregation: mean
    higher_is_better: true
  - metric: acc_bytes
    aggregation: mean
    higher_is_better: true
  - metric: acc_mutual_info
    aggregation: mean
    higher_is_better: true
"""

TEXT = '"{{place}} sells"'
WAYS = {
    "columns": {"text": "place", "choice": "kinds", "target": "label"},
    "templates": {"text": TEXT, "choice": '"{{kinds}}"', "target": '"{{label}}"'},
    "no_delimiter": {
        "text": '"{{place}} sells "', "choice": "kinds", "target": "label",
        "more": 'target_delimiter: ""',
    },
    "listed": {
        "text": TEXT, "choice": '["{{kinds[0]}}", "no"]', "target": '"no"',
        "more": 'target_delimiter: "\\n"',
    },
    "merged": {  # the tokens of the context alone are not those in front of the option
        "text": '"{{place[:3]}}"', "choice": "kinds", "target": "0",
        "more": 'target_delimiter: ""',
    },
    "named": {
        "text": TEXT, "choice": '\\n  a: apples\\n  b: fish', "target": '"{{kinds[0]}}"',
    },
}  # fmt: skip


def write_task(folder: Path, name: str, way: dict[str, str], *, format: str = "json") -> Path:
    data = folder / f"{name}-data.{format}"
    if format == "json":
        data.write_text("".join(json.dumps(one) + "\n" for one in FRUIT), "utf-8")
    elif format == "csv":
        data.write_text("place,first,label,note\nthe sea,fish,1,z\n장터,사과,0,y\n", "utf-8")
    path = folder / f"{name}.yaml"
    values = {key: value.replace("\\n", "\n") for key, value in way.items() if key == "choice"}
    path.write_text(
        TASK.format(**{"name": name, "format": format, "data": data, "more": "", **way, **values}),
        "utf-8",
    )
    return path


def metrics(found: dict[str, Any], name: str) -> dict[str, float]:
    return {
        metric: found["results"][name][f"{metric},none"]
        for metric in ("acc", "acc_norm", "acc_bytes")
    }


def test_a_task_of_theirs_has_the_same_accuracies(
    model: CausalModel, harness_model: Any, tmp_path: Path
):
    for name, way in WAYS.items():
        write_task(tmp_path, name, way)
    write_task(
        tmp_path, "table",
        {"text": "place", "choice": '"{{[first, note]}}"', "target": "label"}, format="csv",
    )  # fmt: skip
    found = run_harness(harness_model, tmp_path, [*WAYS, "table"])
    for name in (*WAYS, "table"):
        probe = load_probe_file(tmp_path / f"{name}.yaml")
        scored = score_probe(model, probe, tokens_per_batch=2048)
        samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
        assert len(samples) == len(scored)
        for sample, one in zip(samples, scored, strict=True):
            options = len(one.options)
            theirs = [-float(nats) for nats, _ in sample["filtered_resps"]]
            assert one.scores("option_sum") == pytest.approx(theirs[:options], abs=1e-3), name
            if len(theirs) > options:
                difference = np.subtract(theirs[:options], theirs[options:])
                ranked = one.ranked("mutual_information")
                assert ranked.choice == int(np.argmin(difference)), name
        assert harness_accuracies(scored) == pytest.approx(metrics(found, name)), name


def test_names_of_tasks_come_from_names_of_files():
    assert task_name(Path("a/zh culture,cloze.json")) == "zh_culture_cloze"
    for path in ("...json", f"{GROUP}.json"):
        with pytest.raises(UserError, match="cannot be the name of a task"):
            task_name(Path(path))


def test_two_files_of_one_name_are_refused(tmp_path: Path):
    probe = Probe(name="p", items=load_probe_file(BUNDLED[0]).items[:1])
    with pytest.raises(UserError, match=r"b/p\.json: another file already has the task name 'p'"):
        export_tasks([(Path("a/p.json"), probe), (Path("b/p.json"), probe)], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_task_is_exported_by_nobody_twice(tmp_path: Path):
    path = write_task(tmp_path, "columns", WAYS["columns"])
    with pytest.raises(UserError, match="is already a task of lm-evaluation-harness"):
        export_tasks([(path, load_probe_file(path))], tmp_path)


def test_what_is_exported_comes_back_the_same(model: CausalModel, tmp_path: Path):
    probe = load_probe_file(BUNDLED[0])
    (name,) = export_tasks([(BUNDLED[0], probe)], tmp_path)
    back = load_probe_file(tmp_path / f"{name}.yaml")
    assert len(back.items) == len(probe.items)

    def chosen(one: Probe, kind: Any) -> list[ScoredItem]:
        some = Probe(name="p", items=one.items[:20])
        scored = score_probe(model, some, tokens_per_batch=2048, kinds=(kind,))
        return [item.ranked(kind) for item in scored]

    for ours, theirs in zip(chosen(probe, "sum"), chosen(back, "option_sum"), strict=True):
        assert (ours.choice, ours.correct) == (theirs.choice, theirs.correct)
