"""Pods through a plugin on HTCondor: at a pool that shares its files, and behind a CE that does not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from flashlink.errors import SiteError
from lab.condor.conftest import write_private
from lab.condor.plugins import Plugin, runs, send

pytestmark = [pytest.mark.lab, pytest.mark.slow]

Start = Callable[..., Plugin]

GREETING = {"kind": "ConfigMap", "metadata": {"name": "greeting"}, "data": {"text": "hello\n"}}
VOLUMES = [{"name": "greeting", "configMap": {"name": "greeting"}}, {"name": "scratch", "emptyDir": {}}]
MOUNTS = [{"name": "greeting", "mountPath": "/etc/greeting"}, {"name": "scratch", "mountPath": "/scratch"}]


@pytest.fixture
def reports(condor: Any, shared: Path) -> dict[str, Any]:
    """Where jobs behind the CE report, with the lab's certificate."""
    address = condor.ce.partition(":")[0]
    for name in ("host.pem", "host.key"):
        write_private(shared / name, (condor.home / "keys" / name).read_text())
        os.chown(shared / name, condor.user, condor.user)
    return {
        "listen": f"{address}:4443",
        "url": f"https://{address}:4443",
        "certificate": str(shared / "host.pem"),
        "key": str(shared / "host.key"),
        "authority": str(condor.ca),
        "seconds": 1,
    }


@pytest.mark.parametrize("which", ["site", "ce"])
def test_a_pod_runs_in_its_container_with_its_volumes(start: Start, condor: Any, which: str) -> None:
    plugin = start(which)
    script = "cat /etc/greeting/text; touch /scratch/x; ls /scratch; exit 3"
    pod = plugin.send(script, GREETING, volumes=VOLUMES, main={"volumeMounts": MOUNTS})
    assert pod.end()["exitCode"] == 3
    assert pod.logs() == "hello\nx\n"
    assert pod.jid.startswith(f"htcondor:{which}@localhost:")
    names = {path.name for path in (plugin.work / pod.uid).iterdir()}
    assert {"journal", "logs", "job.log", "job.sh"} <= names
    assert not {"volumes", "tmp"} & names
    number = pod.jid.rpartition(":")[2]
    told = condor.run(which, "condor_q", number, "-af", "ExitCode") + condor.run(
        which, "condor_history", number, "-af", "ExitCode"
    )
    assert told.split() == ["3"]
    pod.delete()


def test_a_shared_folder_tells_what_a_running_container_does(start: Start) -> None:
    pod = start("site").send("echo first; sleep 600")
    pod.until(lambda state: "running" in state)
    pod.until(lambda _: pod.logs() == "first\n", 20)
    pod.delete(grace=0)


@pytest.mark.parametrize("which", ["site", "ce"])
def test_the_wall_time_ends_a_pod_with_the_reason_and_its_logs(start: Start, which: str) -> None:
    plugin = start(which)
    body = plugin.send("echo begun; sleep 600", activeDeadlineSeconds=2)
    ended = body.end()
    assert ended["exitCode"] != 0
    assert "deadline" in ended["message"]
    assert body.logs() == "begun\n"


@pytest.mark.parametrize("which", ["site", "ce"])
def test_a_job_that_the_operator_removes_fails_with_who_and_why(start: Start, condor: Any, which: str) -> None:
    pod = start(which).send("sleep 600")
    pod.until(lambda state: pod.jid.startswith("htcondor:"))
    condor.run(which, "condor_rm", "-reason", "the operator needs the node", pod.jid.rpartition(":")[2])
    ended = pod.end()
    assert ended["exitCode"] != 0
    assert "the operator needs the node" in ended["message"]


