"""Sidecars in real containers."""

from __future__ import annotations

import os
import signal

import pytest

from lab.specs import assert_clean, one, shell

pytestmark = pytest.mark.lab

SERVE = "trap 'echo bye >>/shared/order; exit 3' TERM; echo up >>/shared/order; while :; do sleep 0.1; done"
WORK = [{"name": "work", "emptyDir": {}}]
MOUNT = {"volumeMounts": [{"name": "work", "mountPath": "/shared"}]}


def sidecar(name: str = "proxy", script: str = SERVE) -> dict[str, object]:
    return {**shell(script, restartPolicy="Always", **MOUNT), "name": name}


def test_a_sidecar_runs_beside_the_containers_and_ends_after_them(pods):
    main = shell("sleep 0.5; echo main >>/shared/order", **MOUNT)
    last = {**shell("while [ ! -s /shared/order ]; do sleep 0.1; done", **MOUNT), "name": "wait"}
    job = pods.run(one(main, initContainers=[sidecar(), last], volumes=WORK))
    assert job.wait() == 0, job.job_log
    assert job.ends() == {"wait": (0, "exited"), "main": (0, "exited"), "proxy": (3, "finished")}
    assert_clean(job)


def test_a_sidecar_that_fails_starts_again(pods):
    script = "[ -e /shared/tried ] || { touch /shared/tried; exit 1; }; touch /shared/up; sleep 300"
    main = shell("while [ ! -e /shared/up ]; do sleep 0.1; done", **MOUNT)
    job = pods.run(one(main, initContainers=[sidecar(script=script)], volumes=WORK, terminationGracePeriodSeconds=1))
    assert job.wait() == 0, job.job_log
    assert job.ends()["proxy"][1] == "finished"
    assert_clean(job)


def test_a_stopped_pod_ends_its_sidecars_last(pods):
    main = shell(
        "trap 'echo main >>/shared/order; cat /shared/order; exit 5' TERM; echo up; while :; do sleep 0.1; done",
        **MOUNT,
    )
    job = pods.start(one(main, initContainers=[sidecar()], volumes=WORK))
    job.until(lambda job: b"up" in job.log())
    os.kill(job.process.pid, signal.SIGTERM)
    assert job.wait() == 5
    assert job.log() == b"up\nup\nmain\n"
    assert job.ends() == {"main": (5, "cancelled"), "proxy": (3, "finished")}
    assert_clean(job)
