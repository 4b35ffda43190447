"""Probes and hooks in real containers."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import Any

import msgspec
import pytest

from flashlink.jobscript import journal
from flashlink.site.config import Containers
from lab.specs import assert_clean, container, one, shell

pytestmark = pytest.mark.lab

RUN = "trap 'echo ending; exit 3' TERM; echo up; while :; do sleep 0.1; done"
WORK = [{"name": "work", "emptyDir": {}}]
MOUNT = {"volumeMounts": [{"name": "work", "mountPath": "/shared"}]}


def sh(script: str) -> dict[str, Any]:
    return {"exec": {"command": ["sh", "-c", script]}}


def probe(handler: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**handler, "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 1, **more}


def is_ready(job: Any) -> bool:
    return any(isinstance(event, journal.Ready) and event.ready for event in job.events)


def ended(job: Any) -> list[tuple[int, str, bool]]:
    return [(event.exit, event.cause, event.again) for event in job.events if isinstance(event, journal.Ended)]


def stop(job: Any) -> int:
    os.kill(job.process.pid, signal.SIGTERM)
    return job.wait()


LOOK = """
env | grep -v SHLVL | sort; pwd; id; umask; ls -A /tmp /here
grep -E '^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs|Groups)' /proc/self/status
for each in pid user mnt ipc uts net cgroup; do readlink -f /proc/self/ns/$$each; done
"""


def test_a_probe_is_a_process_of_the_container(pods):
    env = [
        {"name": "QUOTES", "value": 'it\'s "quoted" `with` ${all} \\ of\nthem '},
        {"name": "LD_LIBRARY_PATH", "value": "/a b:$x"},
        {"name": "EMPTY", "value": ""},
    ]
    ask = probe(sh(f"[ -e /shared/pid ] && ({LOOK}) >/shared/probe && kill -0 $(cat /shared/pid)"), failureThreshold=99)
    script = f"mkdir /here; touch /here/mine /tmp/seen; ({LOOK}) >/shared/main; cd /; echo $$$$ >/shared/pid; sleep 300"
    main = shell(script, env=env, readinessProbe=ask, workingDir="/srv/work", **MOUNT)
    job = pods.start(one(main, volumes=WORK, terminationGracePeriodSeconds=1))
    job.until(is_ready)
    shared = job.folder / "volumes" / "work"
    assert (shared / "probe").read_text() == (shared / "main").read_text()
    assert "LD_LIBRARY_PATH=/a b:$x:" in (shared / "main").read_text()
    stop(job)
    assert job.job_log == ""
    assert_clean(job)


def test_an_image_without_a_shell_can_be_probed(pods):
    main = container("python", command=["python3", "-c", "import time; print('up', flush=True); time.sleep(300)"])
    program = "import os, sys; sys.exit('COLOUR' not in os.environ or os.getcwd() != '/usr/lib')"
    ask = probe({"exec": {"command": ["python3", "-c", program]}}, failureThreshold=1000)
    main |= {"env": [{"name": "COLOUR", "value": "red"}], "readinessProbe": ask, "workingDir": "/usr/lib"}
    job = pods.start(one(main, terminationGracePeriodSeconds=1))
    job.until(is_ready)
    stop(job)
    assert_clean(job)


def test_libraries_of_a_container_are_loaded_by_nothing_of_the_worker(pods):
    """nsenter, which gets the probe into the container, is a program of the worker, broken by a wrong C library."""
    (pods.shared / "libc.so.6").write_text("no library\n")
    env = [{"name": "LD_LIBRARY_PATH", "value": str(pods.shared)}]
    main = shell(RUN, env=env, readinessProbe=probe(sh('echo "$LD_LIBRARY_PATH" >/tmp/seen'), failureThreshold=99))
    job = pods.start(one(main))
    job.until(is_ready)
    seen = (job.folder / "tmp" / "main" / "tmp" / "seen").read_text()
    assert seen == f"{pods.shared}:/.singularity.d/libs\n"
    stop(job)


def test_liveness_restarts_the_container(pods):
    live = probe(sh("test ! -e /shared/ill"), failureThreshold=2)
    script = "if [ -e /shared/ill ]; then rm /shared/ill; echo again; else echo first; touch /shared/ill; fi; sleep 300"
    main = shell(script, livenessProbe=live, **MOUNT)
    job = pods.start(one(main, volumes=WORK, restartPolicy="Always", terminationGracePeriodSeconds=1))
    job.until(lambda job: job.log(instance=1) == b"again\n", 40)
    assert [(cause, again) for _, cause, again in ended(job)] == [("probe", True)]
    assert job.reason() == "its liveness probe failed 2 times in a row: exit code 1\n"
    stop(job)
    assert_clean(job)


def test_a_startup_probe_that_fails_ends_the_container(pods):
    job = pods.run(one(shell(RUN, startupProbe=probe({"exec": {"command": ["/no/such"]}}))))
    assert ended(job) == [(3, "probe", False)]
    assert re.fullmatch("its startup probe failed: exit code 127: nsenter: .*/no/such: No such file.*\n", job.reason())
    assert_clean(job)


def test_hooks_run_in_the_container(pods):
    hooks = {
        "postStart": sh("while [ ! -e /tmp/up ]; do sleep 0.05; done; echo started >>/shared/order"),
        "preStop": sh("echo stopping >>/shared/order; cp /tmp/up /shared/copy"),
    }
    script = "echo mine >/tmp/up; trap 'cat /shared/order /shared/copy; exit 4' TERM; while :; do sleep 0.1; done"
    job = pods.start(one(shell(script, lifecycle=hooks, **MOUNT), volumes=WORK))
    job.until(is_ready)
    assert stop(job) == 4
    assert job.log() == b"started\nstopping\nmine\n"
    assert ended(job) == [(4, "cancelled", False)]
    assert job.job_log == ""
    assert_clean(job)


def test_a_post_start_that_fails_ends_the_container(pods):
    job = pods.run(one(shell(RUN, lifecycle={"postStart": sh("echo no; exit 9")})))
    assert ended(job) == [(3, "hook", False)]
    assert job.reason() == "its postStart hook failed: exit code 9: no\n"
    assert_clean(job)


def test_a_probe_that_hangs_is_killed_in_the_container(pods):
    live = probe(sh("sleep 300 & sleep 301"), timeoutSeconds=1)
    job = pods.run(one(shell("trap 'ps; exit 0' TERM; while :; do sleep 0.1; done", livenessProbe=live)))
    assert job.reason() == "its liveness probe failed: no answer within 1 s\n"
    assert b"sleep 30" not in job.log()
    assert_clean(job)


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGQUIT", "SIGRTMIN+1"])
def test_the_stop_signal_is_the_containers(pods, name):
    program = f"""
