"""Serve MLflow's UI and print the addresses of a study: trials, charts, side by side."""

from pathlib import Path

from ccx_ray.analysis.study_views import TRAININGS
from ccx_ray.cli.command import job_parser, run_command
from ccx_ray.cli.terminal import open_console
from ccx_ray.errors import UserError
from ccx_ray.storage.publishing import storage_folder
from ccx_ray.study.spec import RuntimeSpec
from ccx_ray.tracking.places import default_tracking_uri
from ccx_ray.tracking.ui import pages, serve

DESCRIPTION = """\
Serve MLflow's UI on 127.0.0.1 for the runs of a storage. Print three addresses for each study: the
trials by language and condition, their charts, and the trials side by side. With --tracking-uri,
print the addresses on that server and start nothing.
"""
EXAMPLE = """python jobs/ui.py --study laptop
  python jobs/ui.py --study pilot --tracking-uri https://mlflow.lab.example"""


def main() -> int:
    """Parse, serve, print."""
    parser = job_parser(DESCRIPTION, example=EXAMPLE)
    add = parser.add_argument
    add("--study", metavar="NAME", help="one study (default: all studies of the storage)")
    add("--storage", metavar="URI", default=RuntimeSpec().storage,
        help="folder of the results (default: %(default)s)")  # fmt: skip
    add("--tracking-uri", metavar="URI",
        help="server or database with the runs (default: mlflow.db in the storage)")  # fmt: skip
    add("--port", type=int, default=5000, help="port of the UI (default: %(default)s)")
    arguments = parser.parse_args()
    uri, server = arguments.tracking_uri, None
    if uri is None:
        storage = storage_folder(arguments.storage)
        if not (storage / "mlflow.db").is_file():
            raise UserError(
                f"--storage: {str(storage / 'mlflow.db')!r} does not exist; run a study first "
                "(make study), or give the storage of a study"
            )
        uri = default_tracking_uri(Path(storage))
    served = uri.startswith(("http://", "https://"))
    address = uri if served else f"http://127.0.0.1:{arguments.port}"
    found = list(pages(uri, address, TRAININGS, arguments.study))
    if not served:
        server = serve(uri, arguments.port)
    console = open_console()
    for study, page, at in found:
        console.print(f"{study}, {page}:\n  {at}", soft_wrap=True, highlight=False, markup=False)
    return server.wait() if server else 0


if __name__ == "__main__":
    run_command(main)
