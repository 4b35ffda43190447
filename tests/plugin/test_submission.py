"""What the plugin writes into a pod's folder for its job."""

from __future__ import annotations

from pathlib import Path

from flashlink.plugin import submission


def test_the_grace_is_a_line_that_the_runtime_reads(tmp_path: Path) -> None:
    submission.write_grace(tmp_path, 7)
    assert (tmp_path / "grace").read_text() == "7\n"
    assert [path.name for path in tmp_path.iterdir()] == ["grace"]
