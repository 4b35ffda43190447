"""The muons of a longitudinal J/psi, and that nothing else changes."""

import numpy as np
import pytest
from scipy.stats import kstest

from flashlink.flashsim.generate import generate
from flashlink.flashsim.polarisation import boosted, helicity_cosine, longitudinal_decays

B_MASS, PSI_MASS, KAON_MASS, MUON_MASS = 5279.4, 3096.9, 493.68, 105.658  # MeV, PDG


def mass2(momenta):
    return momenta[:, 0] ** 2 - (momenta[:, 1:] ** 2).sum(axis=1)


def shares(cosine):
    """The cumulative distribution of 3/4 sin^2(theta)."""
    return (2 + 3 * cosine - cosine**3) / 4


@pytest.fixture(scope="module")
def decays():
    """B and J/psi of B -> J/psi K with momenta as at the LHC, and the muons."""
    random = np.random.default_rng(1)
    direction = random.normal(size=(20_000, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    energy = (B_MASS**2 + PSI_MASS**2 - KAON_MASS**2) / (2 * B_MASS)
    at_rest = np.column_stack([np.full(len(direction), energy), np.sqrt(energy**2 - PSI_MASS**2) * direction])
    p = random.exponential(30_000, (len(direction), 3)) * [0.1, 0.1, 2]
    b = np.column_stack([np.sqrt(B_MASS**2 + (p**2).sum(axis=1)), p])
    psi = boosted(at_rest, b[:, 1:] / b[:, :1])
    return b, psi, *longitudinal_decays(b, psi, np.arange(len(b)), seed=2)


def helicity_of(b, psi, plus):
    """cos(theta) by invariants alone, for what was made by boosts."""
    dot = lambda x, y: x[:, 0] * y[:, 0] - (x[:, 1:] * y[:, 1:]).sum(axis=1)  # noqa: E731
    m2, kaon = mass2(psi), b - psi
    # In the rest frame of the J/psi the kaon flies against the J/psi's flight in that of the B.
    energy_mu, energy_k = dot(plus, psi) / np.sqrt(m2), dot(kaon, psi) / np.sqrt(m2)
    product = np.sqrt(energy_mu**2 - mass2(plus)) * np.sqrt(energy_k**2 - mass2(kaon))
    return -(energy_mu * energy_k - dot(plus, kaon)) / product


def test_the_angle_follows_the_formula():
    uniform = np.linspace(0, 1, 1001)
    cosine = helicity_cosine(uniform)
    assert (np.abs(cosine) <= 1).all()
    assert shares(cosine) == pytest.approx(uniform, abs=1e-12)


def test_momentum_and_masses_are_kept(decays):
    _, psi, plus, minus = decays
    assert plus + minus == pytest.approx(psi, rel=1e-9, abs=1e-5)
    for muon in (plus, minus):
        assert np.sqrt(mass2(muon)) == pytest.approx(MUON_MASS, abs=0.1)


def test_the_helicity_angle_of_the_decays(decays):
    b, psi, plus, _ = decays
    assert kstest(helicity_of(b, psi, plus), shares).pvalue > 0.01


def test_events_have_numbers_of_their_own(decays):
    b, psi, plus, _ = decays
    some = np.array([17, 3])
    again, _ = longitudinal_decays(b[some], psi[some], some, seed=2)
    assert (again == plus[some]).all()
    other, _ = longitudinal_decays(b[some], psi[some], some, seed=3)
    assert not np.isclose(other, plus[some]).any()


def test_the_generator_decays_its_signal_so():
    columns = generate(120, 0, seed=5).columns
    chains = np.flatnonzero(columns["signal"]).reshape(-1, 5)
    momenta = np.stack([columns[name] for name in ("energy", "px", "py", "pz")], axis=1)
    cosine = helicity_of(*(momenta[chains[:, place]] for place in (0, 1, 4)))
    # 1/5 with a standard error of 0.02; 1/3 if the decay were even.
    assert (cosine**2).mean() == pytest.approx(0.2, abs=0.06)
    assert momenta[chains[:, 3]] + momenta[chains[:, 4]] == pytest.approx(momenta[chains[:, 1]], abs=1e-4)
