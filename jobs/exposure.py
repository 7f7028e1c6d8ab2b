"""List the documents that a trial had read by an optimizer step, and how often."""

from ccx_ray.cli.command import exit_code, parse_study, run_command, study_parser
from ccx_ray.errors import UserError
from ccx_ray.study.trials import find_trial

DESCRIPTION = """\
List the documents that a trial had read by an optimizer step, and how often (1.0 = once in full).
This is computed from the trial's stream, so no model is trained. With --documents it is shown for
these ids at every checkpoint. Otherwise it is summed over all documents of each part, and --out
writes one row per document.
"""
EXAMPLE = "python jobs/exposure.py --study laptop --trial ko-bridge-s0 --step 40 --out seen.parquet"


def main() -> int:
    """Parse, prepare the stream, ask."""
    parser = study_parser(DESCRIPTION, example=EXAMPLE)
    parser.add_argument(
        "--trial",
        required=True,
        metavar="NAME",
        help="<language>-<bridge|nobridge|deranged>-s<seed>",
    )
    parser.add_argument("--step", type=int, metavar="N", help="optimizer step (default: the last)")
    parser.add_argument("--documents", nargs="+", metavar="ID", help="ids of the documents to show")
    parser.add_argument("--out", metavar="FILE.parquet", help="file for one row per document")
    arguments = parser.parse_args()
    study, root = parse_study(arguments)
    trial = find_trial(study, arguments.trial)
    step = study.trials.steps if arguments.step is None else arguments.step
    if not 0 <= step <= study.trials.steps:
        raise UserError(f"--step: {step} is not a step between 0 and {study.trials.steps}")

    import pyarrow.parquet as pq

    from ccx_ray.cli.outcome import print_consumed, print_exposures, print_outcome
    from ccx_ray.corpus.packing.exposure import ExposureLedger
    from ccx_ray.corpus.packing.stream import Stream
    from ccx_ray.run import run_study

    name = f"stream-{trial.language}-s{trial.seed}"
    run = run_study(study, root, targets=lambda graph, _: [graph[name]])
    if not run.outcome.complete:
        print_outcome(run)
        return exit_code(run)
    stream = Stream.open(run.folders.final(run.graph[name]) / trial.condition)
    ledger = ExposureLedger.open(stream, rows_per_step=study.trials.sequences_per_step)
    if arguments.documents:
        print_exposures(ledger, arguments.documents, study.trials.checkpoint_steps)
        return 0
    consumed = ledger.consumed_documents(step)
    print_consumed(consumed, title=f"consumed by {trial.name} at step {step}")
    if arguments.out:
        pq.write_table(consumed, arguments.out)
    return 0


if __name__ == "__main__":
    run_command(main)
