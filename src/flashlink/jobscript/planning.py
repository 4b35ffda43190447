"""A pod and a site become a `JobPlan`, or a refusal that says what the site would need.

Pure: nothing here looks at a disk or a clock, since the worker is another machine. What only the worker can know (does
the path exist? does a link lead out of it?) the runtime checks there.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePosixPath

from flashlink.errors import RequestError, SiteError
from flashlink.jobscript.plan import Bind, JobPlan, Step
from flashlink.pods.pod import Claim, Container, Cvmfs, EmptyDir, Files, Fuse, HostPath, Mount, Pod, Resources, Volume
from flashlink.pods.quantity import size
from flashlink.site.config import Site

_TRANSPORTS = ("docker", "oras", "library")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_REPOSITORY = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.ASCII)
#: Names that bash does not let go of; a host process gets its environment from bash.
_OF_BASH = frozenset({"_", "BASHOPTS", "BASH_VERSINFO", "BASHPID", "EUID", "PPID", "SHELLOPTS", "SHLVL", "UID"})
#: Linux' limit on one argument or variable, less what the container runtime puts before a name.
_LONGEST = 128 * 1024 - 64


def plan(pod: Pod, site: Site, folder: PurePosixPath) -> JobPlan:
    """Decide everything about the job of a pod.

    Args:
        pod: What was asked.
        site: A site after `flashlink.site.runtime.resolve`.
        folder: The pod's private folder on the worker, absolute.

    Raises:
        RequestError: The pod asks for what cannot be.
        SiteError: The site does not grant what the pod asks for.
    """
    if pod.job_script:
        raise SiteError("jobScript: this site runs its own job scripts only; leave interLink's jobScript empty")
    containers = site.containers
    return JobPlan(
        uid=pod.uid,
        name=pod.name,
        folder=folder,
        runtime=containers.runtime,
        executable="" if containers.runtime == "host" else containers.executable or containers.runtime,
        runtime_options=tuple(containers.options),
        init_steps=tuple(_step(pod, site, folder, container) for container in pod.init_containers),
        steps=tuple(_step(pod, site, folder, container) for container in pod.containers),
        scratch=tuple(volume for volume in pod.volumes.values() if isinstance(volume, EmptyDir)),
        files=tuple(volume for volume in pod.volumes.values() if isinstance(volume, Files)),
        restart_policy=pod.restart_policy,
        deadline=pod.deadline or 0,
        grace=pod.grace,
        resources=_resources(pod, site),
        path=tuple(containers.path),
        walltime=_walltime(pod, site),
    )


def needs_mounts(plan: JobPlan) -> bool:
    """Whether a host process of the plan needs a mount namespace, which `flashlink.site.runtime.can_mount` may deny."""
    steps = (*plan.init_steps, *plan.steps)
    return plan.runtime == "host" and any(
        bind.read_only or bind.source != bind.target for step in steps for bind in step.binds
    )


def _step(pod: Pod, site: Site, folder: PurePosixPath, container: Container) -> Step:
    on_host = site.containers.runtime == "host"
    argv = None if container.command is None else (*container.command, *(container.args or ()))
    if on_host and not argv:
        raise SiteError(
            f"container {container.name}: this site runs pods without images, so there is no entry point; "
            "give the container a command"
        )
    step = Step(
        name=container.name,
        argv=argv or None,
        args=container.args or () if not argv else (),
        image="" if on_host else _image(container, site),
        env=tuple(container.env.items()),
        working_dir=container.working_dir,
        binds=_binds(pod, site, folder, container),
        gpu=max(container.requests, container.limits, key=lambda asked: asked.gpu).gpu_vendor,
    )
    _check_words(step, on_host=on_host)
    return step


def _check_words(step: Step, *, on_host: bool) -> None:
    for name, value in step.env:
        if not _VARIABLE.fullmatch(name) or name == "FLASHLINK_POD" or (on_host and name in _OF_BASH):
            raise RequestError(
                f"container {step.name}: a variable cannot be named {name!r} here; "
                "use another name, of letters, digits and underscores"
            )
        _check_length(step, f"the value of {name}", value)
    for word in (*(step.argv or ()), *step.args):
        _check_length(step, "one argument", word)


def _check_length(step: Step, what: str, text: str) -> None:
    if (length := len(text.encode())) > _LONGEST:
        raise RequestError(
            f"container {step.name}: {what} has {length} bytes, Linux takes {_LONGEST}; put it into a config map's file"
        )


def _image(container: Container, site: Site) -> str:
    image, images = container.image, site.images
    if image in images.aliases:
        return images.aliases[image]
    place = f"container {container.name}: image {image!r}"
    if image.startswith("/"):
        path = _below(image, images.folders)
        if path is None:
            raise SiteError(
                f"{place} is not below a folder of the site's images.folders; ask the site to add its folder"
            )
        return str(path)
    transport, separator, _ = image.partition("://")
    if not separator:
        return images.prefix + image
    if transport not in _TRANSPORTS:
        known = ", ".join(f"{name}://" for name in _TRANSPORTS)
        raise RequestError(f"{place} has an unknown transport; use {known} or the path of a SIF file")
    return image


def _binds(pod: Pod, site: Site, folder: PurePosixPath, container: Container) -> tuple[Bind, ...]:
    binds = [_bind(pod.volumes[mount.volume], mount, site, folder) for mount in container.mounts]
    return tuple(sorted(binds, key=lambda bind: len(bind.target.parts)))  # stable: parents first, else as written


def _bind(volume: Volume, mount: Mount, site: Site, folder: PurePosixPath) -> Bind:
    source = _source(volume, site, folder)
    if ".." in PurePosixPath(mount.sub_path).parts or mount.sub_path.startswith("/"):
        raise RequestError(f"volume {volume.name}: the sub-path {mount.sub_path!r} leaves the volume")
    return replace(
        source,
        source=source.source / mount.sub_path,
        target=PurePosixPath("/" + mount.path.strip("/")),
        read_only=source.read_only or mount.read_only,
        kind="Directory" if mount.sub_path and not source.kind else source.kind,
    )


def _source(volume: Volume, site: Site, folder: PurePosixPath) -> Bind:
    """What stands behind a volume; the target is still open."""
    grants = site.volumes
    match volume:
        case EmptyDir(name=name):
            return _grant(folder / "volumes" / name, kind="volume")
        case Files(name=name):
            return _grant(folder / "volumes" / name, kind="volume", read_only=True)
        case HostPath(name=name, path=path, type=kind):
            for allowed in grants.host_paths:
                if (real := _below(path, [allowed])) is not None:
                    return replace(_grant(PurePosixPath(allowed), kind=kind), source=real)
            raise SiteError(
                f"volume {name}: hostPath {path} is not below the site's volumes.host_paths; ask the site for it"
            )
        case Claim(name=name, claim=claim):
            if claim not in grants.claims:
                raise SiteError(
                    f"volume {name}: nothing stands for claim {claim!r} here; the site can name it in volumes.claims"
                )
            return _grant(PurePosixPath(grants.claims[claim]), kind="volume")
        case Cvmfs(name=name, repository=repository):
            if not grants.cvmfs:
                raise SiteError(f"volume {name}: this site has no CVMFS; it would be named in volumes.cvmfs")
            if not _REPOSITORY.fullmatch(repository):
                raise RequestError(f"volume {name}: {repository!r} is not a CVMFS repository as lhcb.cern.ch")
            return _grant(PurePosixPath(grants.cvmfs) / repository, read_only=True)
        case Fuse(name=name):
            raise SiteError(
                f"volume {name}: this site cannot mount FUSE volumes yet; use a hostPath or a claim that it has"
            )


def _grant(root: PurePosixPath, *, kind: str = "", read_only: bool = False) -> Bind:
    return Bind(source=root, target=PurePosixPath("/"), root=root, read_only=read_only, kind=kind)


def _below(path: str, folders: list[str]) -> PurePosixPath | None:
    """`path` if it is one of `folders` or below one; None if it is not, or is not plain."""
    wanted = PurePosixPath("/" + path.strip("/"))
    if not path.startswith("/") or ".." in wanted.parts:
        return None
    return wanted if any(wanted.is_relative_to(PurePosixPath(folder)) for folder in folders) else None


def _resources(pod: Pod, site: Site) -> Resources:
    asked = pod.resources
    return replace(
        asked, cpu=asked.cpu or site.limits.cpu, memory=asked.memory or size(site.limits.memory, "limits.memory")
    )


def _walltime(pod: Pod, site: Site) -> int:
    longest = site.limits.walltime_seconds
    if not pod.deadline:
        return longest
    needed = pod.deadline + pod.grace + 60  # the runtime ends the pod at its deadline; the system must not be first
    return min(needed, longest) if longest else needed
