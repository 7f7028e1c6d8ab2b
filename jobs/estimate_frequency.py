"""Estimate how often the knowledge of each question occurs in each corpus."""

from ccx_ray.cli.command import parse_study, run_command, run_steps, study_parser

DESCRIPTION = """\
Estimate how often the knowledge of every probe question occurs in the English corpus and in the
corpus of its culture's language. The top documents are retrieved, and a judge decides which of them
contain the knowledge. No model is trained.
"""
EXAMPLE = "python jobs/estimate_frequency.py --study laptop"


def main() -> int:
    """Parse, build, run."""
    study, root = parse_study(study_parser(DESCRIPTION, example=EXAMPLE).parse_args())

    return run_steps(study, root, lambda graph, _: graph.of_kind("frequency"))


if __name__ == "__main__":
    run_command(main)
