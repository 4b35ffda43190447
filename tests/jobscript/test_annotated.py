"""What a pod's author says to the job by annotation: within what the site grants, or refused by a sentence."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest

from flashlink.errors import FlashlinkError, RequestError, SiteError
from flashlink.jobscript.plan import JobPlan, PreExec
from flashlink.jobscript.planning import plan
from flashlink.plugin.submission import specification
from flashlink.pods.pod import Container, Pod
from flashlink.site.config import Batch, Containers, Grants, Images, Site, Volumes

FLAGS, OPTIONS = "slurm-job.vk.io/flags", "slurm-job.vk.io/singularity-options"
MOUNTS, ROOT = "slurm-job.vk.io/singularity-mounts", "slurm-job.vk.io/image-root"
PRE_EXEC, WSTUNNEL = "slurm-job.vk.io/pre-exec", "interlink.eu/wstunnel-client-commands"
HOST = Site(containers=Containers(runtime="host"))


def planned(annotations: dict[str, str], image: str = "debian:12", **grants: Any) -> JobPlan:
    site = Site(
        batch=Batch(system="slurm"),
        containers=Containers(runtime="apptainer", options=["--ipc"]),
        images=Images(folders=["/cvmfs/unpacked"]),
        volumes=Volumes(host_paths=["/data"]),
        grants=Grants(**grants),
    )
    pod = Pod("uid", "p", "default", (Container("main", image, ("true",)),), annotations=annotations)
    return plan(pod, site, PurePosixPath("/pods/uid"))


def test_granted_flags_reach_the_batch_system(tmp_path: Any) -> None:
    text = "--constraint='a b' -p short --exclusive -t10 --time-min=5 -C x"
    made = planned({FLAGS: text}, flags=["--constraint", "--partition=short", "--exclusive", "--time", "--time-min=5"])
    assert made.options == (
        ("constraint", "a b"),
        ("partition", "short"),
        ("exclusive", ""),
        ("time", "10"),
        ("time-min", "5"),
        ("constraint", "x"),
    )
    assert specification(made, tmp_path / "job.sh").options["constraint"] == "x"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("--partition=long", "--partition=long"),
        ("-p long", "--partition=long"),
        ("--uid=0", "--uid=0"),
        ("--constraint x --wrap 'rm -r /'", "--wrap=rm -r /"),
        ("--constraintx", "--constraintx"),
    ],
)
def test_other_flags_are_refused_by_name(text: str, shown: str) -> None:
    with pytest.raises(SiteError) as caught:
        planned({FLAGS: text}, flags=["--constraint", "--partition=short"])
    assert str(caught.value) == (
        f"annotation {FLAGS}: this site does not grant {shown} (grants.flags); "
        "granted are: --constraint, --partition=short"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("short", "'short' is not an option; write --name, --name=value or --name value"),
        ("-Z 1", "'-Z' is not an option that flashlink knows; write its long form"),
        ("--a 'b", "is not a list of options: No closing quotation"),
        ("--A=1", "'--A=1' is not an option;"),
    ],
)
def test_what_are_no_options_is_told(text: str, why: str) -> None:
    with pytest.raises(RequestError) as caught:
        planned({FLAGS: text}, flags=["--a"])
    assert why in str(caught.value)


def test_a_flavour_is_named() -> None:
    assert planned({"slurm-job.vk.io/flavor": "gpu"}).options == (("flavour", "gpu"),)


def test_options_of_the_container_runtime() -> None:
    assert planned({OPTIONS: "--nv --network=none"}, apptainer_options=["--nv", "--network=none"]).runtime_options == (
        "--ipc",
        "--nv",
        "--network=none",
    )
    for text in ("--bind /etc:/mnt", "-B /etc", "--network=host", "--writable"):
        with pytest.raises(SiteError, match=r"singularity-options: this site does not grant"):
            planned({OPTIONS: text}, apptainer_options=["--nv", "--network=none"])


def test_mounts_are_those_of_host_paths() -> None:
    made = planned({MOUNTS: "--bind /data/a:/mnt/a:ro,/data/b -B /data/c:/data/mine"})
    assert [(str(bind.source), str(bind.target), bind.read_only) for bind in made.steps[0].binds] == [
        ("/data/a", "/mnt/a", True),
        ("/data/b", "/data/b", False),
        ("/data/c", "/data/mine", False),
    ]
    assert {str(bind.root) for bind in made.steps[0].binds} == {"/data"}


@pytest.mark.parametrize(
    ("text", "kind", "why"),
    [
        ("--bind /etc:/mnt", SiteError, "/etc is not below the site's volumes.host_paths; ask the site for it"),
        ("--bind /data/../etc:/mnt", RequestError, "is not SOURCE:TARGET or SOURCE:TARGET:ro, of absolute paths"),
        ("--bind data:/mnt", RequestError, "of absolute paths"),
        ("--bind /data:/mnt:exec", RequestError, "of absolute paths"),
        ("--writable --bind /data", RequestError, "'--writable' is not SOURCE:TARGET"),
    ],
)
def test_other_mounts_are_refused(text: str, kind: type[FlashlinkError], why: str) -> None:
    with pytest.raises(kind) as caught:
        planned({MOUNTS: text})
    assert why in str(caught.value)


def test_an_image_root_stands_before_names() -> None:
    assert planned({ROOT: "oras://registry.org/"}).steps[0].image == "oras://registry.org/debian:12"
    assert planned({ROOT: "/cvmfs/unpacked/lib/"}).steps[0].image == "/cvmfs/unpacked/lib/debian:12"
    assert planned({ROOT: "oras://registry.org/"}, image="docker://a").steps[0].image == "docker://a"
    assert planned({ROOT: ""}, image="/cvmfs/unpacked/a").steps[0].image == "/cvmfs/unpacked/a"


@pytest.mark.parametrize("root", ["/etc/", "/cvmfs/unpacked/../../etc/", "file:///etc/"])
def test_an_image_root_opens_no_other_place(root: str) -> None:
    with pytest.raises(FlashlinkError, match="image"):
        planned({ROOT: root})


@pytest.mark.parametrize("key", [PRE_EXEC, WSTUNNEL])
def test_lines_on_the_worker_need_a_grant(key: str) -> None:
    assert planned({key: " \n"}).pre_exec is None
    with pytest.raises(SiteError) as caught:
        planned({key: "true"})
    assert str(caught.value) == (
        f"annotation {key}: this site runs no lines of a pod on its workers (grants.pre_exec); leave it out"
    )


def test_the_tunnel_comes_before_the_lines() -> None:
    annotations = {PRE_EXEC: "export A=1", WSTUNNEL: "./wstunnel client &", "interlink.eu/pod-ip": "10.0.0.7"}
    assert planned(annotations, pre_exec=True).pre_exec == PreExec("./wstunnel client &\nexport A=1", "", "10.0.0.7")
    with pytest.raises(RequestError, match=r"annotation interlink.eu/pod-ip: '\$\(id\)' is not an IP address"):
        planned({**annotations, "interlink.eu/pod-ip": "$(id)"}, pre_exec=True)


def test_a_mesh_network_is_a_script_that_gets_the_rest() -> None:
    mesh = '#!/bin/bash\nset -e\ncat <<EOF >x\nEOFMESHES\nEOF\n"$@"\n'
    text = f"echo before\ncat <<'EOFMESH' > $TMPDIR/mesh.sh\n{mesh}EOFMESH\n\nexport AFTER=1\n"
    assert planned({PRE_EXEC: text}, pre_exec=True).pre_exec == PreExec("echo before\n\nexport AFTER=1\n", mesh)


def test_annotations_of_the_slurm_plugin_without_meaning_are_refused() -> None:
    from flashlink.pods.fields import check_annotations
    from flashlink.pods.value import Value

    check_annotations(Value({"slurm-job.vk.io/mpi-flags": "", "anybody.org/else": "x"}))
    with pytest.raises(RequestError, match="mpi-flags: flashlink starts no MPI"):
        check_annotations(Value({"slurm-job.vk.io/mpi-flags": "--np 4"}, "metadata.annotations"))


# As processes of this machine


@pytest.fixture
def run(start: Any) -> Any:
    """Start a pod of a shell on this machine whose author's lines run before."""

    def launch(lines: str, script: str = 'echo "of the pod"', mesh: str = "", **more: Any) -> Any:
        site = Site(containers=Containers(runtime="host"), grants=Grants(pre_exec=True))
        heredoc = f"\ncat <<'EOFMESH' > $TMPDIR/mesh.sh\n{mesh}\nEOFMESH\n" if mesh else ""
        main = Container("main", "", ("sh", "-c", script))
        return start(main, site=site, annotations={PRE_EXEC: lines + heredoc}, **more)

    return launch


