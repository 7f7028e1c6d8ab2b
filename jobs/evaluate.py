"""Score any Hugging Face causal model on any probe file."""

from pathlib import Path
from typing import get_args

from ccx_ray.cli.command import job_parser, run_command
from ccx_ray.errors import UserError
from ccx_ray.evaluation.external.probe_files import LAYOUTS, load_probe_file
from ccx_ray.evaluation.models import PRECISIONS, check_model_folder, choose_device
from ccx_ray.evaluation.prefix import PREFIX_RULES
from ccx_ray.storage.publishing import publish_json
from ccx_ray.study.spec import ScoreType

DESCRIPTION = f"""\
Score a Hugging Face causal model on cloze questions. Every blank is filled with each option, and
the sentence with the lowest score wins. The default score, reference, is the published one: the
mean cross-entropy of the sentence's tokens. The job needs no study and no cluster.

{LAYOUTS}
"""
PREFIX_HELP = """\
the token before each sentence of a cloze question: end_of_text (the published rule), the
tokenizer's bos or eos, or none. The default, auto, depends on --scoring. With reference it is
end_of_text for models whose training texts begin with it (Qwen2.5, GPT-2, the models of a study),
otherwise the token with which the tokenizer begins a text. With every other score it is that of
lm-evaluation-harness: bos, or eos if there is no bos"""
EXAMPLE = """\
python jobs/evaluate.py --model storage/laptop/base-1a2b3c4d5e6f/checkpoints/step-000300 \\
      --probes data/probes/ko-culture-cloze_en.json data/probes/ko-culture-cloze_ko.json \\
      --consistency --out scores.json"""


def main() -> None:
    """Parse, check, score, write."""
    parser = job_parser(DESCRIPTION, example=EXAMPLE)
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="DIR", help="a Hugging Face model folder")
    add("--probes", type=Path, required=True, nargs="+", metavar="FILE", help="probe files")
    add("--out", type=Path, required=True, metavar="OUT.json", help="the output file")
    add("--scoring", choices=get_args(ScoreType), default="reference",
        help="score that ranks the options (default: %(default)s)")  # fmt: skip
    add("--prefix", choices=PREFIX_RULES, default="auto", help=PREFIX_HELP)
    add("--lenient", action="store_true", help="skip invalid items and list them")
    add("--consistency", action="store_true", help="also compute RankC of every two parallel files")
    add("--device", default="auto", help="auto (the default), cpu, cuda, cuda:0, cuda:1, ...")
    inexact = "bfloat16 is faster on a GPU, but inexact (default: %(default)s)"
    add("--precision", choices=PRECISIONS, default="float32", help=inexact)
    add("--tokens-per-batch", type=int, default=2048, metavar="N",
        help="padded tokens per forward pass; changes speed and memory, never a result "
        "(default: %(default)s, the fastest on a CPU; use 65536 on a GPU)")  # fmt: skip
    arguments = parser.parse_args()
    if arguments.tokens_per_batch < 1:
        raise UserError(f"--tokens-per-batch: {arguments.tokens_per_batch} is not 1 or more")
    if arguments.prefix == "none" and arguments.scoring == "mutual_information":
        raise UserError("--prefix: 'none' does not work with --scoring mutual_information, which "
                        "scores each option alone; change one of the two")  # fmt: skip
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
