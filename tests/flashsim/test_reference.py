"""The reference detector: near the table of LHCb's answers, with errors that match, whatever the batches."""

import numpy as np
import pytest

from flashlink.errors import RequestError
from flashlink.flashsim.gun import fire
from flashlink.flashsim.likelihoods import PROBABILITIES
from flashlink.flashsim.reference import reconstruct
from flashlink.flashsim.reference.kalman import positive_definite
from flashlink.flashsim.samples import (
    COVARIANCE,
    DOWNSTREAM,
    GENERATED,
    HITS,
    LONG,
    RECONSTRUCTED,
    TRACK_PARAMETERS,
    UPSTREAM,
    VERTEX_COVARIANCE,
)
from flashlink.flashsim.states import vertex_covariances

#: What LHCb's public networks of 2016 answer for pions from the primary vertex, 2.2 < eta < 4.5: momentum in GeV; long
#: and upstream efficiency; sigma68 of x in um and of dp/p in percent.
TABLE = {
    3: (0.554, 0.198, 158, 0.50),
    5: (0.631, 0.158, 94, 0.40),
    10: (0.716, 0.114, 51, 0.40),
    20: (0.760, 0.081, 29, 0.40),
    50: (0.796, 0.054, 18, 0.51),
    100: (0.802, 0.043, 16, 0.73),
}


def width(values):
    """Half the central interval of 68 %."""
    low, high = np.quantile(values, [0.1587, 0.8413])
    return (high - low) / 2


def residuals(particles, tracks, category=LONG):
    """Residuals of the parameters and their quoted errors, shapes (5, n), of the true tracks of a category."""
    chosen = (tracks["category"] == category) & (tracks["particle"] >= 0)
    number = {key: row for row, key in enumerate(zip(particles["event"], particles["particle"], strict=True))}
    keys = zip(tracks["event"][chosen], tracks["particle"][chosen], strict=True)
    rows = np.array([number[key] for key in keys])
    px, py, pz = (particles[name][rows] for name in ("px", "py", "pz"))
    distance = tracks["z"][chosen] - particles["z"][rows]
    true = np.stack(
        [
            particles["x"][rows] + px / pz * distance,
            particles["y"][rows] + py / pz * distance,
            px / pz,
            py / pz,
            particles["charge"][rows] / np.sqrt(px**2 + py**2 + pz**2),
        ]
    )
    found = np.stack([tracks[name][chosen] for name in TRACK_PARAMETERS])
    errors = np.sqrt(np.stack([tracks[f"cov_{name}_{name}"][chosen] for name in TRACK_PARAMETERS]))
    return found - true, errors, true


def covariances(tracks):
    """The matrices, shape (n, 5, 5)."""
    matrix = np.zeros((len(tracks["event"]), 5, 5))
    places = [(row, column) for row in range(5) for column in range(row + 1)]
    for name, (row, column) in zip(COVARIANCE, places, strict=True):
        matrix[:, row, column] = matrix[:, column, row] = tracks[name]
    return matrix


@pytest.fixture(scope="module")
def pions():
    particles = fire(6000, 211, (2e3, 1e5), (1.8, 5), seed=1)
    return particles, reconstruct(particles, seed=1)[0]


@pytest.fixture(scope="module")
def muons():
    particles = fire(15000, 13, (3e3, 1e5), (2.2, 4.5), seed=2)
    return particles, reconstruct(particles, seed=2)[0]


def test_schema_and_order(pions):
    _, tracks = pions
    assert {name: values.dtype.name for name, values in tracks.items()} == RECONSTRUCTED
    assert all(np.isfinite(values).all() for values in tracks.values())
    same = np.diff(tracks["event"]) == 0
    assert (np.diff(tracks["event"]) >= 0).all()
    assert (np.diff(tracks["track"])[same] == 1).all()
    assert set(tracks["category"]) == {LONG, UPSTREAM, DOWNSTREAM} or set(tracks["category"]) == {LONG, UPSTREAM}
    counts = np.bincount(tracks["event"])
    np.testing.assert_array_equal(tracks["tracks"], counts[tracks["event"]])


