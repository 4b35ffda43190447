import numpy as np
import pytest

from flashlink.flashsim.analyse import CANDIDATE_COVARIANCE, CANDIDATES, Selection, analyse
from flashlink.flashsim.composite import PARAMETERS
from flashlink.flashsim.kinematics import LIGHT, pdg_mass
from flashlink.flashsim.states import symmetric


def two_body(mother, axis, masses):
    """Decay four-momenta (n, 4) into two along a random axis, both as (n, 4)."""
    mass = np.sqrt(mother[:, 0] ** 2 - (mother[:, 1:] ** 2).sum(axis=1))
    energy = (mass**2 + masses[0] ** 2 - masses[1] ** 2) / (2 * mass)
    p = np.sqrt(energy**2 - masses[0] ** 2)
    axis = axis / np.linalg.norm(axis, axis=1)[:, None]
    rest = [np.column_stack([energy, p[:, None] * axis]), np.column_stack([mass - energy, -p[:, None] * axis])]
    beta = mother[:, 1:] / mother[:, :1]
    gamma, b2 = mother[:, 0] / mass, (beta**2).sum(axis=1)
    boosted = []
    for momentum in rest:
        along = (beta * momentum[:, 1:]).sum(axis=1)
        energy = gamma * (momentum[:, 0] + along)
        change = ((gamma - 1) / b2 * along + gamma * momentum[:, 0])[:, None] * beta
        boosted.append(np.column_stack([energy, momentum[:, 1:] + change]))
    return boosted