import signal, sys, time
signal.signal({signal_number(name)}, lambda *_: sys.exit(6))
print(1, flush=True)
time.sleep(300)
"""
    main = container("python", command=["python3", "-c", program], lifecycle={"stopSignal": name})
    job = pods.start(one(main))
    job.until(lambda job: job.log() == b"1\n")
    assert stop(job) == 6


def signal_number(name: str) -> int:
    base, _, offset = name.partition("+")
    return getattr(signal, base) + int(offset or 0)


def test_a_killed_script_leaves_no_probe(pods):
    job = pods.start(one(shell(RUN, livenessProbe=probe(sh("sleep 300"), timeoutSeconds=300))))
    job.until(lambda job: any("sleep 300" in line for line in job.processes()))
    os.kill(job.process.pid, signal.SIGKILL)
    job.wait()
    end = time.monotonic() + 15
    while job.processes() and time.monotonic() < end:
        time.sleep(0.1)
    assert job.processes() == []


def test_ports_of_the_container_are_the_workers(pods):
    """The image's Python has no module for HTTP, but sockets."""
    program = """
import socket
with socket.create_server(("127.0.0.1", 18999)) as server:
    while True:
        with server.accept()[0] as one:
            good = one.recv(1000).startswith(b"GET /well HTTP/1.1")
            one.sendall(b"HTTP/1.1 %d X\\r\\n\\r\\n" % (204 if good else 404))
"""
    ask = probe({"httpGet": {"port": "web", "path": "/well"}}, failureThreshold=99)
    main = container("python", command=["python3", "-c", program], readinessProbe=ask)
    main["ports"] = [{"name": "web", "containerPort": 18999}]
    job = pods.start(one(main, terminationGracePeriodSeconds=1))
    job.until(is_ready, 40)
    stop(job)


