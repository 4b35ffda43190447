"""The validation: blind to nothing, and not alarmed by chance. The toy detector plays both simulations."""

import json

import numpy as np
import pytest

from flashlink.cli import main
from flashlink.errors import RequestError
from flashlink.flashsim.files import write
from flashlink.flashsim.samples import GENERATED, LONG, RECONSTRUCTED
from flashlink.flashsim.validation.measure import measure, separation
from flashlink.flashsim.validation.sample import Pair, conditions, side
from flashlink.flashsim.validation.verdict import Thresholds, read_thresholds, verdict


@pytest.fixture(scope="module")
def samples(toy):
    generated = toy[0](600)
    return generated, toy[1](generated, seed=2), toy[1](generated, seed=3)


def numbers_of(generated, reference, flash):
    return measure(Pair(600, conditions(generated), side(generated, reference), side(generated, flash)))


def missed(numbers, thresholds=None):
    return [check.name for check in verdict(numbers, thresholds or Thresholds()) if not check.holds]


@pytest.fixture(scope="module")
def alike(samples):
    return numbers_of(*samples)


def test_two_samples_of_one_detector_pass(alike):
    # The toy has tails on purpose, so its pulls are a little wide.
    assert missed(alike, Thresholds(pull=(0.9, 1.15))) == []
    assert all(abs(found.auc - 0.5) < 0.03 for found in alike.separations)
    whole = [found for found in alike.distances if not found.condition]
    assert np.mean([found.distance < found.expected for found in whole]) > 0.8
    assert np.mean([found.tail for found in whole if "pull" in found.variable]) == pytest.approx(0.001, abs=0.0008)
    assert {found.condition for found in alike.distances} == {"", "log10 p", "eta", "multiplicity", "origin z"}


def test_errors_that_are_too_small_are_seen_in_pulls_and_by_the_classifier(samples):
    generated, reference, flash = samples
    shrunk = flash | {name: flash[name] * 0.8**2 for name in flash if name.startswith("cov_")}
    names = missed(numbers_of(generated, reference, shrunk), Thresholds(pull=(0.9, 1.15)))
    assert sum("pull" in name for name in names) == 5
    assert any("track variables" in name for name in names)
    assert not any("pid variables" in name for name in names)


def test_likelihoods_that_lost_their_correlation_are_seen(samples):
    generated, reference, flash = samples
    shuffled = np.random.default_rng(1).permutation(flash["rich_dll_p"])
    numbers = numbers_of(generated, reference, flash | {"rich_dll_p": shuffled})
    assert any("pid variables" in name for name in missed(numbers))
    assert set(numbers.correlation[1:]) == {"rich_dll_k", "rich_dll_p"}
    alone = next(found for found in numbers.distances if found.variable == "rich_dll_p" and not found.condition)
    assert alone.distance < 2 * alone.expected, "one variable by itself does not tell"


def test_an_efficiency_that_is_off_in_one_place_is_seen(samples):
    generated, reference, flash = samples
    where = flash["p"] < 3000
    lost = where & (flash["category"] == LONG) & (np.random.default_rng(1).uniform(size=len(where)) < 0.25)
    names = missed(numbers_of(generated, reference, {name: flash[name][~lost] for name in flash}))
    assert any("efficiencies" in name for name in names)


def test_the_classifier_finds_what_only_two_variables_together_show():
    random = np.random.default_rng(1)
    x = random.normal(size=(2, 4000))
    auc, rows = separation({"a": x[0], "b": x[0] + 0.1 * x[1]}, {"a": x[0], "b": x[1]})
    assert rows == 4000
    assert auc > 0.8


@pytest.fixture
def files(tmp_path, samples):
    paths = [tmp_path / f"{name}.parquet" for name in ("generated", "reference", "flash")]
    for path, sample, schema in zip(paths, samples, (GENERATED, RECONSTRUCTED, RECONSTRUCTED), strict=True):
        write(path, sample, schema, {})
    return ["--generated", str(paths[0]), "--reference", str(paths[1]), "--flash", str(paths[2])]


def test_the_command(tmp_path, files, capsys):
    thresholds, output = tmp_path / "thresholds.toml", tmp_path / "validation.html"
    thresholds.write_text("auc = 0.6\npull = [0.9, 1.15]\n")
    command = ["validate", *files, "--thresholds", str(thresholds), "--output", str(output), "--strict"]
    assert main(command) == 0
    found = json.loads(output.with_suffix(".json").read_text())
    assert found["thresholds"] == {"auc": 0.6, "pull": [0.9, 1.15], "efficiency": 0.02}
    assert len(found["checks"]) == capsys.readouterr().out.count("holds ") == 8
    assert found["numbers"]["events"] == 600
    text = output.read_text()
    assert "rich_dll_k" in text
    assert "http" not in text, "the page needs nothing else"
    thresholds.write_text("auc = 0.1\n")
    with pytest.raises(SystemExit) as exit_:
        main(command)
    assert exit_.value.code == 3


def test_unknown_thresholds_are_refused(tmp_path):
    (tmp_path / "t.toml").write_text("aux = 0.6\n")
    with pytest.raises(RequestError, match="the keys are auc, pull, efficiency"):
        read_thresholds(tmp_path / "t.toml")
