"""What physics asks of the models that come with flashlink: symmetries of the detector, conservation, edges."""

import numpy as np
import pytest

from flashlink.flashsim.generate import generate
from flashlink.flashsim.gun import fire
from flashlink.flashsim.learned.photons import features
from flashlink.flashsim.matching import rows_of
from flashlink.flashsim.parameterizations.condition import Condition
from flashlink.flashsim.parameterizations.photons import PhotonCondition
from flashlink.flashsim.parameterize import residuals
from flashlink.flashsim.photons import simulate_photons
from flashlink.flashsim.samples import CLUSTER_COVARIANCE, LONG
from flashlink.flashsim.simulate import SIMULATED, read_parameterizations, simulate
from flashlink.flashsim.states import covariances, symmetric, vertex_covariances


def of(columns, rows):
    return {name: column[rows] for name, column in columns.items()}


@pytest.fixture(scope="module")
def shipped():
    return read_parameterizations(None)[0]


@pytest.fixture(scope="module")
def pions():
    """Pions of both charges, 3 to 60 GeV, in the middle of the acceptance."""
    sample = fire(16_000, 211, (3e3, 6e4), (2.2, 4.5), seed=21)
    sign = np.where(np.arange(len(sample["event"])) % 2, 1, -1)
    return sample | {"charge": sign * sample["charge"], "pdg": sign * sample["pdg"]}


def mirrored(particles, axis):
    """Seen in a mirror that turns x or y around; left and right the field, along y, bends the other charge the same."""
    flipped = particles | {name: -particles[name] for name in (f"p{axis}", axis, f"pv_{axis}")}
    if axis == "x":
        flipped |= {name: -particles[name] for name in ("charge", "pdg")}
    return flipped


def summary(particles, tracks):
    """Long efficiency, widths of residuals of x, y and q/p, median errors of x and y, share of muons, RICH medians."""
    row = rows_of(particles["event"], particles["particle"], tracks["event"], tracks["particle"])
    long = np.flatnonzero((row >= 0) & (tracks["category"][row] == LONG))
    some = of(tracks, row[long])
    made = residuals(some, of(particles, long))
    p = 10 ** Condition.of(of(particles, long)).log_p
    sigma = np.sqrt(np.einsum("nii->ni", made.covariance))
    widths = [np.quantile(np.abs(values), 0.683) for values in (*made.residual[:, :2].T, made.residual[:, 4] * p)]
    return len(long) / len(row), np.array([*widths, *np.median(sigma[:, :2], axis=0)]), some["is_muon"].mean()


@pytest.mark.parametrize("axis", ["x", "y"])
def test_what_the_field_allows_to_mirror_is_the_same_in_the_mirror(shipped, pions, axis):
    """Up and down: the same charge. Left and right: antiparticles, which is charge conjugation in a dipole."""
    there, here = (summary(sample, simulate(sample, shipped, 5)) for sample in (mirrored(pions, axis), pions))
    # Statistical errors: 0.005 of efficiencies, 0.01 of widths, 0.001 of muons.
    assert there[0] == pytest.approx(here[0], abs=0.02)
    assert there[1] == pytest.approx(here[1], rel=0.05)
    assert there[2] == pytest.approx(here[2], abs=0.006)


def test_at_high_momentum_a_quarter_turn_changes_little(shipped):
    """The field hardly bends these, and acceptance of the middle is round: only the axes of the hits are left."""
    particles = fire(12_000, 211, (5e4, 9e4), (2.8, 4), seed=22)
    turned = particles | {"px": particles["py"], "py": -particles["px"]}
    here, there = (summary(sample, simulate(sample, shipped, 5)) for sample in (particles, turned))
    assert there[0] == pytest.approx(here[0], abs=0.02)
    exchanged = there[1][[1, 0, 2, 4, 3]]
    assert exchanged == pytest.approx(here[1], rel=0.08)


def test_the_order_of_particles_does_not_matter_bit_for_bit(shipped):
    generated = generate(12, 0, seed=23).columns
    order = np.lexsort((np.random.default_rng(1).uniform(size=len(generated["event"])), generated["event"]))
    here, there = (simulate(sample, shipped, 5) for sample in (generated, of(generated, order)))
    real = {name: column[here["particle"] >= 0] for name, column in here.items()}
    again = of(there, there["particle"] >= 0)
    again = of(again, np.lexsort((again["particle"], again["event"])))
    for name in set(SIMULATED) - {"track"}:
        np.testing.assert_array_equal(again[name], real[name], err_msg=name)


def test_no_particle_comes_twice_and_none_from_nowhere(shipped):
    generated = generate(30, 0, seed=24).columns
    tracks = simulate(generated, shipped, 5)
    real = of(tracks, tracks["particle"] >= 0)
    assert len(np.unique(np.stack([real["event"], real["particle"]]), axis=1).T) == len(real["event"])
    rows = rows_of(real["event"], real["particle"], generated["event"], generated["particle"])
    assert (rows >= 0).all()
    assert (generated["stable"][rows] & (generated["charge"][rows] != 0)).all()
    assert (real["true_pdg"] == generated["pdg"][rows]).all()
    assert (tracks["tracks"] == np.bincount(tracks["event"])[tracks["event"]]).all()
    assert (tracks["charge"] == np.sign(tracks["qop"])).all()
    np.testing.assert_allclose(tracks["p"] * np.abs(tracks["qop"]), 1)
    clusters = simulate_photons(generated, shipped.photons, 5)
    assert len(np.unique(np.stack([clusters["event"], clusters["particle"]]), axis=1).T) == len(clusters["event"])


def long_efficiency(particles, model):
    tracks = simulate(particles, model, 1)
    return ((tracks["category"] == LONG) & (tracks["particle"] >= 0)).sum() / len(particles["event"])


def test_efficiencies_rise_at_the_threshold_and_fall_at_the_edges(shipped):
    shots = [fire(2000, 211, (p, p), (2.5, 4), 1, first_event=k * 1000) for k, p in enumerate((1.2e3, 2.5e3, 5e3, 5e4))]
    edges = [(3, 4), (4.8, 5.1), (5.2, 5.5), (5.8, 6)]
    borders = [fire(2000, 211, (2e4, 2e4), eta, 1, first_event=k * 1000) for k, eta in enumerate(edges)]
    rising, falling = ([long_efficiency(shot, shipped) for shot in some] for some in (shots, borders))
    assert (np.diff(rising) > 0.02).all()
    assert (np.diff(falling) < 0.01).all()
    assert falling[-1] < 0.02


def test_photons_come_at_least_as_often_with_more_energy_and_hardly_from_the_hole(shipped):
    model, count = shipped.photons, 4000
    azimuth = np.linspace(0, 2 * np.pi, count, endpoint=False)

    def share(energy, radius):
        x, y = radius * np.cos(azimuth), radius * np.sin(azimuth)
        place = PhotonCondition(
            np.full(count, np.log10(energy)), x, y, x / model.z, y / model.z, np.zeros(count), np.zeros(count),
            np.full(count, 60.0),
        )  # fmt: skip
        assert np.isfinite(features(place)).all()
        drawn = model.found.sample(features(place), np.random.default_rng(1).uniform(size=(2, count)))
        return drawn["cluster"].mean()

    energies = [share(energy, 1200) for energy in (1000, 2000, 5000, 20_000)]
    assert (np.diff(energies) > -0.02).all()
    assert share(20_000, 100) < 0.15 < 0.6 < share(20_000, 1000)


@pytest.mark.parametrize("factor", [0.3, 1, 30, 1e3])
def test_covariances_are_positive_definite_at_the_edges_and_beyond_them(shipped, factor):
    generated = generate(12, 0, seed=25).columns
    scaled = generated | {name: generated[name] * factor for name in ("px", "py", "pz", "energy")}
    scaled |= {name: generated[name] * 10 for name in "xy"}
    tracks, clusters = simulate(scaled, shipped, seed=7), simulate_photons(scaled, shipped.photons, 7)
    for matrices in (covariances(tracks), vertex_covariances(tracks), symmetric(clusters, CLUSTER_COVARIANCE, 3)):
        sigma = np.sqrt(np.einsum("nii->ni", matrices))
        # As correlations, since units differ by orders of magnitude.
        assert len(sigma) > 20
        assert np.linalg.eigvalsh(matrices / sigma[:, :, None] / sigma[:, None]).min() > 0
