"""Generated pods, all the way from JSON to what their containers get: no injection, no way out, not a byte changed."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy, lists

from flashlink.errors import RequestError, SiteError
from flashlink.site.runtime import can_mount
from jobscript import oracle
from jobscript.sandbox import Declared, Ran, Sandbox, tree
from pods import strategies

Json = dict[str, Any]

#: How a volume is refused that has a path as a file and as a folder; no kubelet could make it.
TWICE = "would be a file and, for"

#: Pods that run at the same time: what a job takes is mostly waiting.
AT_ONCE = 4


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path) as made:
        yield made


def generated(count: int, strategy: SearchStrategy[Any]) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
    """Call a function with `count` values that the strategy generates, the same at every run."""

    def decorate(function: Callable[[Any], None]) -> Callable[[], None]:
        return settings(
            max_examples=count,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )(given(strategy)(function))

    return decorate


def assert_one_line(error: Exception, *saying: str) -> None:
    """It is one line and, if `saying` has any, says one of these."""
    line = str(error)
    assert line
    assert not saying or any(words in line for words in saying), line
    assert line.isprintable(), ascii(line)
    assert len(line) < 1000, line


def check_declared(request: Json, declared: list[Declared], folder: Path) -> None:
    """Every word and byte is what the request says."""
    expected = oracle.containers(request)
    assert [each.name for each in declared] == [each.name for each in expected]
    for seen, asked in zip(declared, expected, strict=True):
        assert (seen.argv or None) == asked.command
        assert seen.args == asked.args
        assert seen.env == asked.env
        assert seen.workdir == asked.working_dir
        mounts = {target: mode for _, target, mode, _, _ in seen.binds}
        read_only = _read_only(request)
        assert mounts == {
            target: "ro" if ro or volume in read_only else "rw" for target, (volume, _, ro) in asked.mounts.items()
        }
        for source, target, _, _, root in seen.binds:
            assert source == posixpath.normpath(source)
            assert f"{source}/".startswith(f"{root}/")
            assert source.endswith(asked.mounts[target][1])
    check_files(request, {volume for asked in expected for volume, _, _ in asked.mounts.values()}, folder / "volumes")


def check_files(request: Json, mounted: set[str], volumes: Path) -> None:
    """The files of the pod's volumes, byte for byte and with their modes; nothing else is beside them."""
    for volume in request["pod"]["spec"].get("volumes") or []:
        if volume["name"] in mounted and not _by_annotation(request, volume["name"]) and _has_files(volume):
            expected = oracle.files(request, volume)
            seen = tree(volumes / volume["name"])
            assert {path: mode for path, (_, mode) in seen.items()} == {
                path: mode for path, (_, mode) in expected.items()
            }
            for path, (content, _) in expected.items():
                assert content is None or seen[path][0] == content


def _has_files(volume: Json) -> bool:
    return any(volume.get(kind) is not None for kind in ("configMap", "secret", "downwardAPI", "projected"))


def _by_annotation(request: Json, name: str) -> bool:
    return bool(
        {f"cvmfs.vk.io/{name}", f"fuse.vk.io/{name}"} & set(request["pod"]["metadata"].get("annotations") or {})
    )


def _read_only(request: Json) -> set[str]:
    return {
        volume["name"]
        for volume in request["pod"]["spec"].get("volumes") or []
        if _has_files(volume) or _by_annotation(request, volume["name"])
    }


