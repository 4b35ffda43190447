"""Pods as job scripts in real containers: what Kubernetes says, byte for byte, and nothing left behind."""

from __future__ import annotations

import base64
import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from flashlink.jobscript import journal
from flashlink.site.config import Volumes
from lab.specs import assert_clean, container, one, shell

pytestmark = pytest.mark.lab

CHECKOUT = Path(__file__).parents[2]

#: What a shell, a line-based format or a careless quoting would change.
HOSTILE = {
    "QUOTES": """it's "quoted" `with` all $(of) ${them} $HOME \\ \\n""",
    "NEWLINES": "first\nsecond\n\nlast\n",
    "UNICODE": "Λ_b⁰ → J/ψ p K⁻ \u202e \x01\t",
    "EMPTY": "",
    "SPACES": "  two  spaces  ",
    "COMMAS": "a,b=c:d;e|f&g>h",
    "STAR": "* ? [a-z] ~ !! #",
    "LONG": "0123456789" * 10_000,
}


def test_a_container_writes_its_log_and_ends(pods):
    job = pods.run(one(shell("echo out; echo err >&2; exit 7")))
    assert job.wait() == 7, job.job_log
    assert job.log() == b"out\nerr\n"
    assert job.ends() == {"main": (7, "exited")}
    assert_clean(job)


def test_nothing_but_the_pod_is_in_its_log(pods):
    job = pods.run(one(shell("")))
    assert job.log() == b""
    assert job.job_log == ""


def test_the_command_gets_its_arguments_byte_for_byte(pods):
    words = [value for name, value in HOSTILE.items() if name != "LONG"]
    print_all = "import sys; sys.stdout.buffer.write(b'\\0'.join(map(__import__('os').fsencode, sys.argv[1:])))"
    # $(HOME) would be Kubernetes' own syntax; these words hold only shells' syntax, so $(of) is kept as it is.
    job = pods.run(one(container("python", command=["python3", "-c", print_all], args=words)))
    assert job.log().decode().split("\0") == words, job.job_log


def test_the_environment_is_byte_for_byte(pods):
    dump = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(b'='.join(item) for item in os.environb.items()))"
    env = [{"name": name, "value": value.replace("$(", "$$(")} for name, value in HOSTILE.items()]
    job = pods.run(one(container("python", command=["python3", "-c", dump], env=env)))
    seen = dict(item.split("=", 1) for item in job.log().decode().split("\0"))
    assert {name: seen.get(name) for name in HOSTILE} == HOSTILE, job.job_log


def test_nothing_of_the_worker_is_in_the_environment(pods):
    job = pods.run(one(shell("env")))
    names = {line.split("=")[0] for line in job.log().decode().splitlines()}
    assert not names & {"SHELL", "USER", "LOGNAME", "APPTAINERENV_PATH"}
    assert {"PATH", "HOME", "FLASHLINK_POD"} <= names


def test_search_paths_can_be_set(pods):
    env = [{"name": "PATH", "value": "/mine:/bin"}, {"name": "LD_LIBRARY_PATH", "value": "/a place:/b"}]
    job = pods.run(one(container(command=["/bin/sh", "-c", 'echo "$PATH"; echo "$LD_LIBRARY_PATH"'], env=env)))
    # Apptainer adds the folder of the GPU's libraries, whatever one does.
    assert job.log() == b"/mine:/bin\n/a place:/b:/.singularity.d/libs\n", job.job_log


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["of the entry point", "of CMD", "$HOME"]),
        ({"args": ["a b", "$c", ""]}, ["of the entry point", "a b", "$c", ""]),
        ({"command": ["/bin/show", "mine"]}, ["mine"]),
        ({"command": ["/bin/show"], "args": ["x", "y 'z'"]}, ["x", "y 'z'"]),
    ],
)
def test_entry_point_and_cmd_in_all_combinations(pods, fields, expected):
    job = pods.run(one(container("entrypoint", **fields)))
    assert job.log().decode().splitlines() == [f"[{word}]" for word in expected], job.job_log


