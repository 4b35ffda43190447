"""Limits of memory and disk, and parts of the job's GPUs: what is planned, and what real processes see of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flashlink.jobscript import journal
from flashlink.jobscript.limits import limited, scratch
from flashlink.jobscript.plan import Step
from flashlink.pods.pod import Container, EmptyDir, Mount, Pod, Resources
from flashlink.site.config import Containers, Grants, Site
from flashlink.site.runtime import can_mount

Start = Callable[..., Any]
needs_mounts = pytest.mark.skipif(not can_mount(), reason="no mount namespaces for this user here")
MEBI = 2**20

#: Python that holds as many MiB as its first argument says, and tells when it does.
HOLD = "import sys, time; held = bytearray(int(sys.argv[1]) << 20); print('held', flush=True); time.sleep(60)"


def hold(name: str, mebibytes: int, limit: int, *mounts: Mount) -> Container:
    command = (sys.executable, "-c", HOLD, str(mebibytes))
    return Container(name, "", command, limits=Resources(memory=limit * MEBI), mounts=mounts)


def shell(name: str, script: str, *, disk: int = 0, gpu: int = 0, env: dict[str, str] | None = None) -> Container:
    gpus = Resources(gpu=gpu, gpu_vendor="nvidia" if gpu else "", ephemeral_storage=disk)
    return Container(name, "", ("sh", "-c", script), env=env or {}, requests=gpus, limits=gpus)


def ends(job: Any) -> dict[str, tuple[int, str]]:
    return {event.container: (event.exit, event.cause) for event in job.events if isinstance(event, journal.Ended)}


@pytest.mark.slow
def test_who_has_run_for_long_is_looked_at_less_often_but_ends_all_the_same(start: Start) -> None:
    late = ("sh", "-c", f'sleep 11; exec {sys.executable} -c "$0" 150', HOLD)
    greedy = Container("greedy", "", late, limits=Resources(memory=64 * MEBI))
    job = start(greedy, shell("other", "sleep 11.5; echo well; exit 3"), shell("third", "sleep 60"), grace=1)
    job.wait_for(lambda: set(ends(job)) == {"greedy", "other"}, 40)
    assert ends(job) == {"greedy": (137, "oom"), "other": (3, "exited")}
    assert job.log("other") == b"well\n"
    job.process.terminate()
    job.wait(20)
    assert ends(job)["third"][1] == "cancelled"


def test_a_container_over_its_memory_is_killed_and_the_others_go_on(start: Start) -> None:
    job = start(hold("greedy", 150, 64), shell("other", "sleep 4; echo well"))
    assert job.wait(60) == 137
    assert ends(job) == {"greedy": (137, "oom"), "other": (0, "exited")}
    assert job.log("other") == b"well\n"
    words = job.reason("greedy").split()
    assert (words[:2], words[3:]) == (["OOMKilled:", "used"], ["of", "64Mi"])
    assert 64 < int(words[2].removesuffix("Mi")) < 300


def test_a_container_within_its_memory_is_left_alone(start: Start) -> None:
    job = start(hold("modest", 40, 128))
    log = job.folder / "logs" / "modest.0.log"
    job.wait_for(lambda: log.exists() and log.read_bytes() == b"held\n", 20)
    time.sleep(2.5)
    assert not job.ended("modest")
    job.terminate()
    job.wait()
    assert ends(job)["modest"][1] == "cancelled"


def test_what_its_children_use_counts(start: Start) -> None:
    script = '"$PYTHON" -c "$HOLD" 60 & (exec "$PYTHON" -c "$HOLD" 60) & wait'
    env = {"PYTHON": sys.executable, "HOLD": HOLD}
    parent = Container("main", "", ("sh", "-c", script), env=env, limits=Resources(memory=100 * MEBI))
    job = start(parent)
    assert job.wait(60) == 137
    assert ends(job) == {"main": (137, "oom")}
    assert not job.processes()


def test_what_processes_share_counts_once(start: Start) -> None:
    share = (
        "import os, time; held = bytearray(60 << 20); [os.fork() or time.sleep(60) for _ in range(4)]; "
        "print('shared', flush=True); time.sleep(4)"
    )
    job = start(Container("main", "", (sys.executable, "-c", share), limits=Resources(memory=160 * MEBI)))
    assert job.wait(60) == 0, job.reason("main")
    assert job.log("main") == b"shared\n"


def test_a_killed_container_starts_again_if_its_policy_says_so(start: Start) -> None:
    environment = {"FLASHLINK_BACKOFF": "0"}
    job = start(hold("main", 150, 64), restart_policy="OnFailure", environment=environment)
    job.wait_for(lambda: len(job.ended("main")) >= 2, 60)
    job.terminate()
    job.wait()
    assert {event.cause for event in job.ended("main")[:2]} == {"oom"}


@needs_mounts
def test_an_empty_dir_in_memory_counts_as_the_memory_of_who_alone_mounts_it(start: Start) -> None:
    fill = "head -c 100000000 /dev/zero >/mnt/big; sleep 60"
    limits = Resources(memory=80 * MEBI)
    main = Container("main", "", ("sh", "-c", fill), limits=limits, mounts=(Mount("x", "/mnt"),))
    job = start(main, volumes={"x": EmptyDir("x", in_memory=True)})
    assert job.wait(60) == 137
    assert ends(job)["main"] == (137, "oom")


@needs_mounts
def test_files_in_memory_that_are_mapped_count_once(start: Start) -> None:
    fill = (
        "import mmap, os, time; file = open('/mnt/big', 'w+b'); file.truncate(60 << 20); "
        "held = mmap.mmap(file.fileno(), 0); held[:] = bytes(60 << 20); "
        "[os.fork() or (held[::4096], time.sleep(60)) for _ in range(3)]; time.sleep(5)"
    )
    limits = Resources(memory=150 * MEBI)
    main = Container("main", "", (sys.executable, "-c", fill), limits=limits, mounts=(Mount("x", "/mnt"),))
    job = start(main, volumes={"x": EmptyDir("x", in_memory=True)})
    assert job.wait(60) == 0, job.reason("main")


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A memory cgroup of 96 MiB for one job."""
    folder = Path("/sys/fs/cgroup/memory", f"flashlink-test-{os.getpid()}")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("no memory cgroup (version 1) that this user may make here")
    (folder / "memory.limit_in_bytes").write_text(str(96 * MEBI))
    yield folder
    folder.rmdir()


