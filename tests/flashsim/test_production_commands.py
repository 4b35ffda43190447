"""``flashlink generate``, ``reference`` and ``convert`` as they are called."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from flashlink.cli import main
from flashlink.flashsim.files import metadata, read, write
from flashlink.flashsim.lhcb import GENERATED_NAMES, NAMES, OF_EVENT, names_of
from flashlink.flashsim.samples import GENERATED, PHOTONS, RECONSTRUCTED
from flashlink.flashsim.tables import write as write_tables


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
    assert noted["particles"] == (particles["stable"] & (particles["charge"] != 0)).sum()
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
        (
            ["generate", "--events", "1", "--seed", "1", "--gun", "13", "--signal", "521", "--output", "o.parquet"],
            "--signal: is of collisions",
        ),
        (
            ["generate", "--events", "1", "--seed", "1", "--gun-particles", "3", "--output", "o.parquet"],
            "--gun-particles: says what a gun fires",
        ),
        (["generate", "--events", "1", "--seed", "1", "--output", "o.root"], "'.root' is not the name of a Parquet"),
        (["generate", "--events", "1", "--seed", "1", "--output", "."], "'.' is not the name of a file"),
        (
            ["generate", "--gun", "13", "--events", "1", "--seed", "1", "--first-event", "-5", "--output", "o.parquet"],
            "first event: -5 is not from 0 on, with 1 events to",
        ),
        (
            f"generate --gun 13 --events {10**30} --seed 1 --output o.parquet".split(),
            "first event: 0 is not from 0 on, with 1000000000000000000000000000000 events to",
        ),
        (
            f"generate --gun 13 --events 1 --seed 1 --gun-particles {2**40} --output o.parquet".split(),
            "particles in an event: 1099511627776 is not at most 1e+06",
        ),
        (["convert", "text", "--names", "lhcb", "--output", "o.parquet"], ".root"),
        (
            ["reference", "none.parquet", "--seed", "1", "--output", "o.parquet"],
            "none.parquet: cannot be read: No such file",
        ),
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


def _broken(sample, path, how, schema):
    """A sample written without any check, as another program could have."""
    columns = {name: sample[name].astype(dtype) for name, dtype in schema.items()}
    column = "px" if "px" in columns else "tx"
    if how == "nan":
        columns[column][7] = np.nan
    if how == "enormous":
        columns["pv_z"][7] = 1e200
    if how == "empty":
        columns = {name: values[:0] for name, values in columns.items()}
    pq.write_table(pa.table(columns), path)
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("nan", r"bad.parquet: column [pt]x, event 0: nan is not a finite number"),
        ("enormous", r"bad.parquet: column pv_z, event 0: 1e\+200 is not within"),
        ("truncated", r"bad.parquet: not a whole Parquet file"),
        ("empty", r"bad.parquet: no rows; a sample needs at least one"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        "reference BAD --seed 1 --output o.parquet",
        "simulate BAD --parameterizations tables.json --seed 1 --output o.parquet",
        "parameterize --generated BAD --reference r.parquet --output o.json",
        "parameterize --generated g.parquet --reference BAD --output o.json",
        "validate --generated BAD --flash r.parquet --reference r.parquet --output o.html",
        "validate --generated g.parquet --flash BAD --reference r.parquet --output o.html",
        "analyse BAD --generated g.parquet --output o.parquet",
    ],
)
def test_every_command_names_what_is_wrong_with_its_input(tmp_path, monkeypatch, capsys, trained, command, how, words):
    monkeypatch.chdir(tmp_path)
    generated, reference, tables = trained
    few = [{name: values[:2000] for name, values in sample.items()} for sample in (generated, reference)]
    write(tmp_path / "g.parquet", few[0], GENERATED, {})
    write(tmp_path / "r.parquet", few[1], RECONSTRUCTED, {})
    write_tables(tmp_path / "tables.json", tables)
    is_track = "reference BAD --output" in command or "flash BAD" in command or command.startswith("analyse")
    sample, schema = (few[1], RECONSTRUCTED) if is_track else (few[0], GENERATED)
    _broken(sample, tmp_path / "bad.parquet", how, schema)
    before = sorted(item.name for item in tmp_path.iterdir())
    assert main(command.replace("BAD", "bad.parquet").split()) != 0
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(words, error)
    assert sorted(item.name for item in tmp_path.iterdir()) == before


def test_names_of_lhcb_in_root(tmp_path, generated):
    tracks, root = tmp_path / "r.parquet", tmp_path / "r.root"
    assert main(["reference", str(generated), "--seed", "2", "--output", str(tracks)]) == 0
    assert main(["convert", str(tracks), "--names", "lhcb", "--output", str(root)]) == 0
    with uproot.open(root) as file:
        branches = file["tracks"].arrays(["eventNumber", "runNumber", "PIDK", "cov_x_x"], library="np")
    found = read(tracks, RECONSTRUCTED)
    assert (branches["PIDK"] == found["dll_k"]).all()
    assert (branches["eventNumber"] == found["event"]).all()
    assert set(branches["runNumber"]) == {metadata(generated)["seed"]}
    for names, schema in ((NAMES, RECONSTRUCTED), (GENERATED_NAMES, GENERATED), (OF_EVENT, PHOTONS)):
        assert names_of(schema) is names
        assert set(names) - {"run"} <= set(schema)
        assert len(set(names.values())) == len(names)


def test_directions_and_hypotheses_keep_their_meaning_under_names_of_lhcb():
    for name in ("x", "y", "z", "tx", "ty"):
        assert NAMES[name] == f"TRACK_FirstState_{name.upper()}"
    for name in ("px", "py", "pz"):
        assert GENERATED_NAMES[name] == f"TRUEP_{name[1].upper()}"
    for name in ("x", "y", "z"):
        assert GENERATED_NAMES[name] == f"TRUEORIGINVERTEX_{name.upper()}"
    for hypothesis in ("e", "mu", "k", "p"):
        called = hypothesis.upper() if hypothesis == "k" else hypothesis
        assert NAMES[f"dll_{hypothesis}"] == f"PID{called}"
        assert NAMES[f"rich_dll_{hypothesis}"] == f"RichDLL{hypothesis}"
        assert NAMES[f"prob_{hypothesis}"] == f"ProbNN{hypothesis}"


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


def test_a_simulation_starts_without_what_only_training_and_reports_need():
    heavy = "scipy", "matplotlib", "sklearn", "uproot", "awkward", "pythia8mc"
    code = f"import sys, flashlink.flashsim.simulate; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_reading_and_writing_do_not_load_pandas(tmp_path, generated):
    assert find_spec("pandas"), "without it this test cannot fail"
    code = "import sys; from flashlink.cli import main; main(sys.argv[1:]); sys.exit('pandas' in sys.modules)"
    command = ["simulate", str(generated), "--seed", "1", "--output", str(tmp_path / "f.parquet")]
    assert subprocess.run([sys.executable, "-c", code, *command], check=False).returncode == 0


def test_a_simulation_takes_little_memory(tmp_path):
    events = ["generate", "--gun", "211", "--events", "1000", "--seed", "2", "--output", str(tmp_path / "g.parquet")]
    assert main(events) == 0
    words = ["simulate", str(tmp_path / "g.parquet"), "--seed", "1", "--output", str(tmp_path / "f.parquet")]
    code = """
import re, sys
from flashlink.cli import main
assert main(sys.argv[1:]) == 0
print(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
"""
    found = subprocess.run([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True, check=True)
    assert int(found.stdout) / 1024 < 300, "MiB, for 50,000 pions at once"


def test_networks_work_in_the_same_memory():
    code = """
import re, numpy as np
from flashlink.flashsim.learned import models
def resident():
    return int(re.search(r"VmRSS:\\s*(\\d+)", open("/proc/self/status").read())[1]) / 1024
chains = models.read(models.shipped()).chains.values()
before = [chain._session for chain in chains], resident()
for chain in chains:
    chain.sample(np.zeros((4096, len(chain.inputs))), np.full((len(chain.variables), 4096), 0.5))
print(resident() - before[1])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(found.stdout) < 60, "MiB; each with memory of its own takes 80"


def test_help_does_not_load_the_simulation():
    code = "import sys; from flashlink.cli import main; main(['generate', '--help']); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_a_sample_notes_its_command_without_the_names_of_files(generated):
    assert metadata(generated)["command"] == "flashlink generate --events 5 --first-event 20 --seed 1"
