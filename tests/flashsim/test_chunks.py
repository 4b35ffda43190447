import hashlib
import weakref
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from flashlink.cli import flashlink
from flashlink.errors import RequestError
from flashlink.flashsim.analyse import CANDIDATES
from flashlink.flashsim.chunks import batches, digests, event_numbers, read_chunks
from flashlink.flashsim.files import Joined, join, read, write
from flashlink.flashsim.oversampling import copies
from flashlink.flashsim.samples import GENERATED, RECONSTRUCTED
from flashlink.flashsim.simulate import SIMULATED


@pytest.fixture
def chunks(tmp_path, toy):
    """Two chunks of generated particles and one of tracks."""
    for number in (0, 1):
        write(tmp_path / f"g{number}.parquet", toy[0](150, first_event=150 * number, seed=number), GENERATED, {})
    write(tmp_path / "r0.parquet", toy[1](read(tmp_path / "g0.parquet", GENERATED)), RECONSTRUCTED, {})
    return tmp_path


def test_order_of_chunks_does_not_matter(chunks):
    one = read_chunks([chunks / "g0.parquet", chunks / "g1.parquet"], GENERATED)
    other = read_chunks([chunks / "g1.parquet", chunks / "g0.parquet"], GENERATED)
    assert all((one[name] == other[name]).all() for name in GENERATED)
    assert (one["event"][[0, -1]] == [0, 299]).all()


def test_pieces_of_a_file_are_cut_between_events_only(chunks):
    whole = read(chunks / "g0.parquet", GENERATED)
    table = pa.table(whole)
    pq.write_table(table, chunks / "cut.parquet", row_group_size=37)
    found = list(batches([chunks / "cut.parquet"], GENERATED))
    assert len(found) > 50
    for before, after in pairwise(found):
        assert before["event"][-1] < after["event"][0]
    assert all((np.concatenate([part[name] for part in found]) == whole[name]).all() for name in GENERATED)


def test_a_piece_is_gone_before_the_next_one_is_read(monkeypatch):
    held = []

    def piece(first):
        assert all(column() is None for column in held)
        columns = {"event": np.repeat([first, first + 1], 50), "px": np.arange(100.0)}
        held.append(weakref.ref(columns["px"]))
        return columns

    monkeypatch.setattr("flashlink.flashsim.chunks.parts", lambda *_: map(piece, range(0, 6, 2)))
    for columns in copies(["a.parquet"], 2):
        assert len(columns["event"]) in (50, 100)
        whole = columns["px"].base
        held += [] if whole is None else [weakref.ref(whole)]
        del columns, whole
    assert len(held) > 6


def test_some_events_alone(chunks):
    paths = [chunks / "g1.parquet", chunks / "g0.parquet"]
    wanted = np.array([3, 160, 161])
    some, whole = read_chunks(paths, GENERATED, wanted), read_chunks(paths, GENERATED)
    assert (np.unique(some["event"]) == wanted).all()
    assert len(some["event"]) == np.isin(whole["event"], wanted).sum()
    assert (event_numbers(paths) == np.arange(300)).all()


def test_joining_counts_rows_and_events(chunks):
    paths = [chunks / "g0.parquet", chunks / "g1.parquet"]
    pq.write_table(pq.read_table(paths[0]), paths[0], row_group_size=37)
    rows = len(read_chunks(paths, GENERATED)["event"])
    assert join(paths, chunks / "joined.parquet") == Joined(rows, 300)


def test_a_chunk_given_twice_is_refused(chunks):
    with pytest.raises(RequestError, match="give each chunk once"):
        read_chunks([chunks / "g0.parquet", chunks / "g0.parquet"], GENERATED)


def test_files_that_share_one_event_are_refused(chunks, toy):
    for name, first in (("a", 0), ("b", 4)):
        write(chunks / f"{name}.parquet", toy[0](5, first_event=first), GENERATED, {})
    with pytest.raises(RequestError, match=r"b.parquet: event 4 comes again, or overlaps with .*a.parquet \(to 4\)"):
        read_chunks([chunks / "b.parquet", chunks / "a.parquet"], GENERATED)


def test_digests_are_those_of_each_file_in_the_order_given(chunks):
    paths = [chunks / "g1.parquet", chunks / "g0.parquet"]
    assert digests(paths) == tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)


def test_events_out_of_order_are_refused(chunks, toy):
    columns = {name: column[::-1] for name, column in toy[0](5).items()}
    write(chunks / "back.parquet", columns, GENERATED, {})
    with pytest.raises(RequestError, match=r"back.parquet: row \d+: events are not in increasing order"):
        read_chunks([chunks / "back.parquet"], GENERATED)


def test_the_steps_follow_each_other_on_the_command_line(chunks):
    def flash(*words):
        result = CliRunner().invoke(flashlink, [str(word) for word in words])
        assert result.exception is None, result.exception

    tables, record = chunks / "tables.json", chunks / "record.json"
    flash("parameterize", "--generated", chunks / "g0.parquet", "--generated", chunks / "g1.parquet",
          "--reference", chunks / "r0.parquet", "--output", tables, "--record", record)  # fmt: skip
    for number in (0, 1):
        flash(
            "simulate",
            chunks / f"g{number}.parquet",
            "--parameterizations",
            tables,
            "--seed",
            3,
            "--output",
            chunks / f"f{number}.parquet",
        )
    again = chunks / "again.parquet"
    flash("simulate", chunks / "g1.parquet", "--parameterizations", tables, "--seed", 3, "--output", again)
    assert again.read_bytes() == (chunks / "f1.parquet").read_bytes()
    flash("analyse", chunks / "f0.parquet", chunks / "f1.parquet", "--generated", chunks / "g0.parquet", "--generated",
          chunks / "g1.parquet", "--output", chunks / "candidates.parquet")  # fmt: skip
    assert set(read(chunks / "f0.parquet", SIMULATED)["event"]) <= set(range(150))
    assert record.exists()
    true = read(chunks / "candidates.parquet", CANDIDATES)["true"]
    assert set(true.tolist()) <= {0, 1}, "the generated sample was given"


def test_bad_input_leaves_no_output(chunks):
    (chunks / "broken.json").write_text("{")
    for words in (
        ["simulate", "g0.parquet", "--parameterizations", "broken.json", "--seed", "1"],
        ["simulate", "r0.parquet", "--parameterizations", "broken.json", "--seed", "1"],
        ["parameterize", "--generated", "r0.parquet", "--reference", "r0.parquet"],
        ["parameterize", "--generated", "g1.parquet", "--reference", "r0.parquet"],
        ["analyse", "g0.parquet"],
        ["analyse", "broken.json"],
    ):
        words = [str(chunks / word) if "." in word else word for word in words]
        result = CliRunner().invoke(flashlink, [*words, "--output", str(chunks / "output")])
        assert isinstance(result.exception, RequestError), words
        assert "\n" not in str(result.exception)
        assert not (chunks / "output").exists()
