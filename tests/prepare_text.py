"""A program for the kill tests: raw English files to a base stream, on a Ray cluster of its own.

python -m tests.prepare_text ROOT TOKENIZER OUT
"""

import sys
from functools import partial
from pathlib import Path

from ccx_ray.corpus.cleaning.text_folder import isolate_text
from ccx_ray.corpus.packing.stream_preparation import prepare_base_stream
from ccx_ray.corpus.tokenizing.tokens import tokenize_text
from ccx_ray.orchestration.cluster import local_cluster
from ccx_ray.orchestration.tasks import RunTasks
from ccx_ray.study.text_spec import CleaningSpec
from tests.small_corpus import base_language

STAGES = ("isolate", "write", "tokenize", "pack")
"""Of the work log, in their order."""


def prepare(root: Path, tokenizer: Path, out: Path, run_tasks: RunTasks) -> None:
    """Prepare everything; what is finished already is kept."""
    text, tokens, stream = (out / name for name in ("text", "tokens", "stream"))
    for folder in (text, tokens, stream):
        folder.mkdir(parents=True, exist_ok=True)
    language = base_language(*sorted(path.name for path in root.glob("*.jsonl")))
    isolate_text(language, root, text, base=language, cleaning=CleaningSpec(), run_tasks=run_tasks)
    tokenize_text(text, tokenizer, tokens, run_tasks=run_tasks)
    prepare_base_stream(tokens, tokenizer, stream, sequence_length=64, seed=0, run_tasks=run_tasks)


if __name__ == "__main__":
    from ccx_ray.orchestration.ray_tasks import run_tasks

    with local_cluster(2):
        prepare(*map(Path, sys.argv[1:]), run_tasks=partial(run_tasks, cpus_per_task=1))
