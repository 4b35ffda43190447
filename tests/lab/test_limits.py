"""Limits in real containers: memory, disk, logs."""

from __future__ import annotations

import pytest

from lab.specs import assert_clean, container, one, shell

pytestmark = pytest.mark.lab

HOLD = "import sys, time; held = bytearray(int(sys.argv[1]) << 20); print('held', flush=True); time.sleep(4)"


def limits(**amounts: str) -> dict[str, dict[str, dict[str, str]]]:
    return {"resources": {"limits": {name.replace("_", "-"): amount for name, amount in amounts.items()}}}


def hold(mebibytes: int, **fields):
    return container("python", command=["python3", "-c", HOLD, str(mebibytes)], **fields)


def test_a_container_over_its_memory_is_killed_and_the_others_go_on(pods):
    greedy = {**hold(120, **limits(memory="64Mi")), "name": "greedy"}
    job = pods.run({"containers": [greedy, shell("sleep 3; echo well")]})
    assert job.ends() == {"greedy": (137, "oom"), "main": (0, "exited")}, job.job_log
    assert job.reason("greedy").startswith("OOMKilled: used ")
    assert job.reason("greedy").endswith("Mi of 64Mi\n")
    assert job.log() == b"well\n"
    assert_clean(job)


def test_what_apptainer_itself_uses_is_not_the_containers(pods):
    # Its own processes beside a container hold several tens of MiB.
    job = pods.run(one(shell("sleep 3; echo small", **limits(memory="8Mi"))))
    assert job.ends() == {"main": (0, "exited")}, job.reason()
    assert job.log() == b"small\n"


def test_an_empty_dir_in_memory_counts_as_memory(pods):
    mounts = {"volumeMounts": [{"name": "work", "mountPath": "/dev/shm"}]}
    volumes = [{"name": "work", "emptyDir": {"medium": "Memory"}}]
    main = shell("head -c 90000000 /dev/zero >/dev/shm/big; sleep 60", **limits(memory="64Mi"), **mounts)
    job = pods.run(one(main, volumes=volumes))
    assert job.ends() == {"main": (137, "oom")}, job.job_log
    assert_clean(job)


@pytest.mark.parametrize("place", ["/root-of-the-image", "/tmp/file", "$HOME/file", "/dev/stdout"])
def test_a_container_over_its_disk_ends_the_pod(pods, place):
    script = f"trap '' TERM; head -c 4000000 /dev/zero >{place}; while :; do sleep 0.1; done"
    job = pods.run(one(shell(script, **limits(ephemeral_storage="3Mi")), terminationGracePeriodSeconds=600))
    assert job.ends()["main"][1] == "evicted", job.job_log
    assert job.reason() == 'Container main exceeded its local ephemeral storage limit "3Mi"\n'
    assert_clean(job)


def test_empty_dirs_count_as_the_pods_disk(pods):
    mounts = {"volumeMounts": [{"name": "work", "mountPath": "/mine"}]}
    main = shell("head -c 4000000 /dev/zero >/mine/big; sleep 60", **limits(ephemeral_storage="3Mi"), **mounts)
    job = pods.run(one(main, volumes=[{"name": "work", "emptyDir": {}}]))
    assert job.reason() == "Pod ephemeral local storage usage exceeds the total limit of containers 3Mi\n"
    assert_clean(job)


def test_who_opens_standard_error_anew_empties_nothing(pods):
    job = pods.run(one(shell("echo one; echo two >/dev/stderr; echo three >/dev/stdout; echo four >&2")))
    assert job.log() == b"one\ntwo\nthree\nfour\n"
