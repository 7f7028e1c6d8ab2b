"""Test the frequency estimate: recall, judges, planted facts, and human review."""

import shutil
from pathlib import Path

from ccx_ray.cli.command import exit_code, parse_study, run_command, study_parser
from ccx_ray.errors import UserError

DESCRIPTION = """\
Test the frequency estimate of a study: recall of every retriever against an exhaustive scan, facts
planted into real text at known frequencies, and agreement of judges. No model is trained.

Human review: --export DIR writes a sheet of retrieved documents for each language, as an HTML page
to read and a CSV table to fill in (column holds: yes, no, unclear). --import reads filled tables
and stores them with the study. The report then gives precision, kappa and a corrected density.
"""
EXAMPLE = "python jobs/validate_frequency.py --study laptop --export sheets"


def main() -> int:
    """Parse, validate, export or import, print."""
    parser = study_parser(DESCRIPTION, example=EXAMPLE)
    parser.add_argument("--export", metavar="DIR", type=Path, help="folder for the review sheets")
    parser.add_argument(
        "--import", dest="filled", metavar="FILE.csv", nargs="+", type=Path, help="filled tables"
    )
    arguments = parser.parse_args()
    study, root = parse_study(arguments)
    if arguments.export and arguments.export.exists() and not arguments.export.is_dir():
        raise UserError(f"--export: {str(arguments.export)!r} is a file; give a folder")
    for path in arguments.filled or ():
        if not path.is_file():
            raise UserError(f"--import: {str(path)!r} does not exist; give a filled table")

    from ccx_ray.cli.outcome import print_outcome
    from ccx_ray.cli.tables import print_review, print_validation
    from ccx_ray.frequency.steps import reviews_folder
    from ccx_ray.frequency.validation.review_import import keep_reviews
    from ccx_ray.run import run_study, with_analysis_when_possible

    run = run_study(study, root, targets=lambda graph, _: [graph["validation"]])
    if not run.outcome.complete:
        print_outcome(run)
        return exit_code(run)
    folder = run.folders.final(run.graph["validation"])
    print_validation(folder)
    if arguments.export:
        arguments.export.mkdir(parents=True, exist_ok=True)
        for sheet in sorted(folder.glob("review-*.*")):
            shutil.copy(sheet, arguments.export)
            print(f"sheet:   {arguments.export / sheet.name}")
    if arguments.filled:
        keep_reviews(
            arguments.filled, folder, reviews_folder(run.folders.root, run.graph["validation"])
        )
        run = run_study(
            study,
            root,
            targets=lambda graph, folders: with_analysis_when_possible(graph, folders, ["review"]),
        )
        print_outcome(run)
        if not run.outcome.complete:
            return exit_code(run)
        print_review(run.folders.final(run.graph["review"]))
    return 0


if __name__ == "__main__":
    run_command(main)
