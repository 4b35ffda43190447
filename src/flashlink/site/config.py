"""A site, as one TOML or YAML file says it: its batch system, how containers run, what volumes it grants.

Every key has a default that is safe on a machine of one's own, so ``flashlink plugin`` runs without a file. The classes
are the schema: `flashlink.site.load` reads a file into them and names the key of whatever is wrong.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

Positive = Annotated[float, msgspec.Meta(gt=0)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]


class Batch(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The batch system that runs the jobs.

    Attributes:
        system: Name of a ``flashlink.batch`` entry point.
        poll_seconds: Time between two sweeps over all jobs; 0.5 for the local system and 3 for others unless given.
        cpus: Cores that the local system may fill; 0 means all of the machine's.
        memory: Memory that the local system may fill, as a Kubernetes quantity; "" means all of the machine's.
        pods: Most pods that the node offers.
        options: What else the system's own page in docs/ lists.
    """

    system: str = "local"
    poll_seconds: Positive | None = None
    cpus: Annotated[int, msgspec.Meta(ge=0)] = 0
    memory: str = ""
    pods: Annotated[int, msgspec.Meta(ge=1)] = 1000
    options: dict[str, Any] = {}

    @property
    def interval(self) -> float:
        """Seconds between two sweeps: others than the local system have schedulers that many users ask."""
        return self.poll_seconds or (0.5 if self.system == "local" else 3.0)


class Containers(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How containers run on the workers.

    Attributes:
        runtime: "apptainer" and "singularity" run images. "host" runs the command as a process of the worker, without
            an image: only the local batch system takes it. "auto", also for the local system alone, takes Apptainer or
            Singularity where the machine has one, else "host".
        executable: Path or name of Apptainer on the worker; "" looks for the runtime's name on PATH.
        options: Further options of ``apptainer exec`` for each container.
        root: Where goes what a container writes outside of its volumes, which in Kubernetes is a layer of its own on
            the node: "disk" (the pod's folder), "memory" (Apptainer's own, 64 MB unless apptainer.conf says otherwise)
            or "read-only" (nowhere: it cannot write there). The first two need fuse-overlayfs or a setuid Apptainer.
        fakeroot: Containers that ask for runAsUser 0 run by ``--fakeroot``, as root of a user namespace; else they are
            refused.
        path: Folders put before PATH of host processes.
    """

    runtime: Literal["auto", "apptainer", "singularity", "host"] = "auto"
    executable: str = ""
    options: list[str] = []
    root: Literal["disk", "memory", "read-only"] = "disk"
    fakeroot: bool = False
    path: list[str] = []


class Images(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where image references lead.

    Attributes:
        folders: Absolute folders from which SIF files and unpacked images may be named by path.
        aliases: Reference as pods write it to what Apptainer shall run in its place (a SIF path, another reference).
        prefix: Put before references that name no transport; Docker's by default.
        plain_http: Registries, as ``HOST`` or ``HOST:PORT``, that are reached by http without encryption.
        cache: Folder of the workers in which Apptainer keeps what it fetched for later jobs; "" keeps nothing.
    """

    folders: list[str] = []
    aliases: dict[str, str] = {}
    prefix: str = "docker://"
    plain_http: list[str] = []
    cache: str = ""


class Volumes(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What of the worker pods may mount.

    Attributes:
        host_paths: Folders under which hostPath volumes may point; none by default.
        claims: Persistent volume claim to the folder of the worker that stands for it.
        cvmfs: Folder under which CVMFS repositories are mounted on the workers; "" where there is none.
        fuse: Where the scripts of the annotations ``fuse.vk.io/<volume>`` mount. "host": on the worker, as the job's
            user and with the worker's programs, once a pod. "container": inside of each container, with its image's
            programs and no more rights than it has. "": nowhere, such pods are refused.
        fuse_seconds: How long a mount may take to appear.
    """

    host_paths: list[str] = []
    claims: dict[str, str] = {}
    cvmfs: str = ""
    fuse: Literal["", "host", "container"] = ""
    fuse_seconds: Annotated[int, msgspec.Meta(ge=1)] = 30


class Grants(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a pod's author may say to the job itself, by annotation or interLink's jobConfig; nothing by default.

    Attributes:
        pre_exec: Shell lines run on the worker before the containers, unconfined, as the job's user:
            ``slurm-job.vk.io/pre-exec``, ``interlink.eu/wstunnel-client-commands`` and interLink's mesh network.
        flags: Options of the batch system that ``slurm-job.vk.io/flags`` may give: "--constraint" with any value,
            "--partition=short" with that one.
        job_script: A script that interLink's API server sends (``JobScriptTemplate``, ``JobScriptBuilderURL``) is the
            job's, in place of the pod's containers: it runs on the worker, unconfined, as the job's user.
        apptainer_options: Options of ``apptainer exec`` that ``slurm-job.vk.io/singularity-options`` may give, so too.
    """

    pre_exec: bool = False
    job_script: bool = False
    flags: list[str] = []
    apptainer_options: list[str] = []


class Limits(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a pod gets when it does not say, and at most.

    Attributes:
        cpu: Default cores.
        memory: Default memory, a Kubernetes quantity.
        walltime_seconds: Default and longest wall time; 0 is the batch system's own.
        log_size: How much is kept of each container's log, a Kubernetes quantity of at least 64Ki: its beginning and
            its end, with a line where output was cut. "0" keeps all.
    """

    cpu: Positive = 1.0
    memory: str = "1Gi"
    walltime_seconds: Annotated[int, msgspec.Meta(ge=0)] = 0
    log_size: str = "64Mi"


class Reports(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where jobs report on workers that do not share the plugin's file system; without it they tell all at their end.

    Attributes:
        listen: ``HOST:PORT`` at which the plugin takes reports over HTTPS; "" for none.
        url: How workers reach it, ``https://HOST:PORT``.
        certificate: File of the certificate chain in PEM; read again when it changes.
        key: File of its private key in PEM, of mode 0600.
        authority: File of the certificates that workers shall trust; "" for those that they trust anyhow.
        seconds: Pause between two reports of a job.
        file_size: Most that is kept of a log, a Kubernetes quantity.
    """

    listen: str = ""
    url: str = ""
    certificate: str = ""
    key: str = ""
    authority: str = ""
    seconds: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 2
    file_size: str = "1Gi"


class Site(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A site and the plugin that serves it.

    Attributes:
        name: Shown in logs, metrics and the workflow's report.
        listen: ``HOST:PORT`` or ``unix:PATH``; interLink has no authentication, so never a public address.
        state: Folder of the plugin's books (0700).
        work: Folder on the workers, one private folder a pod below it; "" puts it into `state`.
    """

    name: Name = "local"
    listen: str = "127.0.0.1:4000"
    state: str = ""
    work: str = ""
    batch: Batch = Batch()
    containers: Containers = Containers()
    images: Images = Images()
    volumes: Volumes = Volumes()
    grants: Grants = Grants()
    limits: Limits = Limits()
    reports: Reports = Reports()
