"""The whole study: corpora, base model, all trials, evaluations, frequencies, report."""

from ccx_ray.cli.command import parse_study, run_command, run_steps, study_parser

DESCRIPTION = """\
Run a whole study: isolate the text by script, train the tokenizer, prepare the streams, pretrain
the base, run the grid of continual-pretraining trials, score every checkpoint while they train,
estimate how often the knowledge occurs, and write the report.

The same command continues an interrupted study and repeats nothing that is done. It runs on the
Ray cluster that it is submitted to (ray job submit), or starts a local one on this machine.
"""
EXAMPLE = """python jobs/full_study.py --study laptop
  python jobs/full_study.py --study laptop --set trials.steps=300 trials.seeds=[0]
  python jobs/full_study.py --study paper --dry-run
  ray job submit --working-dir . -- python jobs/full_study.py --study pilot --storage /mnt/ccx"""


def main() -> int:
    """Parse, build, run."""
    parser = study_parser(DESCRIPTION, example=EXAMPLE)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the steps, what is done already, FLOPs, GPU hours, cost and memory, and stop",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="read every byte of what is done already; by default names, sizes and times of change "
        "are compared, which finds all but a change that keeps size and time",
    )
    arguments = parser.parse_args()
    study, root = parse_study(arguments)
    if arguments.dry_run:
        from ccx_ray.cli.plan import print_dry_run

        print_dry_run(study, root)
        return 0

    return run_steps(study, root, lambda graph, _: [graph["analysis"]], verify=arguments.verify)


if __name__ == "__main__":
    run_command(main)
