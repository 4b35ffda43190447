"""interLink's wire objects, with the capitalisation that interLink uses.

Only what flashlink itself writes or reads field by field is typed; Kubernetes objects inside travel as plain mappings
and are checked by `flashlink.pods.parse`. Source: interLink 0.3 to 0.6.2, ``pkg/interlink/types.go``.
"""

from __future__ import annotations

from typing import Any

import msgspec


class CreateRequest(msgspec.Struct, forbid_unknown_fields=False):
    """Body of ``POST /create``: the pod and, for each container, the volumes' contents that it mounts."""

    pod: dict[str, Any]
    container: list[dict[str, Any]] | None = None
    jobConfig: dict[str, Any] | None = None  # noqa: N815
    jobScript: str | None = None  # noqa: N815


class PodAnnotations(msgspec.Struct, gc=False):
    """Of a pod's annotations the one that interLink adds: the `PodJID` of the create answer."""

    JobID: str | None = None


class PodMetadata(msgspec.Struct, gc=False):
    """Who a pod is; Kubernetes sets the grace when the pod is deleted."""

    uid: str | None = None
    name: str | None = None
    namespace: str | None = None
    annotations: PodAnnotations | None = None
    deletionGracePeriodSeconds: int | None = None  # noqa: N815


class PodContainer(msgspec.Struct, gc=False):
    """A container of a pod's spec; an init container with a `restartPolicy` of "Always" is a sidecar."""

    name: str | None = None
    image: str | None = None
    restartPolicy: str | None = None  # noqa: N815


class PodSpec(msgspec.Struct, gc=False):
    """What of a pod's spec its status needs."""

    containers: list[PodContainer] | None = None
    initContainers: list[PodContainer] | None = None  # noqa: N815


class KnownPod(msgspec.Struct, gc=False):
    """A Kubernetes pod in the body of a status or a delete: of all that is sent, what is read.

    They come by the thousand and with whole specs, so the decoder skips the rest.
    """

    metadata: PodMetadata
    spec: PodSpec | None = None


class CreateAnswer(msgspec.Struct):
    """Answer of ``POST /create``: interLink keeps `PodJID` in the pod's annotation ``JobID``."""

    PodUID: str
    PodJID: str


class Waiting(msgspec.Struct):
    """The container has not started."""

    reason: str
    message: str = ""


class Running(msgspec.Struct):
    """The container runs. `startedAt` is RFC 3339 or None, never ""."""

    startedAt: str | None = None  # noqa: N815


class Terminated(msgspec.Struct):
    """The container has ended; `exitCode` is always given, as a missing one would count as success."""

    exitCode: int  # noqa: N815
    reason: str
    message: str = ""
    startedAt: str | None = None  # noqa: N815
    finishedAt: str | None = None  # noqa: N815


class State(msgspec.Struct, omit_defaults=True):
    """Exactly one of the three."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(msgspec.Struct):
    """Kubernetes' ContainerStatus."""

    name: str
    state: State
    ready: bool = False
    restartCount: int = 0  # noqa: N815
    image: str = ""
    imageID: str = ""  # noqa: N815


class PodStatus(msgspec.Struct):
    """One entry of the answer to ``GET /status``; both lists name every container of the spec, always."""

    name: str
    UID: str
    namespace: str
    JID: str
    containers: list[ContainerStatus]
    initContainers: list[ContainerStatus]  # noqa: N815


class Accelerator(msgspec.Struct):
    """A kind of device and how many the site has in all."""

    resourceType: str  # noqa: N815
    available: str


class NodeResources(msgspec.Struct):
    """Totals of the site, as Kubernetes quantities."""

    cpu: str
    memory: str
    pods: str
    accelerators: list[Accelerator] = []


class Ping(msgspec.Struct, omit_defaults=True):
    """Answer to a status call with an empty list; leaving `taints` out keeps the node's own.

    flashlink always tells `resources`; plugins of interLink before 0.6.2 do not.
    """

    status: str
    resources: NodeResources | None = None


class LogOptions(msgspec.Struct):
    """Kubernetes' PodLogOptions as interLink sends them; `Bytes` is Kubernetes' limitBytes (the first N bytes)."""

    Tail: int = 0
    Bytes: int = 0
    Timestamps: bool = False
    Follow: bool = False
    Previous: bool = False
    SinceSeconds: int = 0
    SinceTime: str = ""


class LogRequest(msgspec.Struct):
    """Body of ``GET /getLogs``."""

    PodUID: str
    ContainerName: str
    PodName: str = ""
    Namespace: str = ""
    Opts: LogOptions = msgspec.field(default_factory=LogOptions)
