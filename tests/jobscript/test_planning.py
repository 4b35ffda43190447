from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import msgspec
import pytest

from flashlink.errors import RequestError, SiteError
from flashlink.jobscript.plan import Bind, JobPlan
from flashlink.jobscript.planning import needs_mounts, plan
from flashlink.pods.pod import (
    Claim,
    Container,
    Cvmfs,
    EmptyDir,
    File,
    Files,
    HostPath,
    Mount,
    Pod,
    Resources,
    Security,
    Volume,
)
from flashlink.site.config import Batch, Containers, Images, Limits, Site, Volumes

FOLDER = PurePosixPath("/pods/uid")
APPTAINER = Site(
    batch=Batch(system="htcondor"),
    containers=Containers(runtime="apptainer", executable="/usr/bin/apptainer"),
    images=Images(folders=["/cvmfs/unpacked"], aliases={"lhcb:1": "/images/lhcb.sif"}),
    volumes=Volumes(host_paths=["/data", "/scratch/"], claims={"store": "/grid/store"}, cvmfs="/cvmfs"),
)
HOST = Site(containers=Containers(runtime="host", path=["/opt/bin"]))


def pod(volume: Volume | None = None, *, site: Site = APPTAINER, mount: Mount | None = None, **more: Any) -> JobPlan:
    """The plan of a pod with one container, which `more` describes, and perhaps one volume at /mnt."""
    mounts = (mount or Mount(volume.name, "/mnt"),) if volume else ()
    container = Container(**{"name": "main", "image": "debian:12", "command": ("true",), "mounts": mounts, **more})
    return plan(Pod("uid", "p", "default", (container,), volumes={volume.name: volume} if volume else {}), site, FOLDER)


def bind_of(made: JobPlan) -> Bind:
    (bind,) = made.steps[0].binds
    return bind


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("debian:12", "docker://debian:12"),
        ("docker://debian:12", "docker://debian:12"),
        ("oras://registry.org/a/b:1", "oras://registry.org/a/b:1"),
        ("library://a/b", "library://a/b"),
        ("lhcb:1", "/images/lhcb.sif"),
        ("/cvmfs/unpacked/debian:12", "/cvmfs/unpacked/debian:12"),
        ("localhost:5000/a", "docker://localhost:5000/a"),
    ],
)
def test_images(image: str, expected: str) -> None:
    assert pod(image=image).steps[0].image == expected


@pytest.mark.parametrize("image", ["/etc/passwd", "/cvmfs/unpacked/../secret.sif", "/cvmfs/unpackedmore/x"])
def test_image_files_outside_the_sites_folders_are_refused(image: str) -> None:
    with pytest.raises(SiteError, match=r"container main: image .* is not below a folder of the site's images.folders"):
        pod(image=image)


@pytest.mark.parametrize("image", ["docker-daemon://x", "file:///etc/passwd", "instance://other"])
def test_unknown_transports_are_refused(image: str) -> None:
    with pytest.raises(RequestError, match="has an unknown transport; use docker://, oras://, library://"):
        pod(image=image)


@pytest.mark.parametrize(
    ("command", "args", "argv", "rest"),
    [
        (None, None, None, ()),
        (None, ("a",), None, ("a",)),
        (("sh",), None, ("sh",), ()),
        (("sh",), ("-c", "x"), ("sh", "-c", "x"), ()),
    ],
)
def test_command_and_args(command: Any, args: Any, argv: Any, rest: Any) -> None:
    (step,) = pod(command=command, args=args).steps
    assert (step.argv, step.args) == (argv, rest)


def test_a_host_process_needs_a_command() -> None:
    with pytest.raises(SiteError, match="container main: this site runs pods without images"):
        pod(site=HOST, command=None)
    assert pod(site=HOST).steps[0].image == ""
    assert pod(site=HOST).path == ("/opt/bin",)


