"""Figures of frequency and exposure beside transfer, of the model, and of how good the estimate is.

Invariant: a figure shows rows of the results and computes nothing of its own. On a logarithmic axis
a value of 0 stands at the left edge as an open triangle.
"""

import math
from collections import Counter
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ccx_ray.analysis.measures.frequency import BINS, EXACT_MEASURES, POOLED
from ccx_ray.analysis.measures.run_facts import own_planted
from ccx_ray.analysis.measures.transfer_model import MODELS, PREDICTORS, frequency_term
from ccx_ray.analysis.report.drawing import (
    FAINT,
    INK,
    LANGUAGE_COLOURS,
    NARROWEST,
    WIDE,
    direction_row,
    draw_legend,
    grouped,
    interval_mark,
    language_colours,
    languages_of,
    mark,
    name_rows,
    panel_row,
)
from ccx_ray.analysis.report.paper import DENSITIES, OCCURRENCES
from ccx_ray.analysis.tables import Results
from ccx_ray.analysis.wording import MEASURE_NAMES, PREDICTOR_NAMES, names_of, short_name
from ccx_ray.study.spec import StudySpec

EDGE = 0.4
"""Of the smallest value above 0: where the left edge of a logarithmic axis stands."""
BIN_TABLES = {
    "occurrences": ("bins", "occurrences in the {} corpus"),
    "exposure": ("exposure_bins", "times that {} evidence was read"),
}
"""Column -> its table, and what it is; ``{}`` is the language that knowledge moves from."""
MODEL_COLOURS = {
    "without the lengths": "#56B4E9",
    "lengths held fixed": "#0072B2",
    "placebo: worse under bridge": "#999999",
}
"""Name -> colour, in the order of ``MODELS``."""
ODDS = (0.1, 0.25, 0.5, 0.67, 0.8, 1, 1.25, 1.5, 2, 4, 10)


def density_figure(study: StudySpec, results: Results) -> Figure | None:
    """Densities in both corpora with their intervals, and their ratio, beside the paper's."""
    rows, base = {row.culture: row for row in results.densities}, study.base_language.name
    if not rows:
        return None
    languages = languages_of(study, rows)
    figure, (densities, ratios) = panel_row(
        WIDE, 0.9 + 0.52 * len(rows), 2, sharey=True, width_ratios=[3, 2]
    )
    drawn: dict[Axes, list[float]] = {densities: [], ratios: [1.0]}
    for place, language in enumerate(languages):
        row, colour = rows[language.code], language_colours(study)[language.code]
        for axes, name, shift, of, marker in (
            (densities, "base_density", -0.14, INK, "o"),
            (densities, "target_density", 0.14, colour, "s"),
            (ratios, "ratio", 0.0, colour, "o"),
        ):
            value, low, high = (getattr(row, name + end) for end in ("", "_low", "_high"))
            drawn[axes] += [value, low, high]
            interval_mark(axes, place + shift, (value, low, high), of, marker, at_edge=True)
        if known := DENSITIES.get(language.code):
            ratio = known[1] / known[0]
            drawn[ratios].append(ratio)
            for axes, value, shift, of in (
                (densities, known[0], -0.14, INK),
                (densities, known[1], 0.14, colour),
                (ratios, ratio, 0.0, colour),
            ):
                axes.plot(value, place + shift, "d", color=of, mfc="white", ms=5, zorder=1)
    for axes, values in drawn.items():
        # What is 0 or has no bound is cut.
        shown = [value for value in values if 0 < value < float("inf")]
        if shown:
            axes.set_xscale("log", nonpositive="clip")
            axes.set_xlim(EDGE * min(shown), max(shown) / EDGE)
    densities.set_title("cultural density")
    ratios.set_title(f"ratio, target over {base}")
    ratios.axvline(1, color=FAINT, linewidth=0.8, zorder=0)
    name_rows(densities, [short_name(language) for language in languages])
    draw_legend(figure, {
        f"{base} corpus": mark("o", INK), "target corpus": mark("s", FAINT),
        "in the paper": mark("d", FAINT, filled=False),
    })  # fmt: skip
    return figure


def occurrence_figure(study: StudySpec, results: Results) -> Figure | None:
    """Mean occurrences of transferred and of all questions, by culture and pooled."""
    rows = grouped(results.occurrences, "direction")
    if not rows:
        return None
    languages = languages_of(study, (row.culture for row in results.occurrences))
    places = [*(language.code for language in languages), POOLED]
    figure, panels = direction_row(study, 1.0 + 0.42 * len(places))
    for direction, axes in panels:
        for row in rows[(direction,)]:
            colour, place = language_colours(study).get(row.culture, INK), places.index(row.culture)
            chosen = (row.mean_transferred, row.transferred_low, row.transferred_high)
            everything = (row.mean_all, row.all_low, row.all_high)
            interval_mark(axes, place - 0.15, chosen, colour)
            interval_mark(axes, place + 0.15, everything, colour, filled=False)
            if row.culture == POOLED:
                for value, shift in zip(OCCURRENCES[direction], (-0.15, 0.15), strict=True):
                    axes.plot(value, place + shift, "d", color=INK, mfc="white", ms=5, zorder=1)
        axes.set_xlabel("mean occurrences")
        axes.set_xlim(left=0)
    name_rows(panels[0][1], [*map(short_name, languages), "all"])
    draw_legend(figure, {
        "transferred items": mark("o", FAINT), "all items": mark("o", FAINT, filled=False),
        "in the paper": mark("d", INK, filled=False),
    })  # fmt: skip
    return figure


