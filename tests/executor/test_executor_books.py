"""What the executor keeps on disk: records and the ledger; and its settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from snakemake_interface_common.exceptions import WorkflowError

from snakemake_executor_plugin_interlink.ledger import Entry, Ledger, Plan, read
from snakemake_executor_plugin_interlink.records import PodRecord, Records, job_key
from snakemake_executor_plugin_interlink.settings import parse_mounts, parse_sites

RECORD = PodRecord("k1", "local", "unix:/x", "abc", {"metadata": {"uid": "u1", "name": "p1"}})


def test_a_record_is_found_until_it_is_removed(tmp_path: Path) -> None:
    records = Records(tmp_path / "pods")
    assert records.find("k1") is None
    records.write(RECORD)
    assert Records(tmp_path / "pods").find("k1") == RECORD
    assert (RECORD.uid, RECORD.name) == ("u1", "p1")
    records.remove("k1")
    records.remove("k1")
    assert list(records) == []


def test_a_record_can_be_set_aside(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.write(RECORD)
    records.rename(RECORD, "u1")
    assert records.find("k1") is None
    (aside,) = records
    records.rename(aside, "u1")
    assert [record.key for record in records] == ["u1"]


def test_a_torn_record_counts_for_nothing(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.write(RECORD)
    (tmp_path / "k2.json").write_text('{"key": "k2", "si')
    (tmp_path / "k3.new").write_text("")
    assert list(records) == [RECORD]
    assert records.find("k2") is None


def test_only_the_user_can_look_into_the_records(tmp_path: Path) -> None:
    Records(tmp_path / "pods").write(RECORD)
    assert (tmp_path / "pods").stat().st_mode & 0o777 == 0o700


def test_a_job_is_named_by_its_rule_and_outputs_in_whatever_order() -> None:
    assert job_key("a", ["x", "y"]) == job_key("a", ["y", "x"])
    assert len({job_key("a", ["x", "y"]), job_key("a", ["x"]), job_key("b", ["x", "y"])}) == 3


def test_the_ledger_is_read_as_it_was_written_but_for_a_torn_line(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "new" / "ledger.jsonl")
    entry = Entry(1.0, "simulate", {"chunk": "0001"}, "simulate-1", "local", "failed", "exit code 1", "/x.log")
    ledger.plan({"generate": 3, "simulate": 2})
    ledger.note(entry)
    written = (tmp_path / "new" / "ledger.jsonl").read_bytes()
    plan, noted = read(written + b'{"type":"po')
    assert isinstance(plan, Plan)
    assert plan.jobs == {"generate": 3, "simulate": 2}
    assert noted == entry


def test_sites_are_read() -> None:
    assert parse_sites(["slurm=http://h:1", "x=unix:/a=b"]) == {"slurm": "http://h:1", "x": "unix:/a=b"}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["slurm"], "--interlink-sites: 'slurm' is not NAME=ENDPOINT, as in slurm=http://127.0.0.1:4000"),
        (["=http://h"], "--interlink-sites: '=http://h' is not NAME=ENDPOINT, as in slurm=http://127.0.0.1:4000"),
        (["a=http://h", "a=http://i"], "--interlink-sites: 'a' is given twice; name each site once"),
    ],
)
def test_wrong_sites_are_refused_in_one_line(words: list[str], line: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        parse_sites(words)
    assert str(caught.value) == line


@pytest.mark.parametrize("path", ["results", "/a/../b", "/"])
def test_wrong_mounts_are_refused(path: str) -> None:
    with pytest.raises(WorkflowError, match="is not the absolute path of a folder"):
        parse_mounts([path])


def test_mounts_are_read() -> None:
    assert parse_mounts(["/data//x/", "/home"]) == ["/data/x", "/home"]
