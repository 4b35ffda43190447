"""Composite particles: their covariance and the error of the decay time, by numeric derivatives."""

import numpy as np
import pytest

from flashlink.flashsim.composite import Composite, composite
from flashlink.flashsim.kinematics import LIGHT, pdg_mass
from flashlink.flashsim.states import moved_covariance

MASSES = [pdg_mass(13), pdg_mass(13), pdg_mass(321)]

#: Small against the errors of x, y, tx, ty and q/p, large against rounding.
STEPS = (1e-4, 1e-4, 1e-6, 1e-6, 1e-9)


@pytest.fixture(scope="module")
def meeting():
    """Ten combinations of three tracks that meet exactly, 5 to 60 mm from where they are given."""
    random = np.random.default_rng(11)
    point = random.normal(0, [0.5, 0.5, 30], (10, 3))
    slope = random.normal(0, 0.15, (10, 3, 2))
    z = point[:, None, 2] + random.uniform(5, 60, (10, 3)) * random.choice([-1, 1], (10, 3))
    position = point[:, None, :2] + slope * (z - point[:, None, 2])[..., None]
    qop = random.choice([-1, 1], (10, 3)) / random.uniform(3e3, 8e4, (10, 3))
    sigma = np.concatenate([np.tile([0.02, 0.03, 4e-4, 3e-4], (10, 3, 1)), 0.005 * np.abs(qop)[..., None]], axis=-1)
    factor = sigma[..., :, None] * (np.tril(random.normal(0, 0.5, (10, 3, 5, 5)), -1) + np.eye(5))
    states = np.concatenate([position, slope, qop[..., None]], axis=-1)
    return states, z, factor @ np.swapaxes(factor, -1, -2)


def parameters(found: Composite) -> np.ndarray:
    return np.concatenate([found.position, found.momentum], axis=1)


def scaled(covariance: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    return covariance / sigma[:, :, None] / sigma[:, None]


def test_the_covariance_is_that_of_the_tracks_by_the_derivatives_of_the_fit(meeting):
    states, z, covariances = meeting
    expected = np.zeros((10, 7, 7))
    for track in range(3):
        jacobian = np.empty((10, 7, 5))
        for parameter, step in enumerate(STEPS):
            up, down = states.copy(), states.copy()
            up[:, track, parameter] += step
            down[:, track, parameter] -= step
            moved = [parameters(composite(some, z, covariances, MASSES)) for some in (up, down)]
            jacobian[:, :, parameter] = (moved[0] - moved[1]) / (2 * step)
        expected += jacobian @ covariances[:, track] @ np.swapaxes(jacobian, 1, 2)
    found = composite(states, z, covariances, MASSES).covariance
    sigma = np.sqrt(np.einsum("nii->ni", expected))
    np.testing.assert_allclose(scaled(found, sigma), scaled(expected, sigma), atol=1e-4)


def test_it_does_not_matter_where_on_their_lines_the_tracks_are_given(meeting):
    states, z, covariances = meeting
    step = np.random.default_rng(12).uniform(-40, 40, z.shape)
    there = states.copy()
    there[..., :2] += states[..., 2:4] * step[..., None]
    carried = moved_covariance(covariances.reshape(-1, 5, 5), step.ravel()).reshape(covariances.shape)
    here, moved = composite(states, z, covariances, MASSES), composite(there, z + step, carried, MASSES)
    np.testing.assert_allclose(parameters(moved), parameters(here), rtol=1e-6, atol=1e-6)
    sigma = np.sqrt(np.einsum("nii->ni", here.covariance))
    np.testing.assert_allclose(scaled(moved.covariance, sigma), scaled(here.covariance, sigma), atol=1e-5)


def test_errors_of_mass_and_decay_time_are_by_their_derivatives(meeting):
    found = composite(*meeting, MASSES)
    random = np.random.default_rng(13)
    origin = found.position - random.normal(0, [0.3, 0.3, 8], (10, 3))
    spread = random.normal(0, 0.02, (10, 3, 3)) + 0.05 * np.eye(3)
    of_origin = spread @ np.swapaxes(spread, 1, 2)

    def mass_and_time(values, start):
        mass = np.sqrt(values[:, 6] ** 2 - np.square(values[:, 3:6]).sum(axis=1))
        along = ((values[:, :3] - start) * values[:, 3:6]).sum(axis=1)
        return np.stack([mass, mass * along / np.square(values[:, 3:6]).sum(axis=1) / LIGHT])

    slopes = []
    for parameter, step in enumerate([1e-4] * 3 + [1e-2] * 4 + [1e-4] * 3):
        ends = []
        for sign in (1, -1):
            values, start = parameters(found), origin.copy()
            where, column = (values, parameter) if parameter < 7 else (start, parameter - 7)
            where[:, column] += sign * step
            ends.append(mass_and_time(values, start))
        slopes.append((ends[0] - ends[1]) / (2 * step))
    slope = np.stack(slopes, axis=-1)
    variance = np.einsum("qni,nij,qnj->qn", slope[..., :7], found.covariance, slope[..., :7])
    variance += np.einsum("qni,nij,qnj->qn", slope[..., 7:], of_origin, slope[..., 7:])
    time, time_error = found.decay_time(origin, of_origin)
    assert time == pytest.approx(mass_and_time(parameters(found), origin)[1])
    assert found.mass_error == pytest.approx(np.sqrt(variance[0]), rel=1e-4)
    assert time_error == pytest.approx(np.sqrt(variance[1]), rel=1e-4)
