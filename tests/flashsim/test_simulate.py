import numpy as np
import pytest
from scipy.stats import poisson

from flashlink.flashsim.matching import rows_of
from flashlink.flashsim.parameterizations.event import EventCondition
from flashlink.flashsim.parameterizations.ghosts import Ghosts
from flashlink.flashsim.parameterize import residuals
from flashlink.flashsim.random import Draws
from flashlink.flashsim.samples import LONG, UPSTREAM
from flashlink.flashsim.simulate import SIMULATED, simulate
from flashlink.flashsim.states import covariances, states


def of(columns, rows):
    return {name: column[rows] for name, column in columns.items()}


@pytest.fixture(scope="module")
def simulated(trained, held_out):
    return simulate(held_out[0], trained[2], seed=5)


def same(left, right):
    return all((left[name] == right[name]).all() for name in SIMULATED)


def test_results_do_not_depend_on_batches(trained, held_out, simulated):
    assert same(simulated, simulate(held_out[0], trained[2], seed=5, batch=997))


def test_results_do_not_depend_on_chunks(trained, held_out, simulated):
    generated = held_out[0]
    first = generated["event"] < 10_700
    parts = [simulate(of(generated, rows), trained[2], seed=5) for rows in (first, ~first)]
    assert same(simulated, {name: np.concatenate([part[name] for part in parts]) for name in SIMULATED})


def test_other_seeds_give_other_tracks(trained, held_out, simulated):
    assert len(simulate(held_out[0], trained[2], seed=6)["event"]) != len(simulated["event"])


def test_rows_are_in_order_and_counted(simulated):
    assert (np.diff(simulated["event"]) >= 0).all()
    _, first, counts = np.unique(simulated["event"], return_index=True, return_counts=True)
    assert (simulated["tracks"][first] == counts).all()
    assert (simulated["track"][first] == 0).all()
    assert simulated["track"].max() == counts.max() - 1


def test_covariances_are_positive_definite_and_consistent(simulated):
    matrices = covariances(simulated)
    np.linalg.cholesky(matrices)
    assert (matrices == matrices.transpose(0, 2, 1)).all()
    state = states(simulated)
    at_beam = state[:, 0] * state[:, 2] + state[:, 1] * state[:, 3]
    assert np.abs(at_beam).max() < 1e-9
    assert simulated["p"] * np.abs(simulated["qop"]) == pytest.approx(1)


def test_charges_are_those_of_the_curvature_and_of_the_particles(held_out, simulated):
    assert (simulated["charge"] == np.sign(simulated["qop"])).all()
    real = of(simulated, simulated["particle"] >= 0)
    rows = rows_of(real["event"], real["particle"], held_out[0]["event"], held_out[0]["particle"])
    assert (real["charge"] == held_out[0]["charge"][rows]).mean() > 0.999


def test_efficiency_closes_against_momentum(held_out, simulated):
    generated, reference = held_out
    p = np.log10(np.hypot(np.hypot(generated["px"], generated["py"]), generated["pz"]))
    for category in (LONG, UPSTREAM):
        made = []
        for tracks in (reference, simulated):
            chosen = tracks["category"] == category
            rows = rows_of(
                tracks["event"][chosen], tracks["particle"][chosen], generated["event"], generated["particle"]
            )
            made.append(np.histogram(p[rows], np.arange(3.2, 4.8, 0.2))[0])
        total = np.histogram(p, np.arange(3.2, 4.8, 0.2))[0]
        share = np.array(made) / total
        error = np.sqrt(share[0] * (1 - share[0]) / total)
        # Both samples and the training fluctuate; beyond that a bin may be off by 2 %.
        assert (np.abs(share[1] - share[0]) < 3 * np.sqrt(3) * error + 0.02 * share[0]).all()


def test_pulls_and_correlations_are_those_of_the_reference(held_out, simulated):
    results = []
    for tracks in (held_out[1], simulated):
        long = of(tracks, np.flatnonzero((tracks["category"] == LONG) & (tracks["particle"] >= 0)))
        rows = rows_of(long["event"], long["particle"], held_out[0]["event"], held_out[0]["particle"])
        made = residuals(long, of(held_out[0], rows))
        pull = made.residual / np.sqrt(np.einsum("nii->ni", made.covariance))
        results.append(
            (np.quantile(np.abs(pull), 0.683, axis=0), np.quantile(np.abs(pull), 0.99, axis=0), np.corrcoef(pull.T))
        )
    (width, tail, correlation), (flash_width, flash_tail, flash_correlation) = results
    assert flash_width == pytest.approx(width, rel=0.05)
    assert flash_tail == pytest.approx(tail, rel=0.12)
    assert flash_correlation == pytest.approx(correlation, abs=0.04)
    assert abs(correlation[0, 2]) > 0.5, "there is a correlation to be kept"