def bin_figure(column: str, study: StudySpec, results: Results) -> Figure | None:
    """Transfer by ranges of occurrences or exposure: all languages with intervals, each language as
    a mark."""
    table, across = BIN_TABLES[column]
    rows, labels = getattr(results, table), list(BINS[column])
    if not rows:
        return None
    base = study.base_language.name
    languages = languages_of(study, (row.culture for row in rows))
    figure, panels = direction_row(study, 3.1)
    for direction, axes in panels:
        here = grouped((r for r in rows if r.direction == direction and r.questions), "culture")
        pooled = here[(POOLED,)]
        axes.axhline(0, color=FAINT, linewidth=0.8)
        for index, language in enumerate(languages):
            marks = here[(language.code,)]
            shift = 0.16 + 0.36 * index / max(1, len(languages) - 1)
            axes.plot(
                [labels.index(row.bin) + shift for row in marks],
                [100 * row.transfer for row in marks],
                "D",
                color=language_colours(study)[language.code],
                markersize=3.5,
                label=short_name(language),
            )
        axes.errorbar(
            [labels.index(row.bin) for row in pooled],
            [100 * row.transfer for row in pooled],
            yerr=[
                [100 * (row.transfer - row.low) for row in pooled],
                [100 * (row.high - row.transfer) for row in pooled],
            ],
            fmt="o",
            color=INK,
            markersize=4.5,
            elinewidth=1.1,
            capsize=2,
            label="all languages",
        )
        sizes = {row.bin: row.questions for row in pooled}
        axes.set_xticks(range(len(labels)), [f"{x}\nn = {sizes.get(x, 0):,}" for x in labels])
        axes.set_xlim(-0.4, len(labels) - 0.2)
        axes.set_xlabel(across.format(base if direction == "base-to-target" else "target"))
    panels[0][1].set_ylabel("transfer, points")
    handles, names = panels[0][1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    return figure


def correlation_figure(study: StudySpec, results: Results) -> Figure | None:
    """Rank correlation of exposure with transfer over the checkpoints."""
    known = grouped(
        (r for r in results.exposures if r.measure == "exposure" and not math.isnan(r.correlation)),
        "direction", "culture",
    )  # fmt: skip
    if not known:
        return None
    languages = languages_of(study, (row.culture for row in results.exposures))
    names = {**{one.code: short_name(one) for one in languages}, POOLED: "all"}
    figure, panels = direction_row(study, 2.7, sharex=True)
    shown = {}
    for direction, axes in panels:
        axes.axhline(0, color=FAINT, linewidth=0.8)
        curves = {code: curve for code in names if (curve := known[direction, code])}
        for code, curve in curves.items():
            steps = [row.step for row in curve]
            if code == POOLED:
                low = [row.correlation_low for row in curve]
                high = [row.correlation_high for row in curve]
                axes.fill_between(steps, low, high, color=INK, alpha=0.14, linewidth=0)
            (shown[names[code]],) = axes.plot(
                steps,
                [row.correlation for row in curve],
                color=language_colours(study).get(code, INK),
                marker="o",
                ms=3,
                lw=2 if code == POOLED else 1.1,
            )
        if not curves:
            words, at = "too few items differ", axes.transAxes
            axes.text(0.5, 0.6, words, transform=at, ha="center", color=FAINT)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        axes.set_xlabel("optimizer step")
    panels[0][1].set_ylabel("rank correlation")
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=len(shown))
    return figure


def model_figure(_: StudySpec, results: Results) -> Figure | None:
    """Odds ratio of a doubling of every measure of frequency, under each model."""
    terms = results.model_terms
    if not terms:
        return None
    predictors = [one for one in PREDICTORS if any(f.predictor == one for f in results.model_fits)]
    figure, (axes,) = panel_row(7.2, 1.0 + 0.62 * len(predictors))
    axes.axvline(1, color=FAINT, linewidth=0.8)
    for index, predictor in enumerate(predictors):
        for shift, (outcome, lengths), colour in zip(
            (-0.22, 0, 0.22), MODELS, MODEL_COLOURS.values(), strict=True
        ):
            row, place = frequency_term(terms, predictor, outcome, lengths=lengths), index + shift
            if row is None:
                axes.text(1, place, "  not estimable", color=colour, va="center", fontsize=7.5)
            else:
                value = (row.odds_ratio, row.odds_low, row.odds_high)
                interval_mark(axes, place, value, colour, width=1.4)
    shown = [end for row in terms if row.term.startswith("log2(1 +")
             for end in (row.odds_low, row.odds_high)]  # fmt: skip
    # Two thirds to three halves at least, so that noise does not look like an effect.
    low, high = min([0.66, *shown]) * 0.96, max([1.5, *shown]) * 1.04
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_xticks([tick for tick in ODDS if low <= tick <= high], minor=False)
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("odds ratio of a doubling")
    name_rows(axes, [PREDICTOR_NAMES[one] for one in predictors])
    draw_legend(figure, {name: {"color": colour} for name, colour in MODEL_COLOURS.items()})
    return figure


