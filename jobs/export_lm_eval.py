"""Write probe files as tasks of lm-evaluation-harness."""

from pathlib import Path

from ccx_ray.cli.command import job_parser, run_command
from ccx_ray.errors import UserError
from ccx_ray.evaluation.external.harness import GROUP, export_tasks
from ccx_ray.evaluation.external.probe_files import load_probe_file

DESCRIPTION = f"""\
Write probe files as multiple-choice tasks of lm-evaluation-harness. The choices are the filled
sentences, after an empty context. The metric acc makes the same choices as the score sum of
jobs/evaluate.py, and acc_bytes as per_byte. Each file becomes a task; the group {GROUP}
contains all of them.
"""
EXAMPLE = f"""\
example, without a network:
  python jobs/export_lm_eval.py --probes data/probes/*.json --out tasks
  HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 lm_eval run --include_path tasks --tasks {GROUP} \\
      --model hf --model_args pretrained=MODEL,dtype=float32 --device cpu"""


def main() -> None:
    """Parse, read, write."""
    parser = job_parser(DESCRIPTION, example=EXAMPLE)
    parser.add_argument(
        "--probes", type=Path, required=True, nargs="+", metavar="FILE", help="probe files"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="output folder; created if missing"
    )
    parser.add_argument("--lenient", action="store_true", help="skip invalid items and list them")
    arguments = parser.parse_args()
    probes = [(path, load_probe_file(path, lenient=arguments.lenient)) for path in arguments.probes]
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out: {str(arguments.out)!r}: {error.strerror}; give a folder") from None
    names = export_tasks(probes, arguments.out)
    for name, (path, probe) in zip(names, probes, strict=True):
        print(f"{name}: {len(probe.items):,} questions of {path}")
        for one in probe.left_out:
            print(f"  item {one.index} left out: {one.reason}")
        for note in probe.notes:
            print(f"  warning: {note}")
    print(f"{GROUP}: all of them; lm_eval run --include_path {arguments.out} --tasks {GROUP}")


if __name__ == "__main__":
    run_command(main)
