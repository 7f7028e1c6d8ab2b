"""Figures of answers: transfer, accuracy, scores, ties, positions, proficiency, RankC, losses.

Invariant: a figure shows rows of the results and computes nothing of its own; where there is
nothing to show, there is no figure.
"""

import math
from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ccx_ray.analysis.measures.noise import HEADLINE
from ccx_ray.analysis.measures.run_facts import loss_curves
from ccx_ray.analysis.measures.transfer import (
    DIRECTIONS,
    interval_of,
    is_claim,
    is_significant,
    probe_of,
)
from ccx_ray.analysis.report.drawing import (
    CONDITION_COLOURS,
    FAINT,
    INK,
    NARROWEST,
    condition_curves,
    condition_legend,
    conditions_of,
    draw_legend,
    grouped,
    interval_mark,
    language_colours,
    languages_of,
    name_rows,
    panel_grid,
    panel_row,
)
from ccx_ray.analysis.tables import BASE_RUN, AnalysisInputs, Results
from ccx_ray.analysis.wording import SCORE_NAMES, condition_name, direction_name, short_name
from ccx_ray.evaluation.results import SCORE_TYPES
from ccx_ray.study.spec import Direction, StudySpec
from ccx_ray.study.text_spec import LanguageSpec

COLOURS = {"base": INK, **CONDITION_COLOURS}
FIRST_OPTION = {"always the first option": {"color": FAINT, "linestyle": "--"}}


def answer_figure(study: StudySpec, results: Results) -> Figure | None:
    """The headline of every cell with its interval, found ones filled, over the transfers that are
    too small for the design to be seen."""
    rows = {(row.language, row.direction): row for row in results.headlines}
    languages = languages_of(study, (language for language, _ in rows))
    if not languages:
        return None
    cells = [
        (language, direction)
        for direction in DIRECTIONS
        for language in languages
        if (language.code, direction) in rows
    ]
    figure, (axes,) = panel_row(NARROWEST, 0.8 + 0.27 * len(cells))
    for place, (language, direction) in enumerate(cells):
        row = rows[language.code, direction]
        seen = 100 * (row.visible if is_claim(row) else row.question_visible)
        if math.isfinite(seen):
            axes.barh(place, 2 * seen, height=0.7, left=-seen, color=FAINT, alpha=0.18)
        low, high = interval_of(row)
        value = (100 * row.transfer, 100 * low, 100 * high)
        colour = language_colours(study)[language.code]
        interval_mark(axes, place, value, colour, filled=is_significant(study, row))
    axes.axvline(0, color=FAINT, linewidth=0.8)
    axes.margins(x=0.04)
    base = study.base_language.name
    name_rows(axes, [direction_name(way, base, short_name(language)) for language, way in cells])
    axes.set_xlabel("transfer, points of accuracy")
    return figure


def transfer_figure(study: StudySpec, results: Results) -> Figure | None:
    """Transfer over the checkpoints with its interval over questions (dark) and over questions and
    trainings (light), and every seed alone."""
    cells = grouped(results.transfers, "language", "direction", "counting")

    def panel(axes: Axes, language: LanguageSpec, direction: Direction) -> None:
        cell = cells[language.code, direction, "published"]
        colour = language_colours(study)[language.code]
        steps = [0, *(row.step for row in cell)]
        axes.axhline(0, color=FAINT, linewidth=0.8)
        for prefix, alpha in (("", 0.12), ("question_", 0.25)):
            low, high = (
                [0, *(100 * getattr(row, prefix + end) for row in cell)] for end in ("low", "high")
            )
            axes.fill_between(steps, low, high, color=colour, alpha=alpha, linewidth=0)
        values = [0, *(100 * row.transfer for row in cell)]
        axes.plot(steps, values, color=colour, marker="o", ms=3)
        for row in cell:
            if len(row.seeds) > 1:
                points = [100 * transfer for transfer in row.seed_transfers]
                axes.plot([row.step] * len(points), points, "x", color=INK, ms=3.5, mew=0.8)

    codes = [language for language, _, _ in cells]
    return panel_grid(study, codes, panel, label="transfer, points", share_y=True)


def accuracy_figure(study: StudySpec, results: Results) -> Figure | None:
    """Accuracy under every condition from the base on, with chance and the first option."""
    pooled = grouped((row for row in results.accuracies if row.seed is None), "probe")
    asked = {probe.probe: probe for probe in results.probes}

    def panel(axes: Axes, language: LanguageSpec, direction: Direction) -> None:
        probe = probe_of(direction, language.code, study.base_language.code)
        if probe in asked:
            axes.axhline(100 * asked[probe].chance, color=FAINT, linewidth=0.9, linestyle=":")
            first = 100 * asked[probe].first_option_accuracy
            axes.axhline(first, color=FAINT, linewidth=0.9, linestyle="--")
        condition_curves(
            axes, pooled[(probe,)], "accuracy", lambda row: (row.standard_error,) * 2, unit=100
        )

    chance = {"chance": {"color": FAINT, "linestyle": ":"}}
    legend = {**condition_legend(study), **FIRST_OPTION, **chance}
    codes = [row.language for row in results.accuracies]
    return panel_grid(study, codes, panel, label="accuracy, %", legend=legend)


