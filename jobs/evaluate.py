"""Score any Hugging Face causal model on any probe file."""

import argparse
from pathlib import Path

from ccx_ray.command import run_command
from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import check_model_folder
from ccx_ray.evaluation.probes import load_probe
from ccx_ray.storage import publish_json

DESCRIPTION = """\
Score a Hugging Face causal model on cloze questions with the published rule: the blank is filled
with each option, the sentence with the lowest mean token cross-entropy wins. It runs in this
process, on a GPU where there is one, and needs no study.

A probe file is a JSON list of {"question": "... ___ ...", "options": [...], "answer": "..."}.
"""
EXAMPLE = """\
example:
  python jobs/evaluate.py --model storage/laptop/base-1a2b3c4d5e6f/checkpoints/step-000300 \\
      --probes data/probes/ko-culture-cloze_en.json data/probes/ko-culture-cloze_ko.json \\
      --out scores.json"""


def main() -> None:
    """Parse, check, score, write."""
    parser = argparse.ArgumentParser(
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model", type=Path, required=True, metavar="DIR", help="a Hugging Face model folder"
    )
    parser.add_argument(
        "--probes", type=Path, required=True, nargs="+", metavar="FILE", help="probe files"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="OUT.json", help="scores of every question"
    )
    parser.add_argument(
        "--scoring", choices=["reference"], default="reference", help="the published rule"
    )
    parser.add_argument(
        "--tokens-per-batch",
        type=int,
        default=2048,
        metavar="N",
        help="how much is scored at once; it changes speed and memory, never a choice "
        "(default: %(default)s, the fastest on a CPU; a GPU likes 65536)",
    )
    arguments = parser.parse_args()
    if arguments.tokens_per_batch < 1:
        raise UserError(f"--tokens-per-batch: {arguments.tokens_per_batch} is not 1 or more")
    check_model_folder(arguments.model)
    probes = [(path, load_probe(path, path.stem)) for path in arguments.probes]
    if arguments.out.is_dir() or not arguments.out.resolve().parent.is_dir():
        raise UserError(f"--out: {str(arguments.out)!r} is not a file name in an existing folder")

    from ccx_ray.evaluation.outside_models import print_accuracies, score_files

    content = score_files(arguments.model, probes, tokens_per_batch=arguments.tokens_per_batch)
    publish_json(arguments.out, content)
    print_accuracies(content)


if __name__ == "__main__":
    run_command(main)
