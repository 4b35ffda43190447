"""Learned primary vertices, ghosts and photons: encodings, a training, and the models that come with flashlink."""

import numpy as np
import pytest

from flashlink.flashsim.generate import generate
from flashlink.flashsim.gun import fire
from flashlink.flashsim.learned import ghosts, photons, vertex
from flashlink.flashsim.learned.quality import Degrees
from flashlink.flashsim.learned.training.learn import learn
from flashlink.flashsim.learned.training.steps import steps
from flashlink.flashsim.learned.variables import Classes
from flashlink.flashsim.matching import first_rows
from flashlink.flashsim.parameterizations.event import EventCondition
from flashlink.flashsim.photons import matched_clusters, simulate_photons
from flashlink.flashsim.random import Draws
from flashlink.flashsim.reference import reconstruct
from flashlink.flashsim.reference.geometry import default_geometry
from flashlink.flashsim.reference.photons import reconstruct_photons
from flashlink.flashsim.samples import CLUSTER_COVARIANCE, DOWNSTREAM, HITS, LONG, TRACK_PARAMETERS
from flashlink.flashsim.simulate import read_parameterizations, simulate
from flashlink.flashsim.states import covariances, symmetric, vertex_covariances

Z = default_geometry().calorimeter.z


def of(columns, rows):
    return {name: column[rows] for name, column in columns.items()}


def shots(count, seed, first_event=0, energy=(2e3, 1e5)):
    """Few photons an event, so that few meet, in events of many charged particles or few."""
    sample = fire(count, 22, energy, (1.8, 5.2), seed, first_event=first_event, per_event=4)
    return sample | {"multiplicity": 20 + 30 * (sample["event"] % 3)}


def positive_definite(matrices):
    sigma = np.sqrt(np.einsum("nii->ni", matrices))
    # As correlations, since units differ by orders of magnitude.
    return np.linalg.eigvalsh(matrices / sigma[:, :, None] / sigma[:, None]).min() > 1e-9


@pytest.fixture(scope="module")
def collisions():
    """Events of the generator, by the reference detector and by the models that come with flashlink."""
    generated = generate(150, 0, seed=31).columns
    shipped = read_parameterizations(None)[0]
    return generated, reconstruct(generated, 31)[0], simulate(generated, shipped, 32), shipped


class Fixed:
    """A chain that gives the same values whatever it is asked."""

    def __init__(self, values):
        self.values, self.variables = values, tuple(values)

    def sample(self, condition, uniform):
        assert len(condition) == uniform.shape[1]
        return self.values


def test_vertices_are_what_they_are_encoded_as():
    random = np.random.default_rng(1)
    factor = np.tril(random.normal(size=(500, 3, 3))) + 3 * np.eye(3)
    residual, covariance = random.normal(size=(500, 3)), factor @ factor.transpose(0, 2, 1)
    model = vertex.LearnedVertex(Fixed(vertex.encoded(residual, covariance)))
    condition = EventCondition(*(np.ones(500) for _ in range(3)), np.ones((500, 3)))
    again = model.sample(condition, Draws(1, np.arange(500), np.zeros(500, dtype=np.int64)))
    np.testing.assert_allclose(again[0], residual, atol=1e-9)
    np.testing.assert_allclose(again[1], covariance, rtol=1e-8, atol=1e-7)


