"""How long a job script takes to start and to end a container, beside a bare ``apptainer exec`` of the same container.

A job's container can write its root, as in a cluster, which Apptainer does by an overlay. So there are two bare ones:
without, and with an overlay (``--overlay``), which is the part of the difference that is Apptainer's own.

Measured in the lab, as its plain user, in turns so that whatever else the machine does falls on both. Start: from the
start of the process to the container's first instruction, an ``echo``, whose time is that of the file that it writes
to (the kernel keeps it to a few milliseconds). End: from there to the line in the journal, and to the end of the job;
for the bare container, to Apptainer's own end.

Run: lab/up && .venv/bin/python benchmarks/job_start.py [TIMES]
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

CHECKOUT = Path(__file__).parents[1]
BARE = ("apptainer", "--silent", "exec", "--cleanenv", "--contain", "--no-eval", "--pid")
COMMAND = ["sh", "-c", "echo here"]
LIMIT = 0.3

Samples = dict[str, list[float]]

CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "config"},
    "data": {f"setting-{number}": f"value {number}\n" * 20 for number in range(5)},
}
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secret"}, "data": {"key": "c2VjcmV0"}}
VOLUMES = {
    "volumes": [
        {"name": "config", "configMap": {"name": "config"}},
        {"name": "secret", "secret": {"secretName": "secret", "defaultMode": 0o400}},
        {"name": "work", "emptyDir": {}},
    ]
}
MOUNTS = {"volumeMounts": [{"name": name, "mountPath": f"/mnt/{name}"} for name in ("config", "secret", "work")]}
LIMITS = {"resources": {"limits": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"}}}

PROBE = {"livenessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1}}

#: Pods by what they have: fields of the spec, fields of the container, objects that they refer to.
PODS: dict[str, tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]] = {
    "plain": ({}, {}, []),
    "config map, secret, emptyDir": (VOLUMES, MOUNTS, [CONFIG, SECRET]),
    "the same, with limits": (VOLUMES, MOUNTS | LIMITS, [CONFIG, SECRET]),
    "with a probe": ({}, PROBE, []),
    "a working directory that the image has not": ({}, {"workingDir": "/data/here"}, []),
}


def write_job(kind: str, image: Path, folder: Path) -> None:
    """Make the pod's folder with its job script."""
    from flashlink.client import manifests
    from flashlink.jobscript.planning import plan
    from flashlink.jobscript.script import render
    from flashlink.pods.parse import parse_pod
    from flashlink.site.config import Containers, Images, Site

    spec, fields, objects = PODS[kind]
    container = {"name": "main", "image": str(image), "command": COMMAND, **fields}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}}
    pod["spec"] = {"restartPolicy": "Never", "containers": [container], **spec}
    (request,) = manifests.requests([pod, *objects])
    site = Site(
        containers=Containers(runtime="apptainer", executable="/usr/bin/apptainer"),
        images=Images(folders=[str(image.parent)]),
    )
    folder.mkdir(parents=True, mode=0o700)
    (folder / "job.sh").write_text(render(plan(parse_pod(request), site, PurePosixPath(folder))))


def timed(command: list[str], log: Path, output: Path) -> tuple[float, float, float]:
    """Run `command`: seconds until its container writes to `log`, when that was, and when the command ended."""
    with output.open("wb") as file:
        began = time.time()
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=True)
        ended = time.time()
    first = log.stat().st_mtime
    return first - began, first, ended


def journal_time(folder: Path) -> float:
    """When the journal says that the container ended."""
    lines = (folder / "journal").read_text().splitlines()
    return next(float(line.split("\t")[0]) for line in lines if line.split("\t")[1] == "ended")


def measure(folder: Path, image: str) -> Iterator[tuple[str, Samples]]:
    """In the lab: all jobs below `folder`, each followed by a bare container."""
    for kind in PODS:
        samples: Samples = {name: [] for name in ("job", "bare", "writable", "told", "job end", "bare end")}
        for job in sorted((folder / kind).iterdir()):
            start, first, end = timed(["bash", str(job / "job.sh")], job / "logs" / "main.0.log", job / "job.log")
            samples["job"].append(start)
            samples["told"].append(journal_time(job) - first)
            samples["job end"].append(end - first)
            bare = job / "bare.log"
            start, first, end = timed([*BARE, image, *COMMAND], bare, bare)
            samples["bare"].append(start)
            samples["bare end"].append(end - first)
            layer = job / "layer"
            layer.mkdir()
            start, first, end = timed([*BARE, "--overlay", f'"{layer}"', image, *COMMAND], bare, bare)
            samples["writable"].append(start)
        yield kind, {name: values[1:] for name, values in samples.items()}  # the first one warms up


def report(kind: str, samples: Samples) -> None:
    """Two lines a kind of pod: how it starts, and how it ends."""
    middle = {name: statistics.median(values) for name, values in samples.items()}
    job, bare = middle["job"], middle["bare"]
    verdict = "within" if job - bare <= LIMIT else "OVER"
    print(
        f"{kind}: start {job:.3f} s, bare {bare:.3f} s: {job - bare:+.3f} s, ratio {job / bare:.2f}, "
        f"{verdict} {LIMIT} s; worst {max(samples['job']):.3f} s; bare with an overlay {middle['writable']:.3f} s"
    )
    print(
        f"{'':{len(kind)}}  end told after {middle['told']:.3f} s, job over after {middle['job end']:.3f} s, "
        f"bare after {middle['bare end']:.3f} s"
    )


def main() -> None:
    """Print what starts and ends cost."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    up = subprocess.run([CHECKOUT / "lab" / "up"], capture_output=True, text=True, check=True)
    image = next(path for path in map(Path, up.stdout.split()) if path.stem == "shell")
    user = int(subprocess.check_output([CHECKOUT / "lab" / "enter", "id", "-u"]))
    with tempfile.TemporaryDirectory(prefix="flashlink-start-") as text:
        folder = Path(text)
        for kind in PODS:
            for number in range(times + 1):
                write_job(kind, image, folder / kind / f"{number:04}")
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, user, user)
        inside = ["python3", __file__, "--inside", str(folder), str(image)]
        command = [CHECKOUT / "lab" / "enter", "--bind", str(folder), *inside]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {times} times each; medians")
    for kind, samples in json.loads(told):
        report(kind, samples)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        print(json.dumps(list(measure(Path(sys.argv[2]), sys.argv[3]))))
    else:
        main()
