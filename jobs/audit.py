"""The audit of a study's text and streams; exit code 3 when something is wrong with them."""

from ccx_ray.command import EXIT_AUDIT_FAILED, EXIT_FAILED, parse_study, run_command, study_parser

DESCRIPTION = """\
Check every document and every row that a study will train on: no character of a forbidden script,
everything normalized, and the two conditions of every language and seed alike in all but the
togetherness of pairs. The corpora are prepared first where they are not yet.

Writes audit.json into the study's storage folder; ends with exit code 3 when a check fails.
"""
EXAMPLE = "python jobs/audit.py --study laptop"


def main() -> int:
    """Parse, prepare, audit."""
    study, root = parse_study(study_parser(DESCRIPTION, example=EXAMPLE).parse_args())

    from ccx_ray.run import audit_study, run_study
    from ccx_ray.terminal import print_audit, print_outcome

    run = run_study(study, root, targets=lambda graph, _: graph.of_kind("stream"))
    if not run.outcome.complete:
        print_outcome(run)
        return EXIT_FAILED
    audits = audit_study(run)
    print_audit(audits, run.folders.root / "audit.json")
    return 0 if all(audit.clean for audit in audits) else EXIT_AUDIT_FAILED


if __name__ == "__main__":
    run_command(main)