@pytest.mark.parametrize("lines", ["", "true"])
def test_what_the_kernel_kills_for_want_of_memory_is_told(start: Start, cgroup: Path, lines: str) -> None:
    join = ["sh", "-c", f'echo $$ >{cgroup}/cgroup.procs && exec "$@"', "sh"]
    greedy = Container("greedy", "", (sys.executable, "-c", HOLD, "300"))
    site = Site(containers=Containers(runtime="host"), grants=Grants(pre_exec=True))
    more = {"site": site, "annotations": {"slurm-job.vk.io/pre-exec": lines}}
    job = start(greedy, shell("killed", "sleep 3; kill -9 $$"), prefix=join, **more)
    job.wait(60)
    assert ends(job) == {"greedy": (137, "oom"), "killed": (137, "signal")}
    assert job.reason("greedy").startswith("OOMKilled: the kernel ended it")
    assert "which may use 96Mi" in job.reason("greedy")


def test_a_cgroup_of_others_too_says_nothing(start: Start, cgroup: Path) -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    (cgroup / "cgroup.procs").write_text(str(stranger.pid))
    join = ["sh", "-c", f'echo $$ >{cgroup}/cgroup.procs && exec "$@"', "sh"]
    job = start(Container("greedy", "", (sys.executable, "-c", HOLD, "300")), prefix=join)
    job.wait(60)
    stranger.kill()
    stranger.wait()
    assert ends(job) == {"greedy": (137, "signal")}


def test_a_container_over_its_disk_ends_the_pod(start: Start) -> None:
    job = start(
        shell("main", "head -c 3000000 /dev/zero >big; sleep 60", disk=2 * MEBI),
        shell("other", "sleep 60", disk=50 * MEBI),
    )
    job.wait(60)
    assert {cause for _, cause in ends(job).values()} == {"evicted"}
    assert (
        job.reason("main") == 'Container main exceeded its local ephemeral storage limit "2Mi"\n' == job.reason("other")
    )


def test_logs_count_as_disk(start: Start) -> None:
    job = start(shell("main", "head -c 3000000 /dev/zero; sleep 60", disk=2 * MEBI))
    job.wait(60)
    assert job.reason("main") == 'Container main exceeded its local ephemeral storage limit "2Mi"\n'


