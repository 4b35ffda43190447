"""Volumes that pods mount by FUSE themselves, on the worker and inside of real containers, with a real rclone."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flashlink.jobscript import journal
from lab.specs import assert_clean, one, shell

pytestmark = pytest.mark.lab

#: What rclone mounts here: a folder of the machine, by a configuration in the volume's scratch.
RCLONE = """printf '[here]\\ntype = local\\n' >"$CACHEDIR/rclone.conf"
mkdir -p "$CACHEDIR/remote/deep"
echo "hello world" >"$CACHEDIR/remote/file.txt"
echo "from below" >"$CACHEDIR/remote/deep/file.txt"
"""
MOUNT = (
    RCLONE
    + 'exec rclone mount2 --allow-non-empty --config "$CACHEDIR/rclone.conf" "here:$CACHEDIR/remote" "$MOUNT_POINT"\n'
)

#: A pod of people who know nothing of this, as it stands in flashlink's mission.
MISSION = """cat << EOS > /tmp/rc1one.conf
[example]
type = local
EOS
mkdir -p /tmp/remote
echo "hello world" > /tmp/remote/file.txt
rclone mount2 --config /tmp/rc1one.conf --allow-non-empty example:/tmp/remote $MOUNT_POINT
"""
MISSION_SPEC = {
    "containers": [
        {
            "name": "main",
            "image": "rclone/rclone:latest",
            "command": ["cat"],
            "args": ["/mnt/fuse-vol/file.txt"],
            "volumeMounts": [{"name": "my-fuse-vol", "mountPath": "/mnt/fuse-vol"}],
        }
    ],
    "volumes": [{"name": "my-fuse-vol", "persistentVolumeClaim": {"claimName": "csi.example.com"}}],
}


def with_fuse(site: Any, where: str, **more: Any) -> Any:
    return msgspec.structs.replace(site, volumes=msgspec.structs.replace(site.volumes, fuse=where, **more))


@pytest.fixture(params=["host", "container"])
def where(request):
    return request.param


@pytest.fixture
def run(pods, where):
    """Start a pod of one container, rclone's image, with the volume ``vol`` at ``/vol`` mounted by a script."""

    def start(main: dict[str, Any], script: str = MOUNT, **more: Any) -> Any:
        site = with_fuse(pods.site, more.pop("where", where), **more.pop("volumes_of_site", {}))
        main = {"volumeMounts": [{"name": "vol", "mountPath": "/vol"}], **main, "image": "rclone"}
        return pods.start(
            {**one(main), "volumes": [{"name": "vol", "persistentVolumeClaim": {"claimName": "none"}}], **more},
            annotations={"fuse.vk.io/vol": script},
            site=site,
        )

    return start


def assert_unmounted(job: Any) -> None:
    assert_clean(job)
    assert [path for path in Path("/proc").glob("[0-9]*/mountinfo") if str(job.folder) in _text(path)] == []


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def test_the_pod_of_the_mission_says_hello_world(pods, where):
    site = with_fuse(pods.site, where)
    job = pods.run(MISSION_SPEC, annotations={"fuse.vk.io/my-fuse-vol": MISSION}, site=site)
    assert job.log() == b"hello world\n", job.job_log
    assert job.ends() == {"main": (0, "exited")}
    assert_unmounted(job)


def test_what_a_script_says_is_in_the_jobs_log_only(run):
    job = run(shell("cat /vol/file.txt"), 'echo "said by the script"; echo "and its error" >&2\n' + MOUNT)
    assert job.wait() == 0, job.job_log
    assert job.log() == b"hello world\n"
    assert "flashlink: volume vol: said by the script\n" in job.job_log
    assert "flashlink: volume vol: and its error\n" in job.job_log


def test_a_container_starts_when_the_mount_is_there(run):
    job = run(shell("cat /vol/file.txt"), "sleep 2\n" + MOUNT)
    assert job.wait() == 0, job.job_log
    assert job.log() == b"hello world\n"


