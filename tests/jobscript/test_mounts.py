"""Volumes of host processes, at mount paths that the machine does not have; as root and as a plain user."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flashlink.pods.pod import Container, EmptyDir, File, Files, HostPath, Mount
from flashlink.site.config import Containers, Site, Volumes
from flashlink.site.runtime import can_mount

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_mount(), reason="no mount namespaces for this user here"),
]

Start = Callable[..., Any]
NOBODY = 65534


def shell(name: str, script: str, *mounts: Mount) -> Container:
    return Container(name=name, image="any", command=("sh", "-c", script), mounts=mounts)


@pytest.fixture(params=["self", "nobody"])
def user(request: pytest.FixtureRequest) -> int | None:
    """As whom the job runs: as the tests do, and as a plain user where the tests run as root."""
    if request.param == "self":
        return None
    if os.geteuid() != 0:
        pytest.skip("the tests run as a plain user already")
    return NOBODY


@pytest.fixture
def shared(user: int | None) -> Iterator[Path]:
    """A folder that the user of the job can reach (pytest's own are for the user of the tests alone)."""
    folder = Path(tempfile.mkdtemp(prefix="flashlink-test-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def run(start: Start, user: int | None, shared: Path) -> Start:
    """``run(container, ..., volumes)`` gives the ended job."""

    def wait(*containers: Container, volumes: list[Any], grants: Path | None = None, **more: Any) -> Any:
        site = Site(containers=Containers(runtime="host"), volumes=Volumes(host_paths=[str(grants)] if grants else []))
        by_name = {volume.name: volume for volume in volumes}
        job = start(*containers, volumes=by_name, site=site, within=shared, as_user=user, **more)
        job.wait()
        return job

    return wait


def exits(job: Any, *names: str) -> list[int]:
    return [job.ended(name)[0].exit for name in names]


@pytest.mark.parametrize(
    "path",
    ["/flashlink-none", "/flashlink-none/a/b", "/etc/flashlink-none", "/usr/share/none/deep", "/mnt"],
)
def test_a_volume_is_where_the_pod_wants_it_and_the_machine_is_unchanged(run: Start, path: str) -> None:
    there = Path(path).exists()
    volume = Files("conf", (File("key", b"value\n"), File("sub/other", b"deep")))
    job = run(shell("main", f"cat {path}/key {path}/sub/other; id -u", Mount("conf", path)), volumes=[volume])
    assert exits(job, "main") == [0], job.complaints + job.log("main").decode()
    assert job.log("main").startswith(b"value\ndeep")
    assert Path(path).exists() is there


@pytest.mark.parametrize(("folder", "path"), [("/tmp", "flashlink-none"), ("/var/tmp", "flashlink-none/x")])
def test_a_mount_that_would_swallow_what_is_written_beside_it_is_refused(run: Start, folder: str, path: str) -> None:
    job = run(shell("main", "true", Mount("e", f"{folder}/{path}")), volumes=[EmptyDir("e")])
    assert exits(job, "main") == [128]
    lost = f"cannot mount at {folder}/{path}: what the container writes beside it, in {folder}, would be lost"
    assert job.reason("main").startswith(lost)
    assert job.reason("main").count("\n") == 1
    assert not Path(folder, path).exists()


def test_files_written_beside_a_mount_in_a_host_path_are_kept(run: Start, shared: Path) -> None:
    data = shared / "data"
    data.mkdir()
    data.chmod(0o777)
    volumes = [HostPath("d", str(data)), Files("c", (File("key", b"value\n"),))]
    mounts = (Mount("d", str(data)), Mount("c", f"{data}/conf"))
    job = run(shell("main", f"cat {data}/conf/key; echo out >{data}/beside", *mounts), volumes=volumes, grants=data)
    assert exits(job, "main") == [0], job.complaints
    assert job.log("main") == b"value\n"
    assert (data / "beside").read_text() == "out\n"
    assert list((data / "conf").iterdir()) == []  # as in Kubernetes, the mount point stays


def test_the_rest_of_the_machine_is_still_there(run: Start) -> None:
    look = "ls -d /bin /usr/bin /etc/passwd /proc/self /dev/null /tmp; echo x >/dev/null; pwd; touch here"
    mounts = (Mount("e", "/flashlink-none"), Mount("e", "/etc/flashlink-none"))
    job = run(shell("main", look, *mounts), volumes=[EmptyDir("e")])
    assert exits(job, "main") == [0], job.log("main").decode()


def test_the_process_is_who_it_was(run: Start, user: int | None) -> None:
    job = run(shell("main", "id -u; id -g", Mount("e", "/flashlink-none")), volumes=[EmptyDir("e")])
    uid, gid = (os.getuid(), os.getgid()) if user is None else (user, user)
    assert job.log("main").split() == [str(uid).encode(), str(gid).encode()]


def test_an_empty_dir_is_shared(run: Start) -> None:
    writer = shell("writer", "echo hello >/flashlink-a/word", Mount("e", "/flashlink-a"))
    reader = shell(
        "reader",
        "until [ -s /flashlink-b/word ]; do sleep 0.05; done; cat /flashlink-b/word",
        Mount("e", "/flashlink-b"),
    )
    job = run(writer, reader, volumes=[EmptyDir("e")])
    assert job.log("reader") == b"hello\n"


def test_files_are_exact_with_their_modes_and_read_only(run: Start) -> None:
    content = bytes(range(256)) * 10
    volume = Files("s", (File("bin", content, 0o400), File("run", b"#!/bin/sh\necho ran\n", 0o755)))
    script = (
        "cat /flashlink-s/bin; stat -c %a /flashlink-s/bin /flashlink-s/run >&2; /flashlink-s/run >&2;"
        "echo x 2>/dev/null >/flashlink-s/new || echo refused >&2"
    )
    job = run(
        shell("main", f"({script}) 2>$TMPDIR/words; cat $TMPDIR/words", Mount("s", "/flashlink-s")), volumes=[volume]
    )
    assert job.log("main") == content + b"400\n755\nran\nrefused\n"


def test_a_single_file_by_sub_path(run: Start) -> None:
    volume = Files("c", (File("a", b"A"), File("b", b"B")))
    job = run(shell("main", "cat /etc/flashlink.conf", Mount("c", "/etc/flashlink.conf", "b")), volumes=[volume])
    assert job.log("main") == b"B"


def test_a_sub_path_that_goes_on_where_there_is_a_file_is_refused(run: Start) -> None:
    main = shell("main", "cat /flashlink-c/x", Mount("c", "/flashlink-c", "a/x"))
    job = run(main, volumes=[Files("c", (File("a", b"A"),))])
    assert exits(job, "main") == [128]
    assert "/volumes/c/a/x does not exist on this machine" in job.complaints
    assert job.log("main") == b""


def test_a_file_over_one_that_exists(run: Start) -> None:
    before = Path("/etc/hostname").read_bytes() if Path("/etc/hostname").exists() else None
    target = "/etc/hostname" if before is not None else "/etc/passwd"
    kept = Path(target).read_bytes()
    volume = Files("c", (File("a", b"other\n"),))
    job = run(shell("main", f"cat {target}", Mount("c", target, "a")), volumes=[volume])
    assert job.log("main") == b"other\n"
    assert Path(target).read_bytes() == kept


def test_a_sub_path_of_an_empty_dir_is_made(run: Start) -> None:
    mounts = (Mount("e", "/flashlink-e"), Mount("e", "/flashlink-sub", "deep/er"))
    job = run(shell("main", "echo x >/flashlink-sub/f; cat /flashlink-e/deep/er/f", *mounts), volumes=[EmptyDir("e")])
    assert job.log("main") == b"x\n"


def test_a_mount_inside_a_mount(run: Start) -> None:
    mounts = (Mount("c", "/flashlink-e/conf"), Mount("e", "/flashlink-e"))
    volumes = [EmptyDir("e"), Files("c", (File("a", b"A"),))]
    job = run(shell("main", "cat /flashlink-e/conf/a; echo x >/flashlink-e/y", *mounts), volumes=volumes)
    assert (exits(job, "main"), job.log("main")) == ([0], b"A")


def test_a_sub_path_that_a_container_led_elsewhere_is_refused(run: Start) -> None:
    evil = shell("evil", "ln -s /etc /flashlink-e/way", Mount("e", "/flashlink-e"))
    main = shell("main", "cat /flashlink-out/passwd", Mount("e", "/flashlink-out", "way"))
    job = run(main, init=(evil,), volumes=[EmptyDir("e")])
    assert exits(job, "main") == [128]
    assert "leads out of" in job.complaints
    assert job.log("main") == b""


def test_host_paths(run: Start, shared: Path) -> None:
    data = shared / "data"
    data.mkdir()
    data.chmod(0o777)
    (data / "in").write_text("from the host\n")
    mounts = (Mount("d", "/flashlink-d"), Mount("d", "/flashlink-ro", read_only=True))
    script = "cat /flashlink-ro/in; echo out >/flashlink-d/out; echo x 2>/dev/null >/flashlink-ro/no || echo refused"
    job = run(shell("main", script, *mounts), volumes=[HostPath("d", str(data))], grants=data)
    assert job.log("main") == b"from the host\nrefused\n"
    assert (data / "out").read_text() == "out\n"
    assert sorted(path.name for path in data.iterdir()) == ["in", "out"]


def test_a_host_path_at_itself_read_only(run: Start, shared: Path) -> None:
    data = shared / "data"
    data.mkdir()
    data.chmod(0o777)
    mount = Mount("d", str(data), read_only=True)
    job = run(
        shell("main", f"echo x 2>/dev/null >{data}/no || echo refused", mount),
        volumes=[HostPath("d", str(data))],
        grants=data,
    )
    assert job.log("main") == b"refused\n"


@pytest.mark.parametrize(
    ("kind", "made", "code"),
    [
        ("", None, 128),
        ("Directory", None, 128),
        ("File", None, 128),
        ("DirectoryOrCreate", "dir", 0),
        ("FileOrCreate", "file", 0),
    ],
)
def test_types_of_host_paths(run: Start, shared: Path, kind: str, made: str | None, code: int) -> None:
    path = shared / "wanted"
    job = run(
        shell("main", "true", Mount("d", "/flashlink-d")), volumes=[HostPath("d", str(path), kind)], grants=shared
    )
    assert exits(job, "main") == [code], job.complaints
    assert {None: not path.exists(), "dir": path.is_dir(), "file": path.is_file()}[made]


def test_a_link_out_of_what_the_site_grants_is_refused(run: Start, shared: Path) -> None:
    (shared / "way").symlink_to("/etc")
    volume = HostPath("d", str(shared / "way"))
    job = run(shell("main", "true", Mount("d", "/flashlink-d")), volumes=[volume], grants=shared)
    assert exits(job, "main") == [128]
    assert "leads out of" in job.complaints


def test_odd_names_of_folders(run: Start, shared: Path) -> None:
    data = shared / "a b,c:d'e\"f"
    data.mkdir()
    (data / "in").write_text("odd\n")
    target = "/flashlink-x y/ü,:'\""
    container = Container("main", "", ("cat", f"{target}/in"), mounts=(Mount("d", target),))
    job = run(container, volumes=[HostPath("d", str(data))], grants=shared)
    assert job.log("main") == b"odd\n", job.complaints


def test_restarts_come_with_their_mounts(run: Start) -> None:
    script = "echo x >>/flashlink-e/count; [ $(wc -l </flashlink-e/count) -ge 2 ]"
    job = run(
        shell("main", script, Mount("e", "/flashlink-e")),
        volumes=[EmptyDir("e")],
        restart_policy="OnFailure",
        environment={"FLASHLINK_BACKOFF": "0"},
    )
    assert [event.exit for event in job.ended("main")] == [1, 0]


def test_nothing_is_left(run: Start) -> None:
    job = run(
        shell("main", "true", Mount("e", "/flashlink-e"), Mount("e", "/etc/flashlink-e")), volumes=[EmptyDir("e")]
    )
    assert sorted(path.name for path in job.folder.iterdir()) == ["job.log", "job.sh", "journal", "logs"]
    assert job.complaints == ""
    assert str(job.folder) not in Path("/proc/self/mountinfo").read_text()