def test_home_can_be_set(pods):
    value = '/my "home", of mine'
    job = pods.run(one(shell('echo "$HOME"', env=[{"name": "HOME", "value": value}])))
    assert job.log().decode() == value + "\n", job.job_log


def test_the_working_directory_is_the_pods(pods):
    job = pods.run(one(shell("pwd", workingDir="/srv/work")))
    assert job.log() == b"/srv/work\n"


def test_the_image_sets_variables_and_the_pod_overrides_them(pods):
    script = 'echo "$ANSWER"'
    first = {**shell(script, image="user"), "name": "its-own"}
    second = {**shell(script, image="user", env=[{"name": "ANSWER", "value": "no"}]), "name": "the-pods"}
    job = pods.run({"containers": [first, second]})
    assert (job.log("its-own"), job.log("the-pods")) == (b"forty two\n", b"no\n")


def test_config_maps_and_secrets_are_files(pods):
    binary = bytes(range(256))
    config = {
        "kind": "ConfigMap",
        "metadata": {"name": "config"},
        "data": {"text": "line\\n\nno newline at end"},
        "binaryData": {"binary": base64.b64encode(binary).decode()},
    }
    secret = {
        "kind": "Secret",
        "metadata": {"name": "secret"},
        "data": {"key.pem": base64.b64encode(b"-----BEGIN\nx\n").decode()},
    }
    volumes = [
        {"name": "config", "configMap": {"name": "config", "defaultMode": 0o444}},
        {
            "name": "secret",
            "secret": {"secretName": "secret", "defaultMode": 0o400, "items": [{"key": "key.pem", "path": "a/b"}]},
        },
    ]
    mounts = [{"name": "config", "mountPath": "/etc/my config"}, {"name": "secret", "mountPath": "/run/secret"}]
    script = "cd '/etc/my config' && cat text binary /run/secret/a/b && stat -Lc %a /run/secret/a/b text"
    job = pods.run(one(shell(script, volumeMounts=mounts), volumes=volumes), config, secret)
    assert job.log() == b"line\\n\nno newline at end" + binary + b"-----BEGIN\nx\n" + b"400\n444\n", job.job_log
    assert_clean(job)


def test_files_cannot_be_written(pods):
    config = {"kind": "ConfigMap", "metadata": {"name": "config"}, "data": {"text": "as it was"}}
    volumes = [{"name": "config", "configMap": {"name": "config"}}]
    mounts = [{"name": "config", "mountPath": "/config"}]
    job = pods.run(
        one(
            shell(
                "(echo x >/config/text; rm /config/text; touch /config/new) 2>/dev/null; cat /config/text; ls /config",
                volumeMounts=mounts,
            ),
            volumes=volumes,
        ),
        config,
    )
    assert job.log() == b"as it was" + b"text\n", job.job_log


def test_init_containers_run_in_order_and_share_an_empty_dir(pods):
    mounts = [{"name": "work", "mountPath": "/shared"}]
    first = {**shell("sleep 0.5; echo first >>/shared/order", volumeMounts=mounts), "name": "first"}
    second = {**shell("echo second >>/shared/order", volumeMounts=mounts), "name": "second"}
    main = shell("cat /shared/order", volumeMounts=mounts)
    job = pods.run(
        {"initContainers": [first, second], "containers": [main], "volumes": [{"name": "work", "emptyDir": {}}]}
    )
    assert job.log() == b"first\nsecond\n", job.job_log
    assert_clean(job)


def test_a_failed_init_container_stops_the_pod(pods):
    bad = {**shell("exit 3"), "name": "bad"}
    later = {**shell("true"), "name": "later"}
    job = pods.run({"initContainers": [bad, later], "containers": [shell("true")]})
    assert job.wait() == 3
    skipped = {event.container: event.init for event in job.events if isinstance(event, journal.Skipped)}
    assert skipped == {"later": "bad", "main": "bad"}
    assert_clean(job)