def test_the_images_own_entry_point_waits_too(pods, where):
    volumes = [{"name": "vol", "persistentVolumeClaim": {"claimName": "none"}}]
    main = {"name": "main", "image": "rclone", "args": ["cat", "/vol/file.txt"]}
    main["volumeMounts"] = [{"name": "vol", "mountPath": "/vol"}]
    site = with_fuse(pods.site, where)
    job = pods.run(one(main, volumes=volumes), annotations={"fuse.vk.io/vol": "sleep 1\n" + MOUNT}, site=site)
    assert job.log().endswith(b"hello world\n"), job.job_log  # rclone misses its configuration, and says so first


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'no such bucket' >&2; exit 3\n", "its script ended"),
        ("echo 'no such bucket'; sleep 600\n", "nothing was mounted in 2 s"),
    ],
    ids=["fails", "hangs"],
)
def test_a_script_that_does_not_mount_is_told_with_its_last_lines(run, script, why):
    job = run(shell("cat /vol/file.txt"), "echo first\n" + script, volumes_of_site={"fuse_seconds": 2})
    job.wait()
    assert job.ends() == {"main": (128, "runtime")}
    assert job.reason().startswith("volume vol could not be mounted: " + why)
    assert job.reason().endswith("; it said: first; no such bucket\n")
    assert job.log() == b""
    assert_unmounted(job)


def test_a_script_of_another_interpreter(run):
    job = run(shell("cat /vol/file.txt"), "#!/bin/sh -eu\n" + MOUNT)
    assert job.wait() == 0, job.job_log
    assert job.log() == b"hello world\n"


def test_what_containers_write_arrives(pods, where):
    pods.shared.joinpath("remote").mkdir(mode=0o777)
    pods.lab.give(pods.shared / "remote")
    # Inside of containers rclone sees the folder by a volume of its own.
    script = """printf '[here]\\ntype = local\\n' >"$CACHEDIR/rclone.conf"
exec rclone mount2 --allow-non-empty --config "$CACHEDIR/rclone.conf" \\
  --vfs-cache-mode writes --vfs-write-back 1s --cache-dir "$CACHEDIR" \\
  here:{remote} "$MOUNT_POINT"
"""
    remote = str(pods.shared / "remote") if where == "host" else "/remote"
    mounts = [{"name": "vol", "mountPath": "/vol"}, {"name": "remote", "mountPath": "/remote"}]
    main = shell("echo 'a result' >/vol/result; sleep 3", image="rclone", volumeMounts=mounts)
    volumes = [
        {"name": "vol", "persistentVolumeClaim": {"claimName": "none"}},
        {"name": "remote", "hostPath": {"path": str(pods.shared / "remote")}},
    ]
    annotations = {"fuse.vk.io/vol": script.replace("{remote}", remote)}
    job = pods.run(one(main, volumes=volumes), annotations=annotations, site=with_fuse(pods.site, where))
    assert job.wait() == 0, job.job_log
    assert (pods.shared / "remote" / "result").read_text() == "a result\n"
    assert_unmounted(job)


def test_a_sub_path_that_the_script_mounts(run):
    script = MOUNT.replace('$CACHEDIR/remote"', '$CACHEDIR/remote/$SUB_PATH"')
    mounts = [{"name": "vol", "mountPath": "/vol", "subPath": "deep"}]
    job = run(shell("cat /vol/file.txt", volumeMounts=mounts), script)
    assert job.wait() == 0, job.job_log
    assert job.log() == b"from below\n"
    assert_unmounted(job)


def test_a_sub_path_of_which_the_script_knows_nothing(run):
    mounts = [{"name": "vol", "mountPath": "/vol", "subPath": "deep"}]
    job = run(shell("cat /vol/file.txt", volumeMounts=mounts), where="host")
    assert job.wait() == 0, job.job_log
    assert job.log() == b"from below\n"


