"""``flashlink generate``, ``reference`` and ``convert`` as they are called."""

import json
import subprocess
import sys

import numpy as np
import pytest
import uproot

from flashlink.cli import main
from flashlink.flashsim.files import metadata, read
from flashlink.flashsim.lhcb import NAMES
from flashlink.flashsim.samples import GENERATED, RECONSTRUCTED


@pytest.fixture
def generated(tmp_path):
    path = tmp_path / "g.parquet"
    assert main(["generate", "--events", "5", "--first-event", "20", "--seed", "1", "--output", str(path)]) == 0
    return path


def test_from_collisions_to_root(tmp_path, generated):
    tracks, root, record = (tmp_path / name for name in ("r.parquet", "r.root", "r.json"))
    assert main(["reference", str(generated), "--seed", "1", "--output", str(tracks), "--record", str(record)]) == 0
    assert main(["convert", str(tracks), str(tracks), "--output", str(root)]) == 0
    particles, found = read(generated, GENERATED), read(tracks, RECONSTRUCTED)
    noted = json.loads(record.read_text())
    assert (noted["step"], noted["events"], noted["tracks"]) == ("reference", 5, len(found["event"]))
    assert noted["particles"] == particles["stable"].sum()
    assert metadata(tracks)["generated"]["first_event"] == 20
    with uproot.open(root) as file:
        assert file["tracks"].num_entries == 2 * len(found["event"])


def test_the_same_command_gives_the_same_bytes(tmp_path, generated):
    outputs = [tmp_path / name for name in ("a.parquet", "b.parquet")]
    for output in outputs:
        assert main(["reference", str(generated), "--seed", "1", "--output", str(output)]) == 0
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", "--events", "0", "--seed", "1", "--output", "o.parquet"], "events: 0 is not a positive number"),
        (["generate", "--events", "many", "--seed", "1", "--output", "o.parquet"], "--events"),
        (
            ["generate", "--events", "1", "--seed", "1", "--gun", "13", "--gun-p", "9", "3", "--output", "o.parquet"],
            "gun",
        ),
        (["convert", "text", "--names", "lhcb", "--output", "o.parquet"], ".root"),
        (["reference", "none.parquet", "--seed", "1", "--output", "o.parquet"], "none.parquet: cannot be read"),
        (["reference", "text", "--seed", "1", "--output", "o.parquet"], "text: not a whole Parquet file"),
        (["convert", "text", "--output", "o.csv"], ".parquet or .root"),
        (["convert", "text", "--output", "o.root"], "text: not a whole Parquet file"),
    ],
)
def test_what_is_wrong_is_one_line_and_no_output(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("text")
    assert main(arguments) != 0
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error
    assert [item.name for item in tmp_path.iterdir()] == ["text"]


def test_names_of_lhcb_in_root(tmp_path, generated):
    tracks, root = tmp_path / "r.parquet", tmp_path / "r.root"
    assert main(["reference", str(generated), "--seed", "1", "--output", str(tracks)]) == 0
    assert main(["convert", str(tracks), "--names", "lhcb", "--output", str(root)]) == 0
    with uproot.open(root) as file:
        branches = file["tracks"].arrays(["eventNumber", "PIDK", "cov_x_x"], library="np")
    found = read(tracks, RECONSTRUCTED)
    assert (branches["PIDK"] == found["dll_k"]).all()
    assert (branches["eventNumber"] == found["event"]).all()
    assert set(NAMES) <= set(RECONSTRUCTED)
    assert len(set(NAMES.values())) == len(NAMES)


def test_a_gun(tmp_path):
    path = tmp_path / "g.parquet"
    command = [
        "generate",
        "--events",
        "4",
        "--seed",
        "1",
        "--gun",
        "321",
        "--gun-p",
        "5e3",
        "6e3",
        "--output",
        str(path),
    ]
    assert main([*command, "--gun-particles", "10", "--first-event", "30"]) == 0
    columns = read(path, GENERATED)
    assert (np.abs(columns["pdg"]) == 321).all()
    assert np.unique(columns["event"]).tolist() == [30, 31, 32, 33]
    p = np.sqrt(columns["px"] ** 2 + columns["py"] ** 2 + columns["pz"] ** 2)
    assert (p >= 5e3).all()
    assert (p <= 6e3).all()
    assert metadata(path)["gun"]["pdg"] == 321


def test_help_does_not_load_the_simulation():
    code = "import sys; from flashlink.cli import main; main(['generate', '--help']); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
