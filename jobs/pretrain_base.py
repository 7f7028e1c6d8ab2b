"""Pretrain the base model on the base language and evaluate it."""

from ccx_ray.cli.command import parse_study, run_command, run_steps, study_parser

DESCRIPTION = """\
Pretrain the base model of a study on script-isolated English, and score its checkpoints on every
probe file. Missing corpora are prepared first.
"""
EXAMPLE = "python jobs/pretrain_base.py --study laptop"


def main() -> int:
    """Parse, build, run."""
    study, root = parse_study(study_parser(DESCRIPTION, example=EXAMPLE).parse_args())

    return run_steps(study, root, lambda graph, _: [graph["evaluate-base"]])


if __name__ == "__main__":
    run_command(main)
