"""Every panel and every alert is asked of a real Prometheus that scraped the tiny study's cluster.

What the values are is compared with what the study left behind.
"""

import re
import runpy
from typing import Any

import pytest

from tests.jobs import PROJECT
from tests.prometheus import Prometheus
from tests.tiny_study import DOCUMENTS, PAIRS, TRIALS, FinishedStudy

VARIABLES = {"$study": ".*", "$run": ".*", "$__rate_interval": "1m"}


@pytest.fixture(scope="module")
def prometheus(finished_study: FinishedStudy) -> Prometheus:
    if finished_study.prometheus is None:
        pytest.skip(finished_study.no_prometheus)
    return finished_study.prometheus


def values(series: dict[str, Any]) -> list[float]:
    return [float(value) for _, value in series["values"] if value != "NaN"]


def panel_queries() -> list[tuple[str, str]]:
    panels = runpy.run_path(str(PROJECT / "dashboards/build.py"))["dashboard"]().panels
    asked = [panel for panel in panels if panel.type_val != "row"]
    return [(panel.title, target.expr) for panel in asked for target in panel.targets]


def test_every_panel_has_data(prometheus: Prometheus) -> None:
    asked = panel_queries()
    assert len(asked) > 30
    empty = []
    for title, query in asked:
        expression = re.sub(r"\$\w+", lambda variable: VARIABLES[variable[0]], query)
        if not any(map(values, prometheus.range(expression))):
            empty.append((title, expression))
    assert not empty


def test_every_alert_can_be_told(prometheus: Prometheus) -> None:
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == 5
    for rule in rules:
        assert rule["health"] == "ok", rule["lastError"]
        measured = re.fullmatch(r"(.*) [<>] [\d.]+", rule["query"])
        assert measured and prometheus.range(measured[1]), rule["name"]


def test_gauges_say_what_happened(prometheus: Prometheus, finished_study: FinishedStudy) -> None:
    def last(gauge: str, tag: str) -> dict[str, float]:
        found = prometheus.range(f'max by ({tag}) (ray_ccx_{gauge}{{study="tiny"}})')
        return {series["metric"].get(tag, ""): max(values(series)) for series in found}

    # The base trains for two seconds, and may be over before it is reported.
    steps = last("train_step", "run")
    assert all(0 < steps[trial] <= 90 for trial in TRIALS)
    assert last("training_starts", "run") == dict.fromkeys(("base", *TRIALS), 1.0)
    assert last("training_incidents", "kind") == {"failure": 0.0, "preemption": 0.0}
    assert last("trials", "state")["running"] > 0
    assert last("evaluations", "state")["done"] >= 3
    assert last("evaluations", "state")["failed"] == 0
    records = last("corpus_records", "step")
    assert records["text-ko"] == DOCUMENTS + PAIRS
    assert set(records) == {"text-en", "text-ko", "tokens-en", "tokens-ko"}
    seconds = last("training_device_seconds", "run")
    assert all(0 < seconds[run] < 300 for run in ("base", *TRIALS))
    dollars = last("training_dollars", "run")
    assert dollars["base"] == pytest.approx(3 * seconds["base"] / 3600)