def estimate_figure(study: StudySpec, results: Results) -> Figure | None:
    """Rank correlation of the estimate with every exact count, corpus by corpus."""
    rows = results.estimates
    if all(math.isnan(row.correlation) for row in rows):
        return None
    corpora = list(grouped(rows, "corpus", "culture"))
    figure, (axes,) = panel_row(7.6, 1.1 + 0.3 * len(corpora))
    axes.axvline(0, color=FAINT, linewidth=0.8)
    colours = dict(zip(EXACT_MEASURES, LANGUAGE_COLOURS, strict=False))
    for index, (measure, colour) in enumerate(colours.items()):
        for row in (row for row in rows if row.measure == measure):
            place = corpora.index((row.corpus, row.culture)) + 0.2 * (index - 1)
            value = (row.correlation, row.low, row.high)
            interval_mark(axes, place, value, colour, size=4.5, width=1.1)
    _corpus_rows(study, axes, corpora)
    axes.set_xlim(right=1.03)
    axes.set_xlabel("rank correlation with the estimate")
    marks = {MEASURE_NAMES[one]: {**mark("o", colours[one]), "ms": 4.5} for one in colours}
    draw_legend(figure, marks)
    return figure


def recall_figure(study: StudySpec, results: Results) -> Figure | None:
    """Recall of every retriever, corpus by corpus, at the largest number of documents; that of the
    study's own is filled."""
    rows, own = results.recalls, study.frequency.retriever_name
    if not rows:
        return None
    top = max(row.top for row in rows)
    corpora = list(grouped(rows, "corpus", "culture"))
    figure, (axes,) = panel_row(7.6, 1.0 + 0.26 * len(corpora))
    marks = {}
    for index, ((retriever,), of_retriever) in enumerate(grouped(rows, "retriever").items()):
        here = [row for row in of_retriever if row.top == top and row.recall is not None]
        places = [corpora.index((row.corpus, row.culture)) for row in here]
        colour = LANGUAGE_COLOURS[index % len(LANGUAGE_COLOURS)]
        style = {**mark("o", colour, filled=retriever == own), "ms": 6}
        axes.plot([100 * (row.recall or 0) for row in here], places, **style)
        marks[f"{retriever} (this study)" if retriever == own else retriever] = style
    _corpus_rows(study, axes, corpora)
    axes.set_xlim(-2, 102)
    axes.set_xlabel(f"recall among the first {top} documents, %")
    draw_legend(figure, marks, columns=min(4, len(marks)))
    return figure


def planted_figure(study: StudySpec, results: Results) -> Figure | None:
    """Estimated against true frequency, a panel a corpus; larger marks are more facts."""
    rows = own_planted(study.frequency, results, "planted")
    if not rows:
        return None
    by_corpus = grouped(rows, "corpus")
    largest = max(max(row.planted, row.estimated) for row in rows)
    # Doublings, with 0 beside 1.
    ticks = [0, *(2**power for power in range(0, 20, 2) if 2**power <= 2 * largest)]
    figure, panels = panel_row(
        max(NARROWEST, 1.9 * len(by_corpus)), 2.45, len(by_corpus), sharex=True, sharey=True
    )
    for axes, ((corpus,), facts) in zip(panels, by_corpus.items(), strict=True):
        here = Counter((row.planted, row.estimated) for row in facts)
        axes.plot([0, 2 * largest], [0, 2 * largest], color=FAINT, lw=0.8, zorder=0)
        axes.scatter(
            [planted for planted, _ in here],
            [estimated for _, estimated in here],
            s=[14 + 5 * count for count in here.values()],
            color=language_colours(study).get(corpus, INK),
            alpha=0.7,
            linewidths=0,
        )
        axes.set_aspect("equal")
        for along in ("x", "y"):
            getattr(axes, f"set_{along}scale")("symlog", base=2, linthresh=1)
            getattr(axes, f"set_{along}lim")(-0.5, 1.6 * max(1, largest))
            getattr(axes, f"set_{along}ticks")(ticks, [str(tick) for tick in ticks])
        axes.set_title(names_of(study).get(corpus, corpus))
        axes.set_xlabel("planted")
    panels[0].set_ylabel("estimated")
    return figure


def _corpus_rows(study: StudySpec, axes: Axes, corpora: Sequence[tuple[str, str]]) -> None:
    """A row for the questions of every culture in every corpus."""
    names = names_of(study)
    name_rows(axes, [f"{names[asked]} questions in {names[corpus]}" for corpus, asked in corpora])
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
