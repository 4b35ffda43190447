"""Deletions in the background."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_interlink.deletion import Deletions
from snakemake_executor_plugin_interlink.records import PodRecord, Records


def record(number: int, endpoint: str) -> PodRecord:
    return PodRecord(f"k{number}", "far", endpoint, "d", {"metadata": {"uid": f"u{number}", "name": f"p{number}"}}, "7")


def test_what_was_deleted_leaves_no_record(tmp_path: Path, fake: Any) -> None:
    records = Records(tmp_path / "pods")
    for number in range(40):
        records.write(record(number, fake.endpoint))
    deletions = Deletions(records)
    deletions.begin(record(0, fake.endpoint))
    assert deletions.finish(records, 20) == []
    assert sorted(fake.deleted) == sorted(f"u{number}" for number in range(40))
    assert list(records) == []


def test_a_job_that_is_sent_again_keeps_its_new_record(tmp_path: Path, fake: Any) -> None:
    records = Records(tmp_path / "pods")
    records.write(record(1, fake.endpoint))
    fake.hangs.clear()
    deletions = Deletions(records)
    deletions.begin(record(1, fake.endpoint))
    again = PodRecord("k1", "far", fake.endpoint, "d", {"metadata": {"uid": "u2", "name": "p2"}})
    records.write(again)
    fake.hangs.set()
    assert deletions.finish([], 20) == []
    assert fake.deleted == ["u1"]
    assert list(records) == [again]


def test_a_plugin_that_hangs_is_waited_for_so_long_and_no_longer(tmp_path: Path, fake: Any) -> None:
    records = Records(tmp_path / "pods")
    for number in range(40):
        records.write(record(number, fake.endpoint))
    fake.hangs.clear()
    start = time.monotonic()
    left = Deletions(records).finish(records, 0.3)
    assert time.monotonic() - start < 20
    assert left == ["the plugin did not answer in time"] * 40
    assert {kept.key for kept in records} == {f"u{number}" for number in range(40)}
    fake.hangs.set()


def test_a_plugin_that_has_gone_leaves_the_record_and_says_why(tmp_path: Path) -> None:
    records = Records(tmp_path / "pods")
    records.write(record(1, "http://127.0.0.1:9"))
    (line,) = Deletions(records).finish(records, 20)
    assert "no interLink plugin answers" in line
    assert [kept.uid for kept in records] == ["u1"]
