"""Pods with GPUs, two that HTCondor pretends to find: its matchmaking gives them to jobs, of the pool and of a CE."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flashlink.errors import SiteError
from lab.condor.plugins import Plugin

pytestmark = [pytest.mark.lab, pytest.mark.slow]

#: As HTCondor tells jobs those that lab/condor/site.conf pretends.
DEVICES = {f"GPU-{first}-4445-5667-899a-abbccddeeff0" for first in ("a0223334", "b1223334")}

SHOW = 'echo "$CUDA_VISIBLE_DEVICES"'


def asking(count: int) -> dict[str, Any]:
    """Of a container that asks for GPUs."""
    return {"resources": {"limits": {"nvidia.com/gpu": str(count), "cpu": "1", "memory": "64Mi"}}}


@pytest.fixture(params=["site", "ce"])
def plugin(request: pytest.FixtureRequest, start: Callable[..., Plugin]) -> Plugin:
    """A CE does not tell what its site has."""
    return start("ce", gpus=2) if request.param == "ce" else start("site")


def test_two_pods_with_a_gpu_each_run_at_once_and_see_one_of_the_two_each(plugin: Plugin, shared: Path) -> None:
    mounts = [{"name": "marks", "mountPath": "/marks"}]
    volumes = [{"name": "marks", "hostPath": {"path": str(shared / "marks")}}]
    meet = "for _ in $(seq 600); do [ -e /marks/{other} ] && exit 0; sleep 0.2; done; exit 1"
    pods = [
        plugin.send(
            f"{SHOW}; : >/marks/{name}; {meet.format(other=other)}",
            volumes=volumes,
            main={**asking(1), "volumeMounts": mounts},
        )
        for name, other in (("one", "other"), ("other", "one"))
    ]
    assert [pod.end(240)["exitCode"] for pod in pods] == [0, 0]
    seen = [pod.logs().strip() for pod in pods]
    assert sorted(seen) == sorted(DEVICES)


def test_containers_of_a_pod_share_its_gpus_and_one_that_asks_for_none_sees_none(plugin: Plugin) -> None:
    beside = [
        {"name": "beside", "image": "shell", "command": ["sh", "-c", SHOW], **asking(1)},
        {"name": "without", "image": "shell", "command": ["sh", "-c", SHOW]},
    ]
    pod = plugin.send(SHOW, main=asking(1), beside=beside)
    assert pod.end()["exitCode"] == 0
    folder = plugin.work / pod.uid / "logs"
    seen = [(folder / f"{name}.0.log").read_text().strip() for name in ("main", "beside", "without")]
    assert set(seen[:2]) == DEVICES
    assert seen[2] == ""


def test_more_gpus_than_a_worker_has_are_refused_at_once_in_one_line(plugin: Plugin) -> None:
    with pytest.raises(SiteError, match=r"asks for 1 cores, .* and 3 GPUs; .* has .* 2 GPUs: ask for less") as refused:
        plugin.send(SHOW, main=asking(3))
    assert "\n" not in str(refused.value)
