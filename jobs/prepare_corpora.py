"""Prepare the corpora: read, isolate and clean text, train the tokenizer, write the streams."""

from ccx_ray.cli.command import parse_study, run_command, run_steps, study_parser

DESCRIPTION = """\
Prepare the corpora of a study: read the text, isolate it by script or language, remove duplicates
and near-duplicates, train the tokenizer, and write the streams of every language, seed and
condition. Rejected records are counted by reason and kept beside the accepted text. After a crash
the same command repeats only unfinished work.
"""
EXAMPLE = "python jobs/prepare_corpora.py --study laptop"


def main() -> int:
    """Parse, build, run."""
    study, root = parse_study(study_parser(DESCRIPTION, example=EXAMPLE).parse_args())

    return run_steps(study, root, lambda graph, _: graph.of_kind("stream"))


if __name__ == "__main__":
    run_command(main)