def score_figure(study: StudySpec, results: Results) -> Figure | None:
    """Transfer with its interval under every score, the study's own filled."""
    cells = grouped(results.score_transfers, "language", "direction", "counting")
    languages = languages_of(study, (language for language, _, _ in cells))

    def panel(axes: Axes, language: LanguageSpec, direction: Direction) -> None:
        colour = language_colours(study)[language.code]
        axes.axvline(0, color=FAINT, linewidth=0.8)
        for row in cells[language.code, direction, "published"]:
            low, high = interval_of(row)
            axes.errorbar(
                100 * row.transfer,
                SCORE_TYPES.index(row.score),
                xerr=[[100 * (row.transfer - low)], [100 * (high - row.transfer)]],
                fmt="o",
                color=colour,
                markerfacecolor=colour if row.score == study.evaluation.scoring else "white",
                markersize=4.5,
                elinewidth=1.1,
                capsize=2,
            )
        first = language is languages[0]
        name_rows(axes, [SCORE_NAMES[kind] if first else "" for kind in SCORE_TYPES])

    codes = [language.code for language in languages]
    return panel_grid(study, codes, panel, label="", across="transfer, points")


def noise_figure(study: StudySpec, results: Results) -> Figure | None:
    """Transfer at the last checkpoint under every score, with its spread over the last checkpoints
    (thick) and over the seeds (thin), the study's own score filled."""
    rows = [row for row in results.noise if row.group == HEADLINE]
    rows = [row for row in rows if row.checkpoints > 1 or row.seeds > 1]
    cells = grouped(rows, "language", "direction")
    languages = languages_of(study, (language for language, _ in cells))

    def panel(axes: Axes, language: LanguageSpec, direction: Direction) -> None:
        colour = language_colours(study)[language.code]
        axes.axvline(0, color=FAINT, linewidth=0.8)
        for row in cells[language.code, direction]:
            middle, place = 100 * row.transfer_last, SCORE_TYPES.index(row.score)
            for spread, width in ((row.over_seeds, 1.1), (row.over_checkpoints, 3.5)):
                ends = [middle - 100 * spread, middle + 100 * spread]
                axes.plot(ends, [place, place], color=colour, linewidth=width, alpha=0.6)
            face = colour if row.score == study.evaluation.scoring else "white"
            axes.plot(middle, place, "o", color=colour, markerfacecolor=face, markersize=4.5)
        first = language is languages[0]
        name_rows(axes, [SCORE_NAMES[kind] if first else "" for kind in SCORE_TYPES])

    codes = [language.code for language in languages]
    return panel_grid(study, codes, panel, label="", across="transfer, points")


def tie_figure(study: StudySpec, results: Results) -> Figure | None:
    """Accuracy with ties by order, shared and wrong, beside the rule to take the first option."""
    cells, names = grouped(results.ties, "probe"), ["base", *conditions_of(study)]

    def panel(axes: Axes, language: LanguageSpec, direction: Direction) -> None:
        here = cells[(probe_of(direction, language.code, study.base_language.code),)]
        for row in here:
            axes.axhline(100 * row.first_option_accuracy, color=FAINT, linewidth=0.9, ls="--")
        for row in here:
            place, colour = names.index(row.condition), COLOURS[row.condition]
            ends = [100 * row.accuracy_ties_wrong, 100 * row.accuracy]
            axes.plot([place, place], ends, color=colour, linewidth=1.2)
            axes.plot(place, ends[1], "o", color=colour, markersize=5)
            axes.plot(place, 100 * row.accuracy_ties_shared, "_", color=colour, ms=11, mew=1.6)
            axes.plot(place, ends[0], "o", color=colour, markerfacecolor="white", markersize=5)
        axes.set_xticks(range(len(names)), [condition_name(name) for name in names])
        axes.set_xlim(-0.5, len(names) - 0.5)

    return panel_grid(
        study, [row.language for row in results.ties], panel,
        title=_probe_titles(study), label="accuracy, %", across="", legend=FIRST_OPTION,
    )  # fmt: skip