def test_volumes_of_the_pod_lie_in_its_folder() -> None:
    bind = bind_of(pod(EmptyDir("e"), mount=Mount("e", "/mnt/", sub_path="a/b")))
    assert (bind.source, bind.target, bind.read_only) == (FOLDER / "volumes/e/a/b", PurePosixPath("/mnt"), False)
    assert bind_of(pod(Files("c", (File("x", b""),)))).read_only


@pytest.mark.parametrize(
    ("path", "source"),
    [("/data", "/data"), ("/data/a/", "/data/a"), ("/scratch/b", "/scratch/b"), ("//data/x", "/data/x")],
)
def test_host_paths_below_what_the_site_grants(path: str, source: str) -> None:
    assert bind_of(pod(HostPath("h", path))).source == PurePosixPath(source)


@pytest.mark.parametrize("path", ["/", "/etc", "/database", "/data/../etc", "data", "/scratch/../data/.."])
def test_other_host_paths_are_refused(path: str) -> None:
    with pytest.raises(SiteError, match=r"volume h: hostPath .* is not below the site's volumes.host_paths"):
        pod(HostPath("h", path))


def test_claims() -> None:
    assert bind_of(pod(Claim("c", "store"))).source == PurePosixPath("/grid/store")
    with pytest.raises(SiteError, match="volume c: nothing stands for claim 'mine' here"):
        pod(Claim("c", "mine"))


def test_cvmfs() -> None:
    bind = bind_of(pod(Cvmfs("c", "lhcb.cern.ch")))
    assert (bind.source, bind.read_only) == (PurePosixPath("/cvmfs/lhcb.cern.ch"), True)
    with pytest.raises(SiteError, match="volume c: this site has no CVMFS"):
        pod(Cvmfs("c", "lhcb.cern.ch"), site=HOST)
    with pytest.raises(RequestError, match="is not a CVMFS repository"):
        pod(Cvmfs("c", "../etc"))


@pytest.mark.parametrize(("kind", "expected"), [("", "volume"), ("Directory", "Directory"), ("File", "File")])
def test_a_missing_sub_path_of_a_host_path_is_made_unless_its_type_says_what_is_there(kind: str, expected: str) -> None:
    bind = bind_of(pod(HostPath("h", "/data/x", kind), mount=Mount("h", "/mnt", "part")))
    assert (bind.source, bind.root, bind.kind) == (PurePosixPath("/data/x/part"), PurePosixPath("/data"), expected)


def test_a_sub_path_never_leaves_the_volume() -> None:
    for sub_path in ("../x", "a/../../x", "/etc"):
        with pytest.raises(RequestError, match="leaves the volume"):
            pod(EmptyDir("e"), mount=Mount("e", "/mnt", sub_path=sub_path))


def test_parents_are_mounted_before_their_children() -> None:
    mounts = (Mount("e", "/a/b/c"), Mount("e", "/z"), Mount("e", "/a"))
    container = Container("main", "x", ("true",), mounts=mounts)
    made = plan(Pod("uid", "p", "d", (container,), volumes={"e": EmptyDir("e")}), APPTAINER, FOLDER)
    assert [str(bind.target) for bind in made.steps[0].binds] == ["/z", "/a", "/a/b/c"]


@pytest.mark.parametrize("name", ["a-b", "a.b", "1a", "FLASHLINK_POD", ""])
def test_names_of_variables_that_bash_cannot_hold(name: str) -> None:
    with pytest.raises(RequestError, match=f"container main: a variable cannot be named '{name}' here"):
        pod(env={name: "x"})


def test_names_that_bash_or_apptainer_keeps_to_itself() -> None:
    assert pod(env={"SHLVL": "1"}).steps[0].env == (("SHLVL", "1"),)
    assert pod(env={"GID": "1"}, site=HOST).steps[0].env == (("GID", "1"),)
    for name, site in (("SHLVL", HOST), ("UID", HOST), ("UID", APPTAINER), ("GID", APPTAINER)):
        with pytest.raises(RequestError, match=f"a variable cannot be named '{name}' here"):
            pod(env={name: "1"}, site=site)


