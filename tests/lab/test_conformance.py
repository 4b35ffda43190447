"""The conformance run: manifests through a real plugin and real Apptainer, held against what Kubernetes says."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from contract.conftest import FakeVirtualKubelet, wait_for
from flashlink.client import manifests

CHECKOUT = Path(__file__).parents[2]
CASES = sorted((Path(__file__).parent / "conformance").glob("*.yaml"))

#: What each site has beside the usual.
SITES: dict[str, dict[str, Any]] = {
    "usual": {},
    "granting": {"grants": {"pre_exec": True, "job_script": True}, "volumes": {"fuse": "host"}},
}

pytestmark = [pytest.mark.lab, pytest.mark.slow]

#: A plugin for the plain user, with the lab's own Python: the checkout, and what it needs as it is pinned.
INSTALL = (
    'cd "$1" && python3 -m venv venv && venv/bin/pip install -q --disable-pip-version-check -c pins.txt -e "$2[plugin]"'
)


@dataclass
class Plugin:
    """A plugin in the lab: as `FakeVirtualKubelet` wants it."""

    client: httpx.Client
    folder: Path

    def pod_folder(self, uid: str) -> Path:
        return self.folder / "state" / "work" / uid


@pytest.fixture(scope="module")
def flashlink(lab: Any) -> Path:
    """The command in the lab; made once for a checkout and its pins."""
    pins = (CHECKOUT / "requirements" / "run.txt").read_text()
    key = hashlib.sha256((pins + (CHECKOUT / "pyproject.toml").read_text() + str(CHECKOUT)).encode()).hexdigest()[:12]
    folder = Path(os.environ.get("FLASHLINK_LAB", CHECKOUT / ".lab")) / f"plugin-{key}"
    command = folder / "venv" / "bin" / "flashlink"
    if not (folder / "whole").exists():
        folder.mkdir(exist_ok=True)
        lab.give(folder)
        (folder / "pins.txt").write_text("\n".join(re.findall(r"^[A-Za-z0-9._-]+==[^ ;\\]+", pins, re.MULTILINE)))
        subprocess.run(lab.command("bash", "-c", INSTALL, "-", folder, CHECKOUT, bind=[folder]), check=True)
        (folder / "whole").touch()
    return command


@pytest.fixture(scope="module")
def plugins(lab: Any, flashlink: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Plugin]]:
    """The plugin of a site that grants no more than volumes, and by name that of one that grants all."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(_plugin(lab, flashlink, tmp_path_factory.mktemp(name), changes))
            for name, changes in SITES.items()
        }


