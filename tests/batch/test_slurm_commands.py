"""Commands as data into one fixed shell text; real bash answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashlink.batch.slurm.commands import Answer, Command, answers, request
from flashlink.batch.slurm.connection import Connection
from flashlink.batch.slurm.options import read
from flashlink.errors import SiteError

WORD = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]))


@pytest.fixture(scope="module")
def held() -> Iterator[int]:
    handle = os.open(os.devnull, os.O_RDONLY)
    yield handle
    os.close(handle)


def connect(held: int, *shell: str) -> Connection:
    return Connection(read({"shell": list(shell or ("bash",))}), held, Path(os.devnull))


def show(*words: str) -> Command:
    return Command((sys.executable, "-c", "import sys; print(sys.argv[1:], end='')", *words))


@settings(max_examples=40, deadline=None)
@given(words=st.lists(WORD, max_size=5), given_=WORD)
def test_words_and_input_arrive_as_they_are(words: list[str], given_: str) -> None:
    said = subprocess.run(["bash"], input=request([show(*words), Command(("cat",), given_)]), capture_output=True)
    shown, cat = answers(said.stdout, 2)
    assert shown == Answer(repr(words), "", 0)
    assert cat.output == given_


def test_answers_come_in_order_with_errors_and_status(held: int) -> None:
    first = Command(("sh", "-c", "echo out; echo err >&2; exit 7"))
    said = connect(held).run(first, Command(("true",)), Command(("cat",), "a\nb"), Command(("flashlink-nothing",)))
    assert said[:3] == [Answer("out\n", "err", 7), Answer("", "", 0), Answer("a\nb", "", 0)]
    assert said[3].status == 127


def test_a_command_that_hangs_is_ended(held: int) -> None:
    (said,) = connect(held).run(Command(("sleep", "60"), seconds=1))
    assert said.status == 124


def test_commands_do_not_see_what_comes_after_them(held: int) -> None:
    first, second = connect(held).run(Command(("cat",)), Command(("echo", "second")))
    assert first.output == ""
    assert second.output == "second\n"


def test_filters_of_a_persons_own_do_not_change_answers(held: int) -> None:
    shell = ("env", "SQUEUE_STATES=PD", "SACCT_FORMAT=x", "SBATCH_ARRAY_INX=1-9", "SLURM_TIME_FORMAT=relative", "bash")
    (said,) = connect(held, *shell).run(Command(("env",)))
    found = dict(line.split("=", 1) for line in said.output.splitlines())
    assert not found.keys() & {"SQUEUE_STATES", "SACCT_FORMAT", "SBATCH_ARRAY_INX"}
    assert (found["SLURM_TIME_FORMAT"], found["LC_ALL"]) == ("%s", "C")


def test_nothing_of_the_plugins_environment_reaches_slurm(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/slurm.conf")
    (said,) = connect(held).run(Command(("env",)))
    assert "hunter2" not in said.output
    assert "SLURM_CONF=/etc/slurm/slurm.conf" in said.output


def test_files_are_made_private(held: int, tmp_path: Path) -> None:
    connect(held).run(Command(("touch", str(tmp_path / "file"))))
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_what_a_login_shell_says_is_passed_over(held: int) -> None:
    shell = ("sh", "-c", "echo Welcome; bash; echo logout")
    assert connect(held, *shell).run(Command(("echo", "x"))) == [Answer("x\n", "", 0)]


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        (["sh", "-c", "cat >/dev/null; echo garbage"], "garbage"),
        (["sh", "-c", "cat >/dev/null"], "nothing"),
        (["sh", "-c", "echo Permission denied >&2; exit 255"], r"Permission denied \(exit status 255\)"),
        (["sh", "-c", "bash | head -c 20"], "no whole answer"),
        (["sh", "-c", "bash | head -c 20; printf 'flashlink-end\\0'"], "0 answers to 1 commands"),
        (["flashlink-no-such-shell"], "flashlink-no-such-shell"),
        (["sh", "-c", "kill -9 $$"], "exit status 137"),
    ],
)
def test_no_whole_answer_is_for_now_only(held: int, shell: list[str], words: str) -> None:
    with pytest.raises(SiteError, match=words) as caught:
        connect(held, *shell).run(Command(("echo", "x" * 100)))
    assert caught.value.transient
    assert "\n" not in str(caught.value)


def test_a_shell_that_hangs_is_ended(held: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("flashlink.batch.slurm.connection._MARGIN", 0)
    pid = tmp_path / "pid"
    shell = ("sh", "-c", f"echo $$ >{pid}; sleep 60; true")
    with pytest.raises(SiteError, match="this machine does not answer for 1 s") as caught:
        connect(held, *shell).run(Command(("true",), seconds=1))
    assert caught.value.transient
    limit = time.monotonic() + 10
    while Path(f"/proc/{pid.read_text().strip()}").exists():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_a_shell_does_not_go_on_when_nobody_listens(tmp_path: Path) -> None:
    """As after a SIGKILL of the plugin: the pipes are closed, and what was not begun never is."""
    slow = Command(("sh", "-c", f"echo x >>{tmp_path}/ran; sleep 0.3"))
    shell = subprocess.Popen(["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write(request([slow] * 20))
    shell.stdin.close()
    shell.stdout.read(1)
    shell.stdout.close()
    assert shell.wait(20) == -signal.SIGPIPE
    assert len((tmp_path / "ran").read_text()) <= 2 * len("x\n")


def test_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        request([Command(("echo", "a\0b"))])


def test_sockets_of_a_connection_whose_process_was_killed_go(held: int, tmp_path: Path) -> None:
    options = read({"login": "somebody@login.example"})
    Connection(options, held, tmp_path)  # and never closed
    first = (tmp_path / "ssh").readlink()
    second = Connection(options, held, tmp_path)
    folder = (tmp_path / "ssh").readlink()
    assert not first.exists()
    assert folder.stat().st_mode & 0o077 == 0
    second.close()
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []
