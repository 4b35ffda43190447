"""A toy detector with known efficiencies and resolutions, quick enough for every test."""

import socket
from collections.abc import Callable

import numpy as np
import pytest

from flashlink.flashsim.files import Columns
from flashlink.flashsim.likelihoods import combined
from flashlink.flashsim.parameterize import parameterize
from flashlink.flashsim.samples import LONG, UPSTREAM, VERTEX_COVARIANCE
from flashlink.flashsim.states import moved, moved_covariance, state_columns, to_beam, true_states
from flashlink.flashsim.tables import Tables

SPECIES = np.array([11, 13, 211, 321, 2212])
MASSES = (0.511, 105.658, 139.570, 493.677, 938.272)


def toy_generated(events: int, first_event: int = 0, seed: int = 1) -> Columns:
    """Particles from one vertex an event, falling in p, flat in eta."""
    random = np.random.default_rng(seed)
    multiplicity = random.integers(10, 60, events)
    event = np.repeat(np.arange(events), multiplicity)
    count = len(event)
    pdg = SPECIES[random.choice(5, count, p=[0.05, 0.1, 0.6, 0.15, 0.1])] * random.choice([-1, 1], count)
    p = 1500 * random.pareto(1.2, count) + 1500
    p = np.minimum(p, 250_000 * random.uniform(0.5, 1, count))
    eta, phi = random.uniform(1.8, 5, count), random.uniform(-np.pi, np.pi, count)
    pt = p / np.cosh(eta)
    vertex = random.normal(0, [0.03, 0.03, 40], (events, 3))
    # One in ten comes from a decay: further downstream, where the track's line leads.
    flight = np.where(random.uniform(size=count) < 0.1, random.exponential(300, count), 0)
    direction = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=1)
    origin = vertex[event] + flight[:, None] * direction / direction[:, 2:]
    charge = np.sign(pdg) * np.where(np.isin(np.abs(pdg), [11, 13]), -1, 1)
    return {
        "event": event + first_event,
        "particle": np.arange(count) - np.repeat(np.cumsum(multiplicity) - multiplicity, multiplicity),
        "mother": np.full(count, -1),
        "pdg": pdg,
        "charge": charge,
        "stable": np.ones(count, bool),
        "signal": np.zeros(count, bool),
        **dict(zip(("px", "py", "pz"), direction.T, strict=True)),
        "energy": np.hypot(p, np.select([np.abs(pdg) == number for number in SPECIES], MASSES)),
        **dict(zip(("x", "y", "z"), origin.T, strict=True)),
        **dict(zip(("pv_x", "pv_y", "pv_z"), vertex[event].T, strict=True)),
        "multiplicity": multiplicity[event],
    }


def toy_efficiency(particles: Columns) -> np.ndarray:
    """Probability of a long track; half of what is missing is upstream."""
    p = np.sqrt(particles["px"] ** 2 + particles["py"] ** 2 + particles["pz"] ** 2)
    return 0.85 / (1 + np.exp(-(np.log10(p) - 3.3) / 0.15))


def toy_sigma(particles: Columns) -> np.ndarray:
    """Resolution of (x, y, tx, ty, q/p), shape (particles, 5)."""
    pt = np.hypot(particles["px"], particles["py"])
    p = np.hypot(pt, particles["pz"])
    x, t = 0.012 + 20 / pt, 1e-5 + 0.8 / p
    return np.stack([x, x, t, t, (0.004 + 3e-8 * p) / p], axis=1)


#: Correlation of the residuals: the impact parameter with the slope, the slope with the momentum.
CORRELATION = np.eye(5)
CORRELATION[0, 2] = CORRELATION[2, 0] = CORRELATION[1, 3] = CORRELATION[3, 1] = -0.7
CORRELATION[2, 4] = CORRELATION[4, 2] = 0.3