def test_a_particle_has_one_track_and_ghosts_have_none(pions):
    _, tracks = pions
    real = tracks["particle"] >= 0
    keys = tracks["event"][real] * 1000 + tracks["particle"][real]
    assert len(set(keys)) == len(keys)
    np.testing.assert_array_equal(tracks["true_pdg"] == 0, ~real)
    assert 0.01 < (~real).mean() < 0.2


def test_covariances_are_positive_definite(pions):
    _, tracks = pions
    matrix = covariances(tracks)
    scale = np.sqrt(np.einsum("nii->ni", matrix))
    eigenvalues = np.linalg.eigvalsh(matrix / scale[:, :, None] / scale[:, None, :])
    assert eigenvalues.min() > 0


def test_a_fit_that_breaks_down_is_no_track():
    """An electron that radiated nearly all of its momentum: its chi2 came out at -40,000, its covariance indefinite."""
    electron = {
        "event": 2854, "particle": 17, "mother": -1, "pdg": 11, "charge": -1, "stable": True, "signal": False,
        "px": -2347.158475953697, "py": -1306.220610668409, "pz": 5256.954677437104, "energy": 5903.468297257563,
        "x": -0.3488942615473212, "y": -0.2358567816363488, "z": 26.651484875058944, "pv_x": 0.043900073283678134,
        "pv_y": -0.008803201221609, "pv_z": 25.525503577279526, "multiplicity": 16,
    }  # fmt: skip
    particles = {name: np.array([electron[name]], dtype=dtype) for name, dtype in GENERATED.items()}
    tracks, _ = reconstruct(particles, seed=1_000_004)
    assert (tracks["chi2"] >= 0).all()
    np.linalg.cholesky(covariances(tracks))


def test_positive_definite_is_told_matrix_by_matrix():
    good, indefinite, flat = np.diag([1e-2, 4.0, 9.0]), np.array([[1, 2, 0], [2, 1, 0], [0, 0, 1.0]]), np.ones((3, 3))
    broken = np.full((3, 3), np.nan)
    matrices = np.stack([good, indefinite, flat, broken, -good], axis=-1)
    assert positive_definite(matrices).tolist() == [True, False, False, False, False]


def test_pulls(muons):
    difference, errors, _ = residuals(*muons)
    for name, pull in zip(TRACK_PARAMETERS, difference / errors, strict=True):
        assert width(pull) == pytest.approx(1, abs=0.05), name
        assert abs(np.median(pull)) < 0.08, name


def test_chi2_has_its_degrees_of_freedom(muons):
    _, tracks = muons
    real = tracks["particle"] >= 0
    assert (tracks["chi2"] / tracks["ndf"])[real].mean() == pytest.approx(1, abs=0.03)
    assert (tracks["chi2"] / tracks["ndf"])[~real].mean() > 1.1


def test_hits_are_counted_by_category_and_make_the_degrees_of_freedom(pions):
    _, tracks = pions
    vertex, upstream, stations = (tracks[name].astype(int) for name in HITS)
    np.testing.assert_array_equal(tracks["ndf"], 2 * vertex + upstream + stations - 5)
    assert (vertex[tracks["category"] != DOWNSTREAM] >= 3).all()
    assert (vertex[tracks["category"] == DOWNSTREAM] == 0).all()
    assert (stations[tracks["category"] == UPSTREAM] == 0).all()
    assert (stations[tracks["category"] == LONG] >= 9).all()


def test_quoted_errors_differ_from_track_to_track():
    particles = fire(1500, 211, (1e4, 1e4), (3, 3), seed=3)
    tracks, _ = reconstruct(particles, seed=3)
    long = (tracks["category"] == LONG) & (tracks["particle"] >= 0) & (tracks["vertex_hits"] > 6)
    quoted = np.sqrt(tracks["cov_qop_qop"][long]) / np.abs(tracks["qop"][long])
    assert 0.03 < width(quoted) / np.median(quoted) < 0.2, "clusters and material are not the same for all"


