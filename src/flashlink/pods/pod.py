"""The pod as flashlink understands it: everything resolved, checked and typed; nothing of Kubernetes' optionality left.

`flashlink.pods.parse` makes a `Pod` from what interLink sends; `flashlink.jobscript` turns it into a job. Every value
in here comes from a pod's author and is hostile until quoted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flashlink.pods.probes import NOTHING, Life


@dataclass(frozen=True, slots=True)
class Resources:
    """What one container, or a whole pod, asks for; 0 means "not said".

    Attributes:
        cpu: Cores; fractions are meaningful (``500m`` is 0.5).
        memory: Bytes.
        ephemeral_storage: Bytes of scratch disk.
        gpu: Whole devices, of the vendor in `gpu_vendor`.
        gpu_vendor: ``"nvidia"``, ``"amd"`` or ``""``.
    """

    cpu: float = 0.0
    memory: int = 0
    ephemeral_storage: int = 0
    gpu: int = 0
    gpu_vendor: str = ""


@dataclass(frozen=True, slots=True)
class Mount:
    """One ``volumeMounts`` entry of a container.

    Attributes:
        volume: Name of a volume of the pod.
        path: Absolute path in the container.
        sub_path: Path inside the volume that is mounted in place of its root; "" for the root. Never leaves the volume.
        read_only: The container may not write.
    """

    volume: str
    path: str
    sub_path: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Security:
    """As whom a container runs and what it may write. Capabilities and privileges no container of a job has.

    Attributes:
        user: ``runAsUser``; None leaves it to the job.
        group: ``runAsGroup``; None leaves it to the job.
        non_root: It must not run as root.
        read_only_root: What is not a volume cannot be written.
    """

    user: int | None = None
    group: int | None = None
    non_root: bool = False
    read_only_root: bool = False


@dataclass(frozen=True, slots=True)
class RestartRule:
    """Exit codes with which a container starts again, whatever its restart policy says.

    Attributes:
        codes: 0 to 255.
        inside: The rule is about these codes; False for all others.
    """

    codes: tuple[int, ...]
    inside: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """Where the message comes from that a container leaves for its status when it ends.

    Attributes:
        path: The file in which the container writes it, absolute.
        from_logs: Where the container fails and has left none, it is the end of its log.
    """

    path: str = "/dev/termination-log"
    from_logs: bool = False


#: Of a container that does not say.
USUAL_MESSAGE = Message()


@dataclass(frozen=True, slots=True)
class Container:
    """One container, with ``$(VAR)`` already expanded in `command` and `args` and in the values of `env`.

    Attributes:
        name: DNS label, unique in the pod (init containers included), so safe in a path.
        image: Image reference as written in the manifest.
        command: Replaces the image's ENTRYPOINT; None leaves it.
        args: Replaces the image's CMD; None leaves it.
        env: Name to value in the order of the manifest; the last of equal names has won.
        working_dir: Absolute path, or "" for the image's own.
        mounts: Volume mounts in manifest order.
        requests: ``resources.requests``; where only limits are given they count as requests, as in Kubernetes.
        limits: ``resources.limits``.
        security: Its security context, with the pod's where its own is silent.
        pull: ``imagePullPolicy``: "Always", "IfNotPresent" or "Never"; "" leaves it to the image's tag.
        restart: "Never", "OnFailure" or "Always"; "" is the pod's own policy.
        restart_rules: The first that matches an exit code decides, before `restart` does.
        sidecar: An init container that is kept running beside the others.
        life: Its probes and hooks.
        message: Its last words.
    """

    name: str
    image: str
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = ""
    mounts: tuple[Mount, ...] = ()
    requests: Resources = Resources()
    limits: Resources = Resources()
    security: Security = Security()
    pull: str = ""
    restart: str = ""
    restart_rules: tuple[RestartRule, ...] = ()
    sidecar: bool = False
    life: Life = NOTHING
    message: Message = USUAL_MESSAGE

    @property
    def needs(self) -> Resources:
        """What the container must have: its requests, and of memory and disk what its limits allow.

        A cluster lets a container use more than it has requested. A batch system ends a job that uses more than it
        asked for.
        """
        return replace(
            self.requests,
            memory=max(self.requests.memory, self.limits.memory),
            ephemeral_storage=max(self.requests.ephemeral_storage, self.limits.ephemeral_storage),
        )


@dataclass(frozen=True, slots=True)
class File:
    """One file of a config map, secret or projected volume.

    Attributes:
        path: Relative to the volume's root; may hold ``/``; no ``..``, never absolute.
        content: The bytes, exactly.
        mode: Permission bits, 0 to 0o777.
    """

    path: str
    content: bytes
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class EmptyDir:
    """A scratch folder that all containers of the pod share and that ends with it.

    Attributes:
        in_memory: It lies in the worker's memory.
        size_limit: Bytes; the pod is ended when it holds more. 0 for none.
    """

    name: str
    in_memory: bool = False
    size_limit: int = 0


@dataclass(frozen=True, slots=True)
class Files:
    """A volume of given files: config map, secret, projected or downward API. Read-only for containers."""

    name: str
    files: tuple[File, ...]


@dataclass(frozen=True, slots=True)
class HostPath:
    """A path of the worker; the site says which are allowed.

    Attributes:
        type: Kubernetes' hostPath type: "", "Directory", "DirectoryOrCreate", "File", "FileOrCreate".
    """

    name: str
    path: str
    type: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A persistent volume claim; the site says what, if anything, stands behind the name."""

    name: str
    claim: str


