"""Write the tables, figures and the report; run the missing steps first."""

from ccx_ray.cli.command import parse_study, run_command, run_steps, study_parser

DESCRIPTION = """\
Write the report of a study. Missing steps, trials included, are run first. If only analysis fields
change (--set analysis.confidence=0.99), only the report is written again.
"""
EXAMPLE = "python jobs/report.py --study laptop"


def main() -> int:
    """Parse, build, run."""
    study, root = parse_study(study_parser(DESCRIPTION, example=EXAMPLE).parse_args())

    return run_steps(study, root, lambda graph, _: [graph["analysis"]])


if __name__ == "__main__":
    run_command(main)
