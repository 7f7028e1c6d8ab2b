"""The audit of a study's text and streams; exit code 3 when a limit is crossed."""

from ccx_ray.cli.command import (
    EXIT_AUDIT_FAILED,
    exit_code,
    parse_study,
    run_command,
    study_parser,
)

DESCRIPTION = """\
Audit every document, every pair and every row that a study will train on: scripts, probing
questions that stand in the text, texts that stand in more than one corpus, rejected text, and the
conditions of every language and seed. What is missing is prepared first.

Ends with exit code 3 when a limit of the study (audit: ...) is crossed.
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
