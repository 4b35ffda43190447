"""Training samples of anybody's."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from flashlink.cli import main
from flashlink.errors import RequestError
from flashlink.flashsim import files, mapping
from flashlink.flashsim.mapping import LEARNED, UNITS, read_samples
from flashlink.flashsim.oversampling import WEIGHT
from flashlink.flashsim.samples import GENERATED, RECONSTRUCTED

MAPPING = """
[generated]
tree = "truth"
selection = ["nTracks < 40"]
weight = "sWeight"
defaults = {mother = -1, stable = true, signal = false}

[generated.columns]
event = "eventNumber"
multiplicity = "nTracks"
px = {column = "TRUEP_X", unit = "GeV"}
z = {column = "TRUEORIGIN_Z", unit = "cm"}

[reference]
selection = ["is_muon == 0", "chi2 <= 30.5"]
"""


@pytest.fixture
def samples(toy, tmp_path):
    """The toy's samples as somebody else's: particles in ROOT with other names and units, tracks in Parquet."""
    generated = toy[0](30)
    reference = toy[1](generated)
    left_out = ("mother", "stable", "signal", "event", "multiplicity", "px", "z")
    foreign = {name: column for name, column in generated.items() if name not in left_out}
    foreign |= {
        "eventNumber": generated["event"],
        "nTracks": generated["multiplicity"],
        "TRUEP_X": generated["px"] / 1000,
        "TRUEORIGIN_Z": generated["z"] / 10,
        "sWeight": np.where(generated["particle"] % 5, 1.2, -0.3),
    }
    backwards = np.arange(len(generated["event"]))[::-1]
    for name, order in (("truth", backwards), ("ordered", backwards[::-1])):
        with uproot.recreate(tmp_path / f"{name}.root") as file:
            file["truth"] = {name: column[order] for name, column in foreign.items()}
    pq.write_table(pa.table({name: reference[name] for name in LEARNED}), tmp_path / "tracks.parquet")
    (tmp_path / "mapping.toml").write_text(MAPPING)
    return tmp_path, generated, reference


def read(folder):
    return read_samples([folder / "truth.root"], [folder / "tracks.parquet"], folder / "mapping.toml")


def test_names_units_selections_and_weights_are_mapped(samples):
    folder, generated, reference = samples
    found, tracks = read(folder)
    chosen = generated["multiplicity"] < 40
    assert 0 < chosen.sum() < len(chosen)
    for name in GENERATED:
        assert found[name] == pytest.approx(generated[name][chosen]), name
    assert (found["weight"] < 0).any()
    assert found["weight"] == pytest.approx(np.where(found["particle"] % 5, 1.2, -0.3))
    kept = ~reference["is_muon"] & (reference["chi2"] <= 30.5)
    assert tracks["chi2"] == pytest.approx(reference["chi2"][kept])
    assert "weight" not in tracks


def test_samples_from_elsewhere_become_ours_piece_by_piece(samples, monkeypatch, capsys):
    folder, generated, reference = samples
    monkeypatch.chdir(folder)
    # Pieces that end within events.
    monkeypatch.setattr(mapping, "_ROWS", 97)
    convert = ["convert", "--mapping", "mapping.toml"]
    assert main([*convert, "ordered.root", "--output", "g.parquet"]) == 0
    found, chosen = files.read(folder / "g.parquet", GENERATED | WEIGHT), generated["multiplicity"] < 40
    for name in GENERATED:
        assert found[name] == pytest.approx(generated[name][chosen]), name
    assert (found["weight"] < 0).any()
    assert files.metadata(folder / "g.parquet")["mapping"] == MAPPING
    assert main([*convert, "tracks.parquet", "--kind", "reference", "--output", "r.parquet"]) == 0
    tracks = files.read(folder / "r.parquet", RECONSTRUCTED)
    kept = ~reference["is_muon"] & (reference["chi2"] <= 30.5)
    for name in ("event", "p", "charge", "dll_k", "prob_mu", "cov_y_y"):
        assert tracks[name] == pytest.approx(reference[name][kept]), name
    assert main(["simulate", "g.parquet", "--seed", "1", "--output", "f.parquet"]) == 0
    capsys.readouterr()
    assert main([*convert, "truth.root", "--output", "x.parquet"]) == 1
    assert "not in increasing order" in capsys.readouterr().err
    assert main([*convert, "ordered.root", "--output", "x.root"]) == 1
    assert ".parquet" in capsys.readouterr().err
    assert main(["simulate", "ordered.root", "--seed", "1", "--output", "x.parquet"]) == 1
    assert "convert --mapping" in capsys.readouterr().err
    assert not [path for path in folder.iterdir() if path.name.startswith("x") or path.name.startswith(".")]


def test_units_of_fractions_and_squares_are_those_of_their_parts():
    def single(text):
        return UNITS[text.removesuffix("2")] ** (2 if text.endswith("2") else 1)

    for unit, factor in UNITS.items():
        above, _, below = unit.partition("/")
        assert factor == pytest.approx(single(above) / (single(below) if below else 1)), unit
    for small, large, ratio in (
        ("keV", "MeV", 1e3),
        ("MeV", "GeV", 1e3),
        ("um", "mm", 1e3),
        ("mm", "cm", 10),
        ("mm", "m", 1e3),
    ):
        assert UNITS[large] / UNITS[small] == pytest.approx(ratio)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[generated]", "[generatd]", "generatd"),
        ('unit = "GeV"', 'unit = "gev"', "one of 1, eV"),
        ('unit = "GeV"', 'unit = "MeV"', "mapping.toml: generated: column energy, event 0: "),
        ("nTracks < 40", "nTracks of 40", "column, comparison and number"),
        ("nTracks < 40", "nTracks < many", "column, comparison and number"),
        ("nTracks < 40", "nTracks < 0", "at least one that the selection leaves"),
        ('"TRUEP_X"', '"TRUE_PX"', "TRUE_PX"),
        ('tree = "truth"', 'tree = "DecayTree"', "one of truth"),
        ('event = "eventNumber"', 'evnt = "eventNumber"', "evnt"),
        ("[generated]", "[generated", "mapping.toml"),
    ],
)  # fmt: skip
def test_a_wrong_mapping_is_told_in_one_line(samples, old, new, message):
    folder = samples[0]
    (folder / "mapping.toml").write_text(MAPPING.replace(old, new))
    with pytest.raises(RequestError) as error:
        read(folder)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_values_that_are_no_numbers_are_told_with_their_column_and_row(samples):
    folder, _, reference = samples
    columns = {name: reference[name] for name in LEARNED}
    for value, message in ((np.nan, "nan"), (np.inf, "inf")):
        chi2 = reference["chi2"].copy()
        chi2[~reference["is_muon"]] = value if value != np.inf else chi2[~reference["is_muon"]]
        qop = np.where(reference["is_muon"], 0, value)
        pq.write_table(pa.table(columns | {"qop": qop}), folder / "tracks.parquet")
        with pytest.raises(RequestError, match=f"reference.qop, row 0 .*{message}"):
            read(folder)
    pq.write_table(pa.table(columns | {"qop": ["a"] * len(qop)}), folder / "tracks.parquet")
    with pytest.raises(RequestError, match="a column of numbers"):
        read(folder)
    (folder / "tracks.parquet").write_bytes(b"PAR1")
    with pytest.raises(RequestError, match="a whole file"):
        read(folder)
