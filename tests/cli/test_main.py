"""What ``flashlink`` itself makes of errors that no sub-command expects: one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

#: The command, in a process that `{before}` has prepared.
PROGRAM = "import sys\n{before}\nfrom flashlink.cli import main\nsys.exit(main(sys.argv[1:]))"


def flashlink(folder: Path, before: str, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-c", PROGRAM.format(before=before), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, timeout=60)
    return done.returncode, done.stderr


def test_a_package_that_is_not_installed_is_named(tmp_path: Path) -> None:
    assert flashlink(tmp_path, "sys.modules['jsonschema'] = None", "run") == (
        1,
        "flashlink: the Python package 'jsonschema' is missing; "
        "install what this command needs: pip install 'flashlink[plugin,sim,train,validate,workflow]'\n",
    )
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    full = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
    )
    status, error = flashlink(tmp_path, full, "run")
    assert status == 1
    assert error == "flashlink: a file could not be read or written: File too large\n"


def test_an_unknown_command(tmp_path: Path) -> None:
    assert flashlink(tmp_path, "", "nosuch") == (2, "flashlink: No such command 'nosuch'.\n")
