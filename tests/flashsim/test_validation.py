"""The validation: blind to nothing, and not alarmed by chance. The toy detector plays both simulations."""

import json
from dataclasses import replace

import numpy as np
import pytest

from flashlink.cli import main
from flashlink.errors import RequestError
from flashlink.flashsim.chunks import digests
from flashlink.flashsim.files import write
from flashlink.flashsim.samples import GENERATED, LONG, RECONSTRUCTED
from flashlink.flashsim.simulate import provenance
from flashlink.flashsim.validation.distances import correlations, distance, distances
from flashlink.flashsim.validation.efficiencies import efficiencies
from flashlink.flashsim.validation.identification import curve, curves
from flashlink.flashsim.validation.masses import closures, decays
from flashlink.flashsim.validation.measure import measure
from flashlink.flashsim.validation.sample import Pair, read_pair
from flashlink.flashsim.validation.separation import separation, separations
from flashlink.flashsim.validation.verdict import Thresholds, held_out, read_thresholds, verdict

#: The toy has tails on purpose, so its pulls are a little wide; and no ghosts.
TOY = Thresholds(pull=(0.9, 1.15))


def decaying(generated):
    """The sample with the two first muons of each event as the daughters of a J/psi."""
    sample = {name: column.copy() for name, column in generated.items()}
    for sign in (-1, 1):
        rows = np.flatnonzero(sample["particle"] == (sign + 1) // 2)
        sample["pdg"][rows], sample["charge"][rows] = sign * 13, -sign
        momentum = np.sqrt(sum(sample[name][rows] ** 2 for name in ("px", "py", "pz")))
        sample["energy"][rows] = np.hypot(momentum, 105.658)
        sample["mother"][rows], sample["signal"][rows] = 9999, True
    first = np.flatnonzero(sample["particle"] == 0)
    mothers = {name: column[first].copy() for name, column in sample.items()}
    mothers |= {"particle": np.full(len(first), 9999), "mother": np.full(len(first), -1)}
    mothers |= {
        "pdg": np.full(len(first), 443),
        "charge": np.zeros(len(first), int),
        "stable": np.zeros(len(first), bool),
    }
    joined = {name: np.concatenate([sample[name], mothers[name]]) for name in sample}
    order = np.lexsort((joined["particle"], joined["event"]))
    return {name: column[order] for name, column in joined.items()}


@pytest.fixture(scope="module")
def samples(toy):
    generated = decaying(toy[0](600))
    seen = {name: column[generated["stable"]] for name, column in generated.items()}
    return generated, toy[1](seen, seed=2), toy[1](seen, seed=3)


def toy_thresholds(**values):
    return Thresholds(**({"pull": TOY.pull} | values))


def missed(numbers, thresholds=TOY):
    return [check.name for check in verdict(numbers, thresholds) if check.holds is False]


@pytest.fixture(scope="module")
def alike(samples):
    return measure(Pair.of(*samples), most_tested=6000)


def test_two_samples_of_one_detector_pass(alike):
    assert missed(alike) == []
    assert all(abs(found.auc - 0.5) < 4 * found.error for found in alike.separations)
    assert {found.what for found in alike.separations} == {"track", "identification", "vertex"}
    whole = [found for found in alike.distances if not found.bin.condition]
    assert np.mean([found.distance < found.expected for found in whole]) > 0.8
    assert np.mean(
        [found.tails[1] for found in whole if found.variable.startswith("pull ") and found.group == "track"]
    ) == pytest.approx(0.001, abs=0.0008)
    conditions = {found.bin.condition for found in alike.distances}
    assert conditions == {"", "log10 p", "eta", "phi", "multiplicity", "origin z"}


def test_errors_that_are_too_small_are_seen_in_pulls_and_by_the_classifier(samples):
    generated, reference, flash = samples
    shrunk = flash | {name: flash[name] * 0.8**2 for name in flash if name.startswith("cov_")}
    numbers = measure(Pair.of(generated, reference, shrunk), most_tested=6000)
    names = missed(numbers)
    assert sum("pull" in name for name in names) == 5
    assert any("track variables" in name for name in names)
    assert not any("identification variables" in name for name in names)
    track = next(found for found in numbers.separations if found.what == "track")
    assert "log sigma" in track.by[0][0]


def test_tails_that_are_too_long_are_seen(samples, alike):
    generated, reference, flash = samples
    far = np.random.default_rng(1).uniform(size=len(flash["rich_dll_k"])) < 0.01
    longer = flash | {"rich_dll_k": np.where(far, 60, flash["rich_dll_k"])}
    numbers = replace(alike, distances=tuple(distances(Pair.of(generated, reference, longer))))
    checks = {check.name: check for check in verdict(numbers, TOY)}
    found = checks["tails of 0.001 of every variable in every bin"]
    assert found.holds is False
    assert "rich_dll_k" in found.found
    assert checks["distance of the distributions of every variable in every bin"].holds


@pytest.mark.parametrize(
    ("rows", "factor", "share"),
    # Alike, also with one entry in a tail; just within what is allowed; and truly beyond it.
    [(1000, 1.0, 0.0), (4000, 1.0, 0.0), (26_000, 1.9, 0.05), (26_000, 3.0, 1.0), (104_000, 0.25, 1.0)],
)
def test_tails_are_missed_when_they_are_beyond_a_factor_of_two_and_not_by_chance(alike, rows, factor, share):
    random, some = np.random.default_rng(3), next(found for found in alike.distances if not found.bin.condition)
    found = []
    for _ in range(40):
        # What is truly beyond the last entries of the reference fluctuates, and so does what is seen of it.
        beyond = random.poisson(factor * random.gamma(rows / 1000, size=900))
        many = tuple(replace(some, rows=(rows, rows), tails=(0.001, count / rows)) for count in beyond)
        checks = verdict(replace(alike, distances=many), TOY)
        found.append(next(check.holds for check in checks if check.name.startswith("tails of")))
    assert found.count(False) == pytest.approx(40 * share, abs=3 if 0 < share < 1 else 0)


def test_likelihoods_that_lost_their_correlation_are_seen(samples, alike):
    generated, reference, flash = samples
    shuffled = np.random.default_rng(1).permutation(flash["rich_dll_p"])
    pair = Pair.of(generated, reference, flash | {"rich_dll_p": shuffled})
    ours, theirs = (side.groups["identification"].variables for side in pair.sides)
    numbers = replace(alike, correlations=correlations(ours, theirs), separations=tuple(separations(pair, 6000)))
    names = missed(numbers)
    assert any("identification variables" in name for name in names)
    assert "correlations of variables" in names
    assert set(numbers.correlations.worst()[1:]) == {"rich_dll_k", "rich_dll_p"}
    alone, expected, _ = distance(ours["rich_dll_p"], theirs["rich_dll_p"])
    assert alone < 2 * expected, "one variable by itself does not tell"


def test_an_efficiency_that_is_off_in_one_place_is_seen(samples, alike):
    generated, reference, flash = samples
    where = flash["p"] < 3000
    lost = where & (flash["category"] == LONG) & (np.random.default_rng(1).uniform(size=len(where)) < 0.25)
    pair = Pair.of(generated, reference, {name: flash[name][~lost] for name in flash})
    assert missed(replace(alike, efficiencies=tuple(efficiencies(pair)))) == ["efficiency of long tracks in bins"]


def test_hadrons_that_are_muons_too_often_are_seen_where_a_difference_of_shares_would_not_be(samples, alike):
    generated, reference, flash = samples
    # twice as many: one in fifty more, of one in fifty
    more = (np.abs(flash["true_pdg"]) == 211) & (np.random.default_rng(1).uniform(size=len(flash["p"])) < 0.018)
    pair = Pair.of(generated, reference, flash | {"is_muon": flash["is_muon"] | more})
    found = replace(alike, efficiencies=tuple(efficiencies(pair)))
    assert missed(found, toy_thresholds(misidentification=(0.9, 1.1))) == ["is_muon of hadrons in bins"]
    assert missed(found, toy_thresholds(misidentification=(0.2, 5.0))) == []


def test_likelihoods_that_tell_less_are_seen_in_the_curves(samples):
    generated, reference, flash = samples
    blurred = flash["dll_k"] + np.random.default_rng(1).normal(0, 10, len(flash["dll_k"]))
    pair = Pair.of(generated, reference, flash | {"dll_k": blurred})
    found = [curve for curve in curves(pair) if not curve.momentum[1]]
    assert {one.species for one in found} == {"electron", "muon", "kaon", "proton"}
    for one in found:
        at = one.misidentified.index(0.1)
        lost = one.reference[at] - one.flash[at]
        assert (lost > 0.1) if one.species == "kaon" else (abs(lost) < 4 * one.error[at] + 0.02)


def test_a_curve_of_known_distributions():
    random = np.random.default_rng(1)
    pions, efficiency = curve(random.normal(2, 1, 100_000), random.normal(0, 1, 100_000))
    # A cut at 1.2816 passes a tenth of the one and, by the normal distribution, 0.764 of the other.
    assert np.interp(0.1, pions, efficiency) == pytest.approx(0.7637, abs=0.005)
    assert (pions[0], efficiency[0], pions[-1], efficiency[-1]) == (0, 0, 1, 1)


def test_the_width_of_a_mass_closes_and_a_worse_momentum_does_not(samples, alike):
    generated, reference, flash = samples
    (found,) = alike.closures
    assert found.decay == (443, 13, 13)
    assert abs(found.ratio - 1) < 3 * found.error
    worse = flash | {"qop": flash["qop"] * np.random.default_rng(1).normal(1, 0.01, len(flash["qop"]))}
    (found,) = closures(Pair.of(generated, reference, worse))
    assert found.ratio > 1.3
    (name,) = missed(replace(alike, closures=(found,)))
    assert "mass" in name


def test_decays_with_a_neutral_daughter_have_no_mass_of_tracks(samples):
    generated = {name: column.copy() for name, column in samples[0].items()}
    assert len(decays(generated)[443, 13, 13]) == 600
    generated["charge"][(generated["particle"] == 0) & (generated["event"] < 100)] = 0
    assert len(decays(generated)[443, 13, 13]) == 500


def test_the_classifier_finds_what_only_two_variables_together_show():
    random = np.random.default_rng(1)
    x = random.normal(size=(2, 4000))
    found = separation("two", {"a": x[0], "b": x[0] + 0.1 * x[1]}, {"a": x[0], "b": x[1]})
    assert found.rows == 4000
    assert found.auc > 0.8
    assert {name for name, _ in found.by} == {"a", "b"}


@pytest.fixture
def files(tmp_path, samples):
    paths = [tmp_path / f"{name}.parquet" for name in ("generated", "reference", "flash")]
    for path, sample, schema in zip(paths, samples, (GENERATED, RECONSTRUCTED, RECONSTRUCTED), strict=True):
        write(path, sample, schema, {})
    return dict(zip(("generated", "reference", "flash"), paths, strict=True))


def test_the_command(tmp_path, files, capsys):
    thresholds, output = tmp_path / "thresholds.toml", tmp_path / "validation.html"
    thresholds.write_text("auc = 0.6\npull = [0.9, 1.15]\n")
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    command = ["validate", *options, "--thresholds", str(thresholds), "--output", str(output), "--strict"]
    assert main(command) == 0
    found = json.loads(output.with_suffix(".json").read_text())
    assert (found["thresholds"]["auc"], found["thresholds"]["efficiency"]) == (0.6, 0.02)
    assert len(found["checks"]) == len(capsys.readouterr().out.splitlines())
    assert found["numbers"]["events"] == 600
    text = output.read_text()
    for figure in ("overview", "separation", "identification", "masses", "pull-widths", "distributions-vertex"):
        assert f'<figure id="{figure}">' in text
    assert "rich_dll_k" in text
    assert "<image" not in text
    assert 'src="' not in text, "the page needs nothing else"
    thresholds.write_text("auc = 0.1\n")
    with pytest.raises(SystemExit) as exit_:
        main([*command, "--most-events", "80"])
    assert exit_.value.code == 3


def test_a_simulation_that_was_trained_on_what_it_is_compared_with_is_told(tmp_path, files, samples):
    assert held_out([files["generated"]], [files["flash"]]).holds is None
    for trained, holds in ((["another"], True), (["another", *digests([files["generated"]])], False)):
        write(tmp_path / "flash.parquet", samples[2], RECONSTRUCTED, {"trained_on": trained})
        assert held_out([files["generated"]], [tmp_path / "flash.parquet"]).holds is holds


def test_a_simulated_sample_says_what_its_simulation_was_trained_on(tmp_path, trained, files, samples):
    tables = replace(trained[2], training=replace(trained[2].training, generated=tuple(digests([files["generated"]]))))
    write(tmp_path / "flash.parquet", samples[2], RECONSTRUCTED, provenance(tables, seed=1))
    assert held_out([files["generated"]], [tmp_path / "flash.parquet"]).holds is False


def test_too_few_tracks_are_refused(files):
    with pytest.raises(RequestError, match=r"tracks of particles in 3 common events; 500"):
        read_pair(*([files[name]] for name in ("generated", "flash", "reference")), most=3)


@pytest.mark.parametrize("which", ["reference", "flash"])
def test_samples_of_other_events_with_the_same_numbers_are_refused(files, samples, which):
    other = dict(samples[("generated", "reference", "flash").index(which)])
    # the events of a production of another seed: the same numbers, other particles
    other["true_pdg"] = np.where(other["particle"] == 3, 2212, other["true_pdg"])
    write(files[which], other, RECONSTRUCTED, {})
    with pytest.raises(RequestError, match=rf"{which} sample: event \d+, particle 3 has true_pdg 2212, the generated"):
        read_pair(*([files[name]] for name in ("generated", "flash", "reference")), most=20)


def test_unknown_thresholds_are_refused(tmp_path):
    (tmp_path / "t.toml").write_text("aux = 0.6\n")
    with pytest.raises(RequestError, match="the keys are auc, pull, efficiency, misidentification"):
        read_thresholds(tmp_path / "t.toml")
