"""Run one trial of the grid with its evaluations; ``--rerun`` trains it again."""

from ccx_ray.cli.command import parse_study, run_command, run_steps, study_parser
from ccx_ray.study.trials import find_trial

DESCRIPTION = """\
Run one trial of a study and score its checkpoints. A missing base and missing streams are made
first. With --rerun a finished trial is trained again: MLflow gets a new run, and the old run and
its files are kept. When all trials are finished, the analysis is repeated with the new run.
"""
EXAMPLE = "python jobs/run_trial.py --study laptop --trial ko-bridge-s0 --rerun"


def main() -> int:
    """Parse, build, run."""
    parser = study_parser(DESCRIPTION, example=EXAMPLE)
    parser.add_argument(
        "--trial",
        required=True,
        metavar="NAME",
        help="<language>-<bridge|nobridge|deranged>-s<seed>",
    )
    parser.add_argument("--rerun", action="store_true", help="train it again if it is finished")
    arguments = parser.parse_args()
    study, root = parse_study(arguments)
    trial = find_trial(study, arguments.trial)

    from ccx_ray.run import with_analysis_when_possible

    return run_steps(
        study,
        root,
        lambda graph, folders: with_analysis_when_possible(graph, folders, [trial.step]),
        rerun=[trial.step] if arguments.rerun else (),
    )


if __name__ == "__main__":
    run_command(main)
