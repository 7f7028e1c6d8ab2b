"""Show the progress of a study from its storage; stop, resume or rerun it."""

from ccx_ray.cli.command import job_parser, run_command
from ccx_ray.cli.status import find_study, resume, show, stop

DESCRIPTION = """\
Show the progress of a study: its steps, its trainings with loss and speed, waiting evaluations,
failures with the command that repairs each, and the remaining time and cost. Only the storage is
read. So this works on every machine that mounts the storage, in any folder, without the study file.

--stop, --resume and --rerun act on the study. --resume runs the unfinished steps of the last run.
--rerun computes steps again, with the steps that depend on them, and keeps the old results.
"""
EXAMPLE = """python jobs/status.py --study laptop --watch
  python jobs/status.py --study mine --storage /mnt/ccx --json
  python jobs/status.py --study laptop --rerun ko-bridge-s0"""


def main() -> int:
    """Parse, find, show or act."""
    parser = job_parser(DESCRIPTION, example=EXAMPLE)
    add = parser.add_argument
    add("--study", required=True, metavar="NAME|FILE", help="name or YAML file of a study")
    add("--storage", metavar="URI",
        help="folder of its results (default: the study's runtime.storage)")  # fmt: skip
    add("--json", action="store_true", help="one line of JSON, for scripts")
    add("--watch", action="store_true", help="refresh until the driver ends")
    add("--tracking-uri", metavar="URI",
        help="MLflow tracking server, for --resume and --rerun (default: as before)")  # fmt: skip
    acts = parser.add_mutually_exclusive_group()
    acts.add_argument("--stop", action="store_true", help="end the driver as SIGTERM does")
    acts.add_argument("--resume", action="store_true", help="run the unfinished steps, here")
    acts.add_argument("--rerun", nargs="+", default=[], metavar="NAME",
        help="compute again: trials (ko-bridge-s0), steps (evaluate-ko-bridge-s0), or all steps "
        "of a kind (frequency)")  # fmt: skip
    arguments = parser.parse_args()
    folder = find_study(arguments.study, arguments.storage)
    if arguments.stop:
        stop(folder)
    elif arguments.resume or arguments.rerun:
        return resume(folder, arguments.tracking_uri, arguments.rerun)
    else:
        show(folder, as_json=arguments.json, watch=arguments.watch)
    return 0


if __name__ == "__main__":
    run_command(main)