def test_resolution_follows_momentum(held_out, simulated):
    for low, high in ((1600, 3000), (3000, 8000), (8000, 30_000)):
        widths = []
        for tracks in (held_out[1], simulated):
            chosen = (
                (tracks["category"] == LONG) & (tracks["p"] > low) & (tracks["p"] < high) & (tracks["particle"] >= 0)
            )
            part = of(tracks, np.flatnonzero(chosen))
            rows = rows_of(part["event"], part["particle"], held_out[0]["event"], held_out[0]["particle"])
            made = residuals(part, of(held_out[0], rows))
            widths.append(np.quantile(np.abs(made.residual), 0.683, axis=0))
        assert widths[1] == pytest.approx(widths[0], rel=0.08)


def test_identification_is_joint_and_by_species(held_out, simulated):
    for species, pdg in (("muon", 13), ("pion", 211), ("kaon", 321)):
        reference, flash = (of(t, np.abs(t["true_pdg"]) == pdg) for t in (held_out[1], simulated))
        assert flash["is_muon"].mean() == pytest.approx(reference["is_muon"].mean(), abs=0.015), species
        assert (flash["dll_k"] > 0).mean() == pytest.approx((reference["dll_k"] > 0).mean(), abs=0.015), species
        for muon in (True, False):
            values = [t["dll_mu"][t["is_muon"] == muon] for t in (reference, flash)]
            # Reference, flash and training fluctuate; the means of the two kinds are 12 apart.
            error = np.sqrt(3) * values[0].std() / np.sqrt(len(values[0]))
            assert abs(values[1].mean() - values[0].mean()) < 3.5 * error, "dll_mu belongs to is_muon"
    correlations = [np.corrcoef(t["dll_k"], t["dll_p"])[0, 1] for t in (held_out[1], simulated)]
    assert correlations[1] == pytest.approx(correlations[0], abs=0.02)


def test_vertices_are_as_wide_and_the_same_for_all_tracks_of_an_event(held_out, simulated):
    widths = []
    for tracks in (held_out[1], simulated):
        numbers, first = np.unique(tracks["event"], return_index=True)
        assert (tracks["pv_z"] == tracks["pv_z"][first][np.searchsorted(numbers, tracks["event"])]).all()
        events, true = np.unique(held_out[0]["event"], return_index=True)
        true = true[np.searchsorted(events, numbers)]
        many = held_out[0]["multiplicity"][true] > 30
        difference = [(tracks[name][first] - held_out[0][name][true])[many] for name in ("pv_x", "pv_z")]
        widths.append(np.quantile(np.abs(difference), 0.683, axis=1))
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


def test_particles_outside_the_acceptance_make_no_track_and_those_beyond_training_say_so(trained, held_out):
    generated = {name: column.copy() for name, column in held_out[0].items()}
    for name in ("px", "py", "pz"):
        generated[name] = held_out[0][name] * np.where(held_out[0]["particle"] == 0, 1e4, 1)
    generated["pz"] = np.where(generated["particle"] == 1, -generated["pz"], generated["pz"])
    sigma = 3112  # of which there is no model
    generated["pdg"] = np.where(generated["particle"] == 2, sigma, generated["pdg"])
    tracks = simulate(generated, trained[2], seed=1)
    assert not (tracks["particle"] == 1).any()
    assert tracks["extrapolated"][tracks["particle"] == 0].all()
    assert tracks["extrapolated"][tracks["true_pdg"] == sigma].all()
    assert tracks["extrapolated"][tracks["particle"] > 2].mean() < 0.02


def test_numbers_of_ghosts_are_those_of_a_poisson_distribution():
    count = 50_000
    events, mean = np.arange(count), np.random.default_rng(1).exponential(3, count)
    mean[:10] = 0
    ghosts = Ghosts(events.astype(float), mean, np.zeros(count + 1, np.int32), np.zeros((0, 36), np.float32))
    condition = EventCondition(events.astype(float), np.zeros(count), np.zeros(count), np.zeros((count, 3)))
    draws = Draws(1, events, np.zeros(count, dtype=np.int64))
    uniform = draws.uniform("simulate/ghosts", 1)[0]
    expected = np.where(mean > 0, poisson.ppf(uniform, np.maximum(mean, 1e-12)), 0)
    assert (ghosts.number(condition, draws) == expected).all()


def test_ghosts_come_as_often_as_in_training(toy, held_out):
    from flashlink.flashsim.parameterize import parameterize

    generated, reference = (dict(sample) for sample in held_out)
    ghost = reference["track"] % 7 == 3
    reference["particle"] = np.where(ghost, -1, reference["particle"])
    reference["true_pdg"] = np.where(ghost, 0, reference["true_pdg"])
    tracks = simulate(generated, parameterize(generated, reference), seed=3)
    ghosts = tracks["particle"] < 0
    assert ghosts.sum() == pytest.approx(ghost.sum(), rel=0.05)
    assert (tracks["true_pdg"][ghosts] == 0).all()
    np.linalg.cholesky(covariances(tracks))
    assert np.median(np.abs(tracks["z"] - tracks["pv_z"])[ghosts]) < 5 < np.median(np.abs(tracks["pv_z"])), (
        "they start there"
    )
    few, many = (tracks["tracks"] < 25), (tracks["tracks"] > 40)
    assert ghosts[many].sum() / many.sum() == pytest.approx(ghosts[few].sum() / few.sum(), rel=0.2)