@pytest.fixture(scope="module")
def decays():
    """500 events of B -> J/psi K and two pions from the primary vertex, as a generated sample."""
    random = np.random.default_rng(8)
    n = 500
    p, eta, phi = random.uniform(4e4, 1.5e5, n), random.uniform(2.5, 4, n), random.uniform(-3, 3, n)
    pt = p / np.cosh(eta)
    mass = pdg_mass(521)
    b = np.column_stack([np.hypot(p, mass), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
    jpsi, kaon = two_body(b, random.normal(size=(n, 3)), (pdg_mass(443), pdg_mass(321)))
    plus, minus = two_body(jpsi, random.normal(size=(n, 3)), (pdg_mass(13), pdg_mass(13)))
    pions = [np.column_stack([np.hypot(v, 139.57), *(v * random.uniform(-0.1, 0.1, n) for _ in range(2)), v])
             for v in (random.uniform(2e3, 2e4, n), random.uniform(2e3, 2e4, n))]  # fmt: skip
    origin = random.normal(0, [0.03, 0.03, 40], (n, 3))
    decayed = origin + b[:, 1:] / mass * LIGHT * random.exponential(1.64, n)[:, None]
    sign = random.choice([-1, 1], n)
    rows = [
        (521 * sign, -1, b, origin, 0, False), (np.full(n, 443), 0, jpsi, decayed, 0, False),
        (np.full(n, -13), 1, plus, decayed, 1, True), (np.full(n, 13), 1, minus, decayed, -1, True),
        (321 * sign, 0, kaon, decayed, sign, True), (np.full(n, 211), -1, pions[0], origin, 1, True),
        (np.full(n, -211), -1, pions[1], origin, -1, True),
    ]  # fmt: skip
    columns = {
        name: [] for name in ("event", "particle", "mother", "pdg", "charge", "stable", "px", "py", "pz", "x", "y", "z")
    }
    for number, (pdg, mother, momentum, place, charge, stable) in enumerate(rows):
        values = {
            "event": np.arange(n), "particle": np.full(n, number), "mother": np.full(n, mother), "pdg": pdg,
            "charge": np.broadcast_to(charge, n), "stable": np.full(n, stable),
            "px": momentum[:, 1], "py": momentum[:, 2], "pz": momentum[:, 3],
            "x": place[:, 0], "y": place[:, 1], "z": place[:, 2],
        }  # fmt: skip
        for name, column in values.items():
            columns[name].append(column)
    generated = {name: np.stack(column, axis=1).ravel() for name, column in columns.items()}
    generated |= {f"pv_{axis}": np.repeat(origin[:, index], 7) for index, axis in enumerate("xyz")}
    return generated | {"multiplicity": np.full(7 * n, 30)}


@pytest.fixture(scope="module")
def tracks(decays, toy):
    stable = np.flatnonzero(decays["stable"])
    return toy[1]({name: column[stable] for name, column in decays.items()})


def test_peaks_are_where_they_belong_with_the_widths_that_the_errors_say(decays, tracks):
    candidates = analyse(tracks, generated=decays)
    assert set(candidates) == set(CANDIDATES)
    for pdg, column, least in ((443, "mass", 200), (521, "mass", 100), (521, "constrained_mass", 100)):
        true = (np.abs(candidates["pdg"]) == pdg) & (candidates["true"] == 1)
        assert true.sum() > least
        pull = (candidates[column][true] - pdg_mass(pdg)) / candidates[f"{column}_error"][true]
        assert abs(np.median(pull)) < 0.25
        assert np.quantile(np.abs(pull), 0.683) == pytest.approx(1.05, abs=0.15)
    of_b = np.abs(candidates["pdg"]) == 521
    assert (candidates["constrained_mass_error"] < candidates["mass_error"])[of_b].all()


def test_vertex_momentum_and_decay_time_are_known_as_well_as_their_covariance_says(decays, tracks):
    candidates = analyse(tracks, generated=decays)
    rows = np.flatnonzero((np.abs(candidates["pdg"]) == 521) & (candidates["true"] == 1))
    assert len(rows) > 100
    event, kaon = candidates["event"][rows], 7 * candidates["event"][rows] + 4
    assert (decays["event"][kaon] == event).all()
    stable = [{name: decays[name][kaon + shift] for name in ("px", "py", "pz")} for shift in (-2, -1, 0)]
    momenta = np.stack([[particle[name] for name in ("px", "py", "pz")] for particle in stable])
    masses = np.array([pdg_mass(13), pdg_mass(13), pdg_mass(321)])[:, None]
    energy = np.sqrt(np.square(momenta).sum(axis=1) + masses**2).sum(axis=0)
    true = np.stack([decays[name][kaon] for name in "xyz"] + [*momenta.sum(axis=0), energy], axis=1)
    some = {name: column[rows] for name, column in candidates.items()}
    covariance = symmetric(some, CANDIDATE_COVARIANCE, 7)
    sigma = np.sqrt(np.einsum("nii->ni", covariance))
    assert np.linalg.eigvalsh(covariance / sigma[:, :, None] / sigma[:, None]).min() > 0
    residual = np.stack([some[name] for name in PARAMETERS], axis=1) - true
    # One in twenty of the toy's tracks is off by three times its error.
    pulls = np.quantile(np.abs(residual) / sigma, 0.683, axis=0)
    assert pulls == pytest.approx(np.full(7, 1.05), abs=0.17)
    # All together: the correlations too are right, where no track is far off.
    chi2 = np.einsum("ni,nij,nj->n", residual, np.linalg.inv(covariance), residual)
    assert np.median(chi2) == pytest.approx(6.35, rel=0.3)
    flight = true[:, :3] - np.stack([decays[f"pv_{axis}"][kaon] for axis in "xyz"], axis=1)
    p2 = np.square(true[:, 3:6]).sum(axis=1)
    time = np.sqrt(energy**2 - p2) * (flight * true[:, 3:6]).sum(axis=1) / p2 / LIGHT
    pull = (some["decay_time"] - time) / some["decay_time_error"]
    assert np.quantile(np.abs(pull), 0.683) == pytest.approx(1.05, abs=0.2)


def test_truth_is_the_decay_chain(decays, tracks):
    candidates = analyse(tracks, generated=decays)
    b = np.abs(candidates["pdg"]) == 521
    right = (candidates["mu_plus_particle"] == 2) & (candidates["mu_minus_particle"] == 3)
    assert ((candidates["true"] == 1)[~b] == right[~b]).all()
    assert ((candidates["true"] == 1)[b] == (right & (candidates["kaon_particle"] == 4))[b]).all()
    sign = decays["pdg"][decays["particle"] == 0]
    true = b & (candidates["true"] == 1)
    assert (candidates["pdg"][true] == sign[candidates["event"][true]]).all()
    assert (analyse(tracks)["true"] == -1).all()


def test_decay_times_and_selection(decays, tracks):
    candidates = analyse(tracks, generated=decays)
    true = (np.abs(candidates["pdg"]) == 521) & (candidates["true"] == 1)
    assert candidates["decay_time"][true].min() > 0.2
    assert candidates["decay_time"][true].mean() == pytest.approx(1.64 + 0.2, rel=0.25)
    tight = analyse(tracks, Selection(muon_dll=1000))
    assert len(tight["event"]) == 0
    assert (np.diff(candidates["event"]) >= 0).all()


def test_events_do_not_mix(tracks):
    last = {name: column[tracks["event"] >= 250] for name, column in tracks.items()}
    alone, together = analyse(last), analyse(tracks)
    for name in CANDIDATES:
        assert (alone[name] == together[name][together["event"] >= 250]).all()