def test_containers_run_side_by_side(pods):
    mounts = [{"name": "work", "mountPath": "/shared"}]
    meet = "touch /shared/$0; for _ in $(seq 100); do [ -e /shared/$1 ] && exit 0; sleep 0.1; done; exit 1"
    here = {**container(command=["sh", "-c", meet, "here", "there"], volumeMounts=mounts), "name": "here"}
    there = {**container(command=["sh", "-c", meet, "there", "here"], volumeMounts=mounts), "name": "there"}
    job = pods.run({"containers": [here, there], "volumes": [{"name": "work", "emptyDir": {}}]})
    assert job.ends() == {"here": (0, "exited"), "there": (0, "exited")}, job.job_log


def test_a_container_has_tmp_and_home_of_its_own(pods):
    script = 'touch /tmp/mine "$HOME/mine" && ls -A /tmp && cd "$HOME" && ls'
    job = pods.run({"containers": [{**shell(script), "name": "here"}, {**shell(script), "name": "there"}]})
    assert job.log("here") == job.log("there") == b"mine\nmine\n", job.job_log
    assert_clean(job)


def test_a_host_path_is_mounted_as_the_site_grants_it(pods):
    (pods.shared / "given").write_text("of the worker\n")
    volumes = [{"name": "shared", "hostPath": {"path": str(pods.shared)}}]
    mounts = [
        {"name": "shared", "mountPath": "/data"},
        {"name": "shared", "mountPath": "/data-ro", "readOnly": True},
        {"name": "shared", "mountPath": str(pods.shared)},
    ]
    script = f"cat /data/given; echo new >/data/new; touch /data-ro/no 2>/dev/null || echo refused; ls {pods.shared}"
    job = pods.run(one(shell(script, volumeMounts=mounts), volumes=volumes))
    assert job.log() == b"of the worker\nrefused\ngiven\nnew\n", job.job_log
    assert (pods.shared / "new").read_text() == "new\n"


def test_mount_paths_of_any_name(pods):
    names = ["a,b", "a b", 'a"b', "a'b", "a\\b", "a$b", "ψ"]
    volumes = [{"name": "work", "emptyDir": {}}]
    mounts = [{"name": "work", "mountPath": f"/mnt/{name}"} for name in names]
    job = pods.run(
        one(
            shell("touch /mnt/ψ/seen; for name in /mnt/*/seen; do printf '%s\\n' \"$name\"; done", volumeMounts=mounts),
            volumes=volumes,
        )
    )
    assert sorted(job.log().decode().splitlines()) == sorted(f"/mnt/{name}/seen" for name in names), job.job_log


def test_a_sub_path_is_made_and_mounted(pods):
    volumes = [{"name": "work", "emptyDir": {}}]
    mounts = [{"name": "work", "mountPath": "/all"}, {"name": "work", "mountPath": "/part", "subPath": "deep/down"}]
    job = pods.run(one(shell("echo x >/part/file; cat /all/deep/down/file", volumeMounts=mounts), volumes=volumes))
    assert job.log() == b"x\n", job.job_log


def test_exit_codes_of_signals_and_missing_programs(pods):
    killed = {**shell("kill -KILL $$$$"), "name": "killed"}
    segfault = {**shell("kill -SEGV $$$$; sleep 5"), "name": "segfault"}
    missing = {**container(command=["/no/such/program"]), "name": "missing"}
    most = {**shell("exit 255"), "name": "most"}
    job = pods.run({"containers": [killed, segfault, missing, most]})
    codes = {name: code for name, (code, _) in job.ends().items()}
    assert codes.pop("missing") == 128, job.job_log
    assert job.reason("missing") == "stat /no/such/program: no such file or directory\n"
    assert job.ends()["most"] == (255, "exited")
    assert codes == {"killed": 137, "segfault": 139, "most": 255}, job.job_log


