"""The figures of what a choice of measurement changes: score types, ties, positions, proficiency.

Invariant: a figure shows rows of the results and computes nothing of its own.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ccx_ray.analysis.measures.consistency import ConsistencyRow
from ccx_ray.analysis.measures.proficiency import ProficiencyRow
from ccx_ray.analysis.measures.score_types import ScoreTransferRow
from ccx_ray.analysis.measures.ties import PositionRow, TieRow
from ccx_ray.analysis.measures.transfer import DIRECTIONS, Direction, probe_of
from ccx_ray.analysis.report.drawing import (
    CONDITION_COLOURS,
    CONDITION_NAMES,
    FAINT,
    INK,
    direction_titles,
    language_colours,
    languages_of,
    panel_grid,
)
from ccx_ray.analysis.report.wording import score_name, short_name
from ccx_ray.evaluation.results import SCORE_TYPES
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.text_spec import LanguageSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONDITIONS = ("base", "bridge", "nobridge")
COLOURS = {"base": INK, **CONDITION_COLOURS}
NAMES = {"base": "base", **CONDITION_NAMES}


def _asked_in(study: StudySpec) -> Callable[[LanguageSpec, Direction], str]:
    """Titles of panels that are a probe each, culture and language: ``Korean, in English``."""

    def title(language: LanguageSpec, direction: Direction) -> str:
        asked = language if direction == "base-to-target" else study.base_language
        return f"{short_name(language)}, in {short_name(asked)}"

    return title


def score_figure(study: StudySpec, rows: Sequence[ScoreTransferRow]) -> str:
    """Transfer with its interval under every score, the study's own filled."""
    published = [row for row in rows if row.counting == "published"]
    languages = languages_of(study, {row.language for row in published})

    def panel(axes: "Axes", language: LanguageSpec, direction: Direction) -> None:
        cell = [r for r in published if (r.language, r.direction) == (language.code, direction)]
        colour = language_colours(study)[language.code]
        axes.axvline(0, color=FAINT, linewidth=0.8)
        for row in cell:
            headline = row.score == study.evaluation.scoring
            axes.errorbar(
                100 * row.transfer,
                SCORE_TYPES.index(row.score),
                xerr=[[100 * (row.transfer - row.low)], [100 * (row.high - row.transfer)]],
                fmt="o",
                color=colour,
                markerfacecolor=colour if headline else "white",
                markersize=4.5,
                elinewidth=1.1,
                capsize=2,
            )
        names = [score_name(kind) for kind in SCORE_TYPES]
        axes.set_yticks(range(len(names)), names if language is languages[0] else [""] * len(names))
        axes.set_ylim(len(names) - 0.5, -0.5)

    return panel_grid(
        languages,
        panel,
        rows=DIRECTIONS,
        title=direction_titles(study),
        label="",
        across="transfer, points",
    )


def tie_figure(study: StudySpec, rows: Sequence[TieRow]) -> str:
    """Accuracy with ties by order, shared and wrong, beside the rule to take the first option."""
    languages = languages_of(study, {row.language for row in rows})

    def panel(axes: "Axes", language: LanguageSpec, direction: Direction) -> None:
        probe = probe_of(direction, language.code, study.base_language.code)
        here = {row.condition: row for row in rows if row.probe == probe}
        for row in here.values():
            axes.axhline(100 * row.first_option_accuracy, color=FAINT, linewidth=0.9, ls="--")
        for condition, row in here.items():
            place, colour = CONDITIONS.index(condition), COLOURS[condition]
            ends = [100 * row.accuracy_ties_wrong, 100 * row.accuracy]
            axes.plot([place, place], ends, color=colour, linewidth=1.2)
            axes.plot(place, ends[1], "o", color=colour, markersize=5)
            axes.plot(place, 100 * row.accuracy_ties_shared, "_", color=colour, ms=11, mew=1.6)
            axes.plot(place, ends[0], "o", color=colour, markerfacecolor="white", markersize=5)
        axes.set_xticks(range(len(CONDITIONS)), [NAMES[name] for name in CONDITIONS])
        axes.set_xlim(-0.5, len(CONDITIONS) - 0.5)

    return panel_grid(
        languages,
        panel,
        rows=DIRECTIONS,
        title=_asked_in(study),
        label="accuracy, %",
        across="",
        legend=[("always the first option", FAINT, "--")],
    )