def test_pulls_of_the_primary_vertex():
    particles = fire(400 * 40, 211, (3e3, 5e4), (2.2, 4.5), seed=5, per_event=40)
    tracks, _ = reconstruct(particles, seed=5)
    _, first = np.unique(tracks["event"], return_index=True)
    covariance = vertex_covariances({name: tracks[name][first] for name in VERTEX_COVARIANCE})
    np.linalg.cholesky(covariance)
    for index, axis in enumerate("xyz"):
        pull = tracks[f"pv_{axis}"][first] - particles[f"pv_{axis}"][tracks["event"][first] * 40]
        assert width(pull / np.sqrt(covariance[:, index, index])) == pytest.approx(1, abs=0.15), axis


def test_likelihoods_add_up_and_probabilities_too(pions):
    _, tracks = pions
    np.testing.assert_allclose(tracks["dll_e"], tracks["rich_dll_e"] + tracks["calo_dll_e"])
    np.testing.assert_allclose(tracks["dll_k"], tracks["rich_dll_k"])
    np.testing.assert_allclose(sum(tracks[name] for name in PROBABILITIES), 1)
    assert np.median(tracks["prob_pi"][tracks["particle"] >= 0]) > 0.9


def test_ghost_probability_tells_ghosts(pions):
    _, tracks = pions
    ghost = tracks["particle"] < 0
    assert np.median(tracks["ghost_probability"][ghost]) > 5 * np.median(tracks["ghost_probability"][~ghost])


def test_charge_is_found(pions):
    particles, tracks = pions
    _, _, true = residuals(particles, tracks)
    chosen = (tracks["category"] == LONG) & (tracks["particle"] >= 0)
    assert (tracks["charge"][chosen] == np.sign(true[4])).mean() > 0.999


def test_batches_and_order_of_events_do_not_matter(pions):
    particles, tracks = pions
    for first, last in ((40, 41), (7, 90)):
        some = (particles["event"] >= first) & (particles["event"] < last)
        part, _ = reconstruct({name: values[some] for name, values in particles.items()}, seed=1)
        rows = (tracks["event"] >= first) & (tracks["event"] < last)
        for name in RECONSTRUCTED:
            np.testing.assert_array_equal(part[name], tracks[name][rows], err_msg=name)


def test_another_seed_gives_other_tracks(pions):
    particles, tracks = pions
    some = {name: values[:200] for name, values in particles.items()}
    assert not np.isin(reconstruct(some, seed=9)[0]["x"], tracks["x"]).any()


def test_nothing_in_nothing_out(pions):
    particles, _ = pions
    tracks, _ = reconstruct({name: values[:0] for name, values in particles.items()}, seed=1)
    assert {name: (values.dtype.name, len(values)) for name, values in tracks.items()} == {
        name: (dtype, 0) for name, dtype in RECONSTRUCTED.items()
    }


def test_events_out_of_order_are_refused(pions):
    particles, _ = pions
    with pytest.raises(RequestError, match="column event, row 50: 0 is not as large"):
        reconstruct({name: np.concatenate([values[50:100], values[:50]]) for name, values in particles.items()}, seed=1)


def test_a_detector_without_tracks_is_no_error():
    backwards = fire(50, 211, (2e3, 5e3), (-4, -3), seed=1)
    tracks, _ = reconstruct(backwards, seed=1)
    assert len(tracks["event"]) == 0


def test_late_decays_are_downstream_tracks():
    particles = fire(600, 211, (5e3, 5e4), (2.5, 4), seed=4)
    for axis in "xyz":  # as if they were daughters of a K_S that decayed at z = 1.2 m
        particles[axis] = particles[axis] + 1200 * particles[f"p{axis}"] / particles["pz"]
    tracks, _ = reconstruct(particles, seed=4)
    assert (tracks["category"] == DOWNSTREAM).all()
    assert len(tracks["event"]) > 200
    difference, errors, true = residuals(particles, tracks, DOWNSTREAM)
    assert width(difference[4] / true[4]) < 0.02
    assert width(difference[4] / errors[4]) == pytest.approx(1, abs=0.15)


