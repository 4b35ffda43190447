import numpy as np
import pytest

from flashlink.flashsim.report.fits import crystal_ball, expected_half_width, fit_peak, sigma68, sigma68_error
from flashlink.flashsim.report.statistics import median


def sample(seed, signal=2000, background=1000, width=9.0):
    random = np.random.default_rng(seed)
    return np.concatenate(
        [random.normal(3097, width, random.poisson(signal)), random.uniform(2950, 3250, random.poisson(background))]
    )


def test_a_fit_finds_what_was_put_in():
    pulls = []
    for seed in range(60):
        fit = fit_peak(sample(seed), 2950, 3250, 3100)
        pulls.append([(fit.mass - 3097) / fit.mass_error, (fit.signal - 2000) / fit.signal_error])
        assert fit.half_width == pytest.approx(9, rel=0.15)
        assert fit.chi2 / fit.ndf < 1.6
    assert np.mean(pulls, axis=0) == pytest.approx(0, abs=0.6)
    assert np.std(pulls, axis=0) == pytest.approx(1, abs=0.35)


def test_the_curve_integrates_to_the_candidates():
    fit = fit_peak(sample(1), 2950, 3250, 3100)
    grid = np.linspace(2950, 3250, 3001)
    assert np.trapezoid(fit.curve(grid), grid) == pytest.approx(fit.signal + fit.background, rel=1e-3)
    assert np.trapezoid(fit.background_curve(grid), grid) == pytest.approx(fit.background, rel=1e-3)


def test_too_few_candidates_are_not_fitted():
    assert fit_peak(np.full(29, 3097.0), 2950, 3250, 3097) is None


def test_the_function_is_smooth_where_its_tails_begin():
    near = np.array([1.5 - 1e-6, 1.5 + 1e-6])
    left, right = crystal_ball(near, 1.5)
    assert left == pytest.approx(right, rel=1e-5)
    slopes = np.diff(crystal_ball(np.array([1.499, 1.4995, 1.5005, 1.501]), 1.5))[[0, 2]]
    assert slopes[0] == pytest.approx(slopes[1], rel=0.01)
    assert crystal_ball(np.array([0.0, -2, 2]), 5) == pytest.approx([1, np.exp(-2), np.exp(-2)])


def test_widths():
    assert expected_half_width(np.full(10, 7.0)) == pytest.approx(7)
    assert 5 < expected_half_width(np.array([5.0, 20.0])) < 20
    assert np.isnan(expected_half_width(np.zeros(0)))
    assert sigma68(np.random.default_rng(1).normal(3, 2, 100_000)) == pytest.approx(2, rel=0.01)


def test_the_width_of_a_normal_distribution_and_its_error():
    samples = np.random.default_rng(1).normal(3, 2, (2000, 400))
    widths = [sigma68(sample) for sample in samples]
    assert np.mean(widths) == pytest.approx(2, rel=0.01)
    assert np.std(widths) == pytest.approx(sigma68_error(2, 400), rel=0.05)


def test_medians_fluctuate_as_their_errors_say():
    values = np.repeat(np.arange(500) + 0.5, 200)
    quantity = np.random.default_rng(2).normal(3, 2, len(values))
    found = median(values, quantity, np.arange(501.0))
    assert np.std((found.value - 3) / found.low) == pytest.approx(1, abs=0.08)