def toy_reference(particles: Columns, seed: int = 2) -> Columns:
    """Tracks of the toy detector: Gaussian with a tail, the covariance quoted to 10 %, joint likelihoods."""
    random = np.random.default_rng(seed)
    efficiency = toy_efficiency(particles)
    uniform = random.uniform(size=len(efficiency))
    category = np.where(uniform < efficiency, LONG, np.where(uniform < (1 + efficiency) / 2, UPSTREAM, 0))
    kept = category > 0
    particles, category = {name: column[kept] for name, column in particles.items()}, category[kept]
    count = len(category)
    sigma = toy_sigma(particles) * np.where(category == LONG, 1, 3)[:, None] * random.lognormal(0, 0.1, (count, 1))
    covariance = sigma[:, :, None] * CORRELATION * sigma[:, None, :]
    stretch = np.where(random.uniform(size=count) < 0.05, 3, 1)
    normal = random.normal(size=(count, 5)) * stretch[:, None]
    state, z = true_states(particles)
    state = state + np.einsum("nij,nj->ni", np.linalg.cholesky(covariance), normal)
    step = to_beam(state)
    state, covariance = moved(state, step), moved_covariance(covariance, step)
    species = np.abs(particles["pdg"])
    is_muon = random.uniform(size=count) < np.where(species == 13, 0.9, 0.02)
    dll_k = np.where(species == 321, 12, np.where(species == 2212, 6, -6)) + random.normal(0, 5, count)
    likelihoods = {
        "rich_dll_e": random.normal(-2, 3, count),
        "rich_dll_mu": random.normal(-1, 1, count),
        "rich_dll_k": dll_k,
        "rich_dll_p": 0.7 * dll_k + random.normal(0, 3, count),
        "calo_dll_e": random.normal(-2, 1, count),
        "calo_dll_mu": random.normal(0, 0.5, count),
        "muon_dll_mu": np.where(is_muon, 5, -7) + random.normal(0, 3, count),
    }
    events, first = np.unique(particles["event"], return_index=True)
    of_event = np.searchsorted(events, particles["event"])
    smear = random.normal(size=(len(events), 3)) * [0.01, 0.01, 0.06]
    scale = np.sqrt(particles["multiplicity"][first] / 30)
    smear /= scale[:, None]
    vertex = {name: np.zeros(count) for name in VERTEX_COVARIANCE}
    for axis, sigma in zip("xyz", (0.01, 0.01, 0.06), strict=True):
        vertex[f"pv_cov_{axis}_{axis}"] = np.square(sigma / scale)[of_event]
    return {
        "event": particles["event"],
        "track": np.arange(count) - first[of_event],
        "particle": particles["particle"],
        "true_pdg": particles["pdg"],
        "category": category,
        "charge": np.sign(state[:, 4]),
        **state_columns(state, covariance),
        "z": z + step,
        "p": 1 / np.abs(state[:, 4]),
        "chi2": (normal**2).sum(axis=1),
        "ndf": np.full(count, 5),
        "ghost_probability": random.uniform(0, 0.2, count),
        "vertex_hits": random.integers(4, 10, count),
        "upstream_hits": random.integers(2, 5, count),
        "station_hits": np.where(category == LONG, 12, 0),
        "is_muon": is_muon,
        **likelihoods,
        **combined(likelihoods),
        "tracks": np.bincount(of_event)[of_event],
        **{
            name: (particles[name][first] + smear[:, index])[of_event]
            for index, name in enumerate(("pv_x", "pv_y", "pv_z"))
        },
        **vertex,
    }


@pytest.fixture(scope="session")
def toy() -> tuple[Callable[..., Columns], Callable[..., Columns]]:
    """The toy's generator and detector, as functions."""
    return toy_generated, toy_reference


@pytest.fixture(scope="session")
def trained(toy) -> tuple[Columns, Columns, Tables]:
    """A toy sample, its tracks, and the tables derived from them."""
    generated = toy_generated(3000)
    reference = toy_reference(generated)
    return generated, reference, parameterize(generated, reference)


@pytest.fixture(scope="session")
def held_out() -> tuple[Columns, Columns]:
    """Another toy sample and its tracks, which the tables have not seen."""
    generated = toy_generated(3000, first_event=10_000, seed=11)
    return generated, toy_reference(generated, seed=12)


@pytest.fixture(scope="session")
def plan():
    """Settings of a training that takes seconds."""
    from msgspec.structs import replace

    from flashlink.flashsim.learned.training.fit import Settings
    from flashlink.flashsim.learned.training.learn import Plan

    small = Settings(trunk=(32, 32), head=16, components=3, epochs=8, patience=8, batch=512, rate=1e-2)
    longer = replace(small, epochs=40, patience=40)
    few = replace(longer, batch=64, epochs=12)
    return Plan(
        category=longer,
        track=small,
        identification=small,
        vertex=few,
        ghosts=few,
        ghost=few,
        photon=small,
        cluster=small,
    )


@pytest.fixture(scope="session")
def learned(trained, plan):
    """Models of a part of the toy sample, in which one in ten tracks comes again as a ghost."""
    from flashlink.flashsim.learned.training.learn import learn

    # The networks are as small as the seconds that they may take.
    generated, reference = (
        {name: column[sample["event"] < 400] for name, column in sample.items()} for sample in trained[:2]
    )
    ghost = np.flatnonzero(reference["track"] % 10 == 3)
    rows = np.concatenate([np.arange(len(reference["event"])), ghost])
    both = {name: column[rows] for name, column in reference.items()}
    for name, nobody in (("particle", -1), ("true_pdg", 0)):
        both[name][-len(ghost) :] = nobody
    order = np.lexsort((both["particle"] < 0, both["event"]))
    reference = {name: column[order] for name, column in both.items()}
    return learn(generated, reference, plan, seed=4, digests=(("of the training",), (), ()))


@pytest.fixture
def port():
    """A port of this machine that nobody listens at."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]
