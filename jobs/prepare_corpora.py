"""Text in, training streams out: everything before the first optimizer step."""

from ccx_ray.command import parse_study, run_command, run_steps, study_parser

DESCRIPTION = """\
Prepare the corpora of a study: read, normalize and isolate the text by script, remove exact
duplicates, train the tokenizer, and write the bridge and no-bridge streams of every language and
seed. Rejected text is counted by reason and kept beside the accepted text.
"""
EXAMPLE = "python jobs/prepare_corpora.py --study laptop"


def main() -> int:
    """Parse, build, run."""
    study, root = parse_study(study_parser(DESCRIPTION, example=EXAMPLE).parse_args())

    return run_steps(study, root, lambda graph, _: graph.of_kind("stream"))


if __name__ == "__main__":
    run_command(main)