def test_containers_share_a_volume_and_one_has_it_read_only(pods):
    mounts = [{"name": "vol", "mountPath": "/vol"}]
    first = {**shell("cat /vol/file.txt; echo 'of first' >/vol/first", volumeMounts=mounts), "name": "first"}
    here = {**shell("cat /vol/first; echo 'of here' >/vol/here", volumeMounts=mounts), "name": "here"}
    wait = "until [ -e /vol/here ]; do sleep 0.2; done; cat /vol/here; touch /vol/new 2>/dev/null || echo refused"
    there = {**shell(wait, volumeMounts=[{**mounts[0], "readOnly": True}]), "name": "there"}
    job = pods.run(
        {
            "initContainers": [first],
            "containers": [here, there],
            "volumes": [{"name": "vol", "persistentVolumeClaim": {"claimName": "none"}}],
        },
        annotations={"fuse.vk.io/vol": MOUNT.replace("mount2", "mount2 --dir-cache-time 0s")},
        site=with_fuse(pods.site, "host"),
    )
    assert job.wait() == 0, job.job_log
    assert [job.log(name) for name in ("first", "here", "there")] == [
        b"hello world\n",
        b"of first\n",
        b"of here\nrefused\n",
    ]
    assert_unmounted(job)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_is_unmounted_when_the_job_is_killed(run, how):
    job = run(shell("cat /vol/file.txt; sleep 600"), terminationGracePeriodSeconds=1)
    job.until(lambda job: job.log() == b"hello world\n")
    os.kill(job.process.pid, how)
    job.wait()
    job.until_clean(assert_unmounted)


@pytest.mark.parametrize("victim", ["rclone", "script"])
def test_it_is_unmounted_when_its_daemon_is_killed(run, victim):
    script = MOUNT.replace("exec ", "") if victim == "script" else MOUNT
    wait = "cat /vol/file.txt; until [ -e /go/on ]; do sleep 0.2; done; cat /vol/file.txt 2>&1"
    mounts = [{"name": "vol", "mountPath": "/vol"}, {"name": "go", "mountPath": "/go"}]
    job = run(
        shell(wait, volumeMounts=mounts),
        script,
        volumes=[{"name": "vol", "persistentVolumeClaim": {"claimName": "none"}}, {"name": "go", "emptyDir": {}}],
    )
    job.until(lambda job: job.log() == b"hello world\n")
    for pid in job.pids("rclone mount2" if victim == "rclone" else "/script"):
        os.kill(pid, signal.SIGKILL)
    (job.folder / "volumes" / "go" / "on").touch()
    job.wait()
    if victim == "rclone":
        assert b"Transport endpoint is not connected" in job.log() or b"Socket not connected" in job.log(), job.job_log
    assert_unmounted(job)


@pytest.mark.parametrize("where", ["host"], indirect=True)
def test_what_is_not_mounted_any_more_is_told(run):
    first = shell("echo up; sleep 2", name="first")
    job = run(shell("cat /vol/file.txt"), initContainers=[first])
    job.until(lambda job: job.log("first") == b"up\n")
    for pid in job.pids("rclone mount2"):
        os.kill(pid, signal.SIGKILL)
    job.wait()
    assert job.reason() == "volume vol is not mounted any more: its script has ended\n"
    assert_unmounted(job)


def test_a_deadline_while_it_is_mounted_ends_the_pod(run):
    job = run(shell("cat /vol/file.txt; sleep 600"), activeDeadlineSeconds=4, terminationGracePeriodSeconds=1)
    assert job.wait() != 0
    assert job.ends()["main"][1] == "deadline"
    assert_unmounted(job)


def test_a_cancelled_pod_does_not_wait_for_a_mount(run):
    job = run(shell("cat /vol/file.txt"), "sleep 600\n", terminationGracePeriodSeconds=1)
    job.until(lambda job: any(isinstance(event, journal.JobStarted) for event in job.events) and job.pids("sleep 600"))
    os.kill(job.process.pid, signal.SIGTERM)
    job.wait(25)
    assert job.ends()["main"][0] != 0
    assert_unmounted(job)


def test_a_pod_that_is_killed_never_loses_what_is_mounted(pods, run):
    remote = pods.shared / "remote"
    remote.mkdir()
    (remote / "precious").write_text("data")
    pods.lab.give(remote)
    script = MOUNT.replace("here:$CACHEDIR/remote", f"here:{remote}")
    job = run(shell("cat /vol/precious; sleep 600"), script, where="host", terminationGracePeriodSeconds=1)
    job.until(lambda job: job.log() == b"data")
    os.kill(job.process.pid, signal.SIGKILL)
    job.wait()
    job.until_clean(assert_unmounted)
    assert (remote / "precious").read_text() == "data"


def test_odd_mount_paths(run, where):
    place = "/mnt/a,b\"c'd$e"
    mounts = [{"name": "vol", "mountPath": place}]
    job = run(shell('cat "$1/file.txt"', place.replace("$", "$$"), volumeMounts=mounts))
    assert job.wait() == 0, job.job_log
    assert job.log() == b"hello world\n"
