"""Score any Hugging Face causal model on any probe file."""

import argparse
from pathlib import Path
from typing import get_args

from ccx_ray.cli.command import run_command
from ccx_ray.errors import UserError
from ccx_ray.evaluation.external.probe_files import LAYOUTS, load_probe_file
from ccx_ray.evaluation.models import PRECISIONS, check_model_folder, choose_device
from ccx_ray.evaluation.prefix import PREFIX_RULES
from ccx_ray.storage.publishing import publish_json
from ccx_ray.study.spec import ScoreType

DESCRIPTION = f"""\
Score a Hugging Face causal model on cloze questions: every blank is filled with each option, and
the sentence with the lowest score wins. The score reference is the published rule, the mean
cross-entropy of its tokens. It runs in this process and needs no study.

{LAYOUTS}
"""
PREFIX_HELP = """\
what stands before each sentence of a cloze question: end_of_text (the published rule), the
tokenizer's bos or eos, or none; auto (the default) is end_of_text with --scoring reference on
models whose training texts begin so, such as Qwen2.5, GPT-2 and the models of a study, else what
the tokenizer itself begins a text with; with every other score it is what lm-evaluation-harness
takes, bos or eos where there is none"""
EXAMPLE = """\
example:
  python jobs/evaluate.py --model storage/laptop/base-1a2b3c4d5e6f/checkpoints/step-000300 \\
      --probes data/probes/ko-culture-cloze_en.json data/probes/ko-culture-cloze_ko.json \\
      --consistency --out scores.json"""


def main() -> None:
    """Parse, check, score, write."""
    parser = argparse.ArgumentParser(
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="DIR", help="a Hugging Face model folder")
    add("--probes", type=Path, required=True, nargs="+", metavar="FILE", help="probe files")
    add("--out", type=Path, required=True, metavar="OUT.json", help="scores of every question")
    add("--scoring", choices=get_args(ScoreType), default="reference", help="what ranks options")
    add("--prefix", choices=PREFIX_RULES, default="auto", help=PREFIX_HELP)
    add("--lenient", action="store_true", help="leave out items that are wrong, and list them")
    add("--consistency", action="store_true", help="RankC of every two files in parallel")
    add("--device", default="auto", help="auto (the default), cpu, cuda, cuda:0, cuda:1, ...")
    inexact = "bfloat16 is faster on a GPU and inexact (default: %(default)s)"
    add("--precision", choices=PRECISIONS, default="float32", help=inexact)
    add("--tokens-per-batch", type=int, default=2048, metavar="N",
        help="how much is scored at once; it changes speed and memory, never a choice "
        "(default: %(default)s, the fastest on a CPU; a GPU likes 65536)")  # fmt: skip
    arguments = parser.parse_args()
    if arguments.tokens_per_batch < 1:
        raise UserError(f"--tokens-per-batch: {arguments.tokens_per_batch} is not 1 or more")
    if arguments.prefix == "none" and arguments.scoring == "mutual_information":
        raise UserError("--prefix: 'none', but mutual_information scores options by themselves; "
                        "give another of the two")  # fmt: skip
    check_model_folder(arguments.model)
    if arguments.out.is_dir() or not arguments.out.resolve().parent.is_dir():
        raise UserError(f"--out: {str(arguments.out)!r} is not a file name in an existing folder")
    probes = [(path, load_probe_file(path, lenient=arguments.lenient)) for path in arguments.probes]
    device = choose_device(arguments.device)

    from ccx_ray.cli.tables import print_scores
    from ccx_ray.evaluation.external.models import score_files
    from ccx_ray.evaluation.rank_consistency import parallel_pairs

    content = score_files(
        arguments.model,
        probes,
        scoring=arguments.scoring,
        prefix=arguments.prefix,
        device=device,
        precision=arguments.precision,
        tokens_per_batch=arguments.tokens_per_batch,
        lenient=arguments.lenient,
        parallel=parallel_pairs([probe for _, probe in probes]) if arguments.consistency else (),
    )
    publish_json(arguments.out, content)
    print_scores(content)


if __name__ == "__main__":
    run_command(main)