def test_empty_dirs_count_as_disk_of_the_pod(start: Start) -> None:
    fill = "head -c 3000000 /dev/zero >../../volumes/x/big; sleep 60"
    job = start(
        shell("main", fill, disk=2 * MEBI), shell("other", "sleep 60", disk=500000), volumes={"x": EmptyDir("x")}
    )
    job.wait(60)
    told = "Pod ephemeral local storage usage exceeds the total limit of containers 2597152\n"
    assert (job.reason("main"), job.reason("other")) == (told, told)


def test_a_pod_within_its_disk_is_left_alone(start: Start) -> None:
    job = start(shell("main", "head -c 1000000 /dev/zero >big; sleep 3", disk=2 * MEBI), volumes={"x": EmptyDir("x")})
    assert job.wait(60) == 0


def test_a_container_sees_its_part_of_the_jobs_gpus(start: Start) -> None:
    show = 'echo "${CUDA_VISIBLE_DEVICES-none} ${ROCR_VISIBLE_DEVICES-none}"'
    job = start(
        shell("first", show, gpu=2),
        shell("none", show),
        shell("second", show, gpu=1),
        shell("own", show, gpu=1, env={"CUDA_VISIBLE_DEVICES": "mine"}),
        environment={"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b,3,4", "ROCR_VISIBLE_DEVICES": "all"},
    )
    assert job.wait() == 0
    logs = {name: job.log(name).decode() for name in ("first", "none", "second", "own")}
    assert logs == {"first": "GPU-a,GPU-b all\n", "none": "none none\n", "second": "3 all\n", "own": "mine all\n"}


def plan_of(container: Container, pod: Pod) -> Step:
    return limited(Step(container.name, ("true",), (), "", (), "", ()), container, pod)


def gpus(name: str, count: int, *, sidecar: bool = False) -> Container:
    return Container(name, "", requests=Resources(gpu=count, gpu_vendor="amd"), sidecar=sidecar)


def test_gpus_are_shared_out_among_those_that_run_at_the_same_time() -> None:
    inits = (gpus("once", 4), gpus("side", 1, sidecar=True), gpus("twice", 2))
    pod = Pod("u", "p", "d", (gpus("a", 2), gpus("b", 1)), inits)
    parts = {each.name: plan_of(each, pod) for each in (*inits, *pod.containers)}
    assert {name: (part.gpu, part.gpu_first, part.gpu_count) for name, part in parts.items()} == {
        "once": ("amd", 0, 4),
        "side": ("amd", 0, 1),
        "twice": ("amd", 1, 2),
        "a": ("amd", 1, 2),
        "b": ("amd", 3, 1),
    }
    assert pod.resources.gpu == 4


def mounting(name: str, *volumes: str, memory: int = MEBI) -> Container:
    mounts = tuple(Mount(volume, f"/{volume}") for volume in volumes)
    return Container(name, "", limits=Resources(memory=memory), mounts=mounts)


VOLUMES = {
    "shared": EmptyDir("shared", in_memory=True),
    "small": EmptyDir("small", in_memory=True, size_limit=9),
    "own": EmptyDir("own", in_memory=True),
    "disk": EmptyDir("disk"),
}


def test_memory_volumes_count_where_one_container_alone_mounts_them() -> None:
    prep = mounting("prep", "own")
    pod = Pod(
        "u", "p", "d", (mounting("a", "shared", "own", "disk"), mounting("b", "shared", "small")), (prep,), VOLUMES
    )
    volumes = {each.name: plan_of(each, pod).memory_volumes for each in (*pod.init_containers, *pod.containers)}
    assert volumes == {"prep": ("own",), "a": ("own",), "b": ("small",)}


def test_a_memory_volume_of_several_is_bounded_by_their_memory() -> None:
    both = Pod("u", "p", "d", (mounting("a", "shared", "disk"), mounting("b", "shared", "small")), (), VOLUMES)
    assert {volume.name: volume.size_limit for volume in scratch(both)} == {
        "shared": 2 * MEBI,
        "small": 9,
        "own": 2 * MEBI,
        "disk": 0,
    }
    unlimited = Pod("u", "p", "d", (mounting("a", "shared", memory=0), mounting("b", "shared")), (), VOLUMES)
    assert {volume.size_limit for volume in scratch(unlimited)} == {0, 9}