def test_sigterm_reaches_the_container_which_may_end_in_its_own_way(pods):
    script = "trap 'echo ending; exit 5' TERM; echo ready; while :; do sleep 0.1; done"
    job = pods.start(one(shell(script), terminationGracePeriodSeconds=20))
    job.until(lambda job: b"ready" in job.log())
    began = time.monotonic()
    os.kill(job.process.pid, signal.SIGTERM)
    assert job.wait() == 5
    assert time.monotonic() - began < 5
    assert job.log() == b"ready\nending\n"
    assert job.ends() == {"main": (5, "cancelled")}
    assert_clean(job)


def test_sigkill_comes_after_the_grace(pods):
    script = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    job = pods.start(one(shell(script), terminationGracePeriodSeconds=1))
    job.until(lambda job: b"ready" in job.log())
    began = time.monotonic()
    os.kill(job.process.pid, signal.SIGTERM)
    assert job.wait() == 137
    assert 0.9 < time.monotonic() - began < 6
    assert_clean(job)


def test_the_script_itself_killed_leaves_no_process(pods):
    job = pods.start(one(shell("echo ready; sleep 300")))
    job.until(lambda job: b"ready" in job.log())
    os.kill(job.process.pid, signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL
    end = time.monotonic() + 10
    while job.processes() and time.monotonic() < end:
        time.sleep(0.1)
    assert job.processes() == []


def test_a_deadline_ends_the_pod(pods):
    job = pods.run(one(shell("sleep 60"), activeDeadlineSeconds=1, terminationGracePeriodSeconds=1))
    assert job.ends()["main"][1] == "deadline"
    assert job.wait() != 0
    assert_clean(job)


def test_what_a_container_leaves_running_ends_with_it(pods):
    job = pods.run(one(shell("setsid sleep 300 & sleep 301 & sleep 0.3; echo done")))
    assert job.log() == b"done\n"
    assert_clean(job)


def test_a_container_restarts_on_failure(pods):
    mounts = [{"name": "work", "mountPath": "/shared"}]
    main = shell("echo again; [ -e /shared/tried ] || { touch /shared/tried; exit 1; }", volumeMounts=mounts)
    job = pods.run(one(main, restartPolicy="OnFailure", volumes=[{"name": "work", "emptyDir": {}}]))
    assert job.wait() == 0
    assert job.log(instance=0) == job.log(instance=1) == b"again\n"


def test_a_missing_image_is_told_in_the_jobs_log(pods):
    job = pods.run(one(container("/images/gone.sif", command=["true"])))
    assert job.ends() == {"main": (128, "runtime")}
    assert "main: its image /images/gone.sif does not exist" in job.job_log
    assert job.reason() == "its image /images/gone.sif does not exist on this machine\n"
    assert job.log() == b""


def test_an_image_that_cannot_be_fetched_is_told_to_the_user(pods):
    job = pods.run(one(container("docker://127.0.0.1:9/no/such:image", command=["true"])))
    assert job.ends() == {"main": (128, "runtime")}
    assert job.reason().startswith("its image could not be fetched: ")
    assert "127.0.0.1:9" in job.reason()
    assert job.reason().count("\n") == 1
    assert job.log() == b""
    assert_clean(job)


@pytest.mark.parametrize("medium", ["", "Memory"])
def test_an_empty_dir_over_its_limit_ends_the_pod(pods, medium):
    volumes = [{"name": "work", "emptyDir": {"medium": medium, "sizeLimit": "1Mi"}}]
    fill = "trap '' TERM; stat -f -c %T /shared; head -c 3000000 /dev/zero >/shared/big; while :; do sleep 0.1; done"
    main = shell(fill, volumeMounts=[{"name": "work", "mountPath": "/shared"}])
    job = pods.run(one(main, volumes=volumes, terminationGracePeriodSeconds=600))
    assert job.ends()["main"][1] == "evicted", job.job_log
    assert job.reason() == 'Usage of EmptyDir volume "work" exceeds the limit "1Mi"\n'
    assert (job.log() == b"tmpfs\n") == (medium == "Memory")
    assert not Path("/dev/shm", f"flashlink-{job.uid}").exists()
    assert_clean(job)


def test_a_delete_can_give_another_grace(pods):
    job = pods.start(
        one(shell("trap '' TERM; echo ready; while :; do sleep 0.1; done"), terminationGracePeriodSeconds=600)
    )
    job.until(lambda job: b"ready" in job.log())
    (job.folder / "grace").write_text("0\n")
    began = time.monotonic()
    os.kill(job.process.pid, signal.SIGTERM)
    assert job.wait() == 137
    assert time.monotonic() - began < 6


def test_folder_and_script_are_private(pods):
    job = pods.run(one(shell("true")))
    assert stat.S_IMODE(job.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((job.folder / "logs" / "main.0.log").stat().st_mode) & 0o077 == 0


def test_a_cvmfs_repository_is_mounted_read_only(pods):
    # A folder plays CVMFS here; the lab has no client for it.
    fake = pods.shared / "cvmfs"
    (fake / "lhcb.cern.ch" / "lib").mkdir(parents=True)
    (fake / "lhcb.cern.ch" / "lib" / "setup.sh").write_text("of LHCb\n")
    site = msgspec.structs.replace(pods.site, volumes=Volumes(cvmfs=str(fake)))
    mounts = [
        {"name": "software", "mountPath": "/cvmfs/lhcb.cern.ch"},
        {"name": "software", "mountPath": "/lib-of-lhcb", "subPath": "lib"},
    ]
    script = (
        "cat /cvmfs/*/lib/setup.sh /lib-of-lhcb/setup.sh; touch /cvmfs/lhcb.cern.ch/new 2>/dev/null || echo refused"
    )
    spec = one(
        shell(script, volumeMounts=mounts),
        volumes=[{"name": "software", "persistentVolumeClaim": {"claimName": "no-such-claim"}}],
    )
    job = pods.run(spec, annotations={"cvmfs.vk.io/software": "lhcb.cern.ch"}, site=site)
    assert job.log() == b"of LHCb\nof LHCb\nrefused\n", job.job_log
    job = pods.run(spec, annotations={"cvmfs.vk.io/software": "atlas.cern.ch"}, site=site)
    assert job.ends() == {"main": (128, "runtime")}
    assert job.reason() == (
        f"CVMFS has no repository atlas.cern.ch on this machine: there is no folder {fake}/atlas.cern.ch\n"
    )


def test_what_is_mounted_on_the_worker_later_is_seen(lab, tmp_path):
    # As root, who can share a mount as systemd shares all of them; the container is the plain user's.
    later = "(sleep 2; mount -t tmpfs tmpfs shared/point; echo later >shared/point/file; chmod 755 shared/point) &"
    look = "for i in $(seq 50); do cat /data/point/file 2>/dev/null && exit; sleep 0.2; done; echo never"
    run = "setpriv --reuid lab --regid lab --init-groups apptainer --silent exec --cleanenv --contain --no-eval --pid"
    mount = f"--no-home --mount type=bind,source={tmp_path}/shared,destination=/data"
    share = "mkdir -p shared/point; mount --bind shared shared; mount --make-rshared shared"
    script = f"cd {tmp_path}; {share}; {later} {run} {mount} {lab.images['shell']} sh -c '{look}'"
    lab.give(tmp_path)
    enter = [str(CHECKOUT / "lab" / "enter"), "--root", "--bind", str(tmp_path), "bash", "-c", script]
    done = subprocess.run(enter, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    assert done.stdout == "later\n", done.stderr
