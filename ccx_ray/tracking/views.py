"""Saved views of an MLflow experiment (columns, groups and charts), and addresses of its page.

MLflow's page (3.17) keeps a view as a tag ``mlflow.sharedViewState.<id>`` of the experiment, whose
value is an envelope with the name that its list of saved views shows and the deflated state
(``savedViewEnvelope.ts``, ``ExperimentPageUIState.tsx``, ``runs-charts.types.ts`` of its source).
An older page, or a newer one that reads views otherwise, shows its own defaults.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

VIEW_TAG = "mlflow.sharedViewState."
LONGEST_TAG = 5000
"""Characters of an experiment's tag in MLflow's database."""


@dataclass(frozen=True, kw_only=True)
class LineChart:
    """Metrics by optimizer step, a line for each run or group."""

    title: str
    metrics: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class View:
    """How the list of runs and the charts of an experiment are shown."""

    name: str
    filter: str
    """In MLflow's search language."""
    group_by: str | None
    """A tag; the average over a group's runs is shown."""
    columns: Sequence[tuple[str, str]]
    """(``metrics``, ``params``, ``tags`` or ``attributes``, name)."""
    sections: Mapping[str, Sequence[LineChart]]
    """Title -> its charts."""

    def as_tag(self, identifier: str) -> dict[str, str]:
        """The experiment's tag that holds the view."""
        text = json.dumps(self._state(), separators=(",", ":"))
        state = "deflate;" + base64.b64encode(zlib.compress(text.encode(), 9)).decode()
        # The dates are shown; fixed ones make the same view the same tag.
        envelope = {"name": self.name, "createdAt": 0, "updatedAt": 0, "state": state}
        return {VIEW_TAG + identifier: json.dumps(envelope)}

    def _state(self) -> dict[str, Any]:
        charts, sections = [], []
        for number, (title, lines) in enumerate(self.sections.items()):
            section = f"section-{number}"
            sections.append({"uuid": section, "name": title, "display": True, "isReordered": True})
            charts += [
                {
                    "uuid": f"{section}-{place}",
                    "type": "LINE",
                    "displayName": line.title,
                    "metricKey": line.metrics[0],
                    "selectedMetricKeys": list(line.metrics),
                    "metricSectionId": section,
                    "deleted": False,
                    "isGenerated": False,
                    "runsCountToCompare": 100,
                    "lineSmoothness": 0,
                    "scaleType": "linear",
                    "xAxisScaleType": "linear",
                    "xAxisKey": "step",
                    "yAxisKey": "metric",
                    "useGlobalXaxisKey": True,
                    "useGlobalLineSmoothing": True,
                }
                for place, line in enumerate(lines)
            ]
        group = self.group_by and {
            "aggregateFunction": "average",
            "groupByKeys": [{"mode": "tag", "groupByData": self.group_by}],
        }
        return {
            "searchFilter": self.filter,
            "orderByKey": "attributes.start_time",
            "orderByAsc": True,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "datasetsFilter": [],
            "modelVersionFilter": "All Runs",
            "selectedColumns": [f"{kind}.`{name}`" for kind, name in self.columns],
            "groupBy": group,
            "groupsExpanded": {},
            "useGroupedValuesInCharts": True,
            "runsHiddenMode": "SHOW_ALL",
            "hideEmptyCharts": True,
            "isAccordionReordered": True,
            "compareRunCharts": charts,
            "compareRunSections": sections,
        }


def view_address(server: str, experiment: str, identifier: str, *, charts: bool) -> str:
    """The page of an experiment's runs in a saved view: its table, or its charts."""
    mode = "CHART" if charts else "TABLE"
    page = f"{server.rstrip('/')}/#/experiments/{experiment}/runs"
    return f"{page}?viewStateShareKey={identifier}&compareRunsMode={mode}"


def comparison_address(server: str, experiment: str, runs: Iterable[str]) -> str:
    """The page that sets runs of an experiment side by side."""
    ids, experiments = (
        quote(json.dumps(list(value), separators=(",", ":"))) for value in (runs, [experiment])
    )
    return f"{server.rstrip('/')}/#/compare-runs?runs={ids}&experiments={experiments}"
