"""Numbers and names as a reader is shown them.

Invariant: a value that does not exist (NaN or None) is shown as a dash, never as 0.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from ccx_ray.study.spec import Direction, ScoreType, StudySpec
from ccx_ray.study.text_spec import BaseLanguageSpec

DASH = "–"
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


def names_of(study: StudySpec) -> dict[str, str]:
    """Code -> short name of the base language and of every target language."""
    return {one.code: short_name(one) for one in (study.base_language, *study.languages)}


def direction_name(direction: Direction, base: str, target: str) -> str:
    """A direction in words: ``English → Korean``."""
    return f"{base} → {target}" if direction == "base-to-target" else f"{target} → {base}"


def condition_name(condition: str) -> str:
    """A condition as it is written: ``no-bridge``."""
    return "no-bridge" if condition == "nobridge" else condition


def trial_conditions(study: StudySpec) -> str:
    """How a study's trials show pairs: ``with and without bridges``."""
    phrases = {
        "bridge": "with bridges",
        "nobridge": "without bridges",
        "deranged": "with deranged pairs",
    }
    conditions: set[str] = set(study.trials.conditions)
    if conditions == {"bridge", "nobridge"}:
        return "with and without bridges"
    return listing([phrase for name, phrase in phrases.items() if name in conditions])


def _number(shown: Callable[..., str]) -> Callable[..., str]:
    """Show None and NaN as a dash, and minus as its own character."""

    def with_dash(value: float | None, *digits: int) -> str:
        if value is None or math.isnan(value):
            return DASH
        return shown(value, *digits).replace("-", "−")

    return with_dash


percent = _number(lambda share, digits=1: f"{100 * share:.{digits}f}\u202f%")
"""0.253 -> ``25.3 %``."""
points = _number(lambda share: f"{tens:+.1f}" if (tens := round(100 * share, 1)) else "0.0")
"""A difference of shares in percentage points, with its sign: 0.031 -> ``+3.1``."""
signed = _number(lambda value, digits=3: f"{value:+.{digits}f}")
"""A difference with its sign: -0.0123 -> ``−0.012``."""
correlation = _number(lambda value: "0.00" if abs(value) < 0.005 else f"{value:+.2f}")
"""A correlation with its sign: ``+0.31``."""
decimal = _number(lambda value, digits=2: f"{value:,.{digits}f}")
whole = _number(lambda value: f"{value:,.0f}")
"""A count with thousands separated."""
ratio = _number(lambda value: decimal(value, 1) if value >= 10 else average(value))
"""A ratio that may be large or small: ``62.1``, ``1.84`` or ``0.010``."""
p_value = _number(lambda value: "< 0.001" if value < 0.001 else f"{value:.3f}")
"""0.0341 -> ``0.034``; below 0.001 only that it is."""


@_number
def scientific(value: float) -> str:
    """2.86e-07 -> ``2.86e−7``; 0 stays 0."""
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}" if value else "0"


@_number
def average(value: float) -> str:
    """A mean of counts: two decimals, or two digits of what is smaller: 0.00271 -> ``0.0027``."""
    if value >= 0.1 or not value:
        return decimal(value) if value else "0"
    return f"{value:.2g}" if value >= 0.001 else scientific(value)


@_number
def duration(seconds: float) -> str:
    """Seconds as ``3 h 20 min``, ``9 min 40 s`` or ``12 s``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def span(low: float | None, high: float | None, shown: Callable[..., str] = decimal) -> str:
    """An interval; ``from 1.30 up`` where it has no upper bound."""
    if low is None or math.isnan(low):
        return DASH
    if high is None or not math.isfinite(high):
        return f"from {shown(low)} up"
    return f"{shown(low)} to {shown(high)}"


def p_phrase(value: float | None) -> str:
    """``p = 0.034`` or ``p < 0.001``."""
    shown = p_value(value)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"


def amount(value: float) -> str:
    """A large count in words: 2,450,000 -> ``2.5 million``."""
    for unit, size in (("billion", 1e9), ("million", 1e6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:,.0f}"


def listing(items: Sequence[str]) -> str:
    """``a, b and c``."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def plural(count: int, noun: str) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def short_commit(commit: str) -> str:
    """The first 12 digits, and whether the tree differed from the commit."""
    return commit.partition("+")[0][:12] + ("+changes" if commit.endswith("+changes") else "")
