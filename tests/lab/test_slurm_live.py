"""Output and state of containers at Slurm, as they come: with a shared folder, by the login node, by slurmrestd.

Nothing here measures: benchmarks/log_tail.py does. What counts is that a line arrives while its container still runs.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from lab.clusters import Cluster
from lab.condor.plugins import Plugin
from lab.slurm_plugins import RemotePlugin, SlurmPlugin

pytestmark = [pytest.mark.lab, pytest.mark.slow]

SPOOL = "/var/tmp/flashlink-live"

#: Seconds after which what should come within five has not come, on a machine that does much else.
LATE = 60.0

#: Prologue of a site whose workers have no network: the batch script is run again in an empty one.
NO_NETWORK = '[ -n "$CUT" ] || CUT=1 exec unshare --user --map-current-user --net bash "$0" "$@"'


@pytest.fixture
def cluster(accounted_slurm: Cluster) -> Cluster:
    return accounted_slurm


@pytest.fixture(params=["open", "cut"])
def network(request: pytest.FixtureRequest) -> str:
    """Whether workers have a network."""
    return str(request.param)


@pytest.fixture
def tables(tmp_path: Path, network: str) -> dict[str, Any]:
    """A site whose jobs could report, where there is a network."""
    if network == "cut":
        return {}
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    name = ["-subj", "/CN=plugin", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", *kind, *name, "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    files = {"certificate": str(certificate), "key": str(key), "authority": str(certificate)}
    return {"reports": {"listen": "127.0.0.1:0", "url": "https://127.0.0.1:9", **files}}


@pytest.fixture(params=["shared", "rest", "spool", "spool and rest"])
def plugin(
    request: pytest.FixtureRequest,
    lab: Any,
    cluster: Cluster,
    network: str,
    tables: dict[str, Any],
    marks: Path,
    tmp_path: Path,
) -> Iterator[Plugin]:
    """A plugin that polls as often as it does unless it is told otherwise."""
    options: dict[str, Any] = {"prologue": [NO_NETWORK]} if network == "cut" else {}
    far = "spool" in request.param
    folder = tmp_path if far else cluster.work / f"live-{time.time_ns()}"
    folder.mkdir(exist_ok=True)
    if "rest" in request.param:
        options |= {**cluster.rest(folder), "shell": ["bash"]}
    if far:
        options |= {**cluster.login, "spool": SPOOL}
    else:
        tables = {}  # the plain user cannot read the keys of this one, nor does it need them
    SlurmPlugin.conf = cluster.endpoints["SLURM_CONF"]
    batch = {"system": "slurm", "poll_seconds": 3, "options": options}
    kind = RemotePlugin if far else SlurmPlugin
    made = kind(folder, 0 if far else lab.user, lab.images, batch, host_paths=[str(marks)], **tables)
    yield made
    made.end()


def test_lines_and_states_arrive_while_the_container_runs(plugin: Plugin, marks: Path, network: str) -> None:
    routes = "echo routes $(tail -n +2 /proc/net/route | wc -l)"
    pod = plugin.prepare(
        f"{routes}; until [ -e /marks/go ]; do sleep 0.1; done; echo last; sleep 4; exit 3",
        volumes=[{"name": "marks", "hostPath": {"path": str(marks)}}],
        main={"volumeMounts": [{"name": "marks", "mountPath": "/marks"}]},
    )
    pod.create()
    lines: Queue[str] = Queue()
    with ThreadPoolExecutor(1) as threads:
        try:
            follower = threads.submit(lambda: [lines.put(piece) for piece in pod.follow()])
            first = lines.get(timeout=LATE)
            assert first.startswith("routes ")
            assert network == "open" or first == "routes 0\n"
            pod.until(lambda state: "running" in state, LATE)
        finally:
            (marks / "go").touch()
        assert lines.get(timeout=LATE) == "last\n"
        assert pod.end(LATE)["exitCode"] == 3
        follower.result(LATE)
    assert lines.empty()
    assert pod.logs() == f"{first}last\n"
    pod.delete()
