"""Pod and site make a `JobPlan`: everything decided, nothing of the shell yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from flashlink.pods.pod import USUAL_MESSAGE, EmptyDir, Files, Message, Network, Resources, RestartRule
from flashlink.pods.probes import NOTHING, Life


@dataclass(frozen=True, slots=True)
class Bind:
    """A path of the worker seen in a container.

    Attributes:
        source: Absolute path on the worker; a `Files` or `EmptyDir` volume lies under the pod's own folder.
        target: Absolute path in the container.
        root: What the pod was granted: `source` is in it and must still be when all links are followed.
        read_only: The container may not write.
        kind: "volume": a sub-path that is missing becomes a folder. "cvmfs": `root` is a repository. Else a hostPath's
            type, which `source` must be: "", "Directory", "DirectoryOrCreate", "File" or "FileOrCreate".
    """

    source: PurePosixPath
    target: PurePosixPath
    root: PurePosixPath
    read_only: bool = False
    kind: str = ""


@dataclass(frozen=True, slots=True)
class FuseMount:
    """A FUSE file system and the pod's script that mounts it.

    Attributes:
        name: A DNS label and perhaps a number behind a dot: on the worker it is mounted at ``fuse/<name>`` of the pod's
            folder.
        script: Shell; it mounts at ``$MOUNT_POINT`` and blocks.
        sub_path: What the script finds in ``$SUB_PATH``.
        target: Absolute path in the container, where the container mounts it itself; None on the worker.
    """

    name: str
    script: str
    sub_path: str = ""
    target: PurePosixPath | None = None


@dataclass(frozen=True, slots=True)
class PreExec:
    """Shell lines of the pod's author that run on the worker before the containers.

    Attributes:
        lines: In one shell; what they export reaches the container runtime.
        mesh: A script that gets the command line of the rest of the job as its arguments; "" for none.
        pod_ip: ``POD_IP`` for the lines; "" for none.
    """

    lines: str = ""
    mesh: str = ""
    pod_ip: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One container, ready to run.

    Attributes:
        name: Of the container.
        argv: The command line inside, or None to run the image's own entry point with `args`.
        args: Arguments for the image's own entry point, when `argv` is None; empty leaves its CMD.
        image: What the container runtime gets: a path or a reference with transport; "" for a host process.
        fetch_options: Options with which the container runtime fetches the image, where it is a reference.
        env: Name to value, exactly as the process shall see them.
        working_dir: Absolute path, or "".
        binds: In mount order: parents before children.
        gpu: "", "nvidia" or "amd".
        gpu_count: How many.
        gpu_first: How many of the job's the containers beside it have before.
        memory: Bytes that its processes may use; 0 for no limit of its own.
        memory_volumes: EmptyDirs in memory that count as the container's, as no other mounts them.
        disk: Bytes that it may write to its own files and logs; 0 for no limit of its own.
        root: Where what the container writes outside of its volumes goes: "disk" (the pod's scratch), "memory", or
            "read-only", which is nowhere.
        user: Uid that the process must have: the job's own, or 0 with `fake_root`; None leaves it to the job.
        group: Gid that the process must have; None leaves it to the job.
        non_root: The job must not be root's.
        fuses: What is mounted by FUSE inside of the container.
        fake_root: The process is root of a user namespace, which is the job's account outside.
        restart: "Never", "OnFailure" or "Always".
        restart_rules: The first that matches an exit code decides, before `restart` does.
        sidecar: It runs beside the steps after it, and ends when they have ended.
        life: Its probes and hooks.
        message: Where it leaves its last words.
        script: What runs on the worker in place of the container, and of all others of the pod; "" for none.
    """

    name: str
    argv: tuple[str, ...] | None
    args: tuple[str, ...]
    image: str
    env: tuple[tuple[str, str], ...]
    working_dir: str
    binds: tuple[Bind, ...]
    gpu: str = ""
    root: str = "disk"
    user: int | None = None
    group: int | None = None
    non_root: bool = False
    fake_root: bool = False
    fetch_options: tuple[str, ...] = ()
    fuses: tuple[FuseMount, ...] = ()
    restart: str = "Never"
    restart_rules: tuple[RestartRule, ...] = ()
    sidecar: bool = False
    gpu_count: int = 0
    gpu_first: int = 0
    memory: int = 0
    memory_volumes: tuple[str, ...] = ()
    disk: int = 0
    life: Life = NOTHING
    script: str = ""
    message: Message = USUAL_MESSAGE


@dataclass(frozen=True, slots=True)
class Report:
    """How a job tells the plugin what happens, where the plugin cannot see the pod's folder.

    Attributes:
        url: Where to post, ``https://…``; it names the pod.
        token: Good for this one pod, and only to add to its journal and logs.
        seconds: Pause between two reports.
        authority: Certificates in PEM that the worker shall trust; "" for those that it trusts anyhow.
    """

    url: str
    token: str
    seconds: int
    authority: str = ""


@dataclass(frozen=True, slots=True)
class JobPlan:
    """A job, completely decided: the same pod and site always give the same plan.

    Attributes:
        uid: The pod's uid.
        name: The pod's name.
        folder: The pod's private folder on the worker (see docs/decisions on its layout).
        runtime: "apptainer", "singularity" or "host".
        executable: Of the container runtime.
        runtime_options: Further options for it.
        image_cache: Folder of the worker for what it fetches; "" keeps nothing for later jobs.
        init_steps: One after the other, each to succeed; or, a sidecar, to start.
        steps: Side by side.
        scratch: Volumes to make as empty folders.
        files: Volumes to fill with given files.
        fuses: What the job mounts by FUSE on the worker, before its containers start.
        fuse_seconds: How long a FUSE mount may take.
        pre_exec: What runs before the containers.
        network: Names that the containers know.
        options: What the pod's author says to the batch system: long options without their dashes, and their values; ""
            for one without value.
        deadline: Seconds after which the job ends itself, 0 for none.
        grace: Seconds between SIGTERM and SIGKILL.
        walltime: Seconds to ask the batch system for; 0 leaves it to the system.
        resources: What the job asks the batch system for, the site's defaults filled in.
        path: Folders before PATH of host processes.
        report: Where the job reports; None where worker and plugin share a file system.
        log_size: Bytes that are kept of each container's log; 0 for all.
        disk: Bytes that all steps and the emptyDirs on disk may hold together; 0 for no limit.
        alike: Containers of the pod that have no step of their own: what happens to the first step happens to them.
        alike_init: Init containers without a step, which have succeeded when the first step starts.
    """

    uid: str
    name: str
    folder: PurePosixPath
    runtime: str
    executable: str
    runtime_options: tuple[str, ...]
    init_steps: tuple[Step, ...]
    steps: tuple[Step, ...]
    scratch: tuple[EmptyDir, ...] = ()
    files: tuple[Files, ...] = ()
    deadline: int = 0
    grace: int = 30
    resources: Resources = field(default_factory=Resources)
    path: tuple[str, ...] = ()
    walltime: int = 0
    image_cache: str = ""
    fuses: tuple[FuseMount, ...] = ()
    fuse_seconds: int = 30
    pre_exec: PreExec | None = None
    network: Network = field(default_factory=Network)
    options: tuple[tuple[str, str], ...] = ()
    report: Report | None = None
    log_size: int = 0
    disk: int = 0
    alike: tuple[str, ...] = ()
    alike_init: tuple[str, ...] = ()
