"""The report as one HTML page, made of the results by templates.

Invariant: the page computes nothing: it looks up rows of the results and words them.
"""

from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ccx_ray.analysis import wording
from ccx_ray.analysis.measures.accuracy import last_accuracies
from ccx_ray.analysis.measures.answers import COUNTINGS
from ccx_ray.analysis.measures.consistency import last_consistencies
from ccx_ray.analysis.measures.frequency_effect import last_exposures
from ccx_ray.analysis.measures.proficiency import last_differences, last_proficiencies
from ccx_ray.analysis.measures.question_transfer import POOLED
from ccx_ray.analysis.measures.results import AnalysisInputs, Results
from ccx_ray.analysis.measures.transfer import is_significant, last_rows, significance_level
from ccx_ray.analysis.measures.transfer_model import frequency_term
from ccx_ray.analysis.measures.validation_facts import EVERY_DOCUMENT, own_planted
from ccx_ray.analysis.report import paper
from ccx_ray.analysis.report.drawing import inline_svg

PACKAGE = "ccx_ray.analysis.report"
WORDS = {name: shown for name, shown in vars(wording).items() if callable(shown)}


def render_report(
    inputs: AnalysisInputs, results: Results, figures: Mapping[str, str], said: Mapping[str, Any]
) -> str:
    """The page as HTML, its style and figures inside.

    Args:
        figures: name -> SVG.
        said: headline, verdicts, findings and limits.
    """
    environment = Environment(
        loader=PackageLoader(PACKAGE, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= WORDS
    study = inputs.study
    return environment.get_template("report.html.j2").render(
        **WORDS,
        **said,
        study=study,
        results=results,
        figures={name: Markup(inline_svg(svg, name)) for name, svg in figures.items()},
        style=Markup((resources.files(PACKAGE) / "report.css").read_text("utf-8")),
        names=wording.names_of(study),
        score_names=wording.SCORE_NAMES,
        measure_names=wording.MEASURE_NAMES,
        predictor_names=wording.PREDICTOR_NAMES,
        last=last_rows(results.transfers),
        transfers={
            counting: {
                (row.language, row.direction): row for row in last_rows(results.transfers, counting)
            }
            for counting in COUNTINGS
        },
        last_accuracies=last_accuracies(results.accuracies),
        score_transfers={
            (row.language, row.direction, row.score, row.counting): row
            for row in results.score_transfers
        },
        score_accuracies={
            (row.probe, row.condition, row.score): row for row in results.score_accuracies
        },
        last_proficiencies=last_proficiencies(results.proficiencies),
        last_differences=last_differences(results.proficiency_differences),
        last_consistencies=last_consistencies(results.consistencies),
        last_exposures=last_exposures(results.exposures),
        last_parts=last_exposures(results.exposure_parts),
        frequency_term=frequency_term,
        own_retriever=study.frequency.retriever_name,
        own_planted=own_planted(study.frequency, results.planted_ranks, results.validation),
        every_document=EVERY_DOCUMENT,
        probes={row.probe: row for row in results.probes},
        folders={run: path.name for run, path in inputs.evaluations.items()},
        is_significant=lambda row: is_significant(study, row),
        level=significance_level(study),
        pooled=POOLED,
        paper=paper,
    )
