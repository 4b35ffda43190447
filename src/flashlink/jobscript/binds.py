"""The volumes of a pod as paths of the worker seen in a container."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePosixPath

from flashlink.errors import RequestError, SiteError
from flashlink.jobscript.fuse import bind_on_worker
from flashlink.jobscript.grants import below
from flashlink.jobscript.plan import Bind
from flashlink.pods.pod import Claim, Container, Cvmfs, EmptyDir, Files, Fuse, HostPath, Mount, Pod
from flashlink.site.config import Site

_REPOSITORY = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.ASCII)


def binds(
    pod: Pod, site: Site, folder: PurePosixPath, container: Container, further: Iterable[Bind] = ()
) -> tuple[Bind, ...]:
    """The volumes that a container mounts, and what else it sees of the worker, parents before children.

    Raises:
        RequestError: A mount that cannot be.
        SiteError: The site does not grant what stands behind a volume.
    """
    found = [bind for mount in container.mounts if (bind := _bind(pod, mount, site, folder)) is not None]
    taken = {bind.target for bind in found}
    found += [bind for bind in further if bind.target not in taken]
    for bind in found:
        if str(bind.target).startswith("/.flashlink"):
            raise RequestError(
                f"container {container.name}: {bind.target} is a path that flashlink uses itself; mount at another"
            )
    return tuple(sorted(found, key=lambda bind: len(bind.target.parts)))  # stable: parents first, else as written


def _bind(pod: Pod, mount: Mount, site: Site, folder: PurePosixPath) -> Bind | None:
    """What a mount shows of the worker; None if the volume is mounted inside of the container."""
    volume = pod.volumes[mount.volume]
    if ".." in PurePosixPath(mount.sub_path).parts or mount.sub_path.startswith("/"):
        raise RequestError(f"volume {volume.name}: the sub-path {mount.sub_path!r} leaves the volume")
    if isinstance(volume, Fuse):
        return bind_on_worker(pod, volume, mount, folder) if site.volumes.fuse == "host" else None
    source = _source(volume, site, folder)
    made = mount.sub_path and isinstance(volume, HostPath) and not volume.type  # as the kubelet makes it
    return replace(
        source,
        source=source.source / mount.sub_path,
        target=PurePosixPath("/" + mount.path.strip("/")),
        read_only=source.read_only or mount.read_only,
        kind="volume" if made else source.kind,
    )


def _source(volume: EmptyDir | Files | HostPath | Claim | Cvmfs, site: Site, folder: PurePosixPath) -> Bind:
    """What stands behind a volume; the target is still open."""
    grants = site.volumes
    match volume:
        case EmptyDir(name=name):
            return _grant(folder / "volumes" / name, kind="volume")
        case Files(name=name):
            return _grant(folder / "volumes" / name, kind="volume", read_only=True)
        case HostPath(name=name, path=path, type=kind):
            return replace(host_path(path, site, f"volume {name}: hostPath {path}"), kind=kind)
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
            return _grant(PurePosixPath(grants.cvmfs) / repository, kind="cvmfs", read_only=True)


def host_path(path: str, site: Site, place: str) -> Bind:
    """A path of the worker that the site grants; the target is still open.

    Raises:
        SiteError: It does not; `place` begins the sentence.
    """
    for allowed in site.volumes.host_paths:
        if (real := below(path, [allowed])) is not None:
            return replace(_grant(PurePosixPath(allowed)), source=real)
    raise SiteError(f"{place} is not below the site's volumes.host_paths; ask the site for it")


def _grant(root: PurePosixPath, *, kind: str = "", read_only: bool = False) -> Bind:
    return Bind(source=root, target=PurePosixPath("/"), root=root, read_only=read_only, kind=kind)
