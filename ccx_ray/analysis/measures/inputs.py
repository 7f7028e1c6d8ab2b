"""What the analysis starts from: the folders of the steps before it.

Invariant: everything that is claimed is computed from per-question and per-document Parquet;
nothing is taken from an aggregate that another stage has made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ccx_ray.study.spec import StudySpec
from ccx_ray.study.trials import Trial

BASE_RUN = "base"


@dataclass(frozen=True, kw_only=True)
class AnalysisInputs:
    """A finished study, as far as it was run; the analysis says what is missing."""

    study: StudySpec
    trials: tuple[Trial, ...]
    evaluations: Mapping[str, Path]
    """Run name ("base", "ko-bridge-s0") -> evaluation folder with ``step-*.parquet`` and, where
    text is held out, ``perplexity-*.parquet``."""
    frequencies: Mapping[str, Path]
    """Culture -> frequency folder with ``questions.parquet``."""
    trainings: Mapping[str, Path]
    """Run name -> training folder with ``losses.parquet``."""
    markers: Mapping[str, Mapping[str, Any]]
    """Step name -> its completion marker."""
    audit: Path | None = None
    """The audit's folder with ``audit.json``."""
    exposures: Mapping[str, Path] = field(default_factory=dict)
    """Target language -> exposure folder with ``exposure.parquet``."""
    validation: Path | None = None
    """The folder of the tests of the frequency estimate: ``recall.parquet``, ``agreement.parquet``,
    ``planted.parquet``, ``validation.json``."""
    review: Path | None = None
    """The folder of what people said of retrieved documents: ``review.parquet``."""