def position_figure(study: StudySpec, results: Results) -> Figure | None:
    """Accuracy by position of the right option, beside how often that position is chosen."""
    cells = grouped((r for r in results.positions if r.position >= 0), "probe", "condition")
    conditions = conditions_of(study)

    def panel(axes: Axes, language: LanguageSpec, direction: Direction) -> None:
        probe = probe_of(direction, language.code, study.base_language.code)
        for index, condition in enumerate(conditions):
            shift = 0.24 * (index - (len(conditions) - 1) / 2)
            here, colour = cells[probe, condition], CONDITION_COLOURS[condition]
            asked = [row for row in here if row.questions]
            axes.errorbar(
                [row.position + 1 + shift for row in asked],
                [100 * row.accuracy for row in asked],
                # Of one question there is no standard error.
                yerr=[100 * row.standard_error if row.questions > 1 else 0 for row in asked],
                fmt="o",
                color=colour,
                markersize=4,
                elinewidth=0.9,
            )
            places = [row.position + 1 + shift for row in here]
            axes.plot(places, [100 * r.chosen for r in here], "_", color=colour, ms=10, mew=1.6)

    return panel_grid(
        study, [row.language for row in results.positions], panel, title=_probe_titles(study),
        label="%", across="position of the right option", legend=condition_legend(study),
    )  # fmt: skip


def proficiency_figure(study: StudySpec, results: Results) -> Figure | None:
    """Bits per byte of held-out text under every condition, from the base on."""
    base_language = study.base_language
    rows = [row for row in results.proficiencies if row.seed is None]
    codes = [row.language for row in rows if row.condition != BASE_RUN]

    def panel(axes: Axes, language: LanguageSpec, direction: Direction) -> None:
        text = language.code if direction == "base-to-target" else base_language.code
        here = [
            row
            for row in rows
            if row.text == text and (row.condition == BASE_RUN or row.language == language.code)
        ]
        condition_curves(
            axes,
            here,
            "bits_per_byte",
            # Of one document there is no standard error.
            lambda row: (row.standard_error if row.documents > 1 else 0.0,) * 2,
        )

    def title(language: LanguageSpec, direction: Direction) -> str:
        if direction == "base-to-target":
            return f"{short_name(language)} text"
        return f"{base_language.name}, {short_name(language)} trials"

    return panel_grid(
        study, codes, panel, title=title, label="bits per byte", legend=condition_legend(study)
    )


def consistency_figure(study: StudySpec, results: Results) -> Figure | None:
    """RankC under every condition from the base on, beside that of unrelated rankings."""
    cells = grouped(results.consistencies, "language")

    def panel(axes: Axes, language: LanguageSpec, _: Direction) -> None:
        here = cells[(language.code,)]
        axes.axhline(here[0].random, color=FAINT, linewidth=0.9, linestyle=":")
        condition_curves(
            axes,
            here,
            "consistency",
            lambda row: (row.consistency - row.low, row.high - row.consistency),
        )

    return panel_grid(
        study, [language for (language,) in cells], panel,
        rows=DIRECTIONS[:1],  # both versions of the questions are in one panel
        title=lambda language, _: f"{short_name(language)} culture",
        label="RankC", share_y=True,
        legend=condition_legend(study) | {"unrelated rankings": {"color": FAINT, "linestyle": ":"}},
    )  # fmt: skip


def loss_figure(inputs: AnalysisInputs) -> Figure | None:
    """Training loss of the base, and of every trial by language."""
    study, by_run = inputs.study, loss_curves(inputs.trainings)
    if not by_run:
        return None
    trials = [trial for trial in inputs.trials if trial.name in by_run]
    languages = languages_of(study, (trial.language for trial in trials))
    titles = [f"base ({study.base_language.name})", *map(short_name, languages)]
    figure, panels = panel_row(max(NARROWEST, 1.95 * len(titles)), 2.3, len(titles))
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title)
        axes.set_xlabel("optimizer step")
    if BASE_RUN in by_run:
        panels[0].plot("step", "loss", data=by_run[BASE_RUN], color=INK, lw=1)
    for axes, language in zip(panels[1:], languages, strict=True):
        for trial in trials:
            if trial.language == language.code:
                curve, colour = by_run[trial.name], CONDITION_COLOURS[trial.condition]
                axes.plot("step", "loss", data=curve, color=colour, lw=0.9, alpha=0.85)
    panels[0].set_ylabel("loss, nats a token")
    draw_legend(figure, condition_legend(study))
    return figure


def _probe_titles(study: StudySpec) -> Callable[[LanguageSpec, Direction], str]:
    """Titles of panels that are a probe each, culture and language: ``Korean, in English``."""

    def title(language: LanguageSpec, direction: Direction) -> str:
        asked = language if direction == "base-to-target" else study.base_language
        return f"{short_name(language)}, in {short_name(asked)}"

    return title
