"""What the paper reports, to be read beside a run's own numbers.

Source: Zhang, Liao, Feng, "Cross-Lingual Transfer of Cultural Knowledge: An Asymmetric
Phenomenon", ACL 2025, arXiv 2506.01675.
"""

from collections.abc import Mapping

from ccx_ray.study.spec import Direction

SIGNIFICANT: Mapping[tuple[str, Direction], bool] = {
    ("ko", "base-to-target"): True,
    ("ko", "target-to-base"): True,
    ("zh", "base-to-target"): True,
    ("zh", "target-to-base"): True,
    ("bo", "base-to-target"): False,
    ("bo", "target-to-base"): True,
    ("mn", "base-to-target"): False,
    ("mn", "target-to-base"): True,
}
"""Whether transfer is significant, by language and direction."""

DENSITIES: Mapping[str, tuple[float, float]] = {
    "ko": (2.86e-7, 5.21e-7),
    "zh": (2.97e-7, 2.84e-7),
    "bo": (1.49e-7, 9.19e-6),
    "mn": (1.55e-7, 3.72e-6),
}
"""Culture -> cultural density in the English and in the target corpus."""

OCCURRENCES: Mapping[Direction, tuple[float, float]] = {
    "base-to-target": (9.0, 4.2),
    "target-to-base": (4.7, 2.2),
}
"""Direction -> mean occurrences of transferred items and of all items."""
