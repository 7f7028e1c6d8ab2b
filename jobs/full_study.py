"""Run the whole study: corpora, base model, all trials, evaluations, frequencies, report."""

from ccx_ray.cli.command import parse_study, run_command, run_steps, study_parser

DESCRIPTION = """\
Run a whole study: isolate the text by script, train the tokenizer, prepare the streams, pretrain
the base model, run the grid of continual-pretraining trials, score every checkpoint during
training, estimate the frequency of each question's knowledge, and write the report.

The same command continues an interrupted study; finished steps are not repeated. It runs on the Ray
cluster it is submitted to (ray job submit), or starts a local one on this machine.
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
        help="compute nothing; print the steps and which are done, FLOPs, GPU hours, cost, memory "
        "and the smallest transfer that the study can detect",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="read every byte of finished steps; by default only names, sizes and modification "
        "times are compared",
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
