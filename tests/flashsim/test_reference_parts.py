"""The parts of the reference detector: motion, matter, decays, vertices, geometry."""

from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from particle import Particle

from flashlink.errors import RequestError
from flashlink.flashsim import gun
from flashlink.flashsim.gun import fire
from flashlink.flashsim.parameterizations.condition import KAON, MUON, PION, PROTON, SPECIES
from flashlink.flashsim.reference import material, reconstruct
from flashlink.flashsim.reference.cherenkov import angle_and_yield, poisson
from flashlink.flashsim.reference.decay import CHANNELS, LIVES, MASSES, decay, decay_place
from flashlink.flashsim.reference.geometry import Field, default_geometry, read_geometry
from flashlink.flashsim.reference.propagate import (
    KAPPA,
    beam_distance,
    bend,
    cylinder_distance,
    straight,
    with_derivatives,
)

UNIFORM = Field(peak=1.0, centre=0.0, width=1e9, power=2.0)


def state(p=1e4, tx=0.1, ty=-0.05, charge=1.0):
    return np.array([[0.3], [-0.2], [tx], [ty], [charge / p]])


def test_masses_and_lives_are_those_of_the_particle_data_group():
    table = [Particle.from_pdgid(number) for number in SPECIES.values()]
    assert list(MASSES) == pytest.approx([particle.mass for particle in table], rel=1e-8)
    assert [gun._MASSES[number] for number in SPECIES.values()] == list(MASSES)
    for species in (PION, KAON):
        assert LIVES[species] == pytest.approx(table[species].ctau, rel=1e-4)
    assert np.isinf(LIVES[PROTON])
    assert max(channel.neutral for channel in CHANNELS) == Particle.from_pdgid(111).mass


def test_decays_are_exponential_in_proper_time():
    uniform = (np.arange(20_000) + 0.5) / 20_000
    p = np.full(20_000, 5e3)
    place = decay_place(np.full(20_000, KAON), p, np.full(20_000, -30.0), np.full(20_000, 1.2), uniform)
    # along the path a kaon of 5 GeV lives beta gamma c tau = p / m c tau, along z a part of it
    assert (place + 30).mean() == pytest.approx(5e3 / 493.677 * 3711 / 1.2, rel=1e-3)


@given(p=st.floats(3e3, 1e5), tx=st.floats(-0.25, 0.25), ty=st.floats(-0.2, 0.2), charge=st.sampled_from([-1.0, 1.0]))
def test_a_uniform_field_makes_a_helix(p, tx, ty, charge):
    start = state(p, tx, ty, charge)
    end = bend(start, 0.0, 3000.0, UNIFORM)
    # across the field the momentum turns on a circle: px changes by -q B times the way along z
    norm = np.sqrt(1 + tx**2 + ty**2)
    sideways = p * tx / norm - charge * KAPPA * 3000.0
    across = p * np.sqrt(1 + tx**2) / norm
    expected = sideways / np.sqrt(across**2 - sideways**2)
    assert end[2, 0] == pytest.approx(expected, abs=2e-6)
    assert end[3, 0] == pytest.approx(p * ty / norm / np.sqrt(across**2 - sideways**2), abs=2e-6)


def test_back_where_it_came_from():
    field = default_geometry().field
    there = bend(state(3e3), 2000.0, 9400.0, field)
    np.testing.assert_allclose(bend(there, 9400.0, 2000.0, field), state(3e3), atol=0.02)


def test_derivatives_are_those_of_the_motion():
    field = default_geometry().field
    _, derivatives = with_derivatives(state(), lambda states: bend(states, 2000.0, 9000.0, field))
    for row, step in ((2, 1e-4), (3, 1e-4), (4, 1e-7)):
        shift = np.zeros((5, 1))
        shift[row] = step
        central = (
            (bend(state() + shift, 2000.0, 9000.0, field) - bend(state() - shift, 2000.0, 9000.0, field)) / step / 2
        )
        expected = central[:4, 0] - (np.arange(4) == row)
        np.testing.assert_allclose(derivatives[:, row - 2, 0], expected, rtol=1e-3, atol=1e-4)


