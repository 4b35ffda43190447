"""Learned models on the toy detector: what they must be whatever they have learned, and that they learn."""

import itertools
import json
import tracemalloc
from dataclasses import fields
from dataclasses import replace as replaced

import msgspec
import numpy as np
import pytest

from flashlink.errors import RequestError
from flashlink.flashsim.gun import fire
from flashlink.flashsim.learned import models, targets
from flashlink.flashsim.learned.chain import ROWS, Chain
from flashlink.flashsim.learned.quality import Degrees
from flashlink.flashsim.learned.training.calibrate import calibrated
from flashlink.flashsim.learned.training.export import exported
from flashlink.flashsim.learned.training.fit import Rows, Settings, fit
from flashlink.flashsim.learned.training.learn import Plan, read_plan
from flashlink.flashsim.learned.training.network import Shape, initial, log_likelihood, see
from flashlink.flashsim.learned.training.problem import Problem
from flashlink.flashsim.learned.variables import Apart, Classes, Continuous, Curve, Lines
from flashlink.flashsim.matching import rows_of
from flashlink.flashsim.parameterizations.condition import Condition
from flashlink.flashsim.parameterize import residuals
from flashlink.flashsim.reference import reconstruct
from flashlink.flashsim.samples import LONG
from flashlink.flashsim.simulate import SIMULATED, provenance, read_parameterizations, simulate
from flashlink.flashsim.states import covariances


def of(columns, rows):
    return {name: column[rows] for name, column in columns.items()}


@pytest.fixture(scope="module")
def simulated(learned, held_out):
    return simulate(held_out[0], learned, seed=5)


@pytest.fixture
def folder(learned, tmp_path):
    models.write(tmp_path / "models", learned)
    return tmp_path / "models"


def test_a_file_gives_what_the_memory_has(folder, held_out, simulated):
    read, digest = read_parameterizations(folder)
    again = simulate(held_out[0], read, seed=5)
    assert all((again[name] == simulated[name]).all() for name in SIMULATED)
    assert len(digest) == 64
    assert provenance(read, 5)["trained_on"] == ["of the training"]
    assert {path.suffix for path in folder.iterdir()} == {".json", ".onnx"}


@pytest.mark.parametrize("batch", [997, 5 * ROWS + 1])
def test_results_do_not_depend_on_batches_chunks_or_order(learned, held_out, simulated, batch):
    again = simulate(held_out[0], learned, seed=5, batch=batch)
    assert all((again[name] == simulated[name]).all() for name in SIMULATED)


def test_a_part_gives_the_part(learned, held_out, simulated):
    generated = held_out[0]
    part = of(generated, (generated["event"] > 10_300) & (generated["event"] <= 10_420))
    again, whole = simulate(part, learned, seed=5), of(simulated, np.isin(simulated["event"], part["event"]))
    assert all((again[name] == whole[name]).all() for name in SIMULATED)