def test_a_home_that_apptainer_cannot_be_told() -> None:
    with pytest.raises(RequestError, match="HOME cannot hold a colon in Apptainer"):
        pod(env={"HOME": "/a:b"})
    assert pod(env={"HOME": "/a:b"}, site=HOST).steps[0].env == (("HOME", "/a:b"),)


@pytest.mark.parametrize("name", ["HOME", "PATH", "PS1"])
def test_variables_that_apptainer_does_not_leave_empty(name: str) -> None:
    assert pod(env={name: ""}, site=HOST).steps[0].env == ((name, ""),)
    with pytest.raises(RequestError, match=f"container main: {name} cannot be empty in Apptainer"):
        pod(env={name: ""})


def test_what_a_process_cannot_be_told_is_refused() -> None:
    env = {f"V{number}": "x" * 100_000 for number in range(30)}
    assert len(pod(env=dict(list(env.items())[:10])).steps[0].env) == 10
    with pytest.raises(RequestError, match=r"its arguments and variables have \d+ bytes together, Apptainer takes"):
        pod(env=dict(list(env.items())[:11]))
    assert len(pod(env=dict(list(env.items())[:20]), site=HOST).steps[0].env) == 20
    with pytest.raises(RequestError, match=r"its arguments and variables have \d+ bytes together, Linux takes"):
        pod(command=("true", *env.values()), site=HOST)


def test_paths_of_flashlink_itself_are_refused() -> None:
    with pytest.raises(RequestError, match=r"container main: /[.]flashlink-message is a path that flashlink uses"):
        pod(EmptyDir("v"), mount=Mount("v", "/.flashlink-message"))


def test_what_linux_cannot_pass_on_is_refused() -> None:
    with pytest.raises(RequestError, match="the value of BIG has 200000 bytes, Linux takes"):
        pod(env={"BIG": "x" * 200_000})
    with pytest.raises(RequestError, match="one argument has 200000 bytes"):
        pod(command=("true", "x" * 200_000))


def test_resources_and_the_sites_defaults() -> None:
    assert pod().resources == Resources(cpu=1.0, memory=2**30)
    assert pod(requests=Resources(cpu=0.5, memory=5)).resources == Resources(cpu=0.5, memory=5)


@pytest.mark.parametrize(
    ("limit", "deadline", "walltime"), [(0, None, 0), (100, None, 100), (0, 10, 100), (50, 10, 50)]
)
def test_walltime(limit: int, deadline: int | None, walltime: int) -> None:
    site = Site(containers=HOST.containers, limits=Limits(walltime_seconds=limit))
    container = Container("main", "", ("true",))
    assert plan(Pod("uid", "p", "d", (container,), deadline=deadline, grace=30), site, FOLDER).walltime == walltime


def test_which_plans_need_mounts() -> None:
    site = Site(containers=Containers(runtime="host"), volumes=Volumes(host_paths=["/data"]))
    same, other = Mount("h", "/data/x"), Mount("h", "/else")
    assert not needs_mounts(pod(HostPath("h", "/data/x"), site=site, mount=same))
    assert needs_mounts(pod(HostPath("h", "/data/x"), site=site, mount=other))
    assert needs_mounts(pod(HostPath("h", "/data/x"), site=site, mount=Mount("h", "/data/x", read_only=True)))
    assert not needs_mounts(pod(HostPath("h", "/data"), mount=other))


def test_a_security_context_reaches_the_step() -> None:
    step = pod(security=Security(1000, 100, non_root=True, read_only_root=True)).steps[0]
    assert (step.user, step.group, step.non_root, step.root, step.fake_root) == (1000, 100, True, "read-only", False)
    assert pod().steps[0].root == "disk"