@pytest.mark.parametrize("forbidden_by", ["nobody", "site", "pod"])
@pytest.mark.parametrize("which", ["site", "ce"])
def test_a_job_that_is_evicted_starts_again_only_where_it_may(
    start: Start, condor: Any, shared: Path, which: str, forbidden_by: str
) -> None:
    plugin = start(which, requeue=forbidden_by != "site", tables={"grants": {"flags": ["--no-requeue"]}})
    more: dict[str, Any] = {"terminationGracePeriodSeconds": 2}
    if forbidden_by == "pod":
        more["annotations"] = {"slurm-job.vk.io/flags": "--no-requeue"}
    pod = send(plugin, shared, "pod", "[ $(wc -l </marks/pod) = 2 ] || sleep 600; exit 5", **more)
    pod.until(lambda _: runs(shared)["pod"] == 1)
    pod.until(lambda state: "running" in state or "it runs" in str(state))
    condor.run("site", "condor_vacate_job", "-constraint", f'FlashlinkUid == "{pod.uid}"')
    ended = pod.end()
    if forbidden_by == "nobody":
        assert (ended["exitCode"], runs(shared)["pod"]) == (5, 2)
    else:
        assert (ended["exitCode"], runs(shared)["pod"]) == (143, 1)
        assert "evicted from its worker, and not to be started again" in ended["message"]


@pytest.mark.parametrize("which", ["site", "ce"])
def test_a_held_job_says_why_and_fails_when_it_is_held_for_good(start: Start, condor: Any, which: str) -> None:
    pod = start(which, held_seconds=8, requirements="false").send("true")
    number = pod.jid.rpartition(":")[2]
    sent = f"{number} 1"  # a CE holds a job itself while its files are sent
    pod.until(lambda _: condor.run(which, "condor_q", number, "-af:j", "JobStatus").strip() == sent)
    condor.run(which, "condor_hold", "-reason", "no more of these", number)
    held = pod.until(lambda state: state.get("waiting", {}).get("reason") == "JobHeld")
    assert "no more of these" in held["waiting"]["message"]
    ended = pod.end()
    assert ended["exitCode"] != 0
    assert "held for too long: no more of these" in ended["message"]


def test_a_refused_pod_says_what_the_site_said(start: Start) -> None:
    plugin = start("site", attributes={"RequestMemory": "2000000"})
    with pytest.raises(SiteError, match="jobs of a terabyte are not taken here"):
        plugin.send("true")


def test_what_a_pod_may_say_by_annotation_reaches_its_job(start: Start, condor: Any) -> None:
    plugin = start("site", tables={"grants": {"flags": ["--requirements", "--wantflash"]}}, requirements="Memory > 1")
    flags = {"slurm-job.vk.io/flags": "--requirements=Cpus>=1 --wantflash=true"}
    pod = plugin.send("sleep 5", annotations=flags)
    ad = condor.run("site", "condor_q", pod.jid.rpartition(":")[2], "-af:r", "WantFlash", "Requirements")
    assert ad.startswith("true ")
    assert "(Memory > 1) && (Cpus >= 1)" in ad
    assert pod.end()["exitCode"] == 0
    with pytest.raises(SiteError, match="requirements: not a ClassAd expression"):
        plugin.send("true", annotations={"slurm-job.vk.io/flags": "--requirements=true)||(true"})


@pytest.mark.parametrize("which", ["site", "ce"])
def test_an_evicted_job_starts_again_and_its_second_run_counts(
    start: Start, condor: Any, reports: dict[str, Any], which: str
) -> None:
    plugin = start(which, tables={"reports": reports} if which == "ce" else {})
    pod = plugin.send("sleep 15; echo done")
    pod.until(lambda state: "running" in state)
    ours = f'FlashlinkUid == "{pod.uid}"'  # at the site the job that the CE has made of it
    condor.run("site", "condor_vacate_job", "-fast", "-constraint", ours)
    assert pod.end()["exitCode"] == 0
    if which == "site":
        assert (plugin.work / pod.uid / "journal").read_text().count("job-started") == 2
    assert pod.logs().endswith("done\n")


def shows(secret: str, words: str) -> bool:
    """Whether words hold any twelve characters of a secret."""
    return any(secret[start : start + 12] in words for start in range(len(secret) - 11))


