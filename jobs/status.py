"""Where a study stands, from its storage alone; stops, resumes and repeats parts of it."""

import argparse

from ccx_ray.cli.command import run_command
from ccx_ray.cli.status import find_study, resume, show, stop

DESCRIPTION = """\
Show where a study stands: its steps, its trainings with loss and speed, what waits for evaluation,
what failed and the command that repairs it, what is left of time and money. Only the storage is
read, so this works from every machine that mounts it, in any folder, and without the study's file.

--stop, --resume and --rerun act on the study instead: --resume runs what the last run was asked for
and is not done; --rerun computes something anew, with what is made of it, and keeps the old.
"""
EXAMPLE = """python jobs/status.py --study laptop --watch
  python jobs/status.py --study mine --storage /mnt/ccx --json
  python jobs/status.py --study laptop --rerun ko-bridge-s0"""


def main() -> int:
    """Parse, find, show or act."""
    parser = argparse.ArgumentParser(
        description=DESCRIPTION,
        epilog=f"example:\n  {EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--study", required=True, metavar="NAME|FILE", help="a study's name or its YAML file")
    add("--storage", metavar="URI",
        help="folder of its results (default: the study's runtime.storage)")  # fmt: skip
    add("--json", action="store_true", help="one line of JSON, for scripts")
    add("--watch", action="store_true", help="go on showing it until the driver has ended")
    add("--tracking-uri", metavar="URI",
        help="where MLflow keeps runs, with --resume and --rerun (default: as before)")  # fmt: skip
    acts = parser.add_mutually_exclusive_group()
    acts.add_argument("--stop", action="store_true", help="end the driver as SIGTERM does")
    acts.add_argument("--resume", action="store_true", help="run what is missing, from here")
    acts.add_argument("--rerun", nargs="+", default=[], metavar="NAME",
        help="compute anew: trials (ko-bridge-s0), steps (evaluate-ko-bridge-s0), or all steps of "
        "a kind (frequency)")  # fmt: skip
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