def test_ghosts_are_what_they_are_encoded_as(collisions):
    tracks = of(collisions[1], collisions[1]["particle"] < 0)
    count = len(tracks["event"])
    assert count > 100
    kept = {name: tracks[name].astype(float) for name in (*HITS, "category", "is_muon", *ghosts.PARTS)}
    values = ghosts.encoded(tracks) | kept | {"log chi2/ndf": np.log(tracks["chi2"] / tracks["ndf"])}
    log_p = values.pop("log p").astype(float)
    begins = np.append(log_p.min(), np.quantile(log_p, [0.3, 0.31, 0.9]))
    values |= ghosts.sliced(log_p, begins)
    inside = values[ghosts.SLICE] < begins[-1]
    assert values["place"].min() == 0
    assert values["place"][inside].max() < 1
    values |= {"ndf": tracks["ndf"].astype(float), "ghost log odds": np.zeros(count)}
    one = Fixed(values)
    one.variables = (Classes(ghosts.SLICE, tuple(begins.tolist())),)
    condition = EventCondition(*(np.ones(count) for _ in range(3)), np.ones((count, 3)))
    drawn = ghosts.LearnedGhosts((one, one), Degrees(())).sample(condition, Draws(1, tracks["event"], tracks["track"]))
    sigma = np.sqrt(np.einsum("nii->ni", covariances(tracks)))
    state = np.stack([tracks[name] for name in TRACK_PARAMETERS], axis=1)
    np.testing.assert_allclose(drawn.state / sigma, state / sigma, rtol=1e-6, atol=1e-6)
    scale = sigma[:, :, None] * sigma[:, None]
    np.testing.assert_allclose(drawn.covariance / scale, covariances(tracks) / scale, atol=1e-5)
    np.testing.assert_allclose(drawn.z + tracks["pv_z"], tracks["z"])
    np.testing.assert_allclose(drawn.quality["chi2"], tracks["chi2"])
    # A place that is drawn beyond the end of its slice leaves it no more than one at its end.
    values["place"] = values["place"] + 0.5
    drawn = ghosts.LearnedGhosts((one, one), Degrees(())).sample(condition, Draws(1, tracks["event"], tracks["track"]))
    last = np.append(begins[1:], np.inf)[np.searchsorted(begins, values[ghosts.SLICE])]
    assert (-np.log10(np.abs(drawn.state[:, 4])) <= last + 1e-12).all()


def test_momenta_are_sliced_where_a_likelihood_steps():
    random = np.random.default_rng(2)
    log_p = random.uniform(3, 5, 4000)
    noise = random.normal(size=4000)
    stepping = np.select([log_p < 3.4, log_p < 3.5], [0.0, -4.0], -9.0) + random.normal(0, 0.1, 4000)
    begins = steps(log_p, np.stack([noise, stepping]), most=3, least=50)
    assert begins == pytest.approx([log_p.min(), log_p[log_p >= 3.4].min(), log_p[log_p >= 3.5].min()], abs=1e-12)
    many = steps(log_p, np.stack([noise, stepping]), most=1000, least=50)
    counts = np.histogram(log_p, np.append(many, np.inf))[0]
    assert counts.min() >= 50
    assert counts.sum() == 4000
    assert len(many) > 20
    assert steps(log_p[:80], noise[None, :80], most=5, least=50).tolist() == [log_p[:80].min()]
    assert steps(np.repeat(3.0, 200), noise[None, :200], most=5, least=50).tolist() == [3.0]


def test_clusters_are_what_they_are_encoded_as():
    sample = shots(4000, 1)
    condition, rows, made = matched_clusters(sample, reconstruct_photons(sample, 1), Z)
    values = photons.encoded(made, condition[rows])
    again = photons.decoded(values, condition[rows])
    sigma = np.sqrt(np.einsum("nii->ni", made.covariance))
    np.testing.assert_allclose(again.residual / sigma, made.residual / sigma, atol=1e-9)
    scale = sigma[:, :, None] * sigma[:, None]
    np.testing.assert_allclose(again.covariance / scale, made.covariance / scale, atol=1e-7)
    # The depth of the showers is along the direction from the beam, so there nothing correlates.
    assert all(np.abs(values[name]).max() < 1e-6 for name in photons.PARTIALS)


def test_a_training_learns_how_many_ghosts_there_are_and_how_good_vertices_are(learned, held_out):
    generated, reference = held_out
    tracks = simulate(generated, learned, seed=5)
    events = len(first_rows(generated["event"]))
    ghost = tracks["particle"] < 0
    assert ghost.sum() / events == pytest.approx((reference["track"] % 10 == 3).sum() / events, rel=0.1)
    assert np.corrcoef(generated["multiplicity"][first_rows(generated["event"])],
                       np.bincount(tracks["event"][ghost] - 10_000, minlength=events))[0, 1] > 0.5  # fmt: skip
    for name in ("category", *HITS, "ndf"):
        assert set(np.unique(tracks[name][ghost])) <= set(np.unique(reference[name])), name
    assert positive_definite(covariances(tracks))
    first, here = first_rows(tracks["event"]), first_rows(generated["event"])
    matrices = vertex_covariances(of(tracks, first))
    assert positive_definite(matrices)
    for k, axis in enumerate("xyz"):
        pull = (tracks[f"pv_{axis}"][first] - generated[f"pv_{axis}"][here]) / np.sqrt(matrices[:, k, k])
        assert np.quantile(np.abs(pull), 0.683) == pytest.approx(1, abs=0.15)


