"""The last words of containers that are host processes: the end of the log, as there is no file of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pytest

from flashlink.errors import SiteError
from flashlink.jobscript.planning import plan
from flashlink.pods.pod import Message, Pod
from flashlink.site.config import Containers, Limits, Site
from jobscript.hostpods import shell

Start = Callable[..., Any]

HOST = Site(containers=Containers(runtime="host"), limits=Limits(log_size="64Ki"))
FROM_LOGS = Message(from_logs=True)


def test_of_what_has_failed_the_end_of_the_log(start: Start) -> None:
    failed = shell("failed", "seq 1 100; exit 1", message=FROM_LOGS)
    good = shell("good", "echo fine", message=FROM_LOGS)
    silent = shell("silent", "echo words; exit 1")
    job = start(failed, good, silent)
    job.wait()
    assert sorted(path.name for path in (job.folder / "logs").glob("*.message")) == ["failed.0.message"]
    told = (job.folder / "logs" / "failed.0.message").read_text()
    assert told.splitlines() == [str(number) for number in range(21, 101)]


def test_of_a_log_that_was_cut_the_end_of_what_was_kept(start: Start) -> None:
    job = start(shell("main", "seq 1 50000; exit 1", message=FROM_LOGS), site=HOST)
    job.wait()
    assert len(list((job.folder / "logs").glob("main.0.log.*"))) == 2
    told = (job.folder / "logs" / "main.0.message").read_text()
    assert told.splitlines() == [str(number) for number in range(49921, 50001)]


def test_a_file_of_its_own_is_refused() -> None:
    pod = Pod("uid", "p", "d", (replace(shell("main", "true"), message=Message("/tmp/said")),))
    with pytest.raises(
        SiteError, match="container main: terminationMessagePath /tmp/said: this site runs pods without"
    ):
        plan(pod, HOST, PurePosixPath("/pods/uid"))
