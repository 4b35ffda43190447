"""From what interLink sends to a `Pod`: checked, typed, complete; or one sentence that says why not.

Everything in a request is hostile. What becomes of each field is decided in `flashlink.pods.fields`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from flashlink.errors import RequestError
from flashlink.pods import fields, life, names, probes
from flashlink.pods.expand import expand, references
from flashlink.pods.job_config import job_config
from flashlink.pods.network import network
from flashlink.pods.pod import Container, JobConfig, Mount, Pod
from flashlink.pods.resources import check_vendor, resources
from flashlink.pods.security import security
from flashlink.pods.value import Value
from flashlink.pods.volumes import Contents, volume
from flashlink.pods.wire import CreateRequest, KnownPod, PodContainer, PodSpec

#: Containers named here run in the cluster; interLink leaves them out of a create, not of a status.
NOT_OFFLOADED = "interlink.eu/disable-offload-containers"
NOT_OFFLOADED_INIT = "interlink.eu/disable-offload-init-containers"

_PROPAGATION = ("", "None", "HostToContainer", "Bidirectional")

#: Linux hands no single argument or variable to a process that is longer (MAX_ARG_STRLEN, with its NUL).
_LONGEST_TEXT = 128 * 1024 - 1


class Identity(NamedTuple):
    """Which pod a status or a delete is about."""

    uid: str
    name: str
    namespace: str
    jid: str


class ContainerImages(NamedTuple):
    """All containers of a pod's spec, offloaded or not, in order, with their images as in the manifest."""

    init: dict[str, str]
    main: dict[str, str]
    sidecars: frozenset[str]


def parse_create(body: bytes) -> Pod:
    """The pod of the body of ``POST /create``.

    Raises:
        RequestError: Not JSON, not a create request, or a pod that cannot be run as asked.
    """
    return parse_pod(decode_create(body))


