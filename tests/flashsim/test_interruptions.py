"""A step that is ended in the middle: one line, the exit status of the signal, and nothing half done."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flashlink.cli import main
from flashlink.flashsim import files
from flashlink.flashsim.samples import GENERATED

#: As a shell starts a command in the foreground, whatever pytest was started by.
PROGRAM = (
    "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from flashlink.cli import main\nsys.exit(main(sys.argv[1:]))"
)


def interrupted(folder: Path, number: signal.Signals) -> tuple[int, str]:
    """The exit status and the words of a generation that gets a signal while it writes."""
    arguments = ["generate", "--gun", "211", "--events", "2000000", "--seed", "1", "--output", "g.parquet"]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=folder, stderr=subprocess.PIPE, text=True
    )
    try:
        due = time.monotonic() + 60
        while not any(path.stat().st_size for path in folder.iterdir()):
            assert time.monotonic() < due
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        error = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    return process.returncode, error


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (signal.SIGINT, "flashlink: interrupted"),
        (signal.SIGTERM, "flashlink: interrupted by SIGTERM"),
        (signal.SIGHUP, "flashlink: interrupted by SIGHUP"),
    ],
)
def test_a_signal_is_one_line_and_leaves_nothing(tmp_path: Path, number: signal.Signals, line: str) -> None:
    status, error = interrupted(tmp_path, number)
    assert status == 128 + number
    # On Ctrl-C, click begins a line of its own behind the terminal's ^C.
    assert error.strip() == line
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_step_left_goes_with_the_next_one(tmp_path: Path) -> None:
    assert interrupted(tmp_path, signal.SIGKILL) == (-signal.SIGKILL, "")
    (left,) = tmp_path.iterdir()
    assert left.name != "g.parquet"
    output = tmp_path / "g.parquet"
    assert main(["generate", "--gun", "211", "--events", "1", "--seed", "1", "--output", str(output)]) == 0
    assert list(tmp_path.iterdir()) == [output]


def test_what_another_process_writes_stays(tmp_path: Path) -> None:
    output = tmp_path / "a.parquet"
    with files.replacing(output) as first:
        first.write_text("of a step that still runs")
        with files.replacing(output) as second:
            second.write_text("of the same step, started again")
        assert first.read_text() == "of a step that still runs"
    assert output.read_text() == "of a step that still runs"


def test_the_lock_outlives_how_samples_are_written(tmp_path: Path) -> None:
    """Writers open the temporary file by its name, and must not replace it."""
    empty = {name: [] for name in GENERATED}

    def parts():
        (temporary,) = tmp_path.iterdir()
        with files.replacing(tmp_path / "a.parquet") as other:
            other.write_text("")
        assert temporary.exists()
        yield empty

    files.write_parts(tmp_path / "a.parquet", parts(), GENERATED, {})
