"""Files with a pod's names: lines that come after those of the worker."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from flashlink.jobscript.script import runtime


@pytest.mark.parametrize("content", ["127.0.0.1 a\n::1 b", "127.0.0.1 a\n::1 b\n"])
def test_what_comes_after_a_workers_file_begins_a_line(tmp_path: Path, content: str) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(content)
    script = f'{runtime()}\nwith_newline "$1"; echo 10.0.0.1 c'
    shown = subprocess.run(["bash", "-uc", script, "bash", hosts], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert shown.splitlines() == ["127.0.0.1 a", "::1 b", "10.0.0.1 c"]
