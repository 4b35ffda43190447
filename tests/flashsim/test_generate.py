"""The generator: the signal decay, and events that do not depend on chunks."""

from itertools import pairwise

import numpy as np
import pytest

from flashlink.errors import RequestError
from flashlink.flashsim.generate import BEAM_SPOT, ETA_RANGE, LEAST_MOMENTUM, Production, generate
from flashlink.flashsim.pythia import Process, read_settings
from flashlink.flashsim.samples import GENERATED

B_MASS, PSI_MASS = 5279.4, 3096.9  # MeV, PDG
B_LIFE = 0.491  # mm


@pytest.fixture(scope="module")
def columns():
    return generate(60, 100, seed=3).columns


def _mass(columns, rows):
    energy, px, py, pz = (columns[name][rows].sum(axis=1) for name in ("energy", "px", "py", "pz"))
    return np.sqrt(energy**2 - px**2 - py**2 - pz**2)


def _chains(columns):
    """Rows of B, J/psi, K, mu-, mu+ of each event."""
    return np.flatnonzero(columns["signal"]).reshape(-1, 5)


def test_schema_and_order(columns):
    assert {name: values.dtype.name for name, values in columns.items()} == GENERATED
    first = np.flatnonzero(columns["particle"] == 0)
    np.testing.assert_array_equal(columns["event"][first], np.arange(100, 160))
    assert (np.diff(columns["particle"])[np.diff(columns["event"]) == 0] == 1).all()


def test_one_signal_chain_in_each_event(columns):
    chains = _chains(columns)
    pdg = columns["pdg"][chains]
    assert len(chains) == 60
    assert set(pdg[:, 0]) == {521, -521}
    np.testing.assert_array_equal(pdg[:, 1], 443)
    np.testing.assert_array_equal(pdg[:, 2], 321 * np.sign(pdg[:, 0]))
    np.testing.assert_array_equal(pdg[:, 3:], [[13, -13]] * 60)
    np.testing.assert_array_equal(columns["mother"][chains], [[-1, 0, 0, 1, 1]] * 60)
    np.testing.assert_array_equal(columns["stable"][chains], [[False, False, True, True, True]] * 60)
    np.testing.assert_array_equal(columns["charge"][chains].sum(axis=1), 2 * np.sign(pdg[:, 0]))


def test_the_signal_goes_forward(columns):
    assert (columns["pz"][_chains(columns)[:, 0]] > 0).all()


def test_masses(columns):
    chains = _chains(columns)
    np.testing.assert_allclose(_mass(columns, chains[:, 2:]), B_MASS, atol=0.5)
    np.testing.assert_allclose(_mass(columns, chains[:, 3:]), PSI_MASS, atol=1)


def test_the_vertex_is_displaced_along_the_flight(columns):
    meson, kaon = _chains(columns)[:, [0, 2]].T
    flight = np.stack([columns[axis][kaon] - columns[f"pv_{axis}"][kaon] for axis in "xyz"])
    direction = np.stack([columns[name][meson] for name in ("px", "py", "pz")])
    cosine = (flight * direction).sum(axis=0) / np.linalg.norm(flight, axis=0) / np.linalg.norm(direction, axis=0)
    np.testing.assert_allclose(cosine, 1, atol=1e-9)
    proper = np.linalg.norm(flight, axis=0) * B_MASS / np.linalg.norm(direction, axis=0)
    assert 0.6 * B_LIFE < proper.mean() < 1.4 * B_LIFE  # three standard errors of 60 decays


def test_the_others_are_visible(columns):
    others = ~columns["signal"]
    p = np.sqrt(columns["px"] ** 2 + columns["py"] ** 2 + columns["pz"] ** 2)
    eta = np.arctanh(columns["pz"] / p)
    assert (p[others] > LEAST_MOMENTUM).all()
    assert (eta[others] > ETA_RANGE[0]).all()
    assert (eta[others] < ETA_RANGE[1]).all()
    assert (np.abs(columns["charge"][others]) == (columns["pdg"][others] != 22)).all()
    assert set(np.abs(columns["pdg"][others])) <= {11, 13, 211, 321, 2212, 22}


