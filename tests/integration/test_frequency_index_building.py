"""An index built by tasks on a real Ray cluster is, byte for byte, the one built in one process."""

import gzip
import json
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ccx_ray.errors import UserError
from ccx_ray.frequency.retrieval.corpus_index import CorpusIndex
from ccx_ray.frequency.retrieval.index_building import build_index
from ccx_ray.orchestration.ray_tasks import run_tasks
from ccx_ray.orchestration.tasks import run_here
from ccx_ray.study.frequency_spec import FrequencySpec, SentenceTransformersSpec

pytestmark = pytest.mark.usefixtures("ray_cluster")

SPEC = FrequencySpec(shard_passages=300, passage_characters=500)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Path:
    """Three parts of the bundled Korean text."""
    folder = tmp_path_factory.mktemp("text")
    (folder / "documents").mkdir()
    with gzip.open(project / "data/mono/ko.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines][:900]
    for part in range(3):
        table = pa.table({"text": texts[300 * part : 300 * part + 300]})
        path = folder / "documents" / f"part-{part:05d}.parquet"
        pq.write_table(table, path, row_group_size=100)
    return folder


def test_an_index_built_on_ray_has_the_bytes_of_one_built_here(text: Path, tmp_path: Path) -> None:
    on_ray = partial(run_tasks, cpus_per_task=0.5)
    counts = []
    for name, run in (("ray", on_ray), ("here", run_here)):
        (tmp_path / name).mkdir()
        counts.append(
            build_index(
                SPEC, SPEC.embedder, text_folder=text, folder=tmp_path / name,
                model_folder=None, run_tasks=run,
            )
        )  # fmt: skip
    assert counts[0] == counts[1]
    assert counts[0]["shards"] > 2
    files = [path for path in (tmp_path / "here").rglob("*") if path.is_file()]
    kept = [path for path in files if ".work" not in path.parts]
    assert len(kept) > 10
    for path in kept:
        other = tmp_path / "ray" / path.relative_to(tmp_path / "here")
        assert path.read_bytes() == other.read_bytes(), path.name
    (hits,) = CorpusIndex(tmp_path / "ray", SPEC.embedder).search(["대한민국"], 5, "hybrid")
    assert len(hits) == 5


def test_a_wrong_folder_is_one_line_also_from_a_worker(text: Path, tmp_path: Path) -> None:
    embedder = SentenceTransformersSpec(kind="sentence_transformers", folder=str(tmp_path))
    (tmp_path / "index").mkdir()
    with pytest.raises(UserError, match=r"^frequency\.embedder\.folder: .* has no modules\.json"):
        build_index(
            SPEC, embedder, text_folder=text, folder=tmp_path / "index", model_folder=None,
            run_tasks=partial(run_tasks, cpus_per_task=0.5),
        )  # fmt: skip
