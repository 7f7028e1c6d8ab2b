"""Commands of README and docs on a finished study: the tiny one in place of the one they name."""

import re
from pathlib import Path

import pytest

from tests.documentation import Command, blocks, commands_that_are
from tests.jobs import PROJECT, call_job
from tests.tiny_study import FinishedStudy, Results

FINISHED = commands_that_are("on the finished study")


@pytest.fixture(scope="module")
def results(finished_study: FinishedStudy, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return finished_study.copy_steps(tmp_path_factory.mktemp("storage"), without=())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are typed."""
    return tmp_path_factory.mktemp("typed")


@pytest.mark.parametrize("command", FINISHED, ids=lambda command: command.text)
def test_a_command_on_a_finished_study(
    command: Command,
    finished_study: FinishedStudy,
    results: Results,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    job = Path(command.words[1]).stem
    probes = finished_study.study.parent
    instead = {
        "laptop": str(finished_study.study),
        "MODEL": str(results.folder("base") / "checkpoints" / "step-000020"),
        "data/probes/ko-culture-cloze_en.json": str(probes / "probes-en.json"),
        "data/probes/ko-culture-cloze_ko.json": str(probes / "probes-ko.json"),
    }
    words = [instead.get(word, word) for word in command.words[2:]]
    if "--study" in words:
        words += ["--storage", str(results.storage)]
    monkeypatch.chdir(folder)
    done = call_job(job, *words)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    for option in ("--out", "--export", "--to"):
        if option in words:
            assert (folder / words[words.index(option) + 1]).exists()


def test_the_snippet_that_reads_results(results: Results):
    tiny = {
        "evaluate-ko-bridge-s0-<fingerprint>/step-000060": "evaluate-ko-bridge-s0-*/step-000060",
        "base-<fingerprint>/checkpoints/step-000300": "base-*/checkpoints/step-000020",
    }
    (block,) = blocks("python")
    code = block.text
    for path in re.findall(r'"(storage/laptop/[^"]+)"', block.text):
        place = path.removeprefix("storage/laptop/")
        for written, here in tiny.items():
            place = place.replace(written, here)
        (found,) = (results.storage / "tiny").glob(place)
        code = code.replace(path, str(found))
    names: dict[str, object] = {}
    exec(compile(code, str(PROJECT / "docs/howto/read-results.md"), "exec"), names)
    assert names["rows"].num_rows > 0
    assert names["model"].config.hidden_size == 64
