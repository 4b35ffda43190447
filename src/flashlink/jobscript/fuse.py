"""Volumes that a pod's own scripts mount by FUSE, where and as the site lets them.

How a site realises them is one word of its file; another kind of network file system that has a mount of its own would
be another word, and another branch here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from flashlink.errors import SiteError
from flashlink.jobscript.plan import Bind, FuseMount
from flashlink.pods.pod import Container, Fuse, Mount, Pod
from flashlink.site.config import Site


def mounts_on_worker(pod: Pod, site: Site) -> tuple[FuseMount, ...]:
    """The mounts that the job makes on the worker: one a volume, or one a sub-path where the script asks for it.

    Raises:
        SiteError: The site does not let pods mount.
    """
    if site.volumes.fuse != "host":
        return ()
    return tuple(
        FuseMount(_name(pod, volume, asked), volume.script, asked)
        for volume in _volumes(pod)
        for asked in _asked(pod, volume)
    )


def bind_on_worker(pod: Pod, volume: Fuse, mount: Mount, folder: PurePosixPath) -> Bind:
    """What a container sees of a mount on the worker."""
    handled = _by_script(volume, mount)
    root = folder / "fuse" / _name(pod, volume, handled)
    source = root if handled else root / mount.sub_path
    return Bind(source, PurePosixPath("/" + mount.path.strip("/")), root, mount.read_only, "volume")


def mounts_in_container(pod: Pod, site: Site, container: Container) -> tuple[FuseMount, ...]:
    """The mounts that are made inside of a container.

    Raises:
        SiteError: The site does not let pods mount, or cannot mount this one so.
    """
    wanted = [(mount, volume) for mount in container.mounts if isinstance(volume := pod.volumes[mount.volume], Fuse)]
    if not site.volumes.fuse and wanted:
        raise SiteError(
            f"volume {wanted[0][1].name}: this site lets no pod mount by FUSE (volumes.fuse); "
            "use a hostPath or a claim that it has"
        )
    if site.volumes.fuse != "container":
        return ()
    for mount, volume in wanted:
        _check_inside(mount, volume, site, container)
    return tuple(
        FuseMount(volume.name, volume.script, mount.sub_path, PurePosixPath("/" + mount.path.strip("/")))
        for mount, volume in wanted
    )


def _check_inside(mount: Mount, volume: Fuse, site: Site, container: Container) -> None:
    """Refuse what Apptainer's FUSE mounts inside of a container cannot be."""
    place = f"volume {volume.name} in container {container.name}: this site mounts FUSE volumes inside of containers"
    if site.containers.runtime == "host":
        raise SiteError(f"{place}, and runs pods without any; it can mount them on the worker (volumes.fuse)")
    if container.security.user == 0:
        raise SiteError(f"{place}, where root could mount over the worker's devices; leave runAsUser 0 out")
    if mount.read_only:
        raise SiteError(f"{place} and cannot make them readOnly; let the script mount it so")
    if mount.sub_path and not _by_script(volume, mount):
        raise SiteError(f"{place} and cannot cut a subPath out; let the script mount $SUB_PATH")
    if any(character.isspace() for character in mount.path):
        raise SiteError(f"{place}, at paths without blanks; mount it at another path than {mount.path!r}")


def _by_script(volume: Fuse, mount: Mount) -> str:
    """The sub-path, if it is the script that looks at it."""
    return mount.sub_path if "SUB_PATH" in volume.script else ""


def _volumes(pod: Pod) -> Iterator[Fuse]:
    yield from (volume for volume in pod.volumes.values() if isinstance(volume, Fuse))


def _asked(pod: Pod, volume: Fuse) -> list[str]:
    """The sub-paths of which the volume needs a mount each, in the order in which the pod names them."""
    containers = (*pod.init_containers, *pod.containers)
    mounts = (mount for container in containers for mount in container.mounts if mount.volume == volume.name)
    return list(dict.fromkeys(_by_script(volume, mount) for mount in mounts))


def _name(pod: Pod, volume: Fuse, asked: str) -> str:
    number = _asked(pod, volume).index(asked)
    return f"{volume.name}.{number}" if number else volume.name
