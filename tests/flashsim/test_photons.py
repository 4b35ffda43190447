"""Photons: clusters of the reference detector, what the flash simulation makes of them, and the commands."""

import json
from dataclasses import replace

import numpy as np
import pytest
import uproot

from flashlink.cli import main
from flashlink.errors import RequestError
from flashlink.flashsim.files import metadata, read
from flashlink.flashsim.generate import generate
from flashlink.flashsim.gun import fire
from flashlink.flashsim.matching import rows_of
from flashlink.flashsim.parameterizations.photons import PhotonCondition
from flashlink.flashsim.photons import SIMULATED_PHOTONS, parameterize_photons, photons_of, residuals, simulate_photons
from flashlink.flashsim.reference.geometry import default_geometry
from flashlink.flashsim.reference.photons import reconstruct_photons
from flashlink.flashsim.samples import CLUSTER_COVARIANCE, PHOTONS
from flashlink.flashsim.states import symmetric

Z = default_geometry().calorimeter.z


def shots(count, seed, first_event=0, energy=(2e3, 1e5), eta=(1.8, 5.2)):
    """Few photons an event, so that few meet, in events of many charged particles or few."""
    sample = fire(count, 22, energy, eta, seed, first_event=first_event, per_event=4)
    return sample | {"multiplicity": 20 + 30 * (sample["event"] % 3)}


def compared(generated, clusters):
    photons = photons_of(generated)
    rows = rows_of(clusters["event"], clusters["particle"], photons["event"], photons["particle"])
    condition = PhotonCondition.of(photons, Z)
    return rows, condition, residuals(clusters, condition[rows])


@pytest.fixture(scope="module")
def both():
    training, held_out = shots(40_000, 1), shots(40_000, 2, first_event=1_000_000)
    learned = parameterize_photons(training, reconstruct_photons(training, 1), Z)
    return held_out, reconstruct_photons(held_out, 2), simulate_photons(held_out, learned, 3), learned


def test_generated_samples_have_photons_behind_the_charged_particles():
    sample = generate(20, 0, seed=1).columns
    photon = (sample["pdg"] == 22) & ~sample["signal"]
    assert photon.sum() > 300
    assert (sample["charge"][photon] == 0).all()
    assert sample["energy"][photon] == pytest.approx(
        np.sqrt(sum(sample[name][photon] ** 2 for name in ("px", "py", "pz"))), rel=1e-6
    )
    charged = sample["stable"] & (sample["charge"] != 0)
    assert (sample["multiplicity"] == np.bincount(sample["event"], charged)[sample["event"]]).all()


def test_clusters_are_where_the_photons_went_with_honest_errors(both):
    held_out, reference, _, _ = both
    rows, condition, made = compared(held_out, reference)
    assert (np.diff(rows) > 0).all(), "one cluster a photon at most, in their order"
    pull = made.residual / np.sqrt(np.einsum("nii->ni", made.covariance))
    widths = np.quantile(np.abs(pull), 0.683, axis=0)
    assert widths[:2] == pytest.approx([1, 1], abs=0.04)
    # The energy of the neighbours is in no error.
    assert 1 < widths[2] < 1.25
    bright = condition.log_e[rows] > 4.7
    assert np.quantile(np.abs(made.residual[bright, 2]), 0.683) == pytest.approx(0.019, abs=0.005)
    np.linalg.cholesky(symmetric(reference, CLUSTER_COVARIANCE, 3))


def test_the_hole_the_edge_and_the_matter_in_front_cost_photons(both):
    held_out, reference, _, _ = both
    rows, condition, _ = compared(held_out, reference)
    found = np.zeros(len(condition.x), bool)
    found[rows] = True
    calorimeter = default_geometry().calorimeter
    assert found[~calorimeter.covers(condition.x, condition.y)].mean() < 0.02
    middle = (np.abs(condition.x) > 600) & (np.abs(condition.x) < 2500) & (np.abs(condition.y) < 2000)
    # A third of a radiation length in front of the field or in it: 7/9 of that converts.
    assert found[middle].mean() == pytest.approx(np.exp(-7 / 9 / 3), abs=0.06)


def test_photons_that_are_too_near_make_one_cluster_of_their_energy():
    one = fire(4000, 22, (2e4, 2e4), (3, 4), 1, per_event=1)
    near = {name: np.repeat(values, 2) for name, values in one.items()}
    near["particle"] = np.tile([0, 1], 4000).astype(np.int32)
    alone, merged = reconstruct_photons(one, 1), reconstruct_photons(near, 1)
    energy = merged["energy"]
    assert ((energy > 3.2e4) & (energy < 5e4)).mean() > 0.5
    assert len(np.unique(merged["event"])) == len(energy)
    apart = near | {"px": np.where(near["particle"] == 0, near["px"], -near["px"])}
    apart |= {"py": np.where(near["particle"] == 0, near["py"], -near["py"])}
    assert np.median(reconstruct_photons(apart, 1)["energy"]) == pytest.approx(np.median(alone["energy"]), rel=0.01)


