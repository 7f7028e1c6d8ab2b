"""``ray job submit`` on a real cluster that asks for a token: docs/howto/cluster.md."""

from tests.tiny_study import TRIALS, FinishedStudy


def test_without_the_token_nothing_is_run(finished_study: FinishedStudy):
    assert finished_study.stranger.returncode != 0
    assert "let in" not in finished_study.stranger.stdout


def test_a_relative_storage_is_refused_inside_a_job(finished_study: FinishedStudy):
    assert "deleted with the Ray job" in finished_study.job.stdout + finished_study.job.stderr


def test_the_whole_study_as_a_job(finished_study: FinishedStudy):
    assert "report.html" in finished_study.job.stdout
    assert "jobs/ui.py" in finished_study.job.stdout
    for trial in TRIALS:
        assert len(finished_study.results.losses(f"trial-{trial}")) == 90
    assert (finished_study.results.folder("analysis") / "report.html").is_file()
