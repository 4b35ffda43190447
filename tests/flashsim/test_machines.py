"""Another machine gives the same sample but for rounding.

Machines differ in the kernels by which they multiply matrices; OpenBLAS takes those of an older processor when its
environment says so. The kernels of onnxruntime cannot be chosen.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flashlink.flashsim.files import read
from flashlink.flashsim.samples import GENERATED, RECONSTRUCTED

COMMAND = [sys.executable, "-m", "flashlink"]


def run(folder: Path, processor: str) -> dict[str, Path]:
    folder.mkdir()
    environment = os.environ | {"OPENBLAS_CORETYPE": processor}
    generated, reference, flash = (folder / f"{name}.parquet" for name in ("generated", "reference", "flash"))
    for words in (
        ["generate", "--events", "20", "--seed", "3", "--output", generated],
        ["reference", generated, "--seed", "3", "--output", reference],
        ["simulate", generated, "--seed", "3", "--output", flash],
    ):
        subprocess.run([*COMMAND, *map(str, words)], check=True, env=environment, timeout=120)
    return {"generated": generated, "reference": reference, "flash": flash}


@pytest.mark.slow
def test_an_older_processor_gives_the_same_but_for_rounding(tmp_path: Path) -> None:
    here, there = (run(tmp_path / processor, processor) for processor in ("Haswell", "Prescott"))
    assert here["generated"].read_bytes() == there["generated"].read_bytes()
    for name in ("reference", "flash"):
        ours, theirs = (read(paths[name], RECONSTRUCTED) for paths in (here, there))
        for column, values in ours.items():
            if values.dtype.kind == "f":
                assert values == pytest.approx(theirs[column], rel=1e-9, abs=1e-12), (name, column)
            else:
                assert np.array_equal(values, theirs[column]), (name, column)
    assert len(read(here["generated"], GENERATED)["event"]) > 1000