def test_closest_to_the_beam():
    moved = straight(state(), beam_distance(state()))
    assert moved[0] * moved[2] + moved[1] * moved[3] == pytest.approx(0, abs=1e-12)
    on_wall = straight(state(), cylinder_distance(state(), 5.0))
    assert np.hypot(on_wall[0], on_wall[1]) == pytest.approx(5.0)


def test_scattering_is_as_wide_as_its_covariance():
    many = np.repeat(state(5e3, 0.3, 0.2), 50_000, axis=1)
    angle = material.scattering_angle(np.full(50_000, 5e3), MASSES[PION], np.full(50_000, 0.05))
    xx, yx, yy = (term[0] for term in material.scattering_covariance(many, angle))
    normals = np.random.default_rng(1).normal(size=(2, 50_000))
    turned = many.copy()
    material.scatter(turned, angle, normals)
    np.testing.assert_allclose(np.cov(turned[2:4]), [[xx, yx], [yx, yy]], rtol=0.02, atol=0.02 * xx)


def test_scattering_across_the_flight_is_the_same_on_all_sides():
    many = np.repeat(state(5e3, 0.5, -0.4), 50_000, axis=1)
    turned = many.copy()
    material.scatter(turned, np.full(50_000, 1e-3), np.random.default_rng(1).normal(size=(2, 50_000)))
    before, after = (np.stack([s[2], s[3], np.ones(50_000)]) / material.path(s) for s in (many, turned))
    flight = before[:, 0]
    across = np.linalg.svd(flight[None])[2][1:]
    assert np.cov(across @ after) == pytest.approx(1e-6 * np.eye(2), abs=2e-8)


def test_scattering_is_highlands():
    # a pion of 1 GeV behind a hundredth of a radiation length: 13.6 MeV / (beta p) sqrt(x) (1 + 0.038 ln x)
    angle = material.scattering_angle(np.array([1e3]), MASSES[PION], np.array([0.01]))
    assert angle == pytest.approx(13.6 / 990.40 * 0.1 * 0.82500, rel=1e-4)


def test_no_matter_no_scattering():
    assert material.scattering_angle(np.array([1e3]), MASSES[PION], np.array([0.0])) == 0


def test_energy_lost_is_gained_back():
    p = np.array([2e3, 5e3, 1e5])
    after = material.lose_energy(p, MASSES[PION], np.full(3, 0.1))
    assert (after < p).all()
    np.testing.assert_allclose(material.lose_energy(after, MASSES[PION], np.full(3, -0.1)), p, rtol=1e-5)


def test_energy_loss_fluctuates_around_its_mean_with_a_tail_of_large_losses():
    normals = np.random.default_rng(3).normal(size=400_000)
    p = np.full(400_000, 1e5)
    loss = p - material.lose_energy(p, MASSES[PION], np.full(400_000, 0.1), normals)
    assert loss.mean() == pytest.approx(0.1 * material.MEAN_LOSS, rel=0.002)
    # the Moyal distribution has a standard deviation of pi / sqrt(2) and a skewness of 1.5351
    assert loss.std() == pytest.approx(0.1 * material.LOSS_WIDTH * np.pi / np.sqrt(2), rel=0.01)
    assert ((loss - loss.mean()) ** 3).mean() / loss.std() ** 3 == pytest.approx(1.5351, rel=0.05)


def test_bremsstrahlung_leaves_one_in_e_after_a_radiation_length():
    uniform = (np.arange(20_000) + 0.5) / 20_000
    left = material.radiate(np.full(20_000, 1e4), np.ones(20_000), uniform) / 1e4
    # the mean of E'/E is exp(-t) by the definition of the radiation length
    assert left.mean() == pytest.approx(np.exp(-1), rel=0.01)


