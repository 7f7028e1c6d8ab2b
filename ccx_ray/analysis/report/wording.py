"""Numbers as a reader is shown them: points, intervals, p-values, durations.

Invariant: a value that does not exist (NaN or None) is shown as a dash, never as 0.
"""

import math
from collections.abc import Mapping, Sequence

from ccx_ray.analysis.measures.transfer import Direction
from ccx_ray.study.spec import ScoreType
from ccx_ray.study.text_spec import BaseLanguageSpec

DASH = "–"
MINUS = "−"
SCORE_NAMES: Mapping[ScoreType, str] = {
    "reference": "mean per token",
    "sum": "sum",
    "per_byte": "mean per byte",
    "option_sum": "option alone, sum",
    "option_mean": "option alone, per token",
    "option_per_byte": "option alone, per byte",
    "mutual_information": "mutual information",
}
MEASURE_NAMES: Mapping[str, str] = {
    "occurrences": "retrieved and judged",
    "lexical_documents": "lexical judge, every document",
    "together_documents": "answer and entity in one document",
    "answer_documents": "answer in a document",
    "exposure": "all evidence read",
    "judged": "evidence retrieved and judged",
}
"""Ways to count what a corpus or a training holds of a question."""
PREDICTOR_NAMES: Mapping[str, str] = {
    "occurrences": "occurrences, estimated",
    "lexical_documents": "occurrences, every document",
    "exposure": "exposure in training",
}


def short_name(language: BaseLanguageSpec) -> str:
    """A language's name without what stands in brackets; its code if it is not Latin script."""
    name = language.name.split(" (")[0]
    return name if name.isascii() else language.code


def direction_name(direction: Direction, base: str, target: str) -> str:
    """A direction in words: ``English → Korean``."""
    return f"{base} → {target}" if direction == "base-to-target" else f"{target} → {base}"


def condition_name(condition: str) -> str:
    """A condition as it is written: ``no-bridge``."""
    return "no-bridge" if condition == "nobridge" else condition


def score_name(kind: ScoreType) -> str:
    """A score as figures and tables name it."""
    return SCORE_NAMES[kind]


def percent(share: float | None, digits: int = 1) -> str:
    """0.253 -> ``25.3 %``."""
    return DASH if _absent(share) else f"{100 * share:.{digits}f}\u202f%"  # type: ignore[operator]


def points(share: float | None) -> str:
    """A difference of shares in percentage points, with its sign: 0.031 -> ``+3.1``."""
    if _absent(share):
        return DASH
    assert share is not None
    rounded = round(100 * share, 1)
    return f"{rounded:+.1f}".replace("-", MINUS) if rounded else "0.0"


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign: -0.0123 -> ``−0.012``."""
    if _absent(value):
        return DASH
    assert value is not None
    return f"{value:+.{digits}f}".replace("-", MINUS)


def signed_interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval of differences."""
    return DASH if _absent(low) else f"{signed(low, digits)} to {signed(high, digits)}"


def interval(low: float | None, high: float | None) -> str:
    """An interval of shares in points."""
    return DASH if _absent(low) else f"{points(low)} to {points(high)}"


def correlation_bounds(low: float | None, high: float | None) -> str:
    """An interval of correlations."""
    return DASH if _absent(low) else f"{correlation(low)} to {correlation(high)}"


def average(value: float | None) -> str:
    """A mean of counts: two decimals, or two digits of what is smaller: 0.00271 -> ``0.0027``."""
    if _absent(value):
        return DASH
    assert value is not None
    if value == 0 or value >= 0.1:
        return decimal(value) if value else "0"
    return f"{value:.2g}" if value >= 0.001 else scientific(value)


def average_bounds(low: float | None, high: float | None) -> str:
    """An interval of means of counts."""
    return DASH if _absent(low) else f"{average(low)} to {average(high)}"


def correlation(value: float | None) -> str:
    """A correlation with its sign: ``+0.31``."""
    shown = signed(value, 2)
    return "0.00" if shown.endswith("0.00") else shown


def ratio(value: float | None) -> str:
    """A ratio that may be large or small: ``62.1``, ``1.84`` or ``0.010``."""
    return decimal(value, 1) if value is not None and value >= 10 else average(value)


def ratio_bounds(low: float | None, high: float | None) -> str:
    """An interval of ratios; ``from 1.30 up`` where it has no upper bound."""
    if _absent(low):
        return DASH
    if _absent(high) or math.isinf(high or 0.0):
        return f"from {ratio(low)} up"
    return f"{ratio(low)} to {ratio(high)}"


def bounds(low: float | None, high: float | None, digits: int = 2) -> str:
    """An interval of plain numbers."""
    return DASH if _absent(low) else f"{decimal(low, digits)} to {decimal(high, digits)}"


def scientific_bounds(low: float | None, high: float | None) -> str:
    """An interval of densities."""
    return DASH if _absent(low) else f"{scientific(low)} to {scientific(high)}"


def measure_name(measure: str) -> str:
    """A way to count, as figures and tables name it."""
    return MEASURE_NAMES[measure]


def p_value(value: float | None) -> str:
    """0.0341 -> ``0.034``; below 0.001 only that it is."""
    if _absent(value):
        return DASH
    assert value is not None
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def p_phrase(value: float | None) -> str:
    """``p = 0.034`` or ``p < 0.001``."""
    shown = p_value(value)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"


def decimal(value: float | None, digits: int = 2) -> str:
    """A plain number."""
    if _absent(value):
        return DASH
    assert value is not None
    return f"{value:,.{digits}f}".replace("-", MINUS)


def scientific(value: float | None) -> str:
    """2.86e-07 -> ``2.86e−7``; 0 stays 0."""
    if _absent(value):
        return DASH
    assert value is not None
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}".replace("-", MINUS)


def whole(value: float | None) -> str:
    """A count with thousands separated."""
    return DASH if _absent(value) else f"{value:,.0f}".replace("-", MINUS)


def amount(value: float) -> str:
    """A large count in words: 2,450,000 -> ``2.5 million``."""
    for unit, size in (("billion", 1e9), ("million", 1e6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """Seconds as ``3 h 20 min``, ``9 min 40 s`` or ``12 s``."""
    if _absent(seconds):
        return DASH
    assert seconds is not None
    whole_seconds = round(seconds)
    if whole_seconds < 60:
        return f"{whole_seconds} s"
    minutes, rest = divmod(whole_seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def listing(items: Sequence[str]) -> str:
    """``a, b and c``."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def plural(count: int, noun: str) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _absent(value: float | None) -> bool:
    return value is None or math.isnan(value)