def test_lines_run_before_the_containers(run: Any) -> None:
    job = run("sleep 0.3; echo 'said before'; false")
    assert job.wait() == 0
    assert job.log("main") == b"of the pod\n"
    assert job.complaints == "said before\n"
    assert job.processes() == []


def test_what_lines_leave_behind_runs_as_long_as_the_job(run: Any) -> None:
    job = run('sleep 300 & echo "$!" >pid', 'kill -0 "$(cat "$(dirname "$HOME")/.pre-exec/pid")" && echo alive')
    assert job.wait() == 0
    assert job.log("main") == b"alive\n"
    assert job.processes() == []


@pytest.mark.parametrize(
    ("lines", "code", "said"),
    [
        ("echo 'no module' >&2; exit 3", 3, "no module"),
        ("echo 'an open quote", 2, "unexpected EOF"),
        ("kill -KILL $$", 137, "nothing"),
    ],
)
def test_lines_that_end_the_job_are_told(run: Any, lines: str, code: int, said: str) -> None:
    job = run(lines)
    assert job.wait() == 128
    assert [(event.exit, event.cause) for event in job.ended("main")] == [(128, "runtime")]
    assert job.reason("main").startswith(f"its pre-exec lines ended with {code} before the containers could start; ")
    assert said in job.reason("main")
    assert sorted(path.name for path in job.folder.iterdir()) == ["job.log", "job.sh", "journal", "logs"]