def processes_of(plugin: Plugin) -> list[str]:
    """Arguments and environments of the plugin and of those that it has started."""
    parents, found = {plugin.process.pid}, []
    for entry in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        with suppress(OSError):  # it has ended
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if int(entry.name) in parents or parent in parents:
                parents.add(int(entry.name))
                found += [(entry / part).read_text(errors="replace") for part in ("cmdline", "environ")]
    return found


def test_an_expired_token_holds_new_pods_says_so_and_loses_nothing(start: Start, condor: Any, shared: Path) -> None:
    plugin = start("ce")
    token = shared / "ce" / "scitoken"
    token.write_text(condor.token(lifetime=1))
    time.sleep(2)
    pod = plugin.send("true")
    waiting = pod.until(lambda state: "expired" in state.get("waiting", {}).get("message", ""))
    assert str(token) in waiting["waiting"]["message"]
    token.write_text(condor.token())
    assert pod.end(180)["exitCode"] == 0
    given = token.read_text()
    for words in (plugin.log, str(pod.state()), pod.logs(), *processes_of(plugin)):
        assert not shows(given, words)


def test_the_plugin_gets_its_tokens_by_itself(start: Start, condor: Any, shared: Path) -> None:
    secret = shared / "secret"
    secret.touch(mode=0o600)
    secret.write_text("lab")
    os.chown(secret, condor.user, condor.user)
    openid = {
        "issuer": condor.issuer,
        "client_id": "flashlink",
        "client_secret_file": str(secret),
        "audience": f"https://{condor.ce}",
        "ca_file": str(condor.ca),
    }
    plugin = start("ce", token_file="", openid=openid)
    # All that a pod has: its environment, and what of its file system is neither the image's nor the kernel's.
    kernel = r"\( -path /proc -o -path /sys -o -path /dev \)"
    look = f"env; cat /proc/1/environ; find / {kernel} -prune -o -type f -newer /bin/sh -exec cat {{}} + 2>/dev/null"
    pod = plugin.send(f"{look}; exit 0", GREETING, volumes=VOLUMES, main={"volumeMounts": MOUNTS})
    pod.until(lambda _: pod.jid.startswith("htcondor:"))
    ads = condor.run("ce", "condor_q", "-l", "-allusers") + condor.run("site", "condor_q", "-l", "-allusers")
    assert pod.end()["exitCode"] == 0
    given = (plugin.folder / "state" / "batch" / "token").read_text()
    assert given.count(".") == 2
    assert "hello" in pod.logs()
    assert "BEARER" not in pod.logs()
    files = [path.read_text(errors="replace") for path in (plugin.work / pod.uid).rglob("*") if path.is_file()]
    for words in (plugin.log, str(pod.state()), pod.logs(), ads, *files, *processes_of(plugin)):
        assert not shows(given, words)


def test_a_job_behind_a_ce_reports_as_it_runs_and_its_final_record_stands(
    start: Start, reports: dict[str, Any]
) -> None:
    plugin = start("ce", tables={"reports": reports})
    pod = plugin.send("echo first; sleep 8; echo second; sleep 20; echo last; exit 2")
    pod.until(lambda state: "running" in state)
    assert next(pod.follow()) == "first\n"  # as it is written: the container has a long way to go
    log = plugin.work / pod.uid / "logs" / "main.0.log"
    plugin.kill()  # an outage of the address to which the job reports
    time.sleep(8)
    assert log.read_text() == "first\n"
    plugin.start()
    followed = pod.follow()
    seen = next(followed)
    while seen != "first\nsecond\n":
        seen += next(followed)
    assert "running" in pod.state()
    with log.open("a") as file:
        file.write("of nobody\n")  # what is here and not at the job has no say in the end
    assert pod.end()["exitCode"] == 2
    final = plugin.work / pod.uid / "end"  # comes with the job's output, when the CE has it
    pod.until(lambda _: final.exists())
    assert final.read_text() == "exited\n"
    assert pod.logs() == "first\nsecond\nlast\n"
    journal = (plugin.work / pod.uid / "journal").read_text()
    assert journal.count("job-started") == journal.count("job-ended") == 1
