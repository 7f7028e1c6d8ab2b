"""Figures of how far frequency can be trusted: model, exact counts, recall, planted facts.

Invariant: a figure shows rows of the results and computes nothing of its own.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ccx_ray.analysis.measures.densities import EstimateRow
from ccx_ray.analysis.measures.occurrences import EXACT_MEASURES
from ccx_ray.analysis.measures.transfer_model import (
    PREDICTORS,
    ModelFitRow,
    ModelTermRow,
    Outcome,
    frequency_term,
)
from ccx_ray.analysis.measures.validation_facts import PlantedRow, RecallRow
from ccx_ray.analysis.report.drawing import (
    FAINT,
    INK,
    LANGUAGE_COLOURS,
    STYLE,
    draw_legend,
    language_colours,
    to_svg,
)
from ccx_ray.analysis.report.wording import PREDICTOR_NAMES, measure_name, short_name
from ccx_ray.study.spec import StudySpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MODELS: tuple[tuple[Outcome, bool, str, str], ...] = (
    ("transferred", False, "without the lengths", "#56B4E9"),
    ("transferred", True, "lengths held fixed", "#0072B2"),
    ("worse", True, "placebo: worse under bridge", "#999999"),
)
"""Outcome, lengths, name and colour."""
ODDS = (0.1, 0.25, 0.5, 0.67, 0.8, 1, 1.25, 1.5, 2, 4, 10)


def model_figure(fits: Sequence[ModelFitRow], terms: Sequence[ModelTermRow]) -> str:
    """Odds ratio of a doubling of every measure of frequency, under each model."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    predictors = [one for one in PREDICTORS if any(fit.predictor == one for fit in fits)]
    with mpl.rc_context(dict(STYLE)):
        figure = Figure(figsize=(7.2, 1.0 + 0.62 * len(predictors)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(1, color=FAINT, linewidth=0.8)
        for place, predictor in enumerate(predictors):
            for shift, (outcome, lengths, _, colour) in zip((-0.22, 0, 0.22), MODELS, strict=True):
                row = frequency_term(terms, predictor, outcome, lengths=lengths)
                if row is None:
                    axes.text(
                        1, place + shift, "  not estimable", color=colour, va="center", fontsize=7.5
                    )
                    continue
                axes.plot([row.odds_low, row.odds_high], [place + shift] * 2, color=colour, lw=1.4)
                axes.plot(row.odds_ratio, place + shift, "o", color=colour, ms=5)
        axes.set_xscale("log")
        shown = [end for row in terms if row.term.startswith("log2(1 +")
                 for end in (row.odds_low, row.odds_high)]  # fmt: skip
        # Two thirds to three halves at least, so that noise does not look like an effect.
        low, high = min([0.66, *shown]) * 0.96, max([1.5, *shown]) * 1.04
        axes.set_xlim(low, high)
        axes.set_xticks([tick for tick in ODDS if low <= tick <= high], minor=False)
        axes.set_xticks([], minor=True)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_yticks(range(len(predictors)), [PREDICTOR_NAMES[one] for one in predictors])
        axes.set_ylim(len(predictors) - 0.5, -0.5)
        axes.set_xlabel("odds ratio of a doubling")
        draw_legend(figure, [(name, colour, "-") for _, _, name, colour in MODELS])
        return to_svg(figure)


def estimate_figure(study: StudySpec, rows: Sequence[EstimateRow]) -> str:
    """Rank correlation of the estimate with every exact count, corpus by corpus."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    corpora = list(dict.fromkeys((row.corpus, row.culture) for row in rows))
    with mpl.rc_context(dict(STYLE)):
        figure = Figure(figsize=(7.6, 1.1 + 0.3 * len(corpora)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color=FAINT, linewidth=0.8)
        for index, measure in enumerate(EXACT_MEASURES):
            here = [row for row in rows if row.measure == measure]
            colour = LANGUAGE_COLOURS[index]
            for row in (row for row in here if not math.isnan(row.correlation)):
                place = corpora.index((row.corpus, row.culture)) + 0.2 * (index - 1)
                axes.plot([row.low, row.high], [place, place], color=colour, lw=1.1)
                axes.plot(row.correlation, place, "o", color=colour, ms=4.5)
            axes.plot([], [], "o", color=colour, ms=4.5, label=measure_name(measure))
        _corpus_axis(study, axes, corpora)
        axes.set_xlim(right=1.03)
        axes.set_xlabel("rank correlation with the estimate")
        figure.legend(loc="outside lower center", ncols=3)
        return to_svg(figure)


def recall_figure(study: StudySpec, rows: Sequence[RecallRow], own: str) -> str:
    """Recall of every retriever, corpus by corpus, at the largest number of documents.

    Args:
        own: the retriever that the study uses; it is drawn filled.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    top = max(row.top for row in rows)
    corpora = list(dict.fromkeys((row.corpus, row.culture) for row in rows))
    retrievers = list(dict.fromkeys(row.retriever for row in rows))
    with mpl.rc_context(dict(STYLE)):
        figure = Figure(figsize=(7.6, 1.0 + 0.26 * len(corpora)), layout="constrained")
        axes = figure.subplots()
        for index, retriever in enumerate(retrievers):
            here = [
                (row.recall, corpora.index((row.corpus, row.culture)))
                for row in rows
                if row.retriever == retriever and row.top == top and row.recall is not None
            ]
            colour = LANGUAGE_COLOURS[index % len(LANGUAGE_COLOURS)]
            axes.plot(
                [100 * recall for recall, _ in here],
                [place for _, place in here],
                "o",
                color=colour,
                mfc=colour if retriever == own else "white",
                ms=6,
                label=f"{retriever} (this study)" if retriever == own else retriever,
            )
        _corpus_axis(study, axes, corpora)
        axes.set_xlim(-2, 102)
        axes.set_xlabel(f"recall among the first {top} documents, %")
        figure.legend(loc="outside lower center", ncols=min(4, len(retrievers)))
        return to_svg(figure)


def planted_figure(study: StudySpec, rows: Sequence[PlantedRow]) -> str:
    """Estimated against true frequency, a panel a corpus; larger marks are more facts."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    corpora = list(dict.fromkeys(row.corpus for row in rows))
    largest = max(max(row.planted, row.estimated) for row in rows)
    with mpl.rc_context(dict(STYLE)):
        figure = Figure(figsize=(max(4.7, 1.9 * len(corpora)), 2.45), layout="constrained")
        panels = figure.subplots(1, len(corpora), squeeze=False, sharex=True, sharey=True)[0]
        for axes, corpus in zip(panels, corpora, strict=True):
            here = Counter((row.planted, row.estimated) for row in rows if row.corpus == corpus)
            axes.plot([0, 2 * largest], [0, 2 * largest], color=FAINT, lw=0.8, zorder=0)
            axes.scatter(
                [planted for planted, _ in here],
                [estimated for _, estimated in here],
                s=[14 + 5 * count for count in here.values()],
                color=language_colours(study).get(corpus, INK),
                alpha=0.7,
                linewidths=0,
            )
            _count_axis(axes, largest)
            axes.set_title(_name(study, corpus), loc="left")
            axes.set_xlabel("planted")
        panels[0].set_ylabel("estimated")
        return to_svg(figure)


def _corpus_axis(study: StudySpec, axes: "Axes", corpora: Sequence[tuple[str, str]]) -> None:
    """A row for the questions of every culture in every corpus."""
    axes.set_yticks(range(len(corpora)), [_questions(study, *one) for one in corpora])
    axes.set_ylim(len(corpora) - 0.5, -0.5)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)


def _count_axis(axes: "Axes", largest: int) -> None:
    """Doublings, with 0 beside 1."""
    ticks = [0, *(2**power for power in range(0, 20, 2) if 2**power <= 2 * largest)]
    axes.set_aspect("equal")
    for scale, limits, ticked in (
        (axes.set_xscale, axes.set_xlim, axes.set_xticks),
        (axes.set_yscale, axes.set_ylim, axes.set_yticks),
    ):
        scale("symlog", base=2, linthresh=1)
        limits(-0.5, 1.6 * max(1, largest))
        ticked(ticks, [str(tick) for tick in ticks])


def _name(study: StudySpec, code: str) -> str:
    names = {one.code: short_name(one) for one in (study.base_language, *study.languages)}
    return names.get(code, code)


def _questions(study: StudySpec, corpus: str, culture: str) -> str:
    return f"{_name(study, culture)} questions in {_name(study, corpus)}"