def test_a_training_without_ghosts_gives_none_and_one_chain_can_be_trained_again(learned, trained, plan):
    generated, reference = (of(sample, sample["event"] < 100) for sample in trained[:2])
    fired = shots(12_000, 2, first_event=10_000)
    both = {name: np.concatenate([generated[name], fired[name]]) for name in generated}
    clusters = reconstruct_photons(fired, 2)
    again = learn(
        both, reference, plan, seed=1, photons=(clusters, Z), digests=(("others",), (), ("clusters",)),
        only=("vertex", "photon", "cluster"), keep=learned,
    )  # fmt: skip
    assert all(again.chains[name] is learned.chains[name] for name in ("category", "track", "ghosts"))
    assert again.chains["vertex"].model != learned.chains["vertex"].model
    assert again.manifest.chains["track"].origin == learned.manifest.origin
    assert again.manifest.chains["cluster"].origin is None
    assert set(again.trained_on) == {"others", "of the training"}
    assert (again.manifest.accepted, again.manifest.degrees) == (learned.manifest.accepted, learned.manifest.degrees)
    held_out = shots(8000, 3, first_event=50_000)
    flash, truth = simulate_photons(held_out, again.photons, 4), reconstruct_photons(held_out, 5)
    assert len(flash["event"]) == pytest.approx(len(truth["event"]), rel=0.05)
    made = [matched_clusters(held_out, sample, Z)[2].residual for sample in (flash, truth)]
    widths = [np.quantile(np.abs(residual), 0.683, axis=0) for residual in made]
    assert widths[0] == pytest.approx(widths[1], rel=0.2)
    assert positive_definite(symmetric(flash, CLUSTER_COVARIANCE, 3))
    assert learned.photons is None
    alone = learn(generated, reference, plan, seed=1, only=("vertex",))
    assert set(alone.chains) == {"vertex"}
    condition = EventCondition(*(np.ones(9) for _ in range(3)), np.ones((9, 3)))
    assert not alone.ghosts.number(condition, Draws(1, np.arange(9), np.zeros(9, dtype=np.int64))).any()


def test_the_shipped_vertices_and_ghosts_are_those_of_the_reference_detector(collisions):
    generated, reference, flash, _ = collisions
    counts = [np.bincount(sample["event"], sample["particle"] < 0, 150) for sample in (reference, flash)]
    # The error of each mean is 0.15.
    assert counts[1].mean() == pytest.approx(counts[0].mean(), abs=0.6)
    here, errors = first_rows(generated["event"]), []
    for sample in (reference, flash):
        first = first_rows(sample["event"])
        assert (sample["event"][first] == generated["event"][here]).all()
        errors.append(np.sqrt(np.einsum("nii->ni", vertex_covariances(of(sample, first)))))
    assert np.median(errors[1], axis=0) == pytest.approx(np.median(errors[0], axis=0), rel=0.1)
    # What the event's tracks know decides, not only how many there are.
    assert np.corrcoef(np.log(errors[0][:, 2]), np.log(errors[1][:, 2]))[0, 1] > 0.7
    ghosts = [of(sample, sample["particle"] < 0) for sample in (reference, flash)]
    assert set(np.unique(ghosts[1]["category"])) == set(np.unique(ghosts[0]["category"])) == {LONG}
    assert DOWNSTREAM in np.unique(flash["category"])
    for name in ("p", "z", "ghost_probability"):
        medians = [np.median(sample[name]) for sample in ghosts]
        assert medians[1] == pytest.approx(medians[0], rel=0.35, abs=12), name


def test_the_shipped_photons_are_those_of_the_reference_detector(collisions):
    generated, learned = collisions[0], collisions[3].photons
    flash, reference = simulate_photons(generated, learned, 7), reconstruct_photons(generated, 8)
    assert len(flash["event"]) == pytest.approx(len(reference["event"]), rel=0.06)
    made = [matched_clusters(generated, sample, Z)[2] for sample in (flash, reference)]
    # Statistical errors of about 2 %.
    widths = [np.quantile(np.abs(clusters.residual), 0.683, axis=0) for clusters in made]
    assert widths[0] == pytest.approx(widths[1], rel=0.12)
    errors = [np.median(np.sqrt(np.einsum("nii->ni", clusters.covariance)), axis=0) for clusters in made]
    assert errors[0] == pytest.approx(errors[1], rel=0.08)
    assert positive_definite(symmetric(flash, CLUSTER_COVARIANCE, 3))
    assert flash["extrapolated"].mean() < 0.01
    far = simulate_photons(shots(400, 9, energy=(5e5, 6e5)), learned, 1)
    assert far["extrapolated"].all()