def test_electrons_lose_momentum():
    def loss(pdg):
        particles = fire(1500, pdg, (1e4, 3e4), (2.5, 4), seed=6)
        difference, _, true = residuals(particles, reconstruct(particles, seed=6)[0])
        return np.median(difference[4] / true[4])  # q/p grows where momentum is lost

    assert abs(loss(13)) < 1e-3
    assert loss(11) > 0.005


def _identified(pdg, momentum, seed=5):
    particles = fire(2500, pdg, momentum, (2.5, 4.2), seed=seed)
    tracks, _ = reconstruct(particles, seed=seed)
    chosen = (tracks["category"] == LONG) & (tracks["particle"] >= 0)
    return {name: values[chosen] for name, values in tracks.items()}


def test_kaons_and_protons_are_told_from_pions():
    pion, kaon, proton = (_identified(pdg, (1.2e4, 4e4)) for pdg in (211, 321, 2212))
    assert (kaon["dll_k"] > 0).mean() > 0.9
    assert (pion["dll_k"] > 0).mean() < 0.1
    assert (proton["dll_p"] > 0).mean() > 0.9
    assert (pion["dll_p"] > 0).mean() < 0.15


def test_kaons_cannot_be_told_far_above_saturation():
    pion, kaon = (_identified(pdg, (1.5e5, 2e5)) for pdg in (211, 321))
    assert abs(np.median(kaon["dll_k"]) - np.median(pion["dll_k"])) < 2


def test_muons_are_told_from_hadrons():
    muon, pion, kaon = (_identified(pdg, (6e3, 4e4)) for pdg in (13, 211, 321))
    assert muon["is_muon"].mean() > 0.9
    assert pion["is_muon"].mean() < 0.04
    assert 0.5 * pion["is_muon"].mean() < kaon["is_muon"].mean() < 0.08
    assert (muon["dll_mu"] > 0).mean() > 0.9


def test_soft_muons_do_not_reach_the_chambers():
    assert not _identified(13, (1e3, 2.5e3))["is_muon"].any()


def test_electrons_are_told_from_pions():
    electron, pion = (_identified(pdg, (4e3, 2e4)) for pdg in (11, 211))
    assert (electron["dll_e"] > 2).mean() > 0.7
    assert (pion["dll_e"] > 2).mean() < 0.05


def test_identification_suffers_from_occupancy():
    def misidentified(multiplicity):
        particles = fire(3000, 211, (8e3, 2e4), (2.5, 4.2), seed=8)
        particles["multiplicity"][:] = multiplicity
        tracks, _ = reconstruct(particles, seed=8)
        return (tracks["dll_k"][tracks["true_pdg"] != 0] > 0).mean()

    assert misidentified(150) > 1.5 * misidentified(15)


@pytest.mark.slow
@pytest.mark.parametrize("momentum", TABLE)
def test_near_the_table(momentum):
    long, upstream, distance, spread = TABLE[momentum]
    particles = fire(8000, 211, (momentum * 1e3, momentum * 1e3), (2.2, 4.5), seed=momentum)
    tracks, _ = reconstruct(particles, seed=momentum)
    real = tracks["particle"] >= 0
    assert (real & (tracks["category"] == LONG)).sum() / 8000 == pytest.approx(long, abs=0.045)
    assert (real & (tracks["category"] == UPSTREAM)).sum() / 8000 == pytest.approx(upstream, abs=0.04)
    difference, _, true = residuals(particles, tracks)
    assert 0.65 * distance < 1e3 * width(difference[0]) < 1.25 * distance
    assert 0.6 * spread < 100 * width(difference[4] / true[4]) < 1.25 * spread
