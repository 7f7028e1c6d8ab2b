"""What people's answers say about the judge, and the density that follows from them.

A person looked at some of the pairs that the judge accepted and at some of those that it refused.
The share of the first that hold (precision) and of the second (omission) are carried to all
retrieved pairs: corrected occurrences = accepted x precision + refused x omission. What was never
retrieved nobody has seen, and nothing here speaks of it.

Intervals hold 95 %. They are drawn: what was not looked at is completed by the posterior under
Jeffreys' prior (a beta-binomial distribution), so that a stratum without a single error is not
taken for one that cannot have any, and one that was looked at wholly adds no error of sampling.
Invariant: no interval excludes its own estimate.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccx_ray.frequency.validation.agreement import cohens_kappa

Floats = NDArray[np.float64]
Range = tuple[float | None, float | None, float | None]
"""An estimate and the ends of its interval; None where nothing is known."""
UNKNOWN: Range = (None, None, None)
DRAWS = 10_000
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """Pairs of which the judge said the same."""

    pairs: int
    """All that were retrieved."""
    reviewed: int
    """Those of which a person said yes or no."""
    held: int
    """Those of which the person said yes."""

    @property
    def share(self) -> float | None:
        """Of the reviewed pairs, how many hold."""
        return self.held / self.reviewed if self.reviewed else None

    @property
    def estimate(self) -> float | None:
        """Of all pairs, how many hold; None if nobody looked at any."""
        if not self.pairs:
            return 0.0
        return None if self.share is None else self.pairs * self.share

    def draws(self, generator: np.random.Generator) -> Floats:
        """Of all pairs, how many may hold: ``[DRAWS]``."""
        rates = generator.beta(self.held + 0.5, self.reviewed - self.held + 0.5, DRAWS)
        return self.held + generator.binomial(self.pairs - self.reviewed, rates).astype(float)


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """What a review says of one corpus."""

    precision: Range
    """With Wilson's interval: of this judge on such documents, not of these alone."""
    omission: Range
    """Share of the refused pairs that hold; of all retrieved ones."""
    kappa: Range
    """Of person and judge over all retrieved pairs: the sample's answers weighted back."""
    sample_kappa: Range
    """Of the reviewed pairs as they are, half of them accepted ones."""
    held: Range
    """Retrieved pairs that hold."""


def correct(accepted: Stratum, refused: Stratum, *, seed: int) -> Corrected:
    """The judge's errors, and the number of pairs that hold without them."""
    generator = np.random.default_rng(seed)
    drawn = accepted.draws(generator), refused.draws(generator)
    estimates = accepted.estimate, refused.estimate
    held: Range = UNKNOWN
    kappa: Range = UNKNOWN
    if estimates[0] is not None and estimates[1] is not None:
        held = _range(estimates[0] + estimates[1], drawn[0] + drawn[1])
        exact = _kappas(accepted, refused, *(np.array([one]) for one in estimates))[0]
        if not np.isnan(exact):
            kappa = _range(float(exact), _kappas(accepted, refused, *drawn))
    return Corrected(
        precision=_wilson(accepted),
        omission=UNKNOWN
        if refused.share is None
        else _range(refused.share, drawn[1] / refused.pairs),
        kappa=kappa,
        sample_kappa=cohens_kappa(
            accepted.held,
            accepted.reviewed - accepted.held,
            refused.held,
            refused.reviewed - refused.held,
        ),
        held=held,
    )


def carried_over(
    accepted: int, refused: int, pooled: tuple[Stratum, Stratum], *, seed: int
) -> Range:
    """Pairs of one culture that hold, by the precision and omission of the whole corpus.

    Args:
        accepted: pairs of the culture that the judge accepted.
        refused: pairs of the culture that it refused.
        pooled: the accepted and the refused pairs of all cultures.
    """
    generator = np.random.default_rng(seed)
    estimate, drawn = 0.0, np.zeros(DRAWS)
    for pairs, stratum in zip((accepted, refused), pooled, strict=True):
        draws = stratum.draws(generator)
        if not pairs:
            continue
        if stratum.share is None:
            return UNKNOWN
        estimate += pairs * stratum.share
        drawn += pairs * draws / stratum.pairs
    return _range(estimate, drawn)


def _kappas(accepted: Stratum, refused: Stratum, right: Floats, missed: Floats) -> Floats:
    """Cohen's kappa of all pairs, if so many accepted and so many refused ones hold.

    NaN where the judge or the person says the same of every pair.
    """
    whole = accepted.pairs + refused.pairs
    held = right + missed
    observed = (right + refused.pairs - missed) / whole
    by_chance = (accepted.pairs * held + refused.pairs * (whole - held)) / whole**2
    with np.errstate(divide="ignore", invalid="ignore"):
        kappas = (observed - by_chance) / (1 - by_chance)
    varies = (held > 0) & (held < whole) & (accepted.pairs > 0) & (refused.pairs > 0)
    return np.where(varies, kappas, np.nan)


def _wilson(stratum: Stratum) -> Range:
    from statsmodels.stats.proportion import proportion_confint

    if stratum.share is None:
        return UNKNOWN
    low, high = proportion_confint(
        stratum.held, stratum.reviewed, alpha=1 - CONFIDENCE, method="wilson"
    )
    return stratum.share, float(low), float(high)


def _range(estimate: float, drawn: Floats) -> Range:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return estimate, min(estimate, float(low)), max(estimate, float(high))
