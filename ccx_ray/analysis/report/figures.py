"""The figures of the report: transfer, accuracy and losses.

Invariant: a figure shows rows of the results and computes nothing of its own.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ccx_ray.analysis.measures.accuracy import AccuracyRow
from ccx_ray.analysis.measures.inputs import BASE_RUN
from ccx_ray.analysis.measures.probe_quirks import ProbeRow
from ccx_ray.analysis.measures.run_facts import LossCurve
from ccx_ray.analysis.measures.transfer import DIRECTIONS, Direction, TransferRow, probe_of
from ccx_ray.analysis.report.drawing import (
    CONDITION_COLOURS,
    CONDITION_NAMES,
    FAINT,
    INK,
    NARROWEST,
    STYLE,
    direction_titles,
    draw_legend,
    language_colours,
    languages_of,
    panel_grid,
    to_svg,
)
from ccx_ray.analysis.report.wording import short_name
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.text_spec import LanguageSpec
from ccx_ray.study.trials import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def transfer_figure(study: StudySpec, rows: Sequence[TransferRow]) -> str:
    """Transfer over the checkpoints with its interval, and every seed alone."""
    published = [row for row in rows if row.counting == "published"]
    languages = languages_of(study, {row.language for row in published})

    def panel(axes: "Axes", language: LanguageSpec, direction: Direction) -> None:
        cell = [r for r in published if (r.language, r.direction) == (language.code, direction)]
        colour = language_colours(study)[language.code]
        steps = [0, *(row.step for row in cell)]
        axes.axhline(0, color=FAINT, linewidth=0.8)
        axes.fill_between(
            steps,
            [0, *(100 * row.low for row in cell)],
            [0, *(100 * row.high for row in cell)],
            color=colour,
            alpha=0.22,
            linewidth=0,
        )
        axes.plot(steps, [0, *(100 * row.transfer for row in cell)], color=colour, marker="o", ms=3)
        for row in cell:
            if len(row.seeds) > 1:
                points = [100 * transfer for transfer in row.seed_transfers]
                axes.plot([row.step] * len(points), points, "x", color=INK, ms=3.5, mew=0.8)

    return panel_grid(
        languages,
        panel,
        rows=DIRECTIONS,
        title=direction_titles(study),
        label="transfer, points",
        share_y=True,
    )


def accuracy_figure(
    study: StudySpec, rows: Sequence[AccuracyRow], probes: Sequence[ProbeRow]
) -> str:
    """Accuracy under both conditions from the base on, with chance and the first option."""
    languages = languages_of(study, {row.language for row in rows})
    asked = {probe.probe: probe for probe in probes}

    def panel(axes: "Axes", language: LanguageSpec, direction: Direction) -> None:
        probe = probe_of(direction, language.code, study.base_language.code)
        pooled = [r for r in rows if r.probe == probe and r.seed is None]
        base = [row for row in pooled if row.condition == "base"]
        if probe in asked:
            axes.axhline(100 * asked[probe].chance, color=FAINT, linewidth=0.9, linestyle=":")
            first = 100 * asked[probe].first_option_accuracy
            axes.axhline(first, color=FAINT, linewidth=0.9, linestyle="--")
        for condition, colour in CONDITION_COLOURS.items():
            curve = base + [row for row in pooled if row.condition == condition]
            if len(curve) > len(base):
                axes.errorbar(
                    [row.step for row in curve],
                    [100 * row.accuracy for row in curve],
                    yerr=[100 * row.standard_error for row in curve],
                    color=colour,
                    marker="o" if condition == "bridge" else "s",
                    markersize=3,
                    elinewidth=0.9,
                    label=CONDITION_NAMES[condition],
                )

    legend = [
        *((CONDITION_NAMES[key], colour, "-") for key, colour in CONDITION_COLOURS.items()),
        ("always the first option", FAINT, "--"),
        ("chance", FAINT, ":"),
    ]
    return panel_grid(
        languages,
        panel,
        rows=DIRECTIONS,
        title=direction_titles(study),
        label="accuracy, %",
        legend=legend,
    )


def loss_figure(study: StudySpec, trials: Sequence[Trial], curves: Sequence[LossCurve]) -> str:
    """Training loss of the base, and of every trial by language."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    by_run = {curve.run: curve for curve in curves}
    languages = languages_of(study, {t.language for t in trials if t.name in by_run})
    titles = [f"base ({study.base_language.name})", *map(short_name, languages)]
    with mpl.rc_context(dict(STYLE)):
        width = max(NARROWEST, 1.95 * len(titles))
        figure = Figure(figsize=(width, 2.3), layout="constrained")
        panels = figure.subplots(1, len(titles), squeeze=False)[0]
        for axes, title in zip(panels, titles, strict=True):
            axes.set_title(title, loc="left")
            axes.set_xlabel("optimizer step")
        if BASE_RUN in by_run:
            panels[0].plot(by_run[BASE_RUN].steps, by_run[BASE_RUN].losses, color=INK, lw=1)
        for axes, language in zip(panels[1:], languages, strict=True):
            for trial in trials:
                if trial.language == language.code and trial.name in by_run:
                    axes.plot(
                        by_run[trial.name].steps,
                        by_run[trial.name].losses,
                        color=CONDITION_COLOURS[trial.condition],
                        lw=0.9,
                        alpha=0.85,
                    )
        panels[0].set_ylabel("loss, nats a token")
        draw_legend(figure, [(CONDITION_NAMES[k], c, "-") for k, c in CONDITION_COLOURS.items()])
        return to_svg(figure)


def write_figures(figures: Mapping[str, str], folder: Path) -> None:
    """One SVG file a figure."""
    folder.mkdir()
    for name, svg in figures.items():
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