@pytest.fixture
def without_util_linux(pods):
    """Variables of a worker whose Apptainer has to do it alone."""
    return {"PATH": pods.path_without("nsenter", "setpriv")}


def test_without_util_linux_a_probe_is_a_process_of_the_container_all_the_same(pods, without_util_linux):
    env = [
        {"name": "QUOTES", "value": 'it\'s "quoted" `with` ${all} \\ of\nthem '},
        {"name": "LD_LIBRARY_PATH", "value": str(pods.shared)},
        {"name": "HOME", "value": '/srv/"my" home\\'},
    ]
    look = LOOK.replace("sort", "grep -vE '^(APPTAINER|SINGULARITY)_' | sort")  # they tell of an instance
    ask = probe(sh(f"[ -e /shared/pid ] && ({look}) >/shared/probe && kill -0 $(cat /shared/pid)"), failureThreshold=99)
    script = f"mkdir /here; touch /here/mine /tmp/seen; ({look}) >/shared/main; cd /; echo $$$$ >/shared/pid; sleep 300"
    (pods.shared / "libc.so.6").write_text("no library\n")
    main = shell(script, env=env, readinessProbe=ask, workingDir="/srv/work", **MOUNT)
    job = pods.start(one(main, volumes=WORK, terminationGracePeriodSeconds=1), env=without_util_linux)
    job.until(is_ready)
    shared = job.folder / "volumes" / "work"
    assert (shared / "probe").read_text() == (shared / "main").read_text()
    stop(job)
    assert job.job_log == ""
    assert_clean(job)


def test_without_util_linux_what_hangs_is_killed_in_the_container(pods, without_util_linux):
    live = probe(sh("sleep 300 & sleep 301"), timeoutSeconds=1)
    main = shell("trap 'ps; exit 0' TERM; while :; do sleep 0.1; done", livenessProbe=live)
    job = pods.run(one(main | {"lifecycle": {"postStart": sh("echo no; exit 9")}}), env=without_util_linux)
    assert job.reason() == "its postStart hook failed: exit code 9: no\n"
    job = pods.run(one(main), env=without_util_linux)
    assert job.reason() == "its liveness probe failed: no answer within 1 s\n"
    assert b"sleep 30" not in job.log()
    assert_clean(job)


def test_a_worker_that_has_neither_starts_no_container_that_is_probed_by_commands(pods, without_util_linux):
    old = pods.shared / "apptainer"
    old.write_text("#!/bin/sh\necho apptainer version 1.2.2-1.el7\n")
    old.chmod(0o755)
    containers = Containers(runtime="apptainer", executable=str(old))
    site = msgspec.structs.replace(pods.site, containers=containers)
    job = pods.run(one(shell(RUN, livenessProbe=probe(sh("true")))), env=without_util_linux, site=site)
    assert ended(job) == [(128, "runtime", False)]
    assert job.reason() == (
        "its probes or hooks are commands, which get into it by nsenter and setpriv (util-linux) or Apptainer 1.2.3; "
        "this machine has neither\n"
    )
    assert job.log() == b""
