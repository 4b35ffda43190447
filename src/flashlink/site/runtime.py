"""What runs containers here: Apptainer, Singularity, or nothing, when the local site runs host processes."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import PurePath

import msgspec

from flashlink.errors import SiteError
from flashlink.site.config import Containers, Site

#: The one line that tells that pods run without images.
HOST_MODE = (
    "no Apptainer or Singularity here: pods run as host processes, without images; "
    "install apptainer to run them in containers"
)


def resolve(site: Site) -> Site:
    """Replace ``containers.runtime: auto`` by what this machine has, and check what was asked for.

    Returns:
        The site with runtime "apptainer", "singularity" or "host"; on the local system with the executable's full path.

    Raises:
        SiteError: "auto" or "host" with a batch system other than the local one, whose workers are other machines; or
            an executable that is not here.
    """
    asked = site.containers
    if site.batch.system != "local":
        if asked.runtime in ("auto", "host"):
            raise SiteError(
                f"containers.runtime: {asked.runtime!r} is for the local batch system alone; "
                f"say apptainer or singularity for {site.batch.system}"
            )
        return _with(site, msgspec.structs.replace(asked, executable=asked.executable or asked.runtime))
    if asked.runtime == "host":
        return site
    found = _find(asked)
    if found:
        runtime = asked.runtime if asked.runtime != "auto" else _kind(found)
        return _with(site, msgspec.structs.replace(asked, runtime=runtime, executable=found))
    if asked.runtime == "auto" and not asked.executable:
        return _with(site, msgspec.structs.replace(asked, runtime="host"))
    raise SiteError(
        f"containers.runtime: there is no program {asked.executable or asked.runtime!r} on this machine; "
        "install it, or give its path in containers.executable"
    )


def host_mode_notice(site: Site) -> str:
    """The one line to show when a resolved `site` runs host processes; "" if it runs containers."""
    return HOST_MODE if site.containers.runtime == "host" else ""


@cache
def can_mount() -> bool:
    """Whether host processes can have mounts of their own here (see docs/decisions/003).

    Some systems forbid user namespaces to plain users, or grant them without the right to mount: so it tries.
    """
    unshare = shutil.which("unshare")
    if unshare is None or shutil.which("mount") is None:
        return False
    identity = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    mount = ["mount", "-t", "tmpfs", "tmpfs", "/proc"]
    command = [unshare, "--mount", "--propagation", "private", *identity, "--", *mount]
    tried = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=20)
    return tried.returncode == 0


def _find(asked: Containers) -> str:
    names = (asked.executable,) if asked.executable else ("apptainer", "singularity")
    if asked.runtime != "auto" and not asked.executable:
        names = (asked.runtime,)
    return next((path for name in names if (path := shutil.which(name))), "")


def _kind(executable: str) -> str:
    return "singularity" if "singularity" in PurePath(executable).name else "apptainer"


def _with(site: Site, containers: Containers) -> Site:
    return msgspec.structs.replace(site, containers=containers)
