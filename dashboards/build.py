"""Writes the Grafana dashboard as JSON: ``python dashboards/build.py FOLDER``.

Made with Grafana's own SDK, whose classes are generated from Grafana's schemas. Every query drops
the tags that Ray adds (process, node, session): a training that was started again would else be a
new line.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from grafana_foundation_sdk.builders import common, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DataSourceRef,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

FILE = "ccx-ray.json"
WIDTH, HEIGHT = 24, 8
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${datasource}")
STUDY = 'study=~"$study"'
RUN = f'{STUDY}, run=~"$run"'

AnyPanel = TypeVar("AnyPanel", timeseries.Panel, stat.Panel)
Query = tuple[str, str]
"""An expression, and the legend of its lines."""


def of_runs(gauge: str) -> Query:
    """A gauge of every training that is chosen."""
    return f"max by (study, run) (ray_ccx_{gauge}{{{RUN}}})", "{{run}}"


def of_study(gauge: str, by: str, tags: str = "") -> Query:
    """A gauge of the chosen studies, added up by a tag."""
    return f"sum by ({by}) (ray_ccx_{gauge}{{{STUDY}{tags}}})", f"{{{{{by}}}}}"


def graph(
    title: str,
    description: str,
    *queries: Query,
    unit: str = units.Short,
    width: int = 8,
    stacked: bool = False,
    most: float | None = None,
) -> timeseries.Panel:
    """A panel of lines over time, from zero on."""
    stacking = StackingMode.NORMAL if stacked else StackingMode.NONE
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .height(HEIGHT)
        .span(width)
        .unit(unit)
        .min(0)
        .line_width(1)
        .fill_opacity(30 if stacked else 0)
        .span_nulls(False)
        .show_points(VisibilityMode.NEVER)
        .stacking(common.StackingConfig().mode(stacking))
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.RIGHT)
            .calcs(["lastNotNull"])
        )
        .tooltip(
            common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
        )
    )
    if most is not None:
        panel.max(most)
    return _asking(panel, queries)


def number(title: str, description: str, *queries: Query, unit: str, width: int = 4) -> stat.Panel:
    """A panel of the newest values as numbers."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .height(HEIGHT)
        .span(width)
        .unit(unit)
        .graph_mode(BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    return _asking(panel, queries)


def _asking(panel: AnyPanel, queries: Sequence[Query]) -> AnyPanel:
    for letter, (expression, legend) in zip("ABCDEF", queries, strict=False):
        query = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(letter)
        panel.with_target(query.range().datasource(PROMETHEUS))
    return panel


PANELS = {
    "Study": [
        graph(
            "Trials",
            "By state. One that failed stays so until the study is started again.",
            of_study("trials", "state"),
            stacked=True,
        ),
        graph(
            "Steps by state",
            "All steps of the study: texts, streams, trainings, evaluations and on.",
            of_study("steps", "state"),
            stacked=True,
        ),
        graph(
            "Steps left by stage",
            "Waiting or running.",
            of_study("steps", "stage", ', state=~"waiting|running"'),
        ),
        number(
            "Cost so far",
            "Trainings: device hours times runtime.cost.dollars_per_device_hour, earlier runs "
            "included; start-ups and evaluations are not counted. Judges: what was paid.",
            (f"sum(ray_ccx_training_dollars{{{STUDY}}})", "trainings"),
            (f"sum(ray_ccx_judge_dollars{{{STUDY}}})", "judges"),
            unit=units.Dollars,
            width=6,
        ),
        number(
            "Device hours",
            "Time that workers trained, times their GPUs; on CPUs a worker counts as one device.",
            (f"sum(ray_ccx_training_device_seconds{{{STUDY}}})", "trained"),
            unit=units.Seconds,
            width=6,
        ),
        graph(
            "Storage",
            "The disk that the study's folder is on.",
            (f"min by (study) (ray_ccx_storage_free_bytes{{{STUDY}}})", "free, {{study}}"),
            (f"max by (study) (ray_ccx_storage_bytes{{{STUDY}}})", "size, {{study}}"),
            unit=units.BytesIEC,
            width=12,
        ),
    ],
    "Corpus": [
        graph(
            "Records per second",
            "Records read and isolated (text), documents and pairs tokenized (tokens).",
            (
                f"sum by (step) (rate(ray_ccx_corpus_records{{{STUDY}}}[$__rate_interval]))",
                "{{step}}",
            ),
            width=12,
        ),
        graph(
            "Records so far",
            "Of this run of the driver.",
            of_study("corpus_records", "step"),
            width=12,
        ),
    ],
    "Training": [
        graph(
            "Loss",
            "Mean next-token cross-entropy of the last step, in nats. Bridge and no-bridge of one "
            "language should lie close together; a line that ends has lost its worker.",
            of_runs("train_loss"),
            width=12,
        ),
        graph(
            "Optimizer steps",
            "A line that falls back was resumed from an earlier state.",
            of_runs("train_step"),
            width=12,
        ),
        graph(
            "Tokens per second",
            "Of the last step, over all workers of a training.",
            of_runs("train_tokens_per_second"),
        ),
        graph(
            "Tokens per second of the study",
            "Of all trainings together.",
            (
                "sum by (study) (max by (study, run) "
                f"(ray_ccx_train_tokens_per_second{{{STUDY}}}))",
                "{{study}}",
            ),
        ),
        graph(
            "Model FLOPs utilization",
            "Over the peak of the devices; of one that is not known only with CCX_RAY_PEAK_TFLOPS.",
            of_runs("train_mfu"),
            unit=units.PercentUnit,
        ),
        graph(
            "Waiting for rows",
            "Share of the last step; above a percent, look at the storage.",
            of_runs("train_data_wait_share"),
            unit=units.PercentUnit,
        ),
        graph(
            "Workers",
            "Of the last step; elastic trainings change it.",
            of_runs("train_workers"),
        ),
        graph(
            "Peak memory",
            "The most that rank 0 took, of its GPU or as a process.",
            of_runs("train_peak_memory_gib"),
            unit=units.Gibibytes,
        ),
        graph(
            "Failures and preemptions",
            "Workers that died by themselves, and workers whose node was taken away.",
            (
                f"sum by (run, kind) (ray_ccx_training_incidents{{{RUN}}})",
                "{{run}} {{kind}}",
            ),
        ),
        graph(
            "Starts of workers",
            "One is usual; every restart and every other number of workers is one more.",
            of_runs("training_starts"),
        ),
        graph(
            "Silence",
            "Time since a running training has said how far it is; it may be waiting for nodes.",
            of_runs("training_quiet_seconds"),
            unit=units.Seconds,
        ),
    ],
    "Evaluation": [
        graph(
            "Queue of evaluations",
            "Published checkpoints that wait for an evaluator, and those being scored.",
            of_study("evaluations", "state", ', state=~"waiting|running"'),
            width=12,
            stacked=True,
        ),
        graph(
            "Checkpoints scored",
            "And those that could not be.",
            of_study("evaluations", "state", ', state=~"done|failed"'),
            width=12,
        ),
    ],
    "Frequency": [
        graph(
            "Judge requests",
            "Requests to endpoint judges, in all runs of the study; other judges ask nobody.",
            of_study("judge_requests", "study"),
            width=12,
        ),
        graph(
            "Judge dollars",
            "At the prices of runtime.judge; a request without an answer counts as paid.",
            of_study("judge_dollars", "study"),
            unit=units.Dollars,
            width=12,
        ),
    ],
    "Cluster": [
        graph(
            "Nodes",
            "Nodes that are up, and nodes that the autoscaler is waiting for. Spot nodes that are "
            "taken back show as a step down.",
            ("sum(ray_cluster_active_nodes)", "active"),
            ("sum(autoscaler_pending_nodes)", "asked for"),
        ),
        graph(
            "CPUs in use",
            "Logical CPUs that Ray has promised to tasks and actors, and those still free.",
            ('sum(ray_resources{Name="CPU",State="USED"})', "used"),
            ('sum(ray_resources{Name="CPU",State="AVAILABLE"})', "free"),
            stacked=True,
        ),
        graph(
            "GPUs in use",
            "Logical GPUs that Ray has promised, and those still free. Free GPUs while trials wait "
            "mean that something else is short.",
            ('sum(ray_resources{Name="GPU",State="USED"}) or vector(0)', "used"),
            ('sum(ray_resources{Name="GPU",State="AVAILABLE"}) or vector(0)', "free"),
            stacked=True,
        ),
        graph(
            "CPU utilization",
            "Of each machine, by its operating system.",
            ("max by (ip) (ray_node_cpu_utilization)", "{{ip}}"),
            unit=units.Percent,
            most=100,
        ),
        graph(
            "Memory used",
            "Of each machine. Ray kills tasks at 95 %.",
            ("max by (ip) (ray_node_mem_used / ray_node_mem_total)", "{{ip}}"),
            unit=units.PercentUnit,
            most=1,
        ),
        graph(
            "Disk free",
            "Of each machine, in Ray's temporary folder.",
            ("min by (ip) (ray_node_disk_free)", "{{ip}}"),
            unit=units.BytesIEC,
        ),
        graph(
            "Object store",
            "Bytes held for tasks, and bytes spilled to disk, which slows the corpus stage down.",
            ("sum by (Location) (ray_object_store_memory)", "{{Location}}"),
            unit=units.BytesIEC,
            width=12,
        ),
        graph(
            "Live actors and running tasks",
            "Actors alive by class: trainers, evaluators, data workers; and tasks now running.",
            ('sum by (Name) (ray_actors{Source="gcs",State="ALIVE"})', "{{Name}}"),
            ('sum(ray_tasks{State="RUNNING"})', "tasks running"),
            width=12,
        ),
    ],
}


def dashboard() -> Dashboard:
    """The whole dashboard: a row a stage."""
    built = (
        grafana.Dashboard("ccx_ray: a study on its cluster")
        .uid("ccx-ray")
        .tags(["ccx_ray"])
        .refresh("10s")
        .time("now-3h", "now")
        .timezone("browser")
        .with_variable(
            grafana.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
        .with_variable(_choice("study", "Study", "label_values(ray_ccx_steps, study)"))
        .with_variable(
            _choice("run", "Trial", f"label_values(ray_ccx_training_starts{{{STUDY}}}, run)")
        )
    )
    for title, panels in PANELS.items():
        built.with_row(grafana.Row(title))
        for panel in panels:
            built.with_panel(panel)
    whole = built.build()
    for identity, panel in enumerate(whole.panels or [], start=1):
        panel.id_val = identity
    return whole


def _choice(name: str, label: str, query: str) -> grafana.QueryVariable:
    """A variable with all values chosen at first."""
    return (
        grafana.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(PROMETHEUS)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def main() -> None:
    """Write the dashboard into the folder that is named."""
    if len(sys.argv) != 2:
        print("usage: python dashboards/build.py FOLDER", file=sys.stderr)
        sys.exit(2)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    text = JSONEncoder(indent=2, sort_keys=True).encode(dashboard())
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
