"""An export's parts: the study file, licences, cards' words, and what is refused in one line."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ccx_ray.errors import UserError
from ccx_ray.export.checkpoints import checkpoints_of
from ccx_ray.export.dataset_card import file_pattern
from ccx_ray.export.finished import FinishedStep, FinishedStudy, Training
from ccx_ray.export.licences import TextSource, hub_licence, licence_metadata
from ccx_ray.export.rendering import cell, front_matter, plain
from ccx_ray.export.study_file import study_tree, study_yaml
from ccx_ray.orchestration.record import STATE
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.loading import load_study, shipped_studies
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.yaml_text import dump_yaml, read_yaml
from ccx_ray.study_graph import study_graph
from tests.jobs import call_job
from tests.recorded_study import GRAPH, SPEC, finish, half_done, record


def refused(*arguments: str) -> str:
    """The one line with which the job ends."""
    job = call_job("export", *arguments)
    (line,) = job.stderr.splitlines()
    assert (job.returncode, job.stdout) == (2, ""), job.stdout
    return line.removeprefix("error: ")


@pytest.mark.parametrize("name", sorted(shipped_studies()))
def test_the_exported_study_file_is_the_study(name: str, tmp_path: Path):
    study, root = load_study(name)
    path = tmp_path / "study.yaml"
    path.write_text(study_yaml(study), "utf-8")
    again, _ = load_study(str(path))
    assert again == study
    inputs = InputFiles(root, allow_missing=True)
    folders = [[s.folder_name for s in study_graph(one, inputs).steps.values()]
               for one in (study, again)]  # fmt: skip
    assert folders[0] == folders[1]


def test_the_exported_study_file_names_no_place_and_no_credential():
    runtime = {
        "storage": "/mnt/private",
        "tracking_uri": "https://me:secret@mlflow.example/",
        "checkpoint_storage": "s3://bucket/private",
        "judge": {"url": "https://judge.example/v1?password=secret", "concurrency": 3},
    }
    source = {"path": "s3://key:secret@bucket/en.jsonl"}
    study, _ = load_study("laptop", [f"base_language.monolingual=[{json.dumps(source)}]"])
    tree = json.loads(study.model_dump_json()) | {"runtime": runtime}
    text = study_yaml(StudySpec.model_validate_json(json.dumps(tree)))
    assert not [word for word in ("secret", "private", "example") if word in text]
    assert "path: s3://***@bucket/en.jsonl" in text
    assert "concurrency: 3" in text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["no", "1e-4", "010", "0x1F", "~", "<<", "12:30", "1_000", "2020-01-01"]),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None)
@given(JSON)
@example({"\x85": "a\x85b"})
@example({"a\u2028b": ["\u2029", "a\rb", "\r\n"]})
def test_written_yaml_is_read_as_the_same_values(tree: object):
    again = read_yaml(dump_yaml(tree))
    assert json.dumps(again) == json.dumps(tree)


@pytest.mark.parametrize(
    ("stated", "on_the_hub"),
    [
        ("CC-BY-SA-4.0", "cc-by-sa-4.0"),
        ("CC BY 4.0", "cc-by-4.0"),
        ("GPL-3.0-or-later", "gpl-3.0"),
        ("LGPL-3.0-only", "lgpl-3.0"),
        ("GFDL-1.3-or-later", "gfdl"),
        ("CC BY 2.0 FR", "other"),
        ("UN text, freely reproducible", "other"),
        ("other", "other"),
    ],
)
def test_licences_by_the_hubs_names(stated: str, on_the_hub: str):
    assert hub_licence(stated) == on_the_hub


def source(*licenses: str) -> TextSource:
    return TextSource(field="f", language="en", label="x", licenses=licenses)


def test_the_licences_of_a_card():
    several = licence_metadata([source("MIT"), source(), source("mine", "MIT")])
    assert several == {
        "license": ["mit", "unknown", "other"],
        "license_name": "several",
        "license_link": "LICENSES.md",
    }
    assert licence_metadata([source("MIT"), source("MIT")]) == {"license": "mit"}
    assert licence_metadata([source("mine")])["license"] == "other"
    assert licence_metadata([])["license_name"] == "no-third-party-text"


def test_words_of_the_users_stay_words():
    assert cell("a|b\n# c <b>*d*`") == r"a\|b \# c &lt;b&gt;\*d\*\`"
    assert plain("a\n\n# b & <script>") == "a # b &amp; &lt;script&gt;"
    fields = {"language": ["no", "en"], "pretty_name": "x: y # z"}
    assert yaml.safe_load(front_matter(fields).split("---\n")[1]) == fields


def test_a_pattern_stands_for_the_files_of_one_folder():
    assert file_pattern("tables/*.csv").fullmatch("tables/ties.csv")
    assert not file_pattern("models/*/*").fullmatch("models/base/step-000020/config.json")
    assert not file_pattern("a.csv").fullmatch("aXcsv")


def test_a_checkpoint_in_an_object_store_is_told_by_its_pointer(tmp_path: Path):
    pointer = {"uri": "s3://bucket/run/checkpoints/step-000020-0a1b",
               "files": {"model.safetensors": {"bytes": 7, "sha256": "ab"}}}  # fmt: skip
    folder = tmp_path / "mine" / "base-0123456789ab" / "checkpoints" / "step-000020"
    folder.mkdir(parents=True)
    (folder / "remote.json").write_text(json.dumps(pointer))
    step = FinishedStep(name="base", kind="training", folder=folder.parents[1], marker={})
    finished = FinishedStudy(folder=tmp_path / "mine", study=SPEC, steps={}, is_shipped=True)
    training = Training(name="base", trial=None, seed=0, step=step, evaluation=step,
                        stream=tmp_path, language="en")  # fmt: skip
    (found,) = checkpoints_of(finished, training, "none")
    assert (found.step, found.bytes, found.uri) == (20, 7, pointer["uri"])
    assert (found.weights, found.folder) == ({"model.safetensors": "ab"}, None)
    assert found.place == "mine/base-0123456789ab/checkpoints/step-000020"
    (last,) = checkpoints_of(finished, training, "last")
    assert last.folder == "models/base"
    (folder / "remote.json").write_text("{")
    with pytest.raises(UserError, match=r"step-000020: is not what was written \(remote.json"):
        checkpoints_of(finished, training, "none")


def test_an_unknown_study_is_refused(tmp_path: Path):
    (tmp_path / "storage").mkdir()
    arguments = ("--storage", str(tmp_path / "storage"), "--to", str(tmp_path / "out"))
    assert "has no study 'nothing'" in refused("--study", "nothing", *arguments)
    assert "neither the name of a study" in refused("--study", "../nothing", *arguments)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    storage = tmp_path / "storage"
    with record(storage / "mine"):
        pass

    def to(folder: object) -> str:
        return refused("--study", "mine", "--storage", str(storage), "--to", str(folder))

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert to(tmp_path / "full").endswith("is not empty; give a folder that is new or empty")
    assert "is a file" in to(tmp_path / "full" / "file")
    assert "lies inside the storage" in to(storage / "out")
    assert "lies inside the storage" in to(tmp_path / "x" / ".." / "storage" / "mine" / "out")
    assert "only a folder or a file:// URI" in to("s3://bucket/out")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert to(tmp_path / "loop").startswith("--to: ")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert "is the folder that you are in; give another one" in to(".")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["file"]


def test_an_unfinished_study_is_told_with_what_is_missing(tmp_path: Path):
    def asked() -> str:
        return refused(
            "--study", "mine", "--storage", str(tmp_path), "--to", str(tmp_path / "../o")
        )

    command = f"python jobs/status.py --study mine --storage {tmp_path}"
    with half_done(tmp_path):
        line = asked()
    assert "without trial-ko-bridge-s0, evaluate-ko-bridge-s0, trial-ko-nobridge-s0 and 4" in line
    assert line.endswith(f"a driver is at work, see {command} --watch")
    assert asked().endswith(f"finish it with {command} --resume")

    folder = tmp_path / "mine"
    for step in GRAPH.steps.values():
        if step.name != "analysis":
            finish(folder, step.name)
    with record(folder, GRAPH.needed_for([GRAPH["trial-ko-bridge-s0"]])):
        pass
    assert asked() == (f"{folder}: not finished, without analysis; "
                       f"finish it with {command} --rerun analysis")  # fmt: skip
    (folder / STATE).unlink()
    assert "no run of this study is recorded there" in asked()


def test_a_study_tree_has_every_field_but_places():
    tree = study_tree(SPEC)
    assert set(tree) == set(StudySpec.model_fields)
    assert tree["cleaning"]["near_duplicates"] == 0.8