def test_an_interrupted_training_goes_on_to_the_same_end(tmp_path):
    random = np.random.default_rng(1)
    condition, weight = random.normal(size=(600, 2)).astype(np.float32), np.ones(600, dtype=np.float32)
    kind = (condition[:, 0] > 0).astype(float)
    value = condition[:, 1] + kind + random.logistic(size=600)
    variables = (Classes.of("kind", kind), Continuous.of("value", value))
    inside = np.stack([kind, variables[1].encode(value)], axis=1)
    train, valid = (Rows(condition[part], inside[part], weight[part]) for part in (slice(500), slice(500, None)))
    settings = Settings(trunk=(8,), head=4, components=2, epochs=4, batch=100)
    shape = Shape(2, variables, settings.trunk, settings.head, settings.components)
    at_once, progress = fit(shape, settings, train, valid, seed=1)
    assert progress.losses[-1][1] < progress.losses[0][1]

    def interrupt(progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt

    path = tmp_path / "state.npz"
    with pytest.raises(KeyboardInterrupt):
        fit(shape, settings, train, valid, 1, path, interrupt)
    heard = []
    resumed, _ = fit(shape, settings, train, valid, 1, path, lambda progress: heard.append(progress.epoch))
    assert heard == [2, 3, 4]
    assert all((resumed[name] == at_once[name]).all() for name in at_once)
    with pytest.raises(RequestError, match="one of this training"):
        fit(shape, settings, train, valid, 2, path)
    path.write_bytes(b"PK")
    with pytest.raises(RequestError, match="a whole checkpoint"):
        fit(shape, settings, train, valid, 1, path)


def test_classes_count_as_often_as_the_settings_say():
    random = np.random.default_rng(4)
    condition, weight = random.normal(size=(600, 1)).astype(np.float32), np.ones(600, dtype=np.float32)
    kind, value = (condition[:, 0] > 1).astype(float), random.logistic(size=600)
    variables = (Classes.of("kind", kind), Continuous.of("value", value))
    inside = np.stack([kind, variables[1].encode(value)], axis=1)

    def loss(settings, *chosen):
        rows = Rows(condition, inside[:, chosen], weight)
        shape = Shape(1, tuple(variables[number] for number in chosen), settings.trunk, settings.head, 2)
        return fit(shape, settings, rows, rows, seed=1)[1].losses[-1][1]

    # At a rate of nothing the parameters stay as they began.
    once = Settings(trunk=(8,), head=4, components=2, epochs=1, batch=100, rate=1e-9)
    often = msgspec.structs.replace(once, classes=16.0)
    assert loss(often, 0) == pytest.approx(16 * loss(once, 0), rel=1e-4)
    assert loss(often, 1) == loss(once, 1)
    assert loss(often, 0, 1) - loss(once, 0, 1) == pytest.approx(15 * np.log(2), abs=1)


def test_the_exported_graph_draws_from_the_distribution_that_was_trained():
    random = np.random.default_rng(2)
    variables = (
        Classes("kind", (0.0, 1.0, 2.0)),
        Continuous("value", Curve((-20.0, 20.0), (-20.0, 20.0)), (-1e3, 1e3)),
    )
    shape = Shape(1, variables, (8,), 8, 3)
    parameters = initial(shape, 5)
    parameters["answer"] = random.normal(0, 0.2, parameters["answer"].shape).astype(np.float32)
    parameters["line"][:] = 0.7
    ones = np.ones(1, dtype=np.float32)
    model = exported(parameters, shape, 0 * ones, ones, np.array([[-9.0], [9.0]]))
    rows = 20_000
    drawn = Chain(variables, ("x",), model).sample(np.full((rows, 1), 0.4), random.uniform(size=(2, rows)))
    condition = np.full((1, 1), 0.4, dtype=np.float32)
    kinds = np.arange(3.0)
    probability = []
    for kind in kinds:
        inside = np.array([[kind, 0.0]])
        found = log_likelihood(parameters, shape, condition, see(shape, inside), inside.astype(np.float32))
        probability.append(float(np.exp(found[0, 0])))
        values = drawn["value"][drawn["kind"] == kind]
        places = np.linspace(-60, 60, 6001)
        inside = np.stack([np.full(len(places), kind), places], axis=1)
        density = np.exp(
            np.asarray(
                log_likelihood(
                    parameters,
                    shape,
                    np.repeat(condition, len(places), axis=0),
                    see(shape, inside),
                    inside.astype(np.float32),
                )
            )[:, 1]
        )
        below = np.cumsum(density) * (places[1] - places[0])
        assert below[-1] == pytest.approx(1, abs=0.01)
        distance = np.abs(np.searchsorted(np.sort(values), places) / len(values) - below).max()
        assert distance < 2.2 / np.sqrt(len(values))
    assert (drawn["kind"][:, None] == kinds).mean(axis=0) == pytest.approx(probability, abs=0.015)


def test_a_calibrated_chain_has_the_distribution_of_the_training_down_to_narrow_lines():
    random = np.random.default_rng(6)
    rows = 30_000
    line = -16.65 + 1e-3 * np.abs(random.normal(size=rows))
    values = np.where(random.uniform(size=rows) < 0.6, line, random.normal(-5, 6, rows))
    kind = random.integers(0, 2, rows).astype(float)
    condition, ones = random.normal(size=(rows, 1)), np.ones(1, dtype=np.float32)
    variables = (
        Classes.of("kind", kind),
        Continuous.of("value", values[kind > 0], "kind", (False, True)),
    )
    shape = Shape(1, variables, (8,), 8, 3)
    chain = Chain(variables, ("x",), exported(initial(shape, 5), shape, 0 * ones, ones, np.array([[-9.0], [9.0]])))
    values[kind == 0] = 0
    # What has no weight is far away.
    weight = np.where(random.uniform(size=rows) < 0.5, 2.0, 0.0)
    known = {"kind": kind, "value": np.where((weight > 0) | (kind == 0), values, 1e3)}
    problem = Problem("toy", ("x",), condition, variables, known, np.arange(rows), weight)
    distances = []
    for one in (chain, calibrated(chain, problem, 1)):
        drawn = one.sample(condition, random.uniform(size=(2, rows)))
        assert (drawn["value"][drawn["kind"] == 0] == 0).all()
        ours, theirs = np.sort(drawn["value"][drawn["kind"] > 0]), np.sort(values[(kind > 0) & (weight > 0)])
        both = np.concatenate([ours, theirs])
        below = [np.searchsorted(sample, both, side="right") / len(sample) for sample in (ours, theirs)]
        distances.append(np.abs(below[0] - below[1]).max())
    assert distances[0] > 0.05
    assert distances[1] < 0.03


def test_chains_are_calibrated_apart_in_slices_of_the_condition_and_of_what_was_drawn():
    random = np.random.default_rng(7)
    rows = 40_000
    # What there is above 0.5 of the first column, and in the second class, is elsewhere.
    column, kind = random.uniform(size=rows), random.integers(0, 3, rows).astype(float)
    values = random.uniform(size=rows) + 5 * (column > 0.5) + 20 * (kind == 1)
    condition, scale = np.stack([np.ones(rows), column], axis=1), np.ones(2, dtype=np.float32)
    variables = (Classes.of("kind", kind), Continuous.of("value", values))
    shape = Shape(2, variables, (8,), 8, 3)
    model = exported(initial(shape, 5), shape, 0 * scale, scale, np.array([[-9.0] * 2, [9.0] * 2]))
    known = {"kind": kind, "value": values}
    apart = (Apart("b", (0.0, 0.5)), Apart("kind", (0.0, 1.0, 2.0)))
    problem = Problem("toy", ("a", "b"), condition, variables, known, np.arange(rows), np.ones(rows), apart)
    chain = calibrated(Chain(variables, ("a", "b"), model), problem, 1)
    drawn = chain.sample(condition, random.uniform(size=(2, rows)))
    for high, one in itertools.product((False, True), (0, 1, 2)):
        shares, there = [0.01, 0.2, 0.5, 0.8, 0.99], (column > 0.5) == high
        ours, theirs = (
            np.quantile(sample["value"][there & (sample["kind"] == one)], shares) for sample in (drawn, known)
        )
        assert ours == pytest.approx(theirs, abs=0.06)


def test_efficiency_resolution_and_identification_are_learned(held_out, simulated):
    generated, reference = held_out
    long, kaons, widths, p = (
        [],
        [],
        [],
        np.log10(np.hypot(np.hypot(*(generated[n] for n in ("px", "py"))), generated["pz"])),
    )
    for tracks in (reference, simulated):
        rows = rows_of(tracks["event"], tracks["particle"], generated["event"], generated["particle"])
        of_long = (tracks["category"] == LONG) & (rows >= 0)
        counts = [np.histogram(values, np.arange(3.2, 4.7, 0.3))[0] for values in (p[rows[of_long]], p)]
        long.append(counts[0] / counts[1])
        kaons.append((tracks["dll_k"][np.abs(tracks["true_pdg"]) == 321] > 0).mean())
        chosen = np.flatnonzero(of_long)
        made = residuals(of(tracks, chosen), of(generated, rows[chosen]))
        widths.append(np.quantile(np.abs(made.residual), 0.683, axis=0))
    assert long[1] == pytest.approx(long[0], abs=0.05)
    assert kaons[1] == pytest.approx(kaons[0], abs=0.05)
    assert widths[1] == pytest.approx(widths[0], rel=0.15)


@pytest.mark.parametrize("place", [0.0, 1e-12, 1 - 1e-12, 1.0])
def test_numbers_at_the_ends_give_tracks_too(learned, place):
    for chain in learned.chains.values():
        condition = np.random.default_rng(1).normal(0, 30, (100, len(chain.inputs)))
        drawn = chain.sample(condition, np.full((len(chain.variables), 100), place))
        assert all(np.isfinite(values).all() for values in drawn.values())


def test_what_is_not_in_the_training_does_not_come(held_out, simulated):
    reference = held_out[1]
    for name in ("vertex_hits", "upstream_hits", "station_hits", "ndf", "category"):
        assert set(np.unique(simulated[name])) <= set(np.unique(reference[name])), name
    assert simulated["chi2"].min() >= 0
    assert simulated["ghost_probability"].min() >= 0
    assert simulated["ghost_probability"].max() <= 1


def test_hits_too_few_for_a_fit_leave_one_degree_of_freedom():
    hits = {"vertex_hits": [5, 0, 2], "upstream_hits": [0, 4, 1], "station_hits": [12, 0, 0]}
    smooth = {"log chi2/ndf": np.log([2.0, 2.0, 2.0]), "ghost log odds": np.zeros(3)}
    values = {name: np.array(column, dtype=float) for name, column in hits.items()} | smooth
    quality = Degrees((-5.0, 2.0, 1.0, 1.0)).quality(values)
    assert quality["ndf"].tolist() == [17, 1, 1]
    assert quality["chi2"] == pytest.approx([34, 2, 2])


def test_whatever_is_drawn_the_covariance_is_positive_definite():
    random = np.random.default_rng(3)
    count = 100_000
    condition = Condition(
        **{field.name: np.ones(count) for field in fields(Condition) if field.name != "log_p"},
        log_p=random.uniform(3, 5.3, count),
    )
    names = (*targets.PULLS, *targets.SIGMAS, *targets.PARTIALS)
    values = dict(zip(names, random.standard_cauchy((len(names), count)), strict=True))
    values |= {name: random.uniform(-12, 3, count) for name in targets.SIGMAS}
    residual, covariance = targets.decoded(values, condition)
    np.linalg.cholesky(covariance)
    assert (covariance == covariance.transpose(0, 2, 1)).all()
    assert np.isfinite(residual).all()


def test_encoding_and_decoding_are_inverse(trained):
    generated, reference, _ = trained
    rows = rows_of(reference["event"], reference["particle"], generated["event"], generated["particle"])
    condition = Condition.of(of(generated, rows))
    made = residuals(reference, of(generated, rows))
    values = targets.encoded(made.residual, made.covariance, condition)
    residual, covariance = targets.decoded(values, condition)
    scale = np.sqrt(np.einsum("nii->ni", made.covariance))
    assert np.abs((residual - made.residual) / scale).max() < 1e-9
    assert np.abs((covariance - made.covariance) / scale[:, :, None] / scale[:, None]).max() < 1e-8


@pytest.mark.parametrize(
    "values",
    [np.random.default_rng(1).standard_cauchy(5000), np.array([2.0] * 10), np.array([0.0] * 900 + [1.0] * 100)],
)
def test_a_variable_decodes_what_it_encodes_and_nothing_beyond(values):
    variable = Continuous.of("x", values)
    assert variable.decode(variable.encode(values)) == pytest.approx(values, rel=1e-6, abs=1e-5)
    assert variable.decode(np.array([-1e9, 1e9])).tolist() == [values.min(), values.max()]
    assert (np.diff(variable.decode(np.linspace(-20, 20, 1001))) >= 0).all()


def test_classes_decode_what_they_encode():
    variable = Classes.of("hits", np.array([3.0, 12.0, 9.0, 3.0]))
    assert variable.values == (3, 9, 12)
    assert variable.decode(variable.encode(np.array([12.0, 3.0]))).tolist() == [12, 3]


def test_tracks_beyond_the_training_say_so_and_those_outside_of_it_are_not(learned, held_out):
    generated = dict(held_out[0])
    for name in ("px", "py", "pz"):
        generated[name] = held_out[0][name] * np.where(held_out[0]["particle"] == 0, 1e4, 1)
    generated["pz"] = np.where(generated["particle"] == 1, -generated["pz"], generated["pz"])
    sigma = 3112  # of which there is no model
    generated["pdg"] = np.where(generated["particle"] == 2, sigma, generated["pdg"])
    tracks = simulate(generated, learned, seed=1)
    assert not (tracks["particle"] == 1).any()
    assert tracks["extrapolated"][tracks["particle"] == 0].all()
    assert tracks["extrapolated"][tracks["true_pdg"] == sigma].all()
    assert tracks["extrapolated"][tracks["particle"] > 2].mean() < 0.02


def rewrite(folder, change):
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "track.onnx").unlink(), "track.onnx"),
        (lambda folder: (folder / "track.onnx").write_bytes(b"x"), "as its manifest says"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "what this version reads"),
        (lambda folder: (folder / "manifest.json").write_text('{"format": 99}'), "99"),
        (lambda folder: (folder / "manifest.json").write_text("[1]"), "what this version reads"),
        (lambda folder: rewrite(folder, lambda manifest: manifest["chains"].pop("ghost")), "ghosts.+ghost"),
        (lambda folder: rewrite(folder, lambda manifest: manifest["chains"].pop("vertex")), "vertex"),
        (lambda folder: rewrite(folder, lambda manifest: manifest["digests"].pop("vertex.onnx")), "file of each chain"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused_in_one_line(folder, spoil, message):
    spoil(folder)
    with pytest.raises(RequestError, match=message) as error:
        models.read(folder)
    assert "\n" not in str(error.value)


def test_a_model_of_another_form_is_refused(learned, held_out):
    broken = replaced(learned.chains["category"], model=b"no model")
    with pytest.raises(RequestError, match="cannot load"):
        broken.sample(np.zeros((1, len(broken.inputs))), np.zeros((1, 1)))
    other = replaced(learned.chains["category"], inputs=("a", "b", "c"))
    with pytest.raises(RequestError, match="train it again"):
        other.sample(np.zeros((1, 3)), np.zeros((1, 1)))


@pytest.mark.parametrize(
    ("text", "message"),
    [("[track]\nepochs = 'many'", "epochs"), ("[tracks]", "tracks"), ("[track", "plan")],
)
def test_a_plan_that_is_wrong_is_refused_in_one_line(tmp_path, text, message):
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(RequestError, match=message):
        read_plan(tmp_path / "plan.toml")
    assert read_plan(None) == Plan()


def test_the_manifest_says_what_the_models_are(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["origin"]["seed"] == 4
    assert set(manifest["origin"]["versions"]) == {"jax", "numpy", "onnx", "optax"}
    assert manifest["chains"]["track"]["variables"][0]["name"] == "vertex_hits"
    assert manifest["chains"]["category"]["trained"]["loss"][1] < 1.2


def test_the_shipped_models_are_whole_small_and_of_the_plan_that_the_code_has():
    folder = models.shipped()
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5_000_000
    for name, described in models.read(folder).manifest.chains.items():
        plan, trained = getattr(Plan(), name), described.trained
        assert (plan.trunk, plan.head, plan.components) == (trained.trunk, trained.head, trained.components)


def test_the_shipped_models_reconstruct_pions_as_the_reference_detector():
    fired = fire(2000, 211, (10_000, 20_000), (2.5, 4.5), seed=8)
    learned, _ = read_parameterizations(None)
    reference, flash = reconstruct(fired, 8)[0], simulate(fired, learned, 8)
    found = [((tracks["category"] == LONG) & (tracks["particle"] >= 0)).sum() for tracks in (reference, flash)]
    shares = np.array(found) / len(fired["event"])
    # Each of the shares fluctuates by 0.01.
    assert shares[1] == pytest.approx(shares[0], abs=0.05)
    errors = [np.median(np.sqrt(tracks["cov_x_x"][tracks["category"] == LONG])) for tracks in (reference, flash)]
    assert errors[1] == pytest.approx(errors[0], rel=0.1)
    np.linalg.cholesky(covariances(flash))
    assert not flash["extrapolated"].any()


def test_the_table_of_a_curve_is_small():
    places = np.linspace(-9.0, 9.0, 65)
    tracemalloc.start()
    lines = [Lines(places, places**3) for _ in range(100)]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / len(lines) < 16_000, "bytes; models have hundreds"


def test_lines_go_through_their_points_and_on_beyond_the_ends():
    random = np.random.default_rng(3)
    # Some points lie so close that many share a cell of the table, some far apart.
    places, values = np.cumsum(random.exponential(size=319) ** 6 + 1e-9), np.cumsum(random.exponential(size=319))
    lines = Lines(places, values)
    within = np.concatenate([places, random.uniform(places[0], places[-1], 10_000), random.choice(places, 1000) + 1e-9])
    within = within[within <= places[-1]]
    np.testing.assert_allclose(lines(within), np.interp(within, places, values), rtol=1e-9)
    first, last = ((values[k + 1] - values[k]) / (places[k + 1] - places[k]) for k in (0, -2))
    np.testing.assert_allclose(lines(np.array([places[0] - 3])), values[0] - 3 * first)
    np.testing.assert_allclose(lines(np.array([places[-1] + 3])), values[-1] + 3 * last)
