"""The root file system of real containers: what they may write, as whom they run, where they start."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from lab.specs import assert_clean, container, one, shell

pytestmark = pytest.mark.lab


def containers(site: Any, **settings: Any) -> Any:
    """`site` with other settings of ``containers``."""
    return msgspec.structs.replace(site, containers=msgspec.structs.replace(site.containers, **settings))


WRITE = "mkdir -p /var/log/mine && echo line >>/var/log/mine/log && rm /bin/vi && cat /var/log/mine/log"


@pytest.mark.parametrize("root", ["disk", "memory"])
def test_a_container_can_write_its_root_as_in_a_cluster(pods, root):
    job = pods.run(one(shell(WRITE)), site=containers(pods.site, root=root))
    assert job.log() == b"line\n", job.job_log
    assert_clean(job)


def test_more_than_apptainers_own_64_megabytes_can_be_written(pods):
    job = pods.run(one(shell("head -c 100000000 /dev/zero >/big && stat -c %s /big")))
    assert job.log() == b"100000000\n", job.job_log
    assert_clean(job)


def test_a_python_package_can_be_installed(pods):
    script = """
import pathlib, sys, sysconfig
pathlib.Path(sysconfig.get_path("purelib")).mkdir(parents=True, exist_ok=True)
pathlib.Path(sysconfig.get_path("purelib"), "mine.py").write_text("answer = 42")
sys.path.append(sysconfig.get_path("purelib"))
import mine
print(mine.answer)
"""
    job = pods.run(one(container("python", command=["python3", "-c", script])))
    assert job.log() == b"42\n", job.job_log


def test_each_container_and_each_instance_has_a_root_of_its_own(pods):
    volume = {"volumes": [{"name": "work", "emptyDir": {}}]}
    mounts = [{"name": "work", "mountPath": "/data"}]
    again = (
        "ls /mine /tmp/mine 2>/dev/null; touch /mine /tmp/mine; [ -e /data/tried ] || { touch /data/tried; exit 1; }"
    )
    job = pods.run(one(shell(again, volumeMounts=mounts), restartPolicy="OnFailure", **volume))
    assert job.wait() == 0, job.job_log
    assert job.log(instance=0) == job.log(instance=1) == b""
    both = [{**shell(f"touch /{name}; sleep 1; ls /"), "name": name} for name in ("here", "there")]
    job = pods.run({"containers": both})
    assert b"there" not in job.log("here")
    assert b"here\n" not in job.log("there").replace(b"there\n", b"")


@pytest.mark.parametrize("by", ["the pod", "the site"])
def test_a_read_only_root_cannot_be_written(pods, by):
    context = {"securityContext": {"readOnlyRootFilesystem": True}} if by == "the pod" else {}
    site = containers(pods.site, root="disk" if by == "the pod" else "read-only")
    script = "touch /new 2>&1; touch /data/new && echo volume; touch /tmp/new && echo tmp"
    main = shell(script, volumeMounts=[{"name": "work", "mountPath": "/data"}], **context)
    job = pods.run(one(main, volumes=[{"name": "work", "emptyDir": {}}]), site=site)
    assert job.log() == b"touch: /new: Read-only file system\nvolume\ntmp\n", job.job_log


def test_killed_writers_leave_nothing(pods):
    job = pods.run(one(shell("touch /new; kill -KILL 1; sleep 60"), activeDeadlineSeconds=5))
    assert_clean(job)


def test_the_working_directory_of_the_image_is_the_default(pods):
    job = pods.run(one(container("user")))
    assert job.log() == b"/srv/work\n", job.job_log
    job = pods.run(one({**shell("pwd"), "image": "user", "workingDir": "/mnt"}))
    assert job.log() == b"/mnt\n", job.job_log
    job = pods.run(one(shell("pwd")))
    assert job.log() == b"/\n", job.job_log


@pytest.mark.parametrize("place", ["/no/such place", "/data/below/here", "/tmp/mine", "/tmp", "/var/tmp"])
def test_a_working_directory_that_is_missing_is_made(pods, place):
    main = shell("pwd", workingDir=place, volumeMounts=[{"name": "work", "mountPath": "/data"}])
    job = pods.run(one(main, volumes=[{"name": "work", "emptyDir": {}}]))
    assert job.log().decode() == place + "\n", job.job_log
    assert job.job_log == ""


def test_a_working_directory_cannot_be_made_through_a_link(pods):
    volume = {"volumes": [{"name": "work", "emptyDir": {}}]}
    mounts = [{"name": "work", "mountPath": "/data"}]
    first = {**shell(f"ln -s {pods.shared} /data/link", volumeMounts=mounts), "name": "first"}
    main = shell("pwd", workingDir="/data/link/made", volumeMounts=mounts)
    job = pods.run({"initContainers": [first], "containers": [main], **volume})
    assert job.ends()["main"] == (128, "runtime")
    assert "leads out of" in job.reason()
    assert list(pods.shared.iterdir()) == []


def test_run_as_user_and_group_are_the_jobs_or_refused(pods):
    own = pods.lab.user
    context = {"runAsUser": own, "runAsGroup": own, "runAsNonRoot": True}
    job = pods.run(one(shell("id -u; id -g"), securityContext=context))
    assert job.log().decode() == f"{own}\n{own}\n", job.job_log
    job = pods.run(one(shell("id", securityContext={"runAsUser": 1000})))
    assert job.ends() == {"main": (128, "runtime")}
    assert job.reason() == f"runAsUser is 1000, and this job runs as user {own}; leave runAsUser out\n"
    job = pods.run(one(shell("id"), securityContext={"runAsGroup": 1000}))
    assert job.reason() == f"runAsGroup is 1000, and this job runs as group {own}; leave runAsGroup out\n"


def test_root_is_of_a_user_namespace_where_the_site_allows_it(pods):
    site = containers(pods.site, fakeroot=True)
    script = "id -u; touch /mine /data/mine; stat -c %u /mine; mkdir -p /o/in && chown -R 7:7 /o && stat -c %u /o"
    main = shell(script, securityContext={"runAsUser": 0}, volumeMounts=[{"name": "work", "mountPath": "/data"}])
    volumes = [{"name": "work", "hostPath": {"path": str(pods.shared)}}]
    job = pods.run(one(main, volumes=volumes), site=site)
    assert job.log() == b"0\n0\n7\n", job.job_log
    assert (pods.shared / "mine").stat().st_uid == pods.lab.user
    assert_clean(job)


def test_no_container_has_capabilities_or_can_gain_privileges(pods):
    context = {"capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": False}
    job = pods.run(one(shell("cat /proc/self/status", securityContext=context)))
    status = dict(re.findall(r"^(\w+):\s*(.*)$", job.log().decode(), re.MULTILINE))
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"


def test_without_fuse_overlayfs_the_root_is_read_only_and_the_job_says_so(pods):
    env = {"PATH": pods.path_without("fuse-overlayfs")}
    job = pods.run(one(shell("touch /new 2>/dev/null || echo no")), env=env)
    assert job.log() == b"no\n", job.job_log
    assert "main: it cannot write outside of its volumes: this machine has no fuse-overlayfs" in job.job_log
