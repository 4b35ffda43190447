import numpy as np
import pytest

from flashlink.flashsim.kinematics import combined, constrain, impact_chi2, mass_error, pdg_mass, vertex


@pytest.fixture
def tracks():
    """100 combinations of three tracks from a common point, with their covariances."""
    random = np.random.default_rng(4)
    point = random.normal(0, [0.5, 0.5, 30], (100, 3))
    slope = random.normal(0, 0.15, (100, 3, 2))
    z = random.normal(0, 20, (100, 3))
    position = point[:, None, :2] + slope * (z - point[:, None, 2])[..., None]
    qop = random.choice([-1, 1], (100, 3)) / random.uniform(3e3, 8e4, (100, 3))
    states = np.concatenate([position, slope, qop[..., None]], axis=-1)
    sigma = np.array([0.02, 0.02, 4e-4, 4e-4, 1]) * np.concatenate(
        [np.ones((100, 3, 4)), 0.005 * np.abs(qop)[..., None]], axis=-1
    )
    mixed = np.tril(random.normal(0, 0.3, (100, 3, 5, 5)), -1) + np.eye(5)
    factor = sigma[..., :, None] * mixed
    return states, z, factor @ np.swapaxes(factor, -1, -2), point


MASSES = [105.66, 105.66, 493.68]


def test_the_mass_is_that_of_the_four_momenta(tracks):
    states = tracks[0]
    total = np.zeros((100, 4))
    for track, mass in enumerate(MASSES):
        tx, ty, qop = states[:, track, 2:].T
        pz = 1 / np.abs(qop) / np.sqrt(1 + tx**2 + ty**2)
        total += np.stack([np.sqrt(qop**-2 + mass**2), tx * pz, ty * pz, pz], axis=1)
    expected = np.sqrt(total[:, 0] ** 2 - (total[:, 1:] ** 2).sum(axis=1))
    found = combined(states, MASSES)
    assert found.mass == pytest.approx(expected)
    assert found.momentum == pytest.approx(total)


def test_the_gradient_is_the_derivative(tracks):
    states = tracks[0]
    gradient = combined(states, MASSES).gradient
    for track in range(3):
        for parameter, step in enumerate((1e-3, 1e-3, 1e-7, 1e-7, 1e-11)):
            moved = [states.copy(), states.copy()]
            moved[0][:, track, parameter] += step
            moved[1][:, track, parameter] -= step
            numeric = (combined(moved[0], MASSES).mass - combined(moved[1], MASSES).mass) / (2 * step)
            scale = np.abs(gradient[:, track, parameter]).max()
            assert gradient[:, track, parameter] == pytest.approx(numeric, abs=1e-4 * scale + 1e-12)


def test_the_mass_error_is_the_spread_of_smeared_tracks(tracks):
    states, _, covariances, _ = (array[:1] for array in tracks)
    random = np.random.default_rng(5)
    factor = np.linalg.cholesky(covariances)
    smeared = states + np.einsum("nkij,rkj->rki", factor, random.normal(size=(20_000, 3, 5)))
    error = mass_error(combined(states, MASSES).gradient, covariances)
    assert combined(smeared, MASSES).mass.std() == pytest.approx(error[0], rel=0.03)


def test_a_constraint_holds_and_narrows(tracks):
    states, _, covariances, _ = tracks
    mass = combined(states[:, :2], MASSES[:2]).mass + 5
    for number in range(10):
        some = slice(number, number + 1)
        moved, joint = constrain(states[some, :2], covariances[some, :2], MASSES[:2], mass[number])
        assert combined(moved, MASSES[:2]).mass == pytest.approx(mass[some], abs=1e-3)
        gradient = combined(moved, MASSES[:2]).gradient.reshape(-1)
        assert gradient @ joint[0] @ gradient < 1e-3 * mass_error(gradient.reshape(1, 2, 5), covariances[some, :2]) ** 2


def test_the_vertex_is_found_with_right_errors(tracks):
    states, z, covariances, point = tracks
    exact = vertex(states, z, covariances)
    assert exact.position == pytest.approx(point, abs=1e-6)
    assert exact.chi2 == pytest.approx(0, abs=1e-6)
    random = np.random.default_rng(6)
    smeared = states + np.einsum("nkij,nkj->nki", np.linalg.cholesky(covariances), random.normal(size=(100, 3, 5)))
    found = vertex(smeared, z, covariances)
    pull = (found.position - point) / np.sqrt(np.einsum("nii->ni", found.covariance))
    assert np.sqrt((pull**2).mean(axis=0)) == pytest.approx(1, abs=0.25)
    assert found.chi2.mean() == pytest.approx(3, abs=0.8)


def test_impact_of_a_track_from_the_point_has_two_degrees_of_freedom(tracks):
    states, z, covariances, point = tracks
    random = np.random.default_rng(7)
    smeared = states[:, 0] + np.einsum(
        "nij,nj->ni", np.linalg.cholesky(covariances[:, 0]), random.normal(size=(100, 5))
    )
    assert impact_chi2(states[:, 0], z[:, 0], covariances[:, 0], point) == pytest.approx(0, abs=1e-6)
    assert impact_chi2(smeared, z[:, 0], covariances[:, 0], point).mean() == pytest.approx(2, abs=0.7)


def test_masses_come_from_the_particle_data_table():
    assert pdg_mass(443) == pytest.approx(3096.9, abs=0.1)
    assert pdg_mass(521) == pytest.approx(5279.4, abs=0.3)
