"""Fits of mass peaks: a double-sided Crystal Ball function on an exponential background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, least_squares
from scipy.special import erf

Floats = npt.NDArray[np.float64]

#: Exponent of the power-law tails; with the few hundred candidates of a run it cannot be fitted beside their begin.
TAIL_POWER = 4.0

#: Share of the entries within one standard deviation of a Gaussian.
ONE_SIGMA = float(erf(np.sqrt(0.5)))


@dataclass(frozen=True)
class Peak:
    """The result of a fit; masses in MeV.

    Attributes:
        low: Lower edge of the range.
        high: Upper edge.
        signal: Candidates in the peak.
        mass: Position of the peak.
        width: Standard deviation of its Gaussian core.
        tail: Where the tails begin, in units of `width`.
        background: Candidates of the background in the range.
        slope: Of the exponential, 1/MeV.
        errors: Standard deviations of the six above, in their order.
        chi2: Poisson deviance of the histogram that was fitted.
        ndf: Its degrees of freedom.
    """

    low: float
    high: float
    signal: float
    mass: float
    width: float
    tail: float
    background: float
    slope: float
    errors: tuple[float, ...]
    chi2: float
    ndf: int

    @property
    def signal_error(self) -> float:
        """Standard deviation of `signal`."""
        return self.errors[0]

    @property
    def mass_error(self) -> float:
        """Standard deviation of `mass`."""
        return self.errors[1]

    @property
    def half_width(self) -> float:
        """Half the width around `mass` that holds 68 % of the peak, MeV: comparable whatever the tails."""
        grid = np.linspace(-12, 12, 4801)
        density = crystal_ball(grid, self.tail)
        within = np.cumsum(density[2400:]) / density[2400:].sum()
        return float(np.interp(ONE_SIGMA, within, grid[2400:]) * self.width)

    @property
    def half_width_error(self) -> float:
        """Standard deviation of `half_width`, taking the shape as known."""
        return self.half_width * self.errors[2] / self.width

    def curve(self, mass: Floats) -> Floats:
        """Expected candidates for each MeV, signal and background."""
        return _density(self._parameters, mass, self.low, self.high)

    def background_curve(self, mass: Floats) -> Floats:
        """Expected candidates of the background for each MeV."""
        return _density(np.array([0, *self._parameters[1:]]), mass, self.low, self.high)

    @property
    def _parameters(self) -> Floats:
        return np.array([self.signal, self.mass, self.width, self.tail, self.background, self.slope])


def crystal_ball(t: Floats, tail: float, power: float = TAIL_POWER) -> Floats:
    """A Gaussian core that goes over into power laws `tail` standard deviations from its centre; 1 at 0.

    The function is that of J. E. Gaiser, SLAC-R-255 (1982), appendix F, on both sides.

    Args:
        t: Distance from the centre in units of the core's width.
        tail: Where the power laws begin.
        power: Their exponent.
    """
    distance = np.abs(t)
    ratio = power / tail
    beyond = np.maximum(ratio - tail + distance, ratio)
    return np.where(
        distance < tail,
        np.exp(-0.5 * np.minimum(distance, tail) ** 2),
        np.exp(-0.5 * tail**2) * (ratio / beyond) ** power,
    )


def fit_peak(masses: Floats, low: float, high: float, start: float, bins: int = 100) -> Peak | None:
    """Fit a peak by maximum likelihood of a fine histogram.

    Args:
        masses: Of the candidates, MeV.
        low: Lower edge of the range.
        high: Upper edge.
        start: About where the peak is.
        bins: Of the histogram.

    Returns:
        The fit, or None with fewer than 30 candidates, where it would mean nothing.
    """
    counts, edges = np.histogram(masses, bins, (low, high))
    total = counts.sum()
    if total < 30:
        return None
    centres, step = (edges[:-1] + edges[1:]) / 2, (high - low) / bins
    near = masses[np.abs(masses - start) < (high - low) / 8]
    width = float(np.quantile(np.abs(near - np.median(near)), 0.6)) if len(near) > 10 else 10.0

    def deviance(parameters: Floats) -> Floats:
        expected = np.maximum(_density(parameters, centres, low, high) * step, 1e-9)
        logarithm = np.where(counts > 0, counts * np.log(np.maximum(counts, 1) / expected), 0)
        return np.asarray(np.sign(counts - expected) * np.sqrt(2 * np.maximum(expected - counts + logarithm, 0)))

    found = least_squares(
        deviance,
        x0=[0.8 * total, start, width, 2.0, 0.2 * total, 0.0],
        bounds=(
            [0, start - 50, 1, 0.8, 0, -0.02],
            [1.5 * total, start + 50, (high - low) / 4, 4, 1.5 * total, 0.02],
        ),
        x_scale=[total, 1, width, 1, total, 0.001],
    )
    # The residuals behave like (counts - expected) / sqrt(expected), so their Jacobian gives Fisher's information.
    errors = np.sqrt(np.diag(np.linalg.pinv(found.jac.T @ found.jac)))
    signal, mass, width, tail, background, slope = (float(value) for value in found.x)
    deviations = tuple(float(error) for error in errors)
    chi2, ndf = float(2 * found.cost), bins - len(found.x)
    return Peak(low, high, signal, mass, width, tail, background, slope, deviations, chi2, ndf)


def expected_half_width(errors: Floats) -> float:
    """Half the width that holds 68 % of a sum of Gaussians, one for each candidate, of the given mass errors in MeV."""
    if len(errors) == 0:
        return float("nan")
    return float(brentq(lambda half: erf(half / errors / np.sqrt(2)).mean() - ONE_SIGMA, 0, 10 * errors.max()))


def sigma68(values: Floats) -> float:
    """Half the distance between the quantiles that hold the central 68 % of the values."""
    low, high = np.quantile(values, [(1 - ONE_SIGMA) / 2, (1 + ONE_SIGMA) / 2])
    return float(high - low) / 2


def sigma68_error(value: float, rows: int) -> float:
    """Statistical error of `sigma68`, for so many values of a normal distribution: 0.96 / sqrt(rows) of it."""
    # Two quantiles at density 0.242/sigma: variances 2.28/n, covariance 0.43/n.
    return 0.962 * value / float(np.sqrt(rows))


def _density(parameters: Floats, mass: Floats, low: float, high: float) -> Floats:
    signal, centre, width, tail, background, slope = parameters
    grid = np.linspace(low, high, 401)
    peak = crystal_ball((mass - centre) / width, tail)
    norm = np.trapezoid(crystal_ball((grid - centre) / width, tail), grid)
    fall, falls = np.exp(-slope * (mass - low)), np.exp(-slope * (grid - low))
    return np.asarray(signal * peak / norm + background * fall / np.trapezoid(falls, grid))
