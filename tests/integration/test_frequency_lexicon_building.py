"""The lexicon on a real Ray cluster: the same files as in one process, and searched in a task."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray

from ccx_ray.frequency.counting.exact_counts import (
    corpus_counts,
    question_entities,
)
from ccx_ray.frequency.counting.lexicon import Lexicon, build_lexicon
from ccx_ray.orchestration.ray_tasks import run_tasks
from ccx_ray.orchestration.tasks import run_here
from tests.lexicon_corpus import (
    bundled_documents,
    bundled_pairs,
    bundled_questions,
    exhaustive_scan,
    judge_of,
    write_text,
)


@pytest.fixture(scope="module")
def text(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundled Mongolian in several row groups, with two questions answered in it."""
    documents = bundled_documents(project, "mn", 90)
    for cloze in bundled_questions(project, "mn", "mn")[:2]:
        documents.append(cloze.statement)
    folder = tmp_path_factory.mktemp("mongolian") / "text"
    return write_text(folder, documents, bundled_pairs(project, "mn", 90))


def files_of(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and ".work" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_ray_builds_what_one_process_builds(ray_cluster: None, text: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    counts = build_lexicon(text, here, run_tasks=run_here, shard_bytes=4000)
    tasks = partial(run_tasks, cpus_per_task=0.5)
    assert build_lexicon(text, there, run_tasks=tasks, shard_bytes=4000) == counts
    assert counts["documents"]["shards"] > 2
    assert files_of(there) == files_of(here)


def test_a_task_scans_and_counts(
    ray_cluster: None, text: Path, project: Path, tmp_path: Path
) -> None:
    build_lexicon(text, tmp_path, run_tasks=run_here, shard_bytes=4000)
    clozes = bundled_questions(project, "mn", "mn")[:2]

    def ask(folder: Path) -> tuple[list[dict[str, Any]], list[list[int]]]:
        lexicon = Lexicon(folder)
        found = exhaustive_scan(lexicon, text, judge_of(lexicon, clozes), clozes)
        entities = question_entities(lexicon, clozes)
        return list(found), corpus_counts(lexicon, clozes, entities).tolist()

    task: Any = ray.remote(num_cpus=0.5)(ask)
    found, counts = ray.get(task.remote(tmp_path))
    assert {(row["question"], row["row"]) for row in found} >= {(0, 90), (1, 91)}
    assert all(own_words >= together > 0 for _, own_words, together in counts)
