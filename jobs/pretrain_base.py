"""The base model: pretrained on the base language alone, and evaluated."""

from ccx_ray.cli.command import parse_study, run_command, run_steps, study_parser

DESCRIPTION = """\
Pretrain the base model of a study on script-isolated English, and score its checkpoints on every
probe file. The corpora are prepared first where they are not yet.
"""
EXAMPLE = "python jobs/pretrain_base.py --study laptop"


def main() -> int:
    """Parse, build, run."""
    study, root = parse_study(study_parser(DESCRIPTION, example=EXAMPLE).parse_args())

    return run_steps(study, root, lambda graph, _: [graph["evaluate-base"]])


if __name__ == "__main__":
    run_command(main)
