"""Text in, training streams out: everything before the first optimizer step."""

from ccx_ray.cli.command import parse_study, run_command, run_steps, study_parser

DESCRIPTION = """\
Prepare the corpora of a study: read the text in whatever format it comes, isolate it by script or
language, remove duplicates and near-duplicates, train the tokenizer, and write the streams of every
language, seed and condition. Rejected text is counted by reason and kept beside the accepted text.
Whoever is killed, the same command repeats only what is not finished.
"""
EXAMPLE = "python jobs/prepare_corpora.py --study laptop"


def main() -> int:
    """Parse, build, run."""
    study, root = parse_study(study_parser(DESCRIPTION, example=EXAMPLE).parse_args())

    return run_steps(study, root, lambda graph, _: graph.of_kind("stream"))


if __name__ == "__main__":
    run_command(main)