def test_multiplicity_counts_the_stable_charged_particles(columns):
    for event in (100, 130):
        rows = columns["event"] == event
        assert set(columns["multiplicity"][rows]) == {(columns["stable"] & (columns["charge"] != 0))[rows].sum()}


def test_chunks_do_not_matter(columns):
    part = generate(7, 121, seed=3).columns
    rows = (columns["event"] >= 121) & (columns["event"] < 128)
    for name in GENERATED:
        np.testing.assert_array_equal(part[name], columns[name][rows], err_msg=name)


def test_a_sample_is_made_in_pieces_of_whole_events(columns):
    parts = list(Production(60, 100, 3).parts(rows=1000))
    assert len(parts) > 2
    assert max(len(part["event"]) for part in parts) < len(columns["event"])
    for before, after in pairwise(parts):
        assert before["event"][-1] < after["event"][0]
    for name in GENERATED:
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), columns[name], err_msg=name)


def test_seeds_matter(columns):
    other = generate(3, 100, seed=4).columns
    assert not np.isin(other["px"], columns["px"]).any()


def test_beam_spot(columns):
    first = columns["particle"] == 0
    for axis, width in zip("xyz", BEAM_SPOT, strict=True):
        assert 0.7 * width < columns[f"pv_{axis}"][first].std() < 1.3 * width


@pytest.mark.parametrize(("events", "first"), [(0, 0), (-1, 0), (1, -1), (10, 899_999_995)])
def test_numbers_out_of_range(events, first):
    with pytest.raises(RequestError):
        generate(events, first, seed=1)


def test_other_processes_from_a_file_of_settings(tmp_path):
    path = tmp_path / "minimum-bias.cmnd"
    path.write_text(
        "! Comments begin like this.\nBeams:eCM = 8000.\n  SoftQCD:inelastic = on  ! and follow like this\n\n"
    )
    columns = generate(20, 0, seed=1, process=Process(read_settings(path))).columns
    assert not columns["signal"].any()
    assert columns["stable"].all()
    assert 10 < len(np.unique(columns["event"])) <= 20
    assert (columns["mother"] == -1).all()
    # Neither side of the beam is preferred, so nothing was turned.
    assert (generate(20, 0, seed=1, process=Process(("Beams:eCM = 8000.", "SoftQCD:inelastic = on"))).columns["px"]
            == columns["px"]).all()  # fmt: skip


def test_other_forced_decays_hold_for_one_particle_alone():
    decay = ("531:onMode = off", "531:onIfMatch = 333 22", "333:onMode = off", "333:onIfMatch = 321 -321")
    columns = generate(
        10, 0, seed=1, process=Process(("HardQCD:hardbbbar = on", "Beams:eCM = 13000."), 531, decay)
    ).columns
    chains = columns["pdg"][columns["signal"]].reshape(10, 5)
    assert (np.abs(chains) == [531, 333, 22, 321, 321]).all()
    assert columns["charge"][columns["signal"]].reshape(10, 5)[:, 2].tolist() == [0] * 10
    stable = columns["stable"] & (columns["charge"] != 0)
    assert (columns["multiplicity"] == np.bincount(columns["event"], weights=stable)[columns["event"]]).all()


@pytest.mark.parametrize(
    ("process", "words"),
    [
        (Process(("Beems:eCM = 1",)), "Beems:eCM = 1"),
        (Process(("HardQCD:hardbbbar = on",), 521, ("521:onMod = off",)), "521:onMod = off"),
    ],
)
def test_lines_that_pythia_does_not_know_are_named(process, words, capfd):
    with pytest.raises(RequestError, match=words):
        generate(1, 0, seed=1, process=process)
    assert capfd.readouterr() == ("", "")


def test_pythia_prints_nothing(capfd, columns):
    generate(1, 0, seed=1)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("signal", "line", "words"),
    [(0, "531:onMode = off", "of any particle"), (531, "onMode = off", "a line of particle data")],
)
def test_decays_that_pythia_would_pass_over_are_refused(signal, line, words):
    with pytest.raises(RequestError, match=words):
        Process(("HardQCD:hardbbbar = on",), signal, (line,))
