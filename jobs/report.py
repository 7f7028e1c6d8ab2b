"""The tables, figures and the report, with whatever they still need."""

from ccx_ray.cli.command import parse_study, run_command, run_steps, study_parser

DESCRIPTION = """\
Write the report of a study. What it needs and is not done yet, trials included, is run first; a
change of analysis fields (--set analysis.confidence=0.99) computes nothing but the report anew.
"""
EXAMPLE = "python jobs/report.py --study laptop"


def main() -> int:
    """Parse, build, run."""
    study, root = parse_study(study_parser(DESCRIPTION, example=EXAMPLE).parse_args())

    return run_steps(study, root, lambda graph, _: [graph["analysis"]])


if __name__ == "__main__":
    run_command(main)
