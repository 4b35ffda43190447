"""Samples on disk: round trips, the same bytes, and one line for each kind of bad file."""

import weakref

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from flashlink.errors import RequestError
from flashlink.flashsim import files
from flashlink.flashsim.gun import fire
from flashlink.flashsim.samples import GENERATED, RECONSTRUCTED


@pytest.fixture
def sample():
    return fire(100, 211, (2e3, 1e5), (2, 5), seed=1)


@pytest.fixture
def path(tmp_path, sample):
    files.write(tmp_path / "a.parquet", sample, GENERATED, {"seed": 1})
    return tmp_path / "a.parquet"


def test_round_trip(path, sample):
    back = files.read(path, GENERATED)
    assert list(back) == list(GENERATED)
    for name, dtype in GENERATED.items():
        assert back[name].dtype == dtype
        np.testing.assert_array_equal(back[name], sample[name])
    assert files.metadata(path) == {"seed": 1}


def test_same_content_same_bytes(path, sample, tmp_path):
    files.write(tmp_path / "b.parquet", sample, GENERATED, {"seed": 1})
    assert path.read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_large_row_group_is_read_in_pieces(tmp_path, sample):
    groups = {name: np.tile(column, 3000) for name, column in sample.items()}
    groups["event"] = groups["particle"] = np.arange(300_000)
    pq.write_table(pa.table(groups), tmp_path / "large.parquet", row_group_size=300_000)
    found = list(files.parts(tmp_path / "large.parquet", GENERATED))
    assert [len(piece["event"]) for piece in found] == [131_072, 131_072, 37_856]
    for name in ("event", "px", "stable"):
        np.testing.assert_array_equal(np.concatenate([piece[name] for piece in found]), groups[name])


def test_a_piece_is_gone_before_the_next_one_is_made(tmp_path, sample):
    made = []

    def piece(number):
        assert all(column() is None for column in made)
        columns = {name: column.copy() for name, column in sample.items()} | {"event": sample["event"] + number}
        made.append(weakref.ref(columns["px"]))
        return columns

    assert files.write_parts(tmp_path / "p.parquet", map(piece, range(3)), GENERATED, {}) == 300
    assert len(made) == 3


def test_empty_sample(tmp_path):
    empty = {name: np.zeros(0, dtype) for name, dtype in RECONSTRUCTED.items()}
    files.write(tmp_path / "e.parquet", empty, RECONSTRUCTED, {})
    assert all(len(values) == 0 for values in files.read(tmp_path / "e.parquet", RECONSTRUCTED).values())
    assert files.join([tmp_path / "e.parquet"], tmp_path / "e.root") == files.Joined(0, 0)


def test_join_to_parquet_keeps_order(path, tmp_path, sample):
    assert files.join([path, path], tmp_path / "j.parquet").rows == 200
    joined = pq.read_table(tmp_path / "j.parquet")
    np.testing.assert_array_equal(joined["px"].to_numpy(), np.tile(sample["px"], 2))
    assert files.metadata(tmp_path / "j.parquet") == {"joined": [{"seed": 1}, {"seed": 1}]}


def test_join_to_root(path, tmp_path, sample):
    assert files.join([path, path], tmp_path / "j.root").rows == 200
    with uproot.open(tmp_path / "j.root") as root:
        tree = root["particles"]
        assert tree.keys() == ["event", "run", *list(GENERATED)[1:]]
        assert set(tree["run"].array(library="np")) == {1}
        for name in ("event", "px", "charge", "stable"):
            np.testing.assert_array_equal(tree[name].array(library="np"), np.tile(sample[name], 2))
        assert '"seed": 1' in str(root["provenance"])


def _with(table, name, values):
    return table.set_column(table.schema.get_field_index(name), name, pa.array(values))


def _in_gev(table):
    for name in ("px", "py", "pz", "energy"):
        table = _with(table, name, table.column(name).to_numpy() / 1000)
    return table


def _broken(table, how):
    rows = table.num_rows
    changes = {
        "missing": lambda: table.drop_columns(["py"]),
        "type": lambda: _with(table, "py", ["x"] * rows),
        "nan": lambda: _with(table, "py", [0.0] * 60 + [float("nan")] * (rows - 60)),
        "infinite": lambda: _with(table, "py", [float("inf")] * rows),
        "null": lambda: _with(table, "py", [None] * rows),
        "too large": lambda: _with(table, "particle", [2**40] * rows),
        "enormous": lambda: _with(table, "px", [1e300] * rows),
        "in GeV": lambda: _in_gev(table),
        "negative": lambda: _with(table, "multiplicity", pa.array([-1] * rows, pa.int32())),
        "at rest": lambda: _with(_with(_with(table, "px", [0.0] * rows), "py", [0.0] * rows), "pz", [0.0] * rows),
        "twice": lambda: pa.concat_tables([table, table]),
    }
    return changes[how]()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", "column py"),
        ("type", "column py: 'string' is not of type float64"),
        ("nan", "column py, event 1: nan is not a finite number"),
        ("infinite", "column py, event 0: inf is not a finite number"),
        ("null", "column py"),
        ("too large", "column particle: does not fit into int32"),
        ("enormous", "column px, event 0: 1e+300 is not within 1e+08 of 0; units are MeV and mm"),
        ("in GeV", "column energy, event 0"),
        ("negative", "column multiplicity, event 0: -1 is not a number of particles, 0 or more"),
        ("at rest", "column pz, event 0: 0.0 is not a momentum, as px and py are 0 too; leave the particle out"),
        ("twice", "column particle, event 0: 0 is not there once in its event"),
    ],
)
def test_bad_columns_are_named(path, how, words):
    pq.write_table(_broken(pq.read_table(path), how), path)
    with pytest.raises(RequestError) as error:
        files.read(path, GENERATED)
    assert str(error.value).startswith(f"{path}: ")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"not Parquet at all", None])
def test_files_that_are_not_whole(path, content):
    path.write_bytes(path.read_bytes()[:-50] if content is None else content)
    with pytest.raises(RequestError, match="not a whole Parquet file"):
        files.read(path, GENERATED)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RequestError, match="cannot be read"):
        files.read(tmp_path / "none.parquet", GENERATED)


def test_nothing_is_written_of_a_bad_sample(tmp_path, sample):
    sample["px"][7] = np.nan
    with pytest.raises(RequestError, match=r"column px, event 0: nan"):
        files.write(tmp_path / "b.parquet", sample, GENERATED, {})
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_an_interrupted_write(tmp_path):
    def interrupted():
        with files.replacing(tmp_path / "x.json") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["file", "/proc/none"])
def test_an_output_that_cannot_be_written_is_named(tmp_path, sample, folder):
    (tmp_path / "file").write_text("no folder")
    path = tmp_path / folder / "a.parquet"
    with pytest.raises(RequestError) as error:
        files.write(path, sample, GENERATED, {})
    assert str(error.value).startswith(f"{path}: cannot be written: ")


def test_join_refuses_different_columns_and_other_suffixes(path, tmp_path):
    pq.write_table(pq.read_table(path).drop_columns(["py"]), tmp_path / "other.parquet")
    with pytest.raises(RequestError, match=r"other.parquet: columns"):
        files.join([path, tmp_path / "other.parquet"], tmp_path / "j.parquet")
    with pytest.raises(RequestError, match=r"\.parquet or \.root"):
        files.join([path], tmp_path / "j.csv")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.parquet", "other.parquet"]
