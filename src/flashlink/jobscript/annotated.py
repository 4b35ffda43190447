"""What a pod's author says to the job by annotation, as with interLink's Slurm plugin, within what the site grants."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from flashlink.errors import SiteError, wrong
from flashlink.jobscript.binds import host_path
from flashlink.jobscript.grants import granted_options
from flashlink.jobscript.plan import Bind, PreExec
from flashlink.pods.pod import Pod
from flashlink.site.config import Site

PRE_EXEC = "slurm-job.vk.io/pre-exec"
FLAGS = "slurm-job.vk.io/flags"
FLAVOUR = "slurm-job.vk.io/flavor"
OPTIONS = "slurm-job.vk.io/singularity-options"
MOUNTS = "slurm-job.vk.io/singularity-mounts"
IMAGE_ROOT = "slurm-job.vk.io/image-root"
WSTUNNEL = "interlink.eu/wstunnel-client-commands"
POD_IP = "interlink.eu/pod-ip"

#: interLink's virtual kubelet writes a mesh network so (its template mesh.sh); other lines may stand around it.
_MESH = re.compile(
    r"^[ \t]*cat <<'EOFMESH' > (?:\S*/)?mesh\.sh[ \t]*\n(.*?\n)EOFMESH[ \t]*$\n?", re.DOTALL | re.MULTILINE
)


def pre_exec(pod: Pod, site: Site) -> PreExec | None:
    """The lines that run before the containers; the tunnel's come first, as in the Slurm plugin.

    Raises:
        RequestError: They are not what they should be.
        SiteError: The site runs no lines of a pod's author.
    """
    given = [key for key in (WSTUNNEL, PRE_EXEC) if pod.annotations.get(key, "").strip()]
    if not given:
        return None
    if not site.grants.pre_exec:
        raise SiteError(
            f"annotation {given[0]}: this site runs no lines of a pod on its workers (grants.pre_exec); leave it out"
        )
    lines = "\n".join(pod.annotations[key] for key in given)
    mesh = _MESH.search(lines)
    if mesh is not None:
        lines = lines[: mesh.start()] + lines[mesh.end() :]
    return PreExec(lines, mesh[1] if mesh else "", _address(pod))


def options(pod: Pod, site: Site) -> tuple[tuple[str, str], ...]:
    """What the batch system is told by the pod's author; a flavour is the site's own, so it needs no grant.

    Raises:
        RequestError: It is not a list of options.
        SiteError: The site does not grant one.
    """
    flags = granted_options(pod.annotations.get(FLAGS, ""), site.grants.flags, f"annotation {FLAGS}", "grants.flags")
    flavour = pod.annotations.get(FLAVOUR, "")
    return (*flags, ("flavour", flavour)) if flavour else flags


def runtime_options(pod: Pod, site: Site) -> tuple[str, ...]:
    """Further words for the container runtime, for each container.

    Raises:
        RequestError: It is not a list of options.
        SiteError: The site does not grant one.
    """
    text, key = pod.annotations.get(OPTIONS, ""), "grants.apptainer_options"
    given = granted_options(text, site.grants.apptainer_options, f"annotation {OPTIONS}", key)
    return tuple(f"--{name}={value}" if value else f"--{name}" for name, value in given)


def mounts(pod: Pod, site: Site) -> tuple[Bind, ...]:
    """Paths of the worker that every container sees, as hostPath volumes may show them.

    Raises:
        RequestError: It is not a list of ``--bind SOURCE:TARGET:ro``.
        SiteError: The site does not grant a path.
    """
    return tuple(_mount(word, site) for word in _mount_words(pod.annotations.get(MOUNTS, "")))


def image_root(pod: Pod, site: Site) -> str:
    """What stands before image names without transport: the annotation's, else the site's."""
    root = pod.annotations.get(IMAGE_ROOT)
    return site.images.prefix if root is None else root


def _address(pod: Pod) -> str:
    text = pod.annotations.get(POD_IP, "")
    if not text:
        return ""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise wrong(f"annotation {POD_IP}", text, "an IP address") from None


def _mount_words(text: str) -> Iterator[str]:
    """Each ``SOURCE:TARGET:MODE`` of ``--bind a:b,c:d -B e``, or of the list without option."""
    for word in text.replace("--bind=", "--bind ").split():
        if word not in ("--bind", "-B"):
            yield from (part for part in word.split(",") if part)


def _mount(word: str, site: Site) -> Bind:
    source, _, rest = word.partition(":")
    target, _, mode = rest.partition(":")
    expected = "SOURCE:TARGET or SOURCE:TARGET:ro, of absolute paths"
    paths = source, target or source
    if mode not in ("", "ro", "rw") or any(not path.startswith("/") or ".." in path.split("/") for path in paths):
        raise wrong(f"annotation {MOUNTS}", word, expected)
    bind = host_path(source, site, f"annotation {MOUNTS}: {source}")
    return replace(bind, target=PurePosixPath("/" + paths[1].strip("/")), read_only=mode == "ro")
