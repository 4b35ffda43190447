"""Volumes that pods mount by FUSE: what is decided, and scripts that do not mount, as processes of this machine."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import msgspec
import pytest

from flashlink.errors import SiteError
from flashlink.jobscript.plan import Bind, FuseMount, JobPlan
from flashlink.jobscript.planning import plan
from flashlink.jobscript.script import render
from flashlink.pods.pod import Container, Fuse, Mount, Pod, Security
from flashlink.site.config import Batch, Containers, Site, Volumes

HOST = Site(containers=Containers(runtime="host"))
FOLDER = PurePosixPath("/pods/uid")
SCRIPT = "rclone mount2 x: $MOUNT_POINT"
PLAIN, KNOWING = Fuse("f", SCRIPT), Fuse("f", SCRIPT.replace("x:", "x:$SUB_PATH"))


def site(fuse: str, runtime: str = "apptainer") -> Site:
    return Site(
        batch=Batch(system="local" if runtime == "host" else "slurm"),
        containers=Containers(runtime=runtime, fakeroot=True),
        volumes=Volumes(fuse=fuse),
    )


def planned(fuse: str, *mounts: Mount, volume: Fuse = PLAIN, runtime: str = "apptainer", **more: Any) -> JobPlan:
    """The plan of a pod with one container for each mount."""
    fields: dict[str, Any] = {"image": "debian:12", "command": ("true",), **more}
    containers = tuple(Container(f"c{index}", mounts=(mount,), **fields) for index, mount in enumerate(mounts))
    return plan(Pod("uid", "p", "default", containers, volumes={"f": volume}), site(fuse, runtime), FOLDER)


def test_a_site_that_says_nothing_refuses() -> None:
    with pytest.raises(SiteError, match=r"^volume f: this site lets no pod mount by FUSE \(volumes.fuse\)"):
        planned("", Mount("f", "/mnt"))


def test_on_the_worker_all_containers_share_one_mount() -> None:
    made = planned("host", Mount("f", "/mnt"), Mount("f", "/other", read_only=True))
    assert made.fuses == (FuseMount("f", SCRIPT),)
    root = FOLDER / "fuse" / "f"
    assert [step.binds for step in made.steps] == [
        (Bind(root, PurePosixPath("/mnt"), root, kind="volume"),),
        (Bind(root, PurePosixPath("/other"), root, read_only=True, kind="volume"),),
    ]
    assert [step.fuses for step in made.steps] == [(), ()]


def test_a_sub_path_is_cut_out_of_the_mount_unless_the_script_knows_it() -> None:
    mounts = Mount("f", "/mnt"), Mount("f", "/mnt", "a/b"), Mount("f", "/mnt", "a/b"), Mount("f", "/mnt", "c")
    made = planned("host", *mounts)
    assert made.fuses == (FuseMount("f", SCRIPT),)
    assert [str(step.binds[0].source.relative_to(FOLDER)) for step in made.steps] == [
        "fuse/f",
        *2 * ["fuse/f/a/b"],
        "fuse/f/c",
    ]
    made = planned("host", *mounts, volume=KNOWING)
    assert [(mount.name, mount.sub_path) for mount in made.fuses] == [("f", ""), ("f.1", "a/b"), ("f.2", "c")]
    assert [str(step.binds[0].source.relative_to(FOLDER)) for step in made.steps] == [
        "fuse/f",
        *2 * ["fuse/f.1"],
        "fuse/f.2",
    ]


def test_inside_of_containers_each_has_its_own() -> None:
    made = planned("container", Mount("f", "/mnt"), Mount("f", "/other", "a"), volume=KNOWING)
    assert made.fuses == ()
    assert [step.binds for step in made.steps] == [(), ()]
    assert [step.fuses for step in made.steps] == [
        (FuseMount("f", KNOWING.script, "", PurePosixPath("/mnt")),),
        (FuseMount("f", KNOWING.script, "a", PurePosixPath("/other")),),
    ]


@pytest.mark.parametrize(
    ("mount", "more", "why"),
    [
        (Mount("f", "/mnt", read_only=True), {}, "cannot make them readOnly; let the script mount it so"),
        (Mount("f", "/mnt", "a"), {}, r"cannot cut a subPath out; let the script mount \$SUB_PATH"),
        (Mount("f", "/my data"), {}, "at paths without blanks; mount it at another path than '/my data'"),
        (Mount("f", "/mnt"), {"security": Security(user=0)}, "root could mount over the worker's devices"),
        (Mount("f", "/mnt"), {"runtime": "host"}, "runs pods without any; it can mount them on the worker"),
    ],
)
def test_what_cannot_be_inside_of_a_container_is_refused(mount: Mount, more: dict[str, Any], why: str) -> None:
    with pytest.raises(SiteError, match=rf"^volume f in container c0: this site mounts FUSE volumes inside.*{why}"):
        planned("container", mount, **more)


def test_scripts_are_words_of_the_job_script() -> None:
    script = render(planned("host", Mount("f", "/mnt"), volume=Fuse("f", "it's $MOUNT_POINT")))
    assert "\nfuse_limit 30\nvolume_fuse f '' 'it'\"'\"'s $MOUNT_POINT'\n" in script
    script = render(planned("container", Mount("f", "/mnt")))
    assert f"\n  with_fuse f /mnt '' '{SCRIPT}'\n" in script


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo one; echo two >&2; exit 3", "its script ended with 3; it said: one; two"),
        ("echo waiting; sleep 60", "nothing was mounted in 1 s; it said: waiting"),
        ("exit 0", "its script ended with 0; it said: nothing"),
    ],
)
def test_a_script_that_does_not_mount_is_told(start: Any, script: str, why: str) -> None:
    grants = msgspec.structs.replace(HOST, volumes=Volumes(fuse="host", fuse_seconds=1))
    main = Container("main", "", ("true",), mounts=(Mount("f", "/mnt"),))
    job = start(main, site=grants, volumes={"f": Fuse("f", script)})
    assert job.wait() == 128
    assert [event.cause for event in job.ended("main")] == ["runtime"]
    assert job.reason("main") == f"volume f could not be mounted: {why}\n"
    assert not (job.folder / "fuse").exists()
    assert job.processes() == []


def test_a_script_finds_what_it_needs_and_no_key_on_its_command_line(start: Any) -> None:
    script = 'printf "%s|" "$MOUNT_POINT" "$SUB_PATH" "$CACHEDIR" "$#" "$1"; ps -o args= -p $$; false'
    grants = msgspec.structs.replace(HOST, volumes=Volumes(fuse="host"))
    main = Container("main", "", ("true",), mounts=(Mount("f", "/mnt", "a b/c"),))
    job = start(main, site=grants, volumes={"f": Fuse("f", script + " # SECRET")})
    job.wait()
    said = job.complaints.partition("flashlink: volume f: ")[2].splitlines()[0]
    point = job.folder / "fuse" / "f"
    assert said.startswith(f"{point}|a b/c|{job.folder}/tmp/.fuse/f/cache|1|{point}|")
    assert "SECRET" not in said
