"""How often each piece of knowledge occurs in each corpus."""

from ccx_ray.cli.command import parse_study, run_command, run_steps, study_parser

DESCRIPTION = """\
Estimate how often the knowledge behind every probe question occurs in the English corpus and in
the corpus of its own language: retrieve the top documents, let the judge decide which hold it.
No model is trained for this.
"""
EXAMPLE = "python jobs/estimate_frequency.py --study laptop"


def main() -> int:
    """Parse, build, run."""
    study, root = parse_study(study_parser(DESCRIPTION, example=EXAMPLE).parse_args())

    return run_steps(study, root, lambda graph, _: graph.of_kind("frequency"))


if __name__ == "__main__":
    run_command(main)
