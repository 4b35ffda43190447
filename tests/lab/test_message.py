"""The last words of real containers: files that they write, wherever those are, or the end of their logs."""

from __future__ import annotations

import msgspec
import pytest

from flashlink.jobscript import journal
from flashlink.site.config import Containers
from lab.specs import assert_clean, one, shell

pytestmark = pytest.mark.lab

WRITE = "printf 'of the container\\n' >%s; exit 3"


def message(job, container="main", instance=0):
    path = job.folder / "logs" / f"{container}.{instance}.message"
    return path.read_bytes() if path.exists() else None


@pytest.mark.parametrize("root", ["disk", "memory", "read-only"])
def test_what_a_container_writes_to_its_usual_file(pods, root):
    site = msgspec.structs.replace(
        pods.site, containers=Containers(runtime="apptainer", executable="/usr/bin/apptainer", root=root)
    )
    job = pods.run(one(shell(WRITE % "/dev/termination-log")), site=site)
    assert job.ends() == {"main": (3, "exited")}, job.job_log
    assert message(job) == b"of the container\n", job.job_log
    assert job.job_log == ""
    assert_clean(job)


def test_what_root_of_a_user_namespace_writes(pods):
    site = msgspec.structs.replace(
        pods.site, containers=Containers(runtime="apptainer", executable="/usr/bin/apptainer", fakeroot=True)
    )
    job = pods.run(one(shell(WRITE % "/dev/termination-log", securityContext={"runAsUser": 0})), site=site)
    assert message(job) == b"of the container\n", job.job_log


def test_files_elsewhere(pods):
    paths = ["/dev/custom-log", "/dev/a/b", "/run/it's here", "/tmp/log", "/home/pod/log", "/vol/log", "/vol/deep/log"]
    mounts = [{"name": "vol", "mountPath": "/vol"}]
    containers = [
        {
            **shell('printf "$1" >"$1"', path, terminationMessagePath=path, volumeMounts=mounts),
            "name": f"c{number}",
        }
        for number, path in enumerate(paths)
    ]
    job = pods.run({"containers": containers, "volumes": [{"name": "vol", "emptyDir": {}}]})
    assert job.wait() == 0, job.job_log
    assert [message(job, each["name"]) for each in containers] == [path.encode() for path in paths]
    assert_clean(job)


def test_no_more_than_its_end_and_none_where_there_is_none(pods):
    long = {**shell("seq 1 100000 >/dev/termination-log"), "name": "long"}
    silent = {**shell("echo on the log; exit 1"), "name": "silent"}
    job = pods.run({"containers": [long, silent]})
    assert len(message(job, "long")) == 4096
    assert message(job, "long").endswith(b"\n99999\n100000\n")
    assert message(job, "silent") is None


def test_the_end_of_the_log_of_what_has_failed(pods):
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    failed = {**shell("seq 1 100; exit 1", **policy), "name": "failed"}
    good = {**shell("seq 1 100", **policy), "name": "good"}
    both = {**shell("seq 1 100; echo file >/dev/termination-log; exit 1", **policy), "name": "both"}
    wide = {**shell('seq 1000 1200 | sed "s/$/ and many more words in each line/"; exit 1', **policy), "name": "wide"}
    job = pods.run({"containers": [failed, good, both, wide]})
    assert message(job, "failed") == "".join(f"{number}\n" for number in range(21, 101)).encode()
    assert message(job, "good") is None
    assert message(job, "both") == b"file\n"
    assert len(message(job, "wide")) == 2048


def test_each_start_begins_anew(pods):
    again = (
        "[ ! -s /dev/termination-log ] || echo old; cat /mnt/all >/dev/termination-log 2>/dev/null; "
        "echo x >>/mnt/all; [ $(wc -l </mnt/all) = 2 ]"
    )
    mounts = [{"name": "vol", "mountPath": "/mnt"}]
    spec = one(shell(again, volumeMounts=mounts), volumes=[{"name": "vol", "emptyDir": {}}], restartPolicy="OnFailure")
    job = pods.run(spec, env={"FLASHLINK_BACKOFF": "0"})
    assert job.ends() == {"main": (0, "exited")}
    assert (message(job), message(job, instance=1)) == (None, b"x\n")
    assert job.log(instance=1) == b""
    assert any(isinstance(event, journal.Ended) and event.again for event in job.events)


def test_a_command_that_reads_the_files_of_apptainer_does_not_wait(pods):
    source = "for file in /.singularity.d/env/*.sh; do . $file; done; echo through; echo end >/dev/termination-log"
    job = pods.run(one(shell(source)))
    assert job.log() == b"through\n", job.job_log
    assert message(job) == b"end\n"