def position_figure(study: StudySpec, rows: Sequence[PositionRow]) -> str:
    """Accuracy by position of the right option, beside how often that position is chosen."""
    languages = languages_of(study, {row.language for row in rows})

    def panel(axes: "Axes", language: LanguageSpec, direction: Direction) -> None:
        probe = probe_of(direction, language.code, study.base_language.code)
        for shift, condition in zip((-0.12, 0.12), CONDITION_COLOURS, strict=True):
            here = [
                row
                for row in rows
                if (row.probe, row.condition) == (probe, condition) and row.position >= 0
            ]
            asked = [row for row in here if row.questions]
            colour = COLOURS[condition]
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
            axes.plot(
                [row.position + 1 + shift for row in here],
                [100 * row.chosen for row in here],
                "_",
                color=colour,
                markersize=10,
                markeredgewidth=1.6,
            )

    return panel_grid(
        languages,
        panel,
        rows=DIRECTIONS,
        title=_asked_in(study),
        label="%",
        across="position of the right option",
        legend=[(CONDITION_NAMES[key], colour, "-") for key, colour in CONDITION_COLOURS.items()],
    )


def proficiency_figure(study: StudySpec, rows: Sequence[ProficiencyRow]) -> str:
    """Bits per byte of held-out text under both conditions, from the base on."""
    trained = [row for row in rows if row.condition != "base" and row.seed is None]
    base = [row for row in rows if row.condition == "base"]
    languages = languages_of(study, {row.language for row in trained})

    def text(language: LanguageSpec, direction: Direction) -> str:
        return language.code if direction == "base-to-target" else study.base_language.code

    def panel(axes: "Axes", language: LanguageSpec, direction: Direction) -> None:
        of_text = text(language, direction)
        start = [row for row in base if row.text == of_text]
        for condition, colour in CONDITION_COLOURS.items():
            cell = (language.code, condition, of_text)
            here = [r for r in trained if (r.language, r.condition, r.text) == cell]
            if here:
                curve = [*start, *here]
                axes.errorbar(
                    [row.step for row in curve],
                    [row.bits_per_byte for row in curve],
                    yerr=[row.standard_error if row.documents > 1 else 0 for row in curve],
                    color=colour,
                    marker="o" if condition == "bridge" else "s",
                    markersize=3,
                    elinewidth=0.9,
                )

    def title(language: LanguageSpec, direction: Direction) -> str:
        if direction == "base-to-target":
            return f"{short_name(language)} text"
        return f"{study.base_language.name}, {short_name(language)} trials"

    return panel_grid(
        languages,
        panel,
        rows=DIRECTIONS,
        title=title,
        label="bits per byte",
        legend=[(CONDITION_NAMES[key], colour, "-") for key, colour in CONDITION_COLOURS.items()],
    )


def consistency_figure(study: StudySpec, rows: Sequence[ConsistencyRow]) -> str:
    """RankC under both conditions from the base on, beside that of unrelated rankings."""
    languages = languages_of(study, {row.language for row in rows})

    def panel(axes: "Axes", language: LanguageSpec, _: str) -> None:
        here = [row for row in rows if row.language == language.code]
        axes.axhline(here[0].random, color=FAINT, linewidth=0.9, linestyle=":")
        base = [row for row in here if row.condition == "base"]
        for condition, colour in CONDITION_COLOURS.items():
            curve = base + [row for row in here if row.condition == condition]
            if len(curve) > len(base):
                axes.errorbar(
                    [row.step for row in curve],
                    [row.consistency for row in curve],
                    yerr=[
                        [row.consistency - row.low for row in curve],
                        [row.high - row.consistency for row in curve],
                    ],
                    color=colour,
                    marker="o" if condition == "bridge" else "s",
                    markersize=3,
                    elinewidth=0.9,
                )

    legend = [
        *((CONDITION_NAMES[key], colour, "-") for key, colour in CONDITION_COLOURS.items()),
        ("unrelated rankings", FAINT, ":"),
    ]
    return panel_grid(
        languages,
        panel,
        rows=("both versions",),
        title=lambda language, _: f"{short_name(language)} culture",
        label="RankC",
        share_y=True,
        legend=legend,
    )
