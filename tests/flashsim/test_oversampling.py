"""Generated events that are used several times: what copies share, what they do not, and their weights."""

import re

import numpy as np
import pytest

from flashlink.cli import main
from flashlink.errors import RequestError
from flashlink.flashsim.analyse import CANDIDATES, is_true
from flashlink.flashsim.files import metadata, read, write
from flashlink.flashsim.oversampling import APART, copy_of, original
from flashlink.flashsim.samples import GENERATED
from flashlink.flashsim.simulate import SIMULATED
from flashlink.flashsim.tables import write as write_tables


@pytest.fixture
def here(tmp_path, monkeypatch, trained, held_out):
    monkeypatch.chdir(tmp_path)
    few = held_out[0]["event"] < 10_200
    write(tmp_path / "g.parquet", {name: column[few] for name, column in held_out[0].items()}, GENERATED, {})
    write_tables(tmp_path / "t.json", trained[2])
    return tmp_path


def simulated(here, name, *options):
    command = ["simulate", "g.parquet", "--parameterizations", "t.json", "--seed", "3", "--output", name, *options]
    assert main(command) == 0
    schema = SIMULATED | ({"weight": "float64"} if options else {})
    return read(here / name, schema)


def test_copies_are_drawn_anew_and_weigh_together_as_one(here):
    once, often = simulated(here, "once.parquet"), simulated(here, "often.parquet", "--times", "4")
    assert (often["weight"] == 0.25).all()
    assert often["weight"].sum() == pytest.approx(len(once["event"]), rel=0.02)
    assert metadata(here / "often.parquet")["times"] == 4
    assert (np.diff(often["event"]) >= 0).all()
    assert set(original(often["event"])) == set(once["event"])
    copies = [{name: often[name][often["event"] // APART == number] for name in SIMULATED} for number in range(4)]
    assert all((copies[0][name] == once[name]).all() for name in SIMULATED), "the first copy is the event itself"
    sizes = {len(copy["event"]) for copy in copies}
    assert len(sizes) > 1
    assert not np.isin(copies[1]["x"], copies[2]["x"]).any()


def test_more_copies_do_not_change_those_before(here):
    two, three = (simulated(here, f"{times}.parquet", "--times", times) for times in ("2", "3"))
    kept = three["event"] < 2 * APART
    assert all((three[name][kept] == two[name]).all() for name in SIMULATED)


def test_candidates_of_copies_are_true_as_those_of_the_event():
    generated = {"event": [7] * 4, "particle": [0, 1, 2, 3], "mother": [-1, 0, 1, 1], "pdg": [521, 443, -13, 13]}
    generated = {name: np.array(values) for name, values in generated.items()}
    candidates = {"event": [7, 7 + APART, 7 + APART, 8], "mu_plus_particle": [2, 2, 3, 2], "mu_minus_particle": [3] * 4}
    candidates |= {"kaon_particle": [-1] * 4, "pdg": [443] * 4}
    found = is_true({name: np.array(values) for name, values in candidates.items()}, generated)
    assert found.tolist() == [1, 1, 0, 0]


def test_what_cannot_be_copied_is_told(here, capsys):
    with pytest.raises(RequestError, match="event number: 1099511627776 is not below 1099511627776"):
        copy_of({"event": np.array([APART])}, 1)
    assert (
        main(["simulate", "g.parquet", "--parameterizations", "t.json", "--seed", "3", "--output", "x", "--times", "0"])
        == 2
    )
    assert "--times" in capsys.readouterr().err


def test_candidates_of_copies_know_the_truth_of_their_event(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for command in (
        "generate --events 40 --seed 5 --output g.parquet",
        "simulate g.parquet --seed 6 --times 3 --output f.parquet",
        "analyse f.parquet --generated g.parquet --output c.parquet",
    ):
        assert main(command.split()) == 0
    candidates = read(tmp_path / "c.parquet", CANDIDATES)
    assert set(original(candidates["event"])) - set(candidates["event"]), "copies have what the event itself has not"
    assert (candidates["true"] == is_true(candidates, read(tmp_path / "g.parquet", GENERATED))).all()
    whole = read(tmp_path / "g.parquet", GENERATED)
    write(tmp_path / "g.parquet", whole | {"event": whole["event"] + 1000}, GENERATED, {"kind": "generated"})
    assert main(["analyse", "f.parquet", "--generated", "g.parquet", "--output", "o.parquet"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(r"flashlink: event \d+, which has candidates, is in none of g.parquet; give the .*", error)
    assert not (tmp_path / "o.parquet").exists()
