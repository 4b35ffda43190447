"""The main job at a batch system of the lab, by its plain user: what ``lab/run`` does."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from flashlink.cli.run.workflow import checkout
from flashlink.errors import SiteError


def run_in_lab(system: str, output: Path) -> NoReturn:
    """Give this process over to the same command in the lab.

    Args:
        system: "htcondor" or "slurm".
        output: Folder of the results.

    Raises:
        SiteError: This checkout has no lab.
    """
    script = checkout() / "lab" / "run"
    if not script.exists():
        raise SiteError(
            f"--site {system}: this machine has no {system}; run on one that submits to it, or give the file of a site"
        )
    command = [sys.executable, "-m", "flashlink", *sys.argv[1:]]
    os.execv(script, [str(script), system, str(output), *command])  # noqa: S606 (no shell is wanted)
