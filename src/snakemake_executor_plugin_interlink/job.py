"""What of a Snakemake job matters to its pod, and the pod. Pure: no clock, no disk, no network."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any

import msgspec

from flashlink.pods.wire import CreateRequest

#: Name of the only container of each pod.
CONTAINER = "snakemake"


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job as its pod sees it: nothing in here differs between two runs of Snakemake that want the same.

    Attributes:
        name: Rule, or group, of the job.
        command: Shell line that runs the job's part of the workflow.
        environment: Values of the workflow's ``envvars:``; may be secret.
        working_dir: Absolute path, the same for Snakemake and pod.
        mounts: Folders mounted at their own path.
        image: Image reference.
        namespace: Kubernetes namespace.
        site: Name of the site.
        cpus: Cores.
        memory_mb: In units of 10^6 bytes; 0 leaves it to the site.
        disk_mb: In units of 10^6 bytes; 0 leaves it to the site.
        gpus: Kubernetes resource name (``nvidia.com/gpu``) to whole devices.
        deadline: Seconds, 0 for none.
        grace: Seconds between SIGTERM and SIGKILL.
    """

    name: str
    command: str
    working_dir: str
    image: str
    site: str
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[str, ...] = ()
    namespace: str = "default"
    cpus: int = 1
    memory_mb: int = 0
    disk_mb: int = 0
    gpus: Mapping[str, int] = field(default_factory=dict)
    deadline: int = 0
    grace: int = 10


def request(spec: JobSpec, uid: str) -> CreateRequest:
    """The create call for the job's pod, as interLink would make it: one container, no content of volumes to carry."""
    return CreateRequest(pod=_pod(spec, uid), container=[{"name": CONTAINER}])


def digest(spec: JobSpec, wish: object, inputs: Iterable[tuple[str, int, int]]) -> str:
    """Fingerprint of a job: equal if and only if a pod that was sent for it earlier does the very same.

    Args:
        spec: The job.
        wish: What the rule says that is not in the command: its code and parameters.
        inputs: Path, modification time in ns and size of each input file.
    """
    # Snakemake writes some options' values in the order of a set, another one in each process.
    words = sorted(spec.command.split())
    body = msgspec.json.encode([asdict(spec) | {"command": words}, repr(wish), sorted(inputs)], order="deterministic")
    return hashlib.sha256(body).hexdigest()


def public(pod: Mapping[str, Any]) -> dict[str, Any]:
    """The pod without the values of its environment: all that status and delete calls need, fit to be kept on disk."""
    containers = [
        {**container, "env": [{"name": entry["name"]} for entry in container["env"]]}
        for container in pod["spec"]["containers"]
    ]
    return {**pod, "spec": {**pod["spec"], "containers": containers}}


def outermost(folders: Iterable[str]) -> tuple[str, ...]:
    """Those folders that lie in no other of them, in order of their names."""
    paths = sorted({PurePosixPath(folder) for folder in folders})
    return tuple(str(path) for path in paths if not any(parent in path.parents for parent in paths))


def _pod(spec: JobSpec, uid: str) -> dict[str, Any]:
    name = pod_name(spec.name, uid)
    volumes = {f"folder-{number}": path for number, path in enumerate(spec.mounts)}
    environment = {**spec.environment, "FLASHLINK_SITE": spec.site, "FLASHLINK_POD_NAME": name}
    container = {
        "name": CONTAINER,
        "image": spec.image,
        "command": ["/bin/sh", "-c", _unexpanded(spec.command)],
        "workingDir": spec.working_dir,
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "resources": _resources(spec),
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, path in volumes.items()],
    }
    pod_spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": spec.grace,
        "containers": [container],
        "volumes": [{"name": name, "hostPath": {"path": path}} for name, path in volumes.items()],
    }
    if spec.deadline:
        pod_spec["activeDeadlineSeconds"] = spec.deadline
    metadata = {
        "name": name,
        "namespace": spec.namespace,
        "uid": uid,
        "labels": {"app.kubernetes.io/managed-by": "snakemake"},
        "annotations": {"snakemake.interlink/rule": spec.name},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec}


def _resources(spec: JobSpec) -> dict[str, dict[str, str]]:
    asked = {"cpu": str(spec.cpus)}
    if spec.memory_mb:
        asked["memory"] = f"{spec.memory_mb}M"
    if spec.disk_mb:
        asked["ephemeral-storage"] = f"{spec.disk_mb}M"
    asked |= {kind: str(count) for kind, count in spec.gpus.items() if count}
    return {"requests": asked, "limits": asked}


def pod_name(rule: str, uid: str) -> str:
    """A DNS label that tells the rule: letters, digits and dashes, at most 63."""
    readable = re.sub(r"[^a-z0-9]+", "-", rule.lower()).strip("-")[:54]
    return f"{readable or 'job'}-{uid[:8]}"


def _unexpanded(text: str) -> str:
    """Protect dollars from the ``$(VAR)`` expansion of Kubernetes' commands, in which ``$$`` is one dollar."""
    return re.sub(r"\$\$+|\$(?=\()", lambda run: run.group() * 2, text)
