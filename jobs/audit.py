"""Audit a study's text and streams; exit code 3 when a limit is exceeded."""

from ccx_ray.cli.command import (
    EXIT_AUDIT_FAILED,
    exit_code,
    parse_study,
    run_command,
    study_parser,
)

DESCRIPTION = """\
Audit all text and all rows that a study will train on. The audit checks scripts, probe questions in
the text, documents in more than one corpus, rejected records, and the conditions of every language
and seed. Missing corpora are prepared first.

Ends with exit code 3 when a limit of the study (audit: ...) is exceeded.
"""
EXAMPLE = "python jobs/audit.py --study laptop --set audit.contaminated_share=0.01"


def main() -> int:
    """Parse, prepare, audit, judge."""
    study, root = parse_study(study_parser(DESCRIPTION, example=EXAMPLE).parse_args())

    from ccx_ray.cli.outcome import print_outcome
    from ccx_ray.cli.tables import print_audit
    from ccx_ray.corpus.audit.auditing import PAGE, read_figures
    from ccx_ray.corpus.audit.figures import verdicts
    from ccx_ray.run import run_study

    run = run_study(study, root, targets=lambda graph, _: [graph["audit"]])
    if not run.outcome.complete:
        print_outcome(run)
        return exit_code(run)
    folder = run.folders.final(run.graph["audit"])
    figures = read_figures(folder)
    judged = verdicts(figures, study.audit)
    print_audit(figures, judged, folder / PAGE)
    return 0 if all(verdict.passed for verdict in judged) else EXIT_AUDIT_FAILED


if __name__ == "__main__":
    run_command(main)