@dataclass(frozen=True, slots=True)
class Cvmfs:
    """A CVMFS repository, by the annotation ``cvmfs.vk.io/<volume>``."""

    name: str
    repository: str


@dataclass(frozen=True, slots=True)
class Fuse:
    """A FUSE file system mounted by the pod's own script, by the annotation ``fuse.vk.io/<volume>``."""

    name: str
    script: str


Volume = EmptyDir | Files | HostPath | Claim | Cvmfs | Fuse


@dataclass(frozen=True, slots=True)
class Network:
    """Names that the containers of a pod know.

    Attributes:
        hostname: Their own; "" for the worker's.
        hosts: Further lines of ``/etc/hosts``.
        resolver: Lines of ``/etc/resolv.conf``.
        resolver_alone: The worker's own lines do not count.
    """

    hostname: str = ""
    hosts: tuple[str, ...] = ()
    resolver: tuple[str, ...] = ()
    resolver_alone: bool = False


@dataclass(frozen=True, slots=True)
class JobConfig:
    """interLink's ``jobConfig``, as far as it means something here.

    Attributes:
        executable: The container runtime; "" for the site's.
        fakeroot: Containers run as root of a user namespace.
        fuse_mode: Where FUSE volumes are mounted; "" for where the site does.
        options: Of ``apptainer exec``, without dashes.
        cache: Folder for what Apptainer fetches; "" for the site's.
        path: Folders for PATH of the worker.
    """

    executable: str = ""
    fakeroot: bool = False
    fuse_mode: str = ""
    options: tuple[str, ...] = ()
    cache: str = ""
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pod:
    """A whole pod, ready to be planned.

    Attributes:
        uid: The pod's uid: hexadecimal digits, letters and dashes only, so safe in a path.
        name: DNS subdomain.
        namespace: DNS label.
        init_containers: In the order in which they must run.
        containers: Run side by side. Containers that interLink did not offload
            (``interlink.eu/disable-offload-containers``) are not in here but in `not_offloaded`.
        volumes: By name; each volume that a mount names is there.
        annotations: All of the pod's annotations.
        labels: All of the pod's labels.
        restart_policy: "Never", "OnFailure" or "Always".
        deadline: ``activeDeadlineSeconds``, or None.
        grace: ``terminationGracePeriodSeconds``, 30 if not given.
        job_script: interLink's ``jobScript``: does the work of all containers when it is not empty.
        job_config: interLink's ``jobConfig``.
        network: Names.
        not_offloaded: Names of containers that run in the cluster, not here.
        not_offloaded_init: The same of init containers.
    """

    uid: str
    name: str
    namespace: str
    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] = ()
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    restart_policy: str = "Always"
    deadline: int | None = None
    grace: int = 30
    job_script: str = ""
    job_config: JobConfig = JobConfig()
    network: Network = Network()
    not_offloaded: tuple[str, ...] = ()
    not_offloaded_init: tuple[str, ...] = ()

    @property
    def resources(self) -> Resources:
        """What the pod's job asks for: `Container.needs`, as Kubernetes reckons up the requests of a pod."""
        return self._together(lambda container: container.needs)

    @property
    def limits(self) -> Resources:
        """The pod's limits; of memory there is one only if all containers have one, as in Kubernetes."""
        limits = self._together(lambda container: container.limits)
        all_limited = all(container.limits.memory for container in (*self.init_containers, *self.containers))
        return limits if all_limited else replace(limits, memory=0)

    def _together(self, part: Callable[[Container], Resources]) -> Resources:
        """The sum over containers and sidecars, or an init container with the sidecars before it where that is more."""
        sidecars, most = Resources(), Resources()
        for container in self.init_containers:
            together = _combined(sum, sidecars, part(container))
            most = _combined(max, most, together)
            if container.sidecar:
                sidecars = together
        return _combined(max, most, _combined(sum, sidecars, *map(part, self.containers)))


def _combined(how: Callable[[Iterable[Any]], Any], *items: Resources) -> Resources:
    return Resources(
        cpu=how(item.cpu for item in items),
        memory=how(item.memory for item in items),
        ephemeral_storage=how(item.ephemeral_storage for item in items),
        gpu=how(item.gpu for item in items),
        gpu_vendor=next((item.gpu_vendor for item in items if item.gpu), ""),
    )