@contextmanager
def _plugin(lab: Any, flashlink: Path, folder: Path, changes: dict[str, Any]) -> Iterator[Plugin]:
    for name in ("shared", "scratch", "cvmfs/sft.example.org"):
        (folder / name).mkdir(parents=True)
    (folder / "shared" / "given").write_text("of the worker\n")
    (folder / "cvmfs" / "sft.example.org" / "hello").write_text("from a repository\n")
    site = _site(lab, folder)
    site = {**site, **{table: {**site.get(table, {}), **keys} for table, keys in changes.items()}}
    (folder / "site.yaml").write_text(yaml.safe_dump(site))
    for path in (folder, *folder.rglob("*")):
        os.chown(path, lab.user, lab.user)
    inside = ["env", "FLASHLINK_BACKOFF=1", flashlink, "plugin", "--config", folder / "site.yaml"]
    errors = (folder / "plugin.err").open("wb")
    process = subprocess.Popen(
        lab.command(*inside, bind=[folder, flashlink.parents[2]]), stdout=subprocess.PIPE, stderr=errors, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (folder / "plugin.err").read_text()
    with httpx.Client(base_url=line.split()[-1], timeout=120) as client:
        yield Plugin(client, folder)
    process.terminate()
    assert process.wait(30) == 0
    process.stdout.close()
    errors.close()


def _site(lab: Any, folder: Path) -> dict[str, Any]:
    shown = {"busybox": "shell", "rclone/rclone:latest": "rclone", "python:3": "python"}
    aliases = {alias: str(lab.images[name]) for alias, name in shown.items()}
    return {
        "listen": "127.0.0.1:0",
        "state": str(folder / "state"),
        "batch": {"poll_seconds": 0.2, "cpus": 64, "memory": "64Gi"},
        "containers": {"runtime": "apptainer", "executable": "/usr/bin/apptainer"},
        "images": {"aliases": {**aliases, **{name: str(path) for name, path in lab.images.items()}}},
        "volumes": {
            "host_paths": [str(folder / "shared")],
            "claims": {"scratch": str(folder / "scratch")},
            "cvmfs": str(folder / "cvmfs"),
            "fuse": "container",
        },
    }


def read(case: Path, folder: Path) -> tuple[list[Any], dict[str, Any]]:
    """The create requests of a case, and what is expected of each pod."""
    text = case.read_text().replace("$SHARED", str(folder / "shared")).replace("$BIG", "x" * 100_000)
    documents = list(yaml.safe_load_all(text))
    assert documents[-1].pop("kind") == "Expect", "the last document says what is expected"
    return manifests.requests(documents[:-1]), documents[-1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_conformance(case: Path, plugins: dict[str, Plugin], record_property: Any) -> None:
    began = time.monotonic()
    *_, last = yaml.safe_load_all(case.read_text())
    plugin = plugins[last.get("site", "usual")]
    kubelet = FakeVirtualKubelet(plugin)  # type: ignore[arg-type]
    requests, expect = read(case, plugin.folder)
    for request in requests:
        request.pod["metadata"].setdefault("annotations", {})
        answer = kubelet.create(request.pod, container=request.container, jobScript=expect.get("job_script", ""))
        assert ("refused" in expect) == (answer.status_code != 200), answer.text
        if "refused" in expect:
            assert re.search(expect["refused"], answer.text), answer.text
            assert answer.text.count("\n") == 1
    if "refused" not in expect:
        for request in requests:
            judge(kubelet, request.pod, expect)
    record_property("conformance", (case.stem, _outline(expect), f"{time.monotonic() - began:.1f} s"))


def judge(kubelet: FakeVirtualKubelet, pod: dict[str, Any], expect: dict[str, Any]) -> None:
    """Hold what the virtual kubelet is told of a pod against what Kubernetes would make of it; then delete the pod."""
    if running := expect.get("running"):
        wait_for(lambda: kubelet.logs(pod, running["container"]).text == running["log"], 90)
        kubelet.until(pod, "Running", seconds=90)
    if not expect.get("delete"):
        phase = kubelet.until(pod, "Succeeded", "Failed", seconds=180)
        (status,) = kubelet.ask([pod])
        entries = {entry["name"]: entry for entry in (*status["initContainers"], *status["containers"])}
        assert phase == expect.get("phase", "Succeeded"), json.dumps(entries, indent=1)
        for name, wanted in expect["containers"].items():
            judge_container(kubelet, pod, entries[name], wanted)
        for wanted in expect.get("logs", ()):
            judge_log(kubelet.logs(pod, wanted["container"], **wanted.get("options", {})).content, wanted)
    assert kubelet.delete(pod).status_code == 200
    uid = pod["metadata"]["uid"]
    wait_for(lambda: not kubelet.plugin.pod_folder(uid).exists(), 60)  # type: ignore[arg-type]
    assert processes(uid) == []
    assert not Path("/dev/shm", f"flashlink-{uid}").exists()


def judge_container(kubelet: FakeVirtualKubelet, pod: dict[str, Any], entry: dict[str, Any], wanted: Any) -> None:
    inits = pod["spec"].get("initContainers", [])
    sidecar = any(each["name"] == entry["name"] and each.get("restartPolicy") == "Always" for each in inits)
    ended = entry["state"]["terminated"]
    if wanted.get("fails"):
        assert ended["exitCode"] != 0, entry
    else:
        assert ended["exitCode"] == wanted.get("exit", ended["exitCode"]), entry
    assert re.search(wanted.get("message", ""), ended["message"]), entry
    assert entry["restartCount"] == wanted.get("restarts", 0), entry
    if "log" in wanted:
        # A sidecar is told as done while it still runs, as interLink knows none; it has its say when it ends.
        wait_for(lambda: kubelet.logs(pod, entry["name"]).content == wanted["log"].encode() or not sidecar, 30)
        judge_log(kubelet.logs(pod, entry["name"]).content, wanted)


def judge_log(content: bytes, wanted: dict[str, Any]) -> None:
    if "matches" in wanted:
        assert re.fullmatch(wanted["matches"], content.decode().rstrip("\n")), content
    else:
        exact = base64.b64decode(wanted["bytes"]) if "bytes" in wanted else wanted["log"].encode()
        assert content == exact


def processes(uid: str) -> list[str]:
    """The processes of this machine that carry the mark of a pod."""
    mark = f"FLASHLINK_POD={uid}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_text())
        except OSError:
            continue
    return found


def _outline(expect: dict[str, Any]) -> str:
    if "refused" in expect:
        return "refused"
    return "deleted" if expect.get("delete") else expect.get("phase", "Succeeded")


def test_every_case_says_what_it_is_about() -> None:
    assert [case.stem for case in CASES if not case.read_text().startswith("# ")] == []
