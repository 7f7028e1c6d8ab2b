"""The corpus stage on a real Ray cluster, on the bundled text."""

import gzip
import itertools
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ccx_ray.corpus.cleaning.text_folder import isolate_text
from ccx_ray.corpus.packing.stream import Stream, read_batches
from ccx_ray.corpus.packing.stream_preparation import prepare_base_stream, prepare_trial_streams
from ccx_ray.corpus.parts import part_files
from ccx_ray.corpus.tokenizing.tokenizer import train_tokenizer
from ccx_ray.corpus.tokenizing.tokens import tokenize_text
from ccx_ray.errors import UserError
from ccx_ray.orchestration.ray_tasks import run_tasks
from ccx_ray.study.loading import load_study
from ccx_ray.study.spec import MixtureSpec
from ccx_ray.study.text_spec import TokenizerSpec
from tests.small_corpus import EVERYTHING, base_language

CONDITIONS = ("bridge", "nobridge", "deranged")
RUN = {"run_tasks": partial(run_tasks, cpus_per_task=0.5)}
STREAM = {"sequence_length": 64, "seed": 0, "rows": 400, "mixture": MixtureSpec(), "deranged": True}


@pytest.fixture(scope="module")
def prepared(
    ray_cluster: None, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The folders of the whole bundled Mongolian, by name."""
    study, _ = load_study("laptop")
    language = study.language("mn")
    folders = {
        name: tmp_path_factory.mktemp(name) for name in ("text", "tokenizer", "tokens", "stream")
    }
    folders["base"] = tmp_path_factory.mktemp("base")
    text, tokenizer, tokens, stream, base = folders.values()
    counts = isolate_text(
        language, project, text, base=study.base_language, cleaning=EVERYTHING, **RUN
    )
    assert counts["documents"]["kept"] == 171
    assert counts["pairs"]["kept"] == 992
    spec = TokenizerSpec(vocabulary_size=800, megabytes_per_language=0.2)
    train_tokenizer(spec, {"mn": text}, tokenizer)
    counts = tokenize_text(text, tokenizer, tokens, **RUN)
    assert counts["documents"] == 171
    assert counts["pairs"] == 992
    counts = prepare_trial_streams(
        tokens, None, tokenizer, stream, **STREAM, pair_order="random", **RUN
    )
    assert counts["difference"] == 0
    assert [counts[name]["rows"] for name in CONDITIONS] == [400] * 3
    prepare_base_stream(tokens, tokenizer, base, sequence_length=64, seed=0, **RUN)
    return folders


def test_the_streams_open_and_differ(prepared: dict[str, Path]) -> None:
    streams = [Stream.open(prepared["stream"] / condition) for condition in CONDITIONS]
    assert len({stream.fingerprint for stream in streams}) == 3
    bridge = streams[0]
    assert (bridge.rows, bridge.sequence_length) == (400, 64)
    schema = pq.read_schema(bridge.folder / "rows-00000.parquet")
    ids = schema.field("input_ids").type
    assert (ids.list_size, str(ids.value_type)) == (64, "int32")
    assert schema.names == ["input_ids", "segments"]


def test_preparing_again_gives_the_same_bytes(prepared: dict[str, Path], tmp_path: Path) -> None:
    tokens, tokenizer = prepared["tokens"], prepared["tokenizer"]
    prepare_trial_streams(tokens, None, tokenizer, tmp_path, **STREAM, pair_order="random", **RUN)
    whole = [path for path in prepared["stream"].rglob("*") if path.is_file()]
    for path in whole:
        assert (tmp_path / path.relative_to(prepared["stream"])).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("rank", "world_size", "first_row"), [(0, 1, 0), (1, 2, 8 * 37)])
def test_ray_reads_what_the_direct_reader_reads(
    prepared: dict[str, Path], rank: int, world_size: int, first_row: int
) -> None:
    """Across the end of the epoch, and starting in the middle."""
    readers = [
        read_batches(
            Stream.open(prepared["stream"] / "bridge"),
            first_row=first_row,
            rows_per_step=8,
            rank=rank,
            world_size=world_size,
            reader=reader,
        )
        for reader in ("direct", "ray")
    ]
    pairs = list(itertools.islice(zip(*readers, strict=True), 70))
    assert all(np.array_equal(direct, ray) for direct, ray in pairs)
    for reader in readers:
        reader.close()


def test_the_direct_reader_needs_no_ray(prepared: dict[str, Path]) -> None:
    """Nor anything else that is slow to import: it starts trials by the dozen."""
    program = f"""
import sys
from functools import partial
from pathlib import Path
from ccx_ray.corpus.packing.stream import read_batches
from ccx_ray.corpus.packing.stream import Stream
stream = Stream.open(Path({str(prepared["stream"] / "bridge")!r}))
where = dict(first_row=399, rows_per_step=8, rank=0, world_size=1)
batch = next(read_batches(stream, **where, reader="direct"))
print(batch.shape, sorted({{"ray", "torch", "transformers"}} & set(sys.modules)))
"""
    output = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert output.strip() == "(8, 64) []"


def test_source_files_are_read_in_their_order(ray_cluster: None, tmp_path: Path) -> None:
    """Of equal documents the first is kept, though files are read at the same time."""
    names = [f"{i}.jsonl.gz" for i in range(6)]
    for i, name in enumerate(names):
        lines = [{"id": f"{i}-{j}", "text": f"Text {j}", "source": name} for j in range(i, 20)]
        content = "\n".join(map(json.dumps, lines)).encode()
        (tmp_path / name).write_bytes(gzip.compress(content))
    language = base_language(*names)
    (tmp_path / "out").mkdir()
    counts = isolate_text(
        language, tmp_path, tmp_path / "out", base=language, cleaning=EVERYTHING, **RUN
    )
    assert counts["documents"]["kept"] == 20
    assert counts["documents"]["rejected"] == {"duplicate": 19 + 18 + 17 + 16 + 15}
    kept = [pq.read_table(part) for part in part_files(tmp_path / "out/documents")]
    assert {source for table in kept for source in table["source"].to_pylist()} == {"0.jsonl.gz"}


def test_text_that_cannot_be_used_is_the_users_mistake(ray_cluster: None, tmp_path: Path) -> None:
    language = base_language("en.jsonl")
    path = tmp_path / "en.jsonl"
    path.write_text('{"id": "1", "body": "Text"}\n', "utf-8")
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError, match=r"^languages\.en\.monolingual: none of 1 records of"):
        isolate_text(language, tmp_path, tmp_path / "a", base=language, cleaning=EVERYTHING, **RUN)
    path.write_bytes(gzip.compress(b"x" * 1000)[:-12])
    (tmp_path / "b").mkdir()
    with pytest.raises(UserError, match="file ends in the middle"):
        isolate_text(language, tmp_path, tmp_path / "b", base=language, cleaning=EVERYTHING, **RUN)
