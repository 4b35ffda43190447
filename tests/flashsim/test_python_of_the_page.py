"""What docs/physicist.md says of Python: its example runs and gives what the commands write; its functions exist."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import numpy as np

from flashlink.cli import main
from flashlink.flashsim import files
from flashlink.flashsim.simulate import SIMULATED

PAGE = Path(__file__).parents[2] / "docs/physicist.md"
SECTION = PAGE.read_text("utf-8").split("### From Python")[1].split("\n### ")[0]


def test_the_example_gives_what_the_commands_write(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    exec(example, {})
    assert main(["generate", "--events", "50", "--seed", "7", "--output", "g.parquet"]) == 0
    assert main(["simulate", "g.parquet", "--seed", "7", "--output", "f.parquet"]) == 0
    ours, theirs = (files.read(Path(name), SIMULATED) for name in ("flash.parquet", "f.parquet"))
    for name in SIMULATED:
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_each_function_of_the_table_is_there() -> None:
    table = SECTION.split("function in `flashlink.flashsim` |")[1]
    names = re.findall(r"`([a-z_.]+\.\w+)`", table)
    assert len(names) > 12
    for name in names:
        module, _, function = name.rpartition(".")
        assert callable(getattr(import_module(f"flashlink.flashsim.{module}"), function)), name
