"""interLink's jobConfig, within what the site grants."""

from __future__ import annotations

from pathlib import PurePosixPath

from flashlink.errors import SiteError
from flashlink.jobscript.grants import below
from flashlink.pods.pod import Container, Pod
from flashlink.site.config import Site

#: Options that take something away, so that no site need grant them.
_HARMLESS = {"ipc"}


def check(pod: Pod, site: Site) -> None:
    """Refuse a jobConfig that would have the site be another than it is.

    Raises:
        SiteError: Names the key and what the site has.
    """
    asked, containers = pod.job_config, site.containers
    executable = containers.executable or containers.runtime
    if asked.executable and asked.executable not in (executable, PurePosixPath(executable).name):
        raise _refusal("ApptainerOptions.executable", asked.executable, f"this site runs {executable}")
    if asked.fuse_mode and asked.fuse_mode != site.volumes.fuse:
        has = f"this site mounts FUSE volumes so: {site.volumes.fuse or 'not at all'}"
        raise _refusal("ApptainerOptions.fuseMode", asked.fuse_mode, has)
    for folder in asked.path:
        if folder not in containers.path:
            raise _refusal(
                "Volumes.additional_directories_in_path", folder, f"this site has {containers.path or 'none'}"
            )


def runtime_options(pod: Pod, site: Site) -> tuple[str, ...]:
    """Further words for the container runtime, for each container.

    Raises:
        SiteError: The site does not grant one.
    """
    for name in pod.job_config.options:
        if name not in _HARMLESS and f"--{name}" not in site.grants.apptainer_options:
            raise _refusal("ApptainerOptions", f"--{name}", "this site does not grant it (grants.apptainer_options)")
    return tuple(f"--{name}" for name in pod.job_config.options)


def image_cache(pod: Pod, site: Site) -> str:
    """Where Apptainer keeps what it fetched.

    Raises:
        SiteError: The site does not let jobs write there.
    """
    asked = pod.job_config.cache
    if asked and asked != site.images.cache and below(asked, site.volumes.host_paths) is None:
        has = "it is neither the site's images.cache nor below its volumes.host_paths"
        raise _refusal("Volumes.apptainer_cachedir", asked, has)
    return asked or site.images.cache


def user(pod: Pod, container: Container) -> int | None:
    """The uid that a container asks for; by jobConfig all may ask for 0."""
    asked = container.security.user
    return 0 if asked is None and pod.job_config.fakeroot else asked


def _refusal(key: str, seen: str, has: str) -> SiteError:
    return SiteError(f"jobConfig.{key}: {seen!r}: {has}; leave it out")
