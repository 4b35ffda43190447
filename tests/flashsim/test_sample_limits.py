"""Values that no particle, track or cluster has are told with event and column."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flashlink.cli import main
from flashlink.errors import RequestError
from flashlink.flashsim.files import join, read
from flashlink.flashsim.limits import check
from flashlink.flashsim.parameterize import match
from flashlink.flashsim.samples import CLUSTER_COVARIANCE, GENERATED, PHOTONS, RECONSTRUCTED


@pytest.fixture(scope="module")
def samples(toy):
    generated = toy[0](20, first_event=40)
    return {"generated": generated, "tracks": toy[1](generated), "clusters": clusters()}


def clusters():
    columns = {name: np.ones(10, dtype=kind) for name, kind in PHOTONS.items()}
    columns |= {"event": np.full(10, 40), "cluster": np.arange(10)}
    return columns | {name: np.zeros(10) for name in CLUSTER_COVARIANCE if name.split("_")[1] != name.split("_")[2]}


BAD = [
    ("generated", "particle", -5, "-5 is not the number of a particle, 0 or more"),
    ("generated", "pdg", 2**31 - 1, "2147483647 is not within 1.1e+09 of 0"),
    ("tracks", "particle", -2, "-2 is not the number of a particle, or -1 for a ghost"),
    ("tracks", "track", -1, "-1 is not the number of a track, 0 or more"),
    ("tracks", "category", 7, "7 is not a category, one of 3, 4, 5"),
    ("tracks", "qop", 0, "0.0 is not charge over momentum, other than 0"),
    ("tracks", "qop", 2, "2.0 is not within 1 of 0"),
    ("tracks", "tx", 1e200, "1e+200 is not within 1000 of 0"),
    ("tracks", "p", -3, "-3.0 is not above 0"),
    ("tracks", "chi2", -3, "-3.0 is not 0 or more"),
    ("tracks", "ndf", -3, "-3 is not a number of particles, 0 or more"),
    ("tracks", "vertex_hits", -3, "-3 is not 0 or more"),
    ("tracks", "cov_y_y", 1e300, "1e+300 is not within 1e+24 of 0"),
    ("tracks", "cov_x_x", 0, "0.0 is not above 0"),
    ("tracks", "cov_qop_qop", -1e-9, "-1e-09 is not above 0"),
    ("tracks", "pv_cov_z_z", 0, "0.0 is not above 0"),
    ("clusters", "energy", 0, "0.0 is not above 0"),
    ("clusters", "cov_energy_energy", 0, "0.0 is not above 0"),
    ("clusters", "cluster", 2, "2 is not there once in its event"),
]


@pytest.mark.parametrize(("kind", "name", "value", "words"), BAD)
def test_values_beyond_any_limit_are_named(samples, kind, name, value, words):
    check("s", samples[kind])
    values = samples[kind][name].copy()
    values[7] = value
    with pytest.raises(RequestError) as error:
        check("s", samples[kind] | {name: values})
    assert str(error.value).startswith(f"s: column {name}, event 40: {words}")


def test_covariances_that_are_none_are_named_by_what_learns_of_them(trained):
    generated, reference, _ = trained
    for name, said in (
        ("cov_y_x", "columns cov_x_x to cov_qop_qop"),
        ("pv_cov_y_x", "columns pv_cov_x_x to pv_cov_z_z"),
    ):
        values = reference[name].copy()
        values[9] = 1.0
        with pytest.raises(RequestError, match=rf"reference sample: {said}, event 0: -\S+ is not the least eigenvalue"):
            match(generated, reference | {name: values})


@pytest.mark.parametrize("output", ["o.parquet", "o.root"])
def test_what_is_joined_is_looked_at(tmp_path, samples, output):
    columns = {name: samples["tracks"][name].astype(kind) for name, kind in RECONSTRUCTED.items()}
    columns["y"][7] = np.nan
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(RequestError, match=r"t.parquet: column y, event 40: nan is not a finite number"):
        join([tmp_path / "t.parquet"], tmp_path / output)
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


@pytest.mark.parametrize("text", [b"{not json", b"[1, 2]", b'{"joined": 3}', b'{"generated": "yes"}'])
def test_metadata_that_no_step_wrote_is_told(tmp_path, monkeypatch, capsys, samples, text):
    monkeypatch.chdir(tmp_path)
    table = pa.table({name: samples["generated"][name].astype(kind) for name, kind in GENERATED.items()})
    pq.write_table(table.replace_schema_metadata({b"flashlink": text}), "g.parquet")
    for command in ("simulate g.parquet --seed 1 --output o.parquet", "convert g.parquet --output o.root"):
        assert main(command.split()) == 1
        error = capsys.readouterr().err
        assert error.startswith("flashlink: g.parquet: metadata flashlink: ")
        assert error.count("\n") == 1
    with pytest.raises(RequestError, match="make the sample again, or leave its metadata out"):
        read(tmp_path / "g.parquet", GENERATED)


@pytest.mark.parametrize("output", ["o.parquet", "o.root"])
def test_columns_that_are_no_numbers_are_not_joined(tmp_path, samples, output):
    columns = {name: samples["generated"][name].astype(kind) for name, kind in GENERATED.items()}
    pq.write_table(pa.table(columns | {"x": [str(x) for x in columns["x"]]}), tmp_path / "g.parquet")
    with pytest.raises(RequestError, match=r"g.parquet: column x: 'string' is not a column of numbers"):
        join([tmp_path / "g.parquet"], tmp_path / output)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("event", 1.5, "generated.event, row 7 of those selected: 1.5 is not a whole number that fits into int64"),
        ("event", np.uint64(2**63), "generated.event, row 7 of those selected: 9223372036854775808 is not a whole"),
        ("particle", 2**40, "generated.particle, row 7 of those selected: 1099511627776 is not a whole number that"),
        ("stable", 3, "generated.stable, row 7 of those selected: 3 is not true or false, or 1 or 0"),
    ],
)
def test_mapped_numbers_that_do_not_fit_are_told(tmp_path, monkeypatch, capsys, samples, name, value, words):
    monkeypatch.chdir(tmp_path)
    columns = {column: samples["generated"][column].astype(kind) for column, kind in GENERATED.items()}
    columns[name] = columns[name].astype(type(value) if name != "particle" else np.int64)
    columns[name][7] = value
    pq.write_table(pa.table(columns), "g.parquet")
    (tmp_path / "mapping.toml").write_text("")
    assert main(["convert", "g.parquet", "--mapping", "mapping.toml", "--output", "o.parquet"]) == 1
    assert words in capsys.readouterr().err
    pq.write_table(pa.table(columns).slice(0, 0), "g.parquet")
    assert main(["convert", "g.parquet", "--mapping", "mapping.toml", "--output", "o.parquet"]) == 1
    assert "at least one that the selection leaves" in capsys.readouterr().err
    assert not (tmp_path / "o.parquet").exists()


def test_settings_that_are_no_text_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mapping.toml").write_bytes(b"PAR1\xe0\x00")
    assert main(["convert", "g.parquet", "--mapping", "mapping.toml", "--output", "o.parquet"]) == 1
    assert capsys.readouterr().err == "flashlink: mapping.toml: 'byte 4' is not text; give the mapping, TOML\n"
