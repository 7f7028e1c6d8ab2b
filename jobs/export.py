"""A finished study as one folder for others, in the form of a data set of the hub."""

import shlex
from typing import get_args

from ccx_ray.cli.command import job_parser, run_command
from ccx_ray.cli.status import find_study
from ccx_ray.export.checkpoints import Weights

DESCRIPTION = """\
Bundle a finished study into one folder that others can read and build on without ccx_ray: scores
of every question, curves, the order of the data, tables, report, study file and provenance, a card
of the data set and of every model, and the licences of the text. The folder has the form of a data
set repository of the Hugging Face hub. Nothing is computed, nothing is uploaded, and no text of a
source is in it. Only the storage is read.
"""
EXAMPLE = "python jobs/export.py --study laptop --to laptop-export"


def main() -> int:
    """Parse, find, bundle, print the contents."""
    parser = job_parser(DESCRIPTION, example=EXAMPLE)
    add = parser.add_argument
    add("--study", required=True, metavar="NAME|FILE", help="a study's name or its YAML file")
    add("--storage", metavar="URI",
        help="folder of its results (default: the study's runtime.storage)")  # fmt: skip
    add("--to", required=True, metavar="FOLDER", help="what is made: a folder, new or empty")
    add("--weights", choices=get_args(Weights), default="none",
        help="which checkpoints of each model are copied; of the others the hashes and the places "
        "are told (default: none)")  # fmt: skip
    arguments = parser.parse_args()
    folder = find_study(arguments.study, arguments.storage)

    from ccx_ray.export.bundle import export_study
    from ccx_ray.export.rendering import size

    bundle = export_study(folder, arguments.to, arguments.weights)
    copied = sum(one.folder is not None for one in bundle.checkpoints)
    print(f"{bundle.study}: {bundle.files:,} files, {size(bundle.bytes)}, in {bundle.folder}")
    print(f"data:    {', '.join(bundle.data_sets)}")
    print(f"weights: of {copied} of {len(bundle.checkpoints)} checkpoints")
    if bundle.unstated:
        fields = dict.fromkeys(source.field for source in bundle.unstated)
        print(f"licence: not stated for {', '.join(fields)}; state it in the study file (license)")
    print(f"check:   python {shlex.quote(str(bundle.folder / 'read_export.py'))}")
    return 0


if __name__ == "__main__":
    run_command(main)
