"""The plugin's side of the process that speaks with HTCondor (`flashlink.batch.htcondor.bindings`)."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from flashlink.batch.htcondor.states import one_line
from flashlink.errors import InternalError, SiteError

#: Seconds after which a call that has not been answered is given up, and its process with it.
LONGEST = 180.0

_encode = msgspec.json.Encoder().encode


class _Answer(msgspec.Struct):
    answer: Any = None
    error: str = ""
    refused: bool = False


_decode = msgspec.json.Decoder(_Answer).decode


class RefusedError(SiteError):
    """HTCondor has understood and said no."""


class Client:
    """Calls the methods of `flashlink.batch.htcondor.bindings.Connection` in a process of its own.

    It is started by the first call, and again by the next one after it has died or was given up.

    Args:
        setup: Arguments of the connection.
        environment: Variables of the process.
        log: File for what HTCondor's libraries print.
        longest: Seconds that a call may take.

    Raises:
        SiteError: The bindings are not installed.
    """

    def __init__(
        self, setup: Mapping[str, Any], environment: Mapping[str, str], log: Path, longest: float = LONGEST
    ) -> None:
        if find_spec("htcondor2") is None:
            raise SiteError("batch.system: HTCondor's bindings are not installed; install flashlink[htcondor]")
        self._setup = setup
        self._place = setup["pool"] or "this machine"
        self._environment = environment
        self._log = log
        self._longest = longest
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def call(self, name: str, **arguments: Any) -> Any:
        """Call a method and wait for its answer.

        Raises:
            RefusedError: HTCondor said no; asking again is of no use.
            SiteError: It did not answer, or could not; transient.
        """
        answer = self._answer(self._exchange(_encode({"call": name, "arguments": arguments})))
        if answer.refused:
            raise RefusedError(_refusal(answer.error))
        if answer.error:
            raise SiteError(f"HTCondor at {self._place}: {one_line(answer.error)}", transient=True)
        return answer.answer

    def _answer(self, line: bytes) -> _Answer:
        try:
            return _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._end()
            raise SiteError(f"HTCondor at {self._place}: its answer makes no sense: {error}", transient=True) from error

    def close(self) -> None:
        """End the process for good: a call that waits for it fails, and so does each further one."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()

    def _exchange(self, question: bytes) -> bytes:
        if self._closed:
            raise SiteError("HTCondor is not asked any more", transient=True)
        if self._process is not None and self._process.poll() is not None:
            self._end()
        try:
            process = self._process or self._start()
            _pipe(process.stdin).write(question + b"\n")
            _pipe(process.stdin).flush()
            return self._read(_pipe(process.stdout).fileno(), time.monotonic() + self._longest)
        except (OSError, EOFError) as error:
            self._end()
            raise SiteError(
                f"HTCondor: the process of its bindings died; {self._log} may say why", transient=True
            ) from error

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flashlink.batch.htcondor.bindings"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=dict(self._environment),
                start_new_session=True,
            )
        _pipe(self._process.stdin).write(_encode({**self._setup, "parent": os.getpid()}) + b"\n")
        return self._process

    def _read(self, descriptor: int, due: float) -> bytes:
        """One line of the answer; what is read after its end is none of ours, as there is one answer a question."""
        pieces = []
        ready = select.poll()  # not select: a plugin under load has descriptors beyond its limit
        ready.register(descriptor, select.POLLIN)
        while True:
            left = due - time.monotonic()
            if left <= 0 or not ready.poll(left * 1000):
                self._end()
                raise SiteError(
                    f"HTCondor: no answer within {self._longest:g} s; is the schedd overloaded?", transient=True
                )
            piece = os.read(descriptor, 1 << 20)
            if not piece:
                raise EOFError
            pieces.append(piece)
            if piece.endswith(b"\n"):
                return b"".join(pieces)


def _pipe(pipe: Any) -> Any:
    if pipe is None:
        raise InternalError("the process of HTCondor's bindings was started without a pipe")
    return pipe


def _refusal(error: str) -> str:
    """HTCondor's reason without its own prefixes, as in ``Unable to commit transaction, SCHEDD:2:too much memory``."""
    words = error.partition(", ")[2] or error
    for prefix in ("errmsg=", "SCHEDD:2:", "Submit:-1:"):
        words = words.removeprefix(prefix)
    return f"HTCondor refuses the job: {one_line(words)}"
