"""What physics asks of both simulations, whatever their numbers are: symmetries, conservation, edges."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from flashlink.flashsim.generate import generate
from flashlink.flashsim.gun import fire
from flashlink.flashsim.matching import rows_of
from flashlink.flashsim.parameterizations.condition import Condition
from flashlink.flashsim.parameterizations.event import EventCondition
from flashlink.flashsim.parameterizations.vertex import Vertex
from flashlink.flashsim.parameterize import residuals
from flashlink.flashsim.reference import reconstruct
from flashlink.flashsim.reference.geometry import default_geometry
from flashlink.flashsim.samples import COVARIANCE, LONG
from flashlink.flashsim.simulate import simulate
from flashlink.flashsim.states import covariances


def of(columns, rows):
    return {name: column[rows] for name, column in columns.items()}


def real(tracks):
    """The tracks of particles, in a fixed order."""
    tracks = of(tracks, tracks["particle"] >= 0)
    return of(tracks, np.lexsort((tracks["particle"], tracks["event"])))


def long_efficiency(particles, tracks, chosen):
    long = of(tracks, tracks["category"] == LONG)
    return (rows_of(particles["event"], particles["particle"], long["event"], long["particle"]) >= 0)[chosen].mean()


def shuffled(particles):
    """The same particles, in another order within each event."""
    return of(
        particles, np.lexsort((np.random.default_rng(1).uniform(size=len(particles["event"])), particles["event"]))
    )


def same(left, right, names=("category", "x", "tx", "qop", *COVARIANCE, "chi2", "rich_dll_k", "is_muon")):
    return all(np.array_equal(left[name], right[name]) for name in names)


def test_the_order_of_particles_in_an_event_does_not_matter(trained, held_out):
    flash = simulate(held_out[0], trained[2], seed=5)
    assert same(real(flash), real(simulate(shuffled(held_out[0]), trained[2], seed=5)))
    particles = fire(3000, 211, (2e3, 1e5), (1.8, 5), seed=1)
    assert same(real(reconstruct(particles, 1)[0]), real(reconstruct(shuffled(particles), 1)[0]))


@dataclass(frozen=True)
class Noting:
    """A parameterization of vertices that notes what it is conditioned on."""

    vertex: Vertex
    noted: list[EventCondition]

    def sample(self, condition, draws):
        self.noted.append(condition)
        return self.vertex.sample(condition, draws)


def test_what_vertices_are_conditioned_on_is_the_same_to_the_last_bit_in_any_order_of_particles(trained, held_out):
    few = of(held_out[0], held_out[0]["event"] < 10_400)
    noted = []
    for particles, batch in ((few, 65536), (shuffled(few), 65536), (shuffled(few), 997)):
        simulate(particles, replace(trained[2], vertex=Noting(trained[2].vertex, noted)), seed=5, batch=batch)
    assert (noted[0].prompt > 20).any(), "sums over many tracks, whose order shows in the last bit"
    for other in noted[1:]:
        for name in ("multiplicity", "prompt", "displaced", "information"):
            assert np.array_equal(getattr(noted[0], name), getattr(other, name)), name


@pytest.mark.parametrize("pdg", [13, 211])
def test_antiparticles_in_the_mirrored_field_fly_as_particles_do(pdg):
    particles = fire(3000, pdg, (2e3, 1e5), (1.8, 5), seed=1)
    anti = particles | {"charge": -particles["charge"], "pdg": -particles["pdg"]}
    geometry = default_geometry()
    mirrored = replace(geometry, field=replace(geometry.field, peak=-geometry.field.peak))
    tracks, others = real(reconstruct(particles, 1, geometry)[0]), real(reconstruct(anti, 1, mirrored)[0])
    assert len(tracks["event"]) > 1500
    assert (tracks["particle"] == others["particle"]).all()
    assert (tracks["charge"] == -others["charge"]).all()
    for name in ("x", "y", "tx", "ty", "p", "chi2", "rich_dll_k", "muon_dll_mu"):
        np.testing.assert_allclose(others[name], tracks[name], rtol=1e-6, atol=1e-9, err_msg=name)
    for name in COVARIANCE:
        sign = -1 if name.count("qop") == 1 else 1
        np.testing.assert_allclose(others[name], sign * tracks[name], rtol=1e-6, atol=1e-15, err_msg=name)


def test_without_a_field_a_quarter_turn_exchanges_x_and_y():
    geometry = default_geometry()
    straight = replace(geometry, field=replace(geometry.field, peak=1e-9))
    particles = fire(6000, 211, (2e4, 2e4), (3, 4), seed=1)
    tracks = real(reconstruct(particles, 1, straight)[0])
    row = rows_of(tracks["event"], tracks["particle"], particles["event"], particles["particle"])
    made = residuals(tracks, of(particles, row))
    phi = Condition.of(of(particles, row)).phi
    along = np.abs(np.cos(phi)) > np.sqrt(0.5)
    widths = [np.quantile(np.abs(made.residual[:, k]), 0.683) for k in (0, 1)]
    assert len(phi) > 3000
    assert widths[0] == pytest.approx(widths[1], rel=0.08)
    # x of those that fly along x, and y of those that fly along y.
    turned = [np.quantile(np.abs(made.residual[rows, k]), 0.683) for k, rows in ((0, along), (1, ~along))]
    assert turned[0] == pytest.approx(turned[1], rel=0.1)


def test_decays_conserve_energy_and_momentum():
    sample = generate(20, 0, seed=3).columns
    mother = rows_of(sample["event"], sample["mother"], sample["event"], sample["particle"])
    for name in ("energy", "px", "py", "pz"):
        daughters = np.bincount(mother[mother >= 0], sample[name][mother >= 0], minlength=len(mother))
        decayed = sample["signal"] & ~sample["stable"]
        assert decayed.sum() == 40, "a B and a J/psi in each event"
        np.testing.assert_allclose(daughters[decayed], sample[name][decayed], rtol=1e-6, atol=0.01)


def test_efficiencies_rise_with_momentum_and_fall_at_the_edges():
    shots = [fire(1500, 211, (p, p), (2.5, 4), 1, first_event=k * 1000) for k, p in enumerate((1.2e3, 2.5e3, 5e3, 5e4))]
    rising = [long_efficiency(shot, reconstruct(shot, 1)[0], slice(None)) for shot in shots]
    assert (np.diff(rising) > 0.02).all()
    edges = [(3, 4), (4.8, 5.1), (5.2, 5.5), (5.8, 6)]
    shots = [fire(1500, 211, (2e4, 2e4), eta, 1, first_event=k * 1000) for k, eta in enumerate(edges)]
    falling = [long_efficiency(shot, reconstruct(shot, 1)[0], slice(None)) for shot in shots]
    assert (np.diff(falling) < 0.01).all()
    assert falling[-1] < 0.02


def test_the_flash_efficiency_rises_as_that_of_its_training(trained, held_out):
    particles = held_out[0]
    p = Condition.of(particles).log_p
    tracks = simulate(particles, trained[2], seed=5)
    shares = [long_efficiency(particles, tracks, (p >= low) & (p < low + 0.15)) for low in np.arange(3.18, 4.1, 0.15)]
    assert (np.diff(shares) > -0.01).all()
    assert shares[0] < 0.4 < 0.8 < shares[-1]


def test_covariances_are_positive_definite_at_the_edges_and_beyond_them(trained, held_out):
    particles = held_out[0]
    for factor in (0.3, 1, 30, 1e3):
        scaled = particles | {name: particles[name] * factor for name in ("px", "py", "pz", "energy")}
        tracks = simulate(scaled | {"x": scaled["x"] * 10, "y": scaled["y"] * 10}, trained[2], seed=7)
        matrices = covariances(tracks)
        sigma = np.sqrt(np.einsum("nii->ni", matrices))
        # As correlations, since x in mm and q/p in 1/MeV differ by orders of magnitude.
        assert len(sigma) > 500
        assert np.linalg.eigvalsh(matrices / sigma[:, :, None] / sigma[:, None, :]).min() > 1e-9