def decode_create(body: bytes) -> CreateRequest:
    """The request in the body of ``POST /create``: one object, or a list with one, as interLink up to 0.4 sends it."""
    try:
        request = msgspec.json.decode(body)
        if isinstance(request, list) and len(request) == 1:
            request = request[0]
        return msgspec.convert(request, CreateRequest)
    except msgspec.ValidationError as error:
        raise RequestError(f"body: not a create request of interLink: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"body: not JSON: {error}") from None


def parse_pod(request: CreateRequest) -> Pod:
    """The pod of a create request.

    Raises:
        RequestError: One sentence with the field, the value seen, and what was expected or why it cannot be honoured.
    """
    pod = Value(request.pod)
    pod["kind"].one_of(("", "Pod"), "")
    metadata, spec = pod["metadata"], pod["spec"]
    annotations = metadata["annotations"].table()
    fields.check_annotations(metadata["annotations"])
    fields.check(spec, fields.POD_SPEC, "pod")
    away, away_init = _listed(annotations, NOT_OFFLOADED), _listed(annotations, NOT_OFFLOADED_INIT)
    init_containers = _containers(spec["initContainers"], spec, away_init, init=True)
    containers = _containers(spec["containers"], spec, away)
    if not containers:
        raise spec["containers"].wrong("a list with a container that runs here")
    _check_unique([*spec["initContainers"].each(), *spec["containers"].each()], "container")
    _check_unique(spec["volumes"].each(), "volume")
    check_vendor((*init_containers, *containers))
    mounted = {mount.volume for container in (*init_containers, *containers) for mount in container.mounts}
    contents = Contents.of(Value(request.container, "container"))
    grace = spec["terminationGracePeriodSeconds"].integer(0)
    job_script = Value(request.jobScript, "jobScript").text("")
    return Pod(
        uid=names.uid(metadata["uid"]),
        name=names.subdomain(metadata["name"]),
        namespace=names.label(metadata["namespace"]),
        containers=containers,
        init_containers=init_containers,
        volumes={
            entry["name"].text(): volume(entry, pod, contents)
            for entry in spec["volumes"].each()
            if entry["name"].text() in mounted
        },
        annotations=annotations,
        labels=metadata["labels"].table(),
        restart_policy=spec["restartPolicy"].one_of(life.POLICIES, "Always"),
        deadline=spec["activeDeadlineSeconds"].integer(1),
        grace=30 if grace is None else grace,
        job_script=job_script,
        network=network(spec, names.subdomain(metadata["name"])),
        # Who made the script has gone by the jobConfig already.
        job_config=JobConfig() if job_script else job_config(Value(request.jobConfig, "jobConfig")),
        not_offloaded=away,
        not_offloaded_init=away_init,
    )


def parse_identity(pod: KnownPod) -> Identity:
    """Which pod a status or a delete body means; its spec may be one that a create would refuse.

    Raises:
        RequestError: The uid, which names a folder, is missing or unsafe.
    """
    metadata = pod.metadata
    return Identity(
        uid=names.uid(Value(metadata.uid, "metadata.uid")),
        name=metadata.name or "",
        namespace=metadata.namespace or "",
        jid=(metadata.annotations.JobID if metadata.annotations else None) or "",
    )


def container_images(pod: KnownPod) -> ContainerImages:
    """The containers in a status body, each of which the answer must have.

    Raises:
        RequestError: One has no name that a container can have.
    """
    spec = pod.spec or PodSpec()
    return ContainerImages(
        init=_images(spec.initContainers, "spec.initContainers"),
        main=_images(spec.containers, "spec.containers"),
        sidecars=frozenset(one.name for one in spec.initContainers or () if one.name and one.restartPolicy == "Always"),
    )


def _images(containers: Sequence[PodContainer] | None, place: str) -> dict[str, str]:
    return {names.label(Value(each.name, f"{place}: name")): each.image or "" for each in containers or ()}


def _listed(annotations: Mapping[str, str], key: str) -> tuple[str, ...]:
    """The container names in a comma-separated annotation."""
    listed = (name.strip() for name in annotations.get(key, "").split(","))
    return tuple(names.label(Value(name, f"metadata.annotations[{key}]")) for name in listed if name)


def _check_unique(values: list[Value], kind: str) -> None:
    seen: set[str] = set()
    for value in values:
        name = value["name"].text()
        if name in seen:
            raise value["name"].wrong(f"a name that no other {kind} of the pod has")
        seen.add(name)


def _containers(containers: Value, spec: Value, away: Collection[str], *, init: bool = False) -> tuple[Container, ...]:
    return tuple(_container(one, spec, init=init) for one in containers.each() if one["name"].raw not in away)


def _container(container: Value, spec: Value, *, init: bool) -> Container:
    fields.check(container, fields.CONTAINER, "container")
    env = _env(container["env"])
    sidecar = life.is_sidecar(container, init=init)
    if init and not sidecar:
        life.refuse_probes(container)
    requests, limits = resources(container["resources"])
    return Container(
        name=names.label(container["name"]),
        image=names.image(container["image"]),
        command=_expanded(container["command"], env),
        args=_expanded(container["args"], env),
        env=env,
        working_dir=names.absolute_path(container["workingDir"]) if container["workingDir"] else "",
        mounts=_mounts(container["volumeMounts"], spec["volumes"], env),
        requests=requests,
        limits=limits,
        security=security(container["securityContext"], spec["securityContext"]),
        pull=container["imagePullPolicy"].one_of(("", "Always", "IfNotPresent", "Never"), ""),
        restart=life.restart(container),
        restart_rules=life.restart_rules(container),
        sidecar=sidecar,
        message=life.message(container),
        life=probes.life(container, lambda texts: _expanded(texts, env)),
    )


def _env(entries: Value) -> dict[str, str]:
    """Variables by name; the virtual kubelet has resolved them, so nothing is expanded again."""
    env: dict[str, str] = {}
    for entry in entries.each():
        fields.check(entry, fields.VARIABLE, "variable")
        name, value = names.variable(entry["name"]), entry["value"].text("")
        if len(name.encode()) + 1 + len(value.encode()) > _LONGEST_TEXT:
            raise entry["value"].refuse(f"is longer than a process can be given ({_LONGEST_TEXT} bytes); mount a file")
        env[name] = value
    return env


def _expanded(texts: Value, env: Mapping[str, str]) -> tuple[str, ...] | None:
    """A command or its arguments with ``$(VAR)`` expanded; an empty list is as good as none, as in Kubernetes."""
    return tuple(_argument(item, env) for item in texts.each()) or None


def _argument(value: Value, env: Mapping[str, str]) -> str:
    text = value.text()
    # Measured before it is built: a few references to a long variable would otherwise fill the memory.
    bound = len(text) + sum(len(env.get(name, "")) for name in references(text))
    if bound > 2 * _LONGEST_TEXT or len((whole := expand(text, env)).encode()) > _LONGEST_TEXT:
        raise value.refuse(f"is longer than a process can be given ({_LONGEST_TEXT} bytes); mount a file")
    return whole


def _mounts(mounts: Value, volumes: Value, env: Mapping[str, str]) -> tuple[Mount, ...]:
    known = {entry["name"].text(): entry for entry in volumes.each()}
    found: dict[str, Mount] = {}
    for entry in mounts.each():
        fields.check(entry, fields.MOUNT, "volume mount")
        if entry["mountPropagation"].one_of(_PROPAGATION, "") == "Bidirectional":
            raise entry["mountPropagation"].refuse("mounts made in a container stay in it; leave it out")
        name, path = entry["name"].text(), names.mount_path(entry["mountPath"])
        if name not in known:
            raise entry["name"].wrong("the name of a volume of the pod")
        if path in found:
            raise entry["mountPath"].wrong("a path at which nothing else is mounted")
        if _is_service_account(name, path):
            continue
        read_only = entry["readOnly"].boolean() or known[name]["persistentVolumeClaim"]["readOnly"].boolean()
        found[path] = Mount(name, path, _sub_path(entry, env), read_only)
    return tuple(found.values())


def _is_service_account(name: str, path: str) -> bool:
    """Whether it is the mount that a cluster adds to every pod, for an access to the cluster that a job has not."""
    return name.startswith("kube-api-access-") and path == "/var/run/secrets/kubernetes.io/serviceaccount"


def _sub_path(mount: Value, env: Mapping[str, str]) -> str:
    if not mount["subPathExpr"]:
        return names.inner_path(mount["subPath"]) if mount["subPath"] else ""
    if mount["subPath"]:
        raise mount["subPathExpr"].refuse("stands beside subPath; leave one")
    text = mount["subPathExpr"].text()
    for name in references(text):
        if name not in env:
            raise mount["subPathExpr"].wrong(f"made of variables of the container: it has no {name!r}")
    return names.inner_path(mount["subPathExpr"], _argument(mount["subPathExpr"], env))