def test_the_site_says_where_a_container_writes() -> None:
    site = msgspec.structs.replace(APPTAINER, containers=Containers(runtime="apptainer", root="memory"))
    assert pod(site=site).steps[0].root == "memory"
    assert pod(site=site, security=Security(read_only_root=True)).steps[0].root == "read-only"


def test_root_of_a_user_namespace_only_where_the_site_allows_it() -> None:
    with pytest.raises(SiteError, match=r"^container main: runAsUser 0: this site runs no container as root"):
        pod(security=Security(user=0))
    with pytest.raises(SiteError, match=r"runAsUser 0"):
        pod(site=Site(containers=Containers(runtime="host", fakeroot=True)), security=Security(user=0))
    site = msgspec.structs.replace(APPTAINER, containers=Containers(runtime="apptainer", fakeroot=True))
    assert pod(site=site, security=Security(user=0)).steps[0].fake_root
    assert not pod(site=site).steps[0].fake_root


@pytest.mark.parametrize("policy", ["", "Always", "IfNotPresent"])
def test_images_are_fetched_unless_the_pod_forbids_it(policy: str) -> None:
    assert pod(image="debian:12", pull=policy).steps[0].image == "docker://debian:12"


def test_a_pod_that_may_not_fetch_runs_only_what_the_site_has() -> None:
    assert pod(image="lhcb:1", pull="Never").steps[0].image == "/images/lhcb.sif"
    assert pod(image="/cvmfs/unpacked/a", pull="Never").steps[0].image == "/cvmfs/unpacked/a"
    with pytest.raises(
        SiteError, match=r"^container main: imagePullPolicy Never: this site has no copy of docker://a;"
    ):
        pod(image="a", pull="Never")


def test_registries_by_plain_http_are_those_that_the_site_names() -> None:
    site = msgspec.structs.replace(APPTAINER, images=Images(plain_http=["localhost:5000"], cache="/var/cache/images"))
    assert pod(site=site, image="localhost:5000/a/b").steps[0].fetch_options == ("--no-https",)
    assert pod(site=site, image="oras://localhost:5000/a/b").steps[0].fetch_options == ("--no-https",)
    assert pod(site=site, image="docker://localhost/a").steps[0].fetch_options == ()
    assert pod(site=site).image_cache == "/var/cache/images"


def test_who_starts_again() -> None:
    init = (
        Container("once", "", ("true",)),
        Container("try", "", ("true",), restart="OnFailure"),
        Container("side", "", ("true",), restart="Always", sidecar=True),
    )
    main = (Container("main", "", ("true",)), Container("never", "", ("true",), restart="Never"))
    made = plan(Pod("uid", "p", "d", main, init, restart_policy="Always"), HOST, FOLDER)
    policies = {step.name: step.restart for step in (*made.init_steps, *made.steps)}
    assert policies == {"once": "OnFailure", "try": "OnFailure", "side": "Always", "main": "Always", "never": "Never"}


def asks(cpu: float, *, sidecar: bool = False) -> Container:
    return Container("c", "", ("true",), requests=Resources(cpu=cpu, memory=int(10 * cpu)), sidecar=sidecar)


@pytest.mark.parametrize(
    ("init", "main", "cpu"),
    [
        ((), (1, 2), 3),
        ((asks(5),), (1, 2), 5),
        ((asks(1, sidecar=True),), (1, 2), 4),
        ((asks(1, sidecar=True), asks(5)), (1, 2), 6),
        ((asks(5), asks(1, sidecar=True)), (1, 2), 5),
        ((asks(1, sidecar=True), asks(2, sidecar=True), asks(2)), (1,), 5),
    ],
)
def test_a_pod_asks_for_what_kubernetes_reckons(
    init: tuple[Container, ...], main: tuple[float, ...], cpu: float
) -> None:
    asked = Pod("uid", "p", "d", tuple(asks(each) for each in main), init).resources
    assert (asked.cpu, asked.memory) == (cpu, 10 * cpu)