@pytest.mark.parametrize(
    ("mother", "daughter", "neutral", "chances"),
    [(PION, MUON, 0.0, (0, 1)), (KAON, MUON, 0.0, (0, 0.6356)), (KAON, PION, 134.9768, (0.6356, 0.8423))],
)
def test_decays_keep_energy_and_momentum(mother, daughter, neutral, chances):
    before = np.repeat(state(8e3), 2000, axis=1)
    chance = np.random.default_rng(2).uniform(size=(3, 2000))
    chance[0] = chances[0] + (chances[1] - chances[0]) * chance[0]
    found, after = decay(np.full(2000, mother), before, chance)
    assert (found == daughter).all()

    def four(states, mass):
        p = 1 / np.abs(states[4])
        direction = np.stack([states[2], states[3], np.ones_like(p)]) / np.sqrt(1 + states[2] ** 2 + states[3] ** 2)
        return np.sqrt(p**2 + mass**2), p * direction

    (energy, momentum), (kept, along) = four(before, MASSES[mother]), four(after, MASSES[daughter])
    missing = (energy - kept) ** 2 - ((momentum - along) ** 2).sum(axis=0)
    np.testing.assert_allclose(missing, neutral**2, atol=2.0)


def test_cherenkov_light_has_a_threshold_and_saturates():
    radiator = default_geometry().radiator[0]
    threshold = MASSES[KAON] / np.sqrt((1 + radiator.refractivity) ** 2 - 1)
    angle, photons = angle_and_yield(np.array([0.99 * threshold, 1.01 * threshold, 1e7]), MASSES[KAON], radiator)
    assert photons[0] == 0
    assert 0 < photons[1] < 1
    assert photons[2] == pytest.approx(radiator.photons, rel=1e-3)
    assert angle[2] == pytest.approx(np.arccos(1 / (1 + radiator.refractivity)), rel=1e-3)


@pytest.mark.parametrize("mean", [0.0, 0.5, 20.0])
def test_poisson(mean):
    numbers = poisson(np.full(20_000, mean), (np.arange(20_000) + 0.5) / 20_000)
    assert numbers.mean() == pytest.approx(mean, abs=0.01)
    assert numbers.var() == pytest.approx(mean, rel=0.01, abs=0.01)


def test_the_primary_vertex_is_better_with_more_tracks():
    def distances(per_event):
        particles = fire(120 * per_event, 211, (5e3, 5e4), (2.2, 4.5), seed=3, per_event=per_event)
        tracks, _ = reconstruct(particles, seed=3)
        _, first = np.unique(tracks["event"], return_index=True)
        true = particles["pv_x"][tracks["event"][first] * per_event]
        return np.abs(tracks["pv_x"][first] - true)

    few, many = np.median(distances(5)), np.median(distances(50))
    assert 0.001 < many < 0.5 * few


def test_the_vertex_is_not_pulled_by_a_decay():
    particles = fire(40 * 50, 211, (5e3, 5e4), (2.2, 4.5), seed=3)
    true = particles["pv_x"].copy()
    particles["x"] = np.where(particles["particle"] < 5, particles["x"] + 2.0, particles["x"])
    tracks, _ = reconstruct(particles, seed=3)
    _, first = np.unique(tracks["event"], return_index=True)
    assert np.abs(tracks["pv_x"][first] - true[tracks["event"][first] * 50]).max() < 0.1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("peak = 1.04", "peak = 'strong'", "field.peak"),
        ("[foil]", "[wall]", "foil"),
        ("z = [5200]", "z = [100]", "order along z"),
        ("[field]", "[field", "geometry"),
    ],
)
def test_a_wrong_geometry_is_one_line(old, new, words):
    text = (files("flashlink.flashsim.reference") / "geometry.toml").read_text()
    assert old in text
    with pytest.raises(RequestError, match=words) as error:
        read_geometry(text.replace(old, new).encode())
    assert "\n" not in str(error.value)