def read_back(sandbox: Sandbox, count: int) -> Counter[str]:
    """Plan, render and read back `count` pods, half of them spoiled; how many were refused, and how many taken."""
    outcomes: Counter[str] = Counter()

    @generated(count // 2, strategies.with_spoiled())
    def all_the_way(both: tuple[Json, Json]) -> None:
        for request in both:
            try:
                folder, script = sandbox.script(request)
            except (RequestError, SiteError) as error:
                outcomes["refused"] += 1
                assert_one_line(error)
                continue
            outcomes["taken"] += 1
            check_declared(request, sandbox.read(folder, script), folder)
            sandbox.assert_nothing_escaped(folder)

    all_the_way()
    return outcomes


def test_what_is_generated_is_what_bash_reads_or_one_line(sandbox: Sandbox) -> None:
    outcomes = read_back(sandbox, 300)
    assert min(outcomes["taken"], outcomes["refused"]) >= 30, outcomes


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_thousand_pods(sandbox: Sandbox) -> None:
    outcomes = read_back(sandbox, 10_000)
    assert outcomes.total() >= 10_000
    assert min(outcomes["taken"], outcomes["refused"]) >= 1000, outcomes


def containers_of(request: Json) -> list[Json]:
    return [*request["pod"]["spec"].get("initContainers", []), *request["pod"]["spec"]["containers"]]


def runs(request: Json) -> Json:
    """The request of a pod that ends by itself, as whoever runs the tests, and starts only what the sandbox has."""
    spec = request["pod"]["spec"]
    spec["restartPolicy"] = "Never"
    for each in (spec, *containers_of(request)):
        for key in ("runAsUser", "runAsGroup", "runAsNonRoot"):
            each.get("securityContext", {}).pop(key, None)
    for container in containers_of(request):
        for key in (
            "restartPolicy",
            "restartPolicyRules",
            "lifecycle",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
        ):
            container.pop(key, None)
        container["volumeMounts"] = [
            mount for mount in container["volumeMounts"] if not oracle.leads_through_a_file(request, container, mount)
        ]
    request["jobScript"], request["jobConfig"] = "", None
    for volume in spec["volumes"]:
        if volume.get("hostPath", {}).get("type") == "Directory":  # a missing subPath of it is refused
            del volume["hostPath"]["type"]
    annotations = request["pod"]["metadata"]["annotations"]
    for key in [
        key
        for key in annotations
        if key.startswith(("cvmfs.vk.io/", "fuse.vk.io/", "slurm-job.vk.io/", "interlink.eu/w"))
    ]:
        del annotations[key]
    return request


def check_ran(request: Json, asked: oracle.Given, ran: Ran) -> None:
    assert ran.entry_point == (asked.command is None)
    assert ran.argv == (asked.args if asked.command is None else asked.command)
    own = {"FLASHLINK_POD": request["pod"]["metadata"]["uid"], "HOME": ran.env["HOME"]}
    assert ran.env == {**own, **asked.env}
    assert ran.workdir == (asked.working_dir or "/")
    read_only = _read_only(request)
    assert ran.mounts == {target: ro or volume in read_only for target, (volume, _, ro) in asked.mounts.items()}
    assert ran.volumes is not None
    check_files(request, {volume for volume, _, _ in asked.mounts.values()}, ran.volumes)
    check_names(request, ran)


def check_names(request: Json, ran: Ran) -> None:
    names = oracle.names(request)
    assert ran.hostname == names.hostname
    expected = {}
    if names.hosts:
        expected["/etc/hosts"] = _lines(names.hosts, after="/etc/hosts")
    if names.resolver:
        expected["/etc/resolv.conf"] = _lines(names.resolver, after="/etc/resolv.conf" if names.with_worker else "")
    assert ran.shown == expected


def _lines(lines: list[str], after: str) -> str:
    """Lines of a file, after those of the worker's file `after`."""
    before = Path(after).read_text().splitlines() if after else []
    return "".join(f"{line}\n" for line in before + lines)


def run_at_once(
    sandbox: Sandbox,
    requests: list[Json],
    check: Callable[[Json, oracle.Given, Ran], None],
    *refusals: str,
    on_host: bool = False,
) -> int:
    """Run pods at the same time, and `check` what each of their containers saw; how many were not refused."""
    taken: list[tuple[Json, Path, str]] = []
    for number, request in enumerate(requests):
        request["pod"]["metadata"]["uid"] += f"-{number}"
        try:
            taken.append((request, *sandbox.script(request, on_host=on_host)))
        except (RequestError, SiteError) as error:
            assert_one_line(error, *refusals)
    results = sandbox.run({folder: script for _, folder, script in taken})
    for (request, folder, _), (code, complaints, logs) in zip(taken, results, strict=True):
        expected = oracle.containers(request)
        assert (code, complaints) == (0, ""), complaints
        assert logs == {asked.name: f"ran {asked.name}\n".encode() for asked in expected}
        for asked in expected:
            check(request, asked, sandbox.ran(folder, asked.name))
        assert sorted(path.name for path in folder.iterdir()) == ["job.log", "job.sh", "journal", "logs"]
    sandbox.assert_nothing_escaped(*(folder for _, folder, _ in taken))
    return len(taken)


def run_in_containers(sandbox: Sandbox, count: int) -> None:
    total = 0

    @generated(count // AT_ONCE, lists(strategies.requests().map(runs), min_size=AT_ONCE, max_size=AT_ONCE))
    def all_the_way(requests: list[Json]) -> None:
        nonlocal total
        total += run_at_once(sandbox, requests, check_ran, "HOME cannot hold a colon", "cannot be empty", TWICE)

    all_the_way()
    assert total >= count / 2


def on_host(request: Json, recorder: Path) -> Json:
    """The same request for host processes: the recorder is their program, and folder and names are not the pod's."""
    for key in ("hostname", "hostnameOverride", "hostAliases", "dnsPolicy", "dnsConfig"):
        request["pod"]["spec"].pop(key, None)
    files = {volume["name"] for volume in request["pod"]["spec"]["volumes"] if _has_files(volume)}
    for container in containers_of(request):
        container["command"] = [str(recorder), container["name"], *container.get("command", [])]
        container.pop("workingDir", None)
        container.pop("terminationMessagePath", None)
        mounts = container["volumeMounts"] if can_mount() else []
        container["volumeMounts"] = [mount for mount in mounts if not _within_files(mount, mounts, files)]
    return request


def _within_files(mount: Json, mounts: list[Json], files: set[str]) -> bool:
    """Whether it is in, or holds, a mount of given files, among which there may be one at the very place."""
    return any(
        mount is not other
        and {mount["name"], other["name"]} & files
        and (_is_below(mount["mountPath"], other["mountPath"]) or _is_below(other["mountPath"], mount["mountPath"]))
        for other in mounts
    )


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(f"{folder}/")


def check_ran_on_host(request: Json, asked: oracle.Given, ran: Ran) -> None:
    assert ran.argv == asked.command
    own = {name: ran.env[name] for name in ("HOME", "TMPDIR", "PATH")}
    assert ran.env == {**own, **asked.env, "FLASHLINK_POD": request["pod"]["metadata"]["uid"]}


def run_on_host(sandbox: Sandbox, count: int) -> None:
    total = 0

    def prepared(request: Json) -> Json:
        return on_host(runs(request), sandbox.recorder)

    @generated(count // AT_ONCE, lists(strategies.requests().map(prepared), min_size=AT_ONCE, max_size=AT_ONCE))
    def all_the_way(requests: list[Json]) -> None:
        nonlocal total
        refusals = "a variable cannot be named", TWICE
        total += run_at_once(sandbox, requests, check_ran_on_host, *refusals, on_host=True)

    all_the_way()
    assert total >= count / 2


def test_containers_get_what_was_asked(sandbox: Sandbox) -> None:
    run_in_containers(sandbox, 16)


def test_host_processes_get_what_was_asked(sandbox: Sandbox) -> None:
    run_on_host(sandbox, 12)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_containers_get_what_was_asked(sandbox: Sandbox) -> None:
    run_in_containers(sandbox, 200)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_host_processes_get_what_was_asked(sandbox: Sandbox) -> None:
    run_on_host(sandbox, 100)