@pytest.mark.parametrize("where", ["in the lines", "in the container"])
def test_a_signal_ends_lines_and_containers(run: Any, where: str) -> None:
    lines = "echo there; sleep 300" if where == "in the lines" else "true"
    job = run(lines, "trap 'echo bye; exit 7' TERM; echo there; while :; do sleep 0.1; done")
    log = job.folder / "logs" / "main.0.log"
    job.wait_for(lambda: "there" in job.complaints or (log.exists() and b"there" in log.read_bytes()))
    job.terminate()
    assert job.wait() in (7, 137, 143)
    (ended,) = job.ended("main")
    assert ended.cause == "cancelled"
    if where == "in the container":
        assert ended.exit == 7
        assert log.read_bytes() == b"there\nbye\n"
    assert job.processes() == []


def test_the_exit_code_is_the_containers(run: Any) -> None:
    assert run("true", "exit 9").wait() == 9


def test_a_deadline_holds_beyond_the_lines(run: Any) -> None:
    job = run("true", "sleep 300", deadline=1)
    assert job.wait() != 0
    assert [event.cause for event in job.ended("main")] == ["deadline"]


def test_the_job_is_the_argument_of_a_mesh(run: Any) -> None:
    job = run("export MARK=1", "echo pod", mesh='set -e\nset -m\necho "mesh $MARK"\n$@ &\nfg 1')
    assert job.wait() == 0
    assert job.log("main") == b"pod\n"
    assert "mesh 1\n" in job.complaints


def test_a_mesh_that_fails_is_told(run: Any) -> None:
    job = run("", mesh="echo 'ERROR: no wstunnel'\nexit 1")
    assert job.wait() == 128
    assert job.reason("main").endswith(" 1 before the containers could start; they said: ERROR: no wstunnel\n")