def test_flash_photons_are_those_of_the_reference(both):
    held_out, reference, flash, _ = both
    (ours, condition, made), (theirs, _, drawn) = (compared(held_out, sample) for sample in (reference, flash))
    assert len(theirs) == pytest.approx(len(ours), rel=0.02)
    for low, high in ((0, 500), (500, 1500), (1500, 4000)):
        inside = (np.maximum(np.abs(condition.x), np.abs(condition.y)) > low) & (np.abs(condition.x) < high)
        shares = [np.isin(np.flatnonzero(inside), rows).mean() for rows in (ours, theirs)]
        assert shares[1] == pytest.approx(shares[0], abs=0.02)
    for axis in range(3):
        for quantile in (0.683, 0.95):
            values = [np.quantile(np.abs(sample.residual[:, axis]), quantile) for sample in (made, drawn)]
            assert values[1] == pytest.approx(values[0], rel=0.06)
        pulls = [
            np.quantile(np.abs(sample.residual[:, axis]) / np.sqrt(sample.covariance[:, axis, axis]), 0.683)
            for sample in (made, drawn)
        ]
        assert pulls[1] == pytest.approx(pulls[0], abs=0.04)
    assert np.quantile(flash["photon_dll"], [0.1, 0.5]) == pytest.approx(
        np.quantile(reference["photon_dll"], [0.1, 0.5]), abs=0.15
    )
    np.linalg.cholesky(symmetric(flash, CLUSTER_COVARIANCE, 3))


def test_flash_photons_do_not_depend_on_what_else_is_simulated(both):
    held_out, _, flash, learned = both
    first = held_out["event"] < 1_003_000
    parts = [
        simulate_photons({name: values[rows] for name, values in held_out.items()}, learned, 3)
        for rows in (first, ~first)
    ]
    for name in SIMULATED_PHOTONS:
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), flash[name])


def test_photons_beyond_training_say_so(both):
    far = shots(400, 3, energy=(5e5, 6e5), eta=(2.5, 4))
    clusters = simulate_photons(far, both[3], 1)
    assert clusters["extrapolated"].all()
    assert both[2]["extrapolated"].mean() < 0.02


def test_samples_that_do_not_belong_together_are_refused(both):
    held_out, reference, _, _ = both
    with pytest.raises(RequestError, match="is no photon of the generated sample"):
        parameterize_photons(shots(400, 3), reference, Z)
    few = {name: values[:50] for name, values in reference.items()}
    with pytest.raises(RequestError, match="50 clusters are not the 1000"):
        parameterize_photons(held_out, few, Z)


def test_from_the_generator_to_root(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    seed = ["--seed", "1"]
    assert main(["generate", "--events", "120", *seed, "--output", "g.parquet"]) == 0
    assert main(["reference", "g.parquet", *seed, "--output", "r.parquet", "--photons", "rp.parquet"]) == 0
    learn = ["parameterize", "--generated", "g.parquet", "--reference", "r.parquet"]
    assert main([*learn, "--photons", "rp.parquet", "--output", "t.json"]) == 0
    record = ["--record", "p.json"]
    command = ["photons", "g.parquet", *seed, "--parameterizations"]
    assert main([*command, "t.json", "--output", "fp.parquet", *record]) == 0
    clusters, reference = read(tmp_path / "fp.parquet", SIMULATED_PHOTONS), read(tmp_path / "rp.parquet", PHOTONS)
    assert len(clusters["event"]) == pytest.approx(len(reference["event"]), rel=0.15)
    assert json.loads((tmp_path / "p.json").read_text())["numbers"]["clusters"] == len(clusters["event"])
    assert metadata(tmp_path / "fp.parquet")["by"] == "flash"
    assert main(["convert", "fp.parquet", "--output", "fp.root"]) == 0
    with uproot.open("fp.root") as root:
        np.testing.assert_array_equal(root["photons"]["energy"].array(library="np"), clusters["energy"])
    assert main([*learn, "--output", "none.json"]) == 0
    assert main([*command, "none.json", "--output", "x.parquet"]) == 1
    assert "parameterizations without photons" in capsys.readouterr().err
    assert main([*learn, "--photons", "fp.parquet", "--output", "none.json"]) == 1
    assert "one of photons by `flashlink reference --photons`" in capsys.readouterr().err


def test_a_validation_compares_photons_too(toy, both):
    from flashlink.flashsim.validation.distances import distances
    from flashlink.flashsim.validation.efficiencies import efficiencies
    from flashlink.flashsim.validation.sample import Pair

    held_out, reference, flash, _ = both
    generated = toy[0](100)
    tracks = toy[1](generated)
    pair = replace(Pair.of(generated, tracks, tracks), generated=held_out).with_photons(reference, flash, Z)
    found = [one for one in distances(pair) if one.group == "photon" and not one.bin.condition]
    assert {one.variable for one in found} >= {"pull photon x", "pull photon energy", "photon_dll"}
    assert all(one.distance < 0.03 for one in found)
    shares = [one for one in efficiencies(pair) if one.what == "photon"]
    assert {one.bin.condition for one in shares} >= {"log10 p", "x", "y", "multiplicity"}
    assert all(abs(one.flash - one.reference) < 4 * one.error + 0.01 for one in shares)
