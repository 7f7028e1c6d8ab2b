"""Where the corpus stage spends its processor time: its functions in one process, without Ray.

Each line's time holds the functions that it calls; indented lines are parts of the line above them.
The profiler itself slows down what calls much Python.
"""

import cProfile
import json
import pstats
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from corpus_ours import OursTask, by_language, prepare_language
from corpus_text import TextFile

from ccx_ray.orchestration.tasks import run_here

FUNCTIONS = (
    ("isolate: all of it", "isolation.py", "isolate_shard"),
    ("  read and parse", "batches.py", "raw_batches"),
    ("  isolate scripts, NFC", "scripts.py", "isolate"),
    ("  look for letters", "scripts.py", "holds_letters"),
    ("  MinHash signatures", "minhash.py", "signatures"),
    ("  digests of texts and ids", "dedup.py", "digests"),
    ("  write blocks", "blocks.py", "_flush"),
    ("find repetitions", "text_folder.py", "repetitions"),
    ("  near-duplicates", "near_duplicates.py", "near_duplicates"),
    ("write: all of it", "text_folder.py", "settle_part"),
    ("  write Parquet", "parts.py", "write_part"),
    ("tokenize: all of it", "tokens.py", "tokenize_part"),
    ("  open the tokenizer", "encoding.py", "open_encoder"),
    ("  read Parquet", "parquet/core.py", "read_table"),
    ("  check on a sample", "encoding.py", "check"),
    ("  encode", "encoding.py", "encode"),
    ("  write Arrow", "parts.py", "write_arrow_part"),
    ("pack: all of it", "stream_folder.py", "write_rows"),
    ("  gather documents", "tokens.py", "read"),
    ("  build rows", "stream_folder.py", "_pack"),
    ("  count tokens", "stream_folder.py", "_count_tokens"),
    ("  finish the stream", "stream_folder.py", "finish_stream"),
    ("publish finished tasks", "storage.py", "publish_json"),
)


@dataclass(frozen=True, kw_only=True)
class ProfileResult:
    """Seconds by function."""

    seconds: dict[str, float]
    whole_seconds: float
    text_bytes: int


def run_profile(task: OursTask) -> ProfileResult:
    """All languages one after the other under the profiler."""
    import ccx_ray.corpus.preparation  # noqa: F401  (its import is no part of the work)

    profile = cProfile.Profile(time.process_time)
    profile.enable()
    for code, paths in by_language(task.files).items():
        prepare_language(code, paths, task, run_here)
    profile.disable()
    statistics = pstats.Stats(profile)
    seconds = {}
    for label, file, function in FUNCTIONS:
        found = [
            numbers[3]
            for (path, _, name), numbers in statistics.stats.items()  # type: ignore[attr-defined]
            if name == function and path.endswith(f"/{file}")
        ]
        if found:
            seconds[label] = sum(found)
    return ProfileResult(
        seconds=seconds,
        whole_seconds=statistics.total_tt,  # type: ignore[attr-defined]
        text_bytes=sum(file.text_bytes for file in task.files),
    )


def main() -> None:
    """Measure what the first argument describes; the result goes where the second says."""
    content = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    content["files"] = tuple(TextFile(**file) for file in content["files"])
    Path(sys.argv[2]).write_text(json.dumps(asdict(run_profile(OursTask(**content)))), "utf-8")


if __name__ == "__main__":
    main()
