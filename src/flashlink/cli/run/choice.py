"""What ``--site`` means: the embedded local site, this machine's Slurm or HTCondor, a file, or a plugin that runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import yaml

from flashlink.cli.run.embedded import EmbeddedSite, RemoteSite, Say
from flashlink.errors import RequestError, SiteError, wrong
from flashlink.site.config import Batch, Containers, Images, Site, Volumes
from flashlink.site.load import load, work_folder
from flashlink.site.runtime import host_mode_notice, resolve

#: The image that pods of the main job name; a site says what stands behind it.
IMAGE = "flashlink"

#: Batch systems whose name alone is a site, and the command by which a machine has one.
CLUSTERS = {"htcondor": "condor_submit", "slurm": "sbatch"}


def choose(choice: str, checkout: Path, output: Path, cores: int, say: Say) -> Site | RemoteSite:
    """What ``--site`` names: ``local``, a batch system, a site's file, or a plugin's endpoint. Writes nothing.

    Args:
        choice: What the user said.
        checkout: Folder of the workflow and of flashlink itself.
        output: Folder of the results.
        cores: How many cores jobs of the embedded site may fill.
        say: Shows a line to the user.

    Returns:
        A site to embed, or a plugin that answers.

    Raises:
        FlashlinkError: The file is wrong or grants too little, or the plugin does not answer.
    """
    shared = [checkout, output]
    if choice.startswith(("http://", "https://", "unix:")):
        return RemoteSite(choice, f"a site of this run has to grant {_words(shared)} in volumes.host_paths of its file")
    if choice == "local":
        return local_site(checkout, output, cores, say)
    if choice in CLUSTERS:
        return cluster_site(choice, checkout, output, say)
    if not choice or "://" in choice:
        raise wrong("--site", choice, "'local', 'htcondor', 'slurm', the file of a site, http://HOST:PORT or unix:PATH")
    site = load(Path(choice))
    check(site, choice, shared)
    return site


def embed(site: Site, folder: Path, say: Say) -> EmbeddedSite:
    """Start the plugin of a site, all that it keeps in `folder`.

    Raises:
        SiteError: It does not start.
    """
    file = folder / "site.yaml"
    file.write_text(yaml.safe_dump(msgspec.to_builtins(site), sort_keys=False))
    work = work_folder(msgspec.structs.replace(site, state=str(folder / "state")))
    return EmbeddedSite(file, site.name, folder, work, say)


def check(site: Site, file: str, shared: Sequence[Path]) -> None:
    """Refuse a site on which no pod of the run could start.

    Args:
        site: As loaded.
        file: Its file, as the user named it.
        shared: Folders that the pods mount.

    Raises:
        RequestError: Names the key to change, and the value to add.
    """
    granted = [Path(folder) for folder in site.volumes.host_paths]
    missing = [folder for folder in shared if not any(folder.is_relative_to(above) for above in granted)]
    if missing:
        raise RequestError(
            f"{file}: volumes.host_paths: {site.volumes.host_paths} grants no mount of {_words(missing)}, "
            "which every pod of the run mounts; add it"
        )
    containers = resolve(site).containers
    programs = str(Path(sys.executable).parent)
    if containers.runtime == "host" and programs not in containers.path:
        raise RequestError(
            f"{file}: containers.path: {containers.path} lacks the programs of the run's pods, "
            f"which are host processes here; add {programs}"
        )
    if containers.runtime != "host" and IMAGE not in site.images.aliases:
        raise RequestError(
            f"{file}: images.aliases: no {IMAGE!r}, the image of the run's pods; "
            "add it with the path of the SIF file that deploy/images/build makes, and its folder to images.folders"
        )


def _words(folders: Sequence[Path]) -> str:
    return " and ".join(map(str, folders))


def local_site(checkout: Path, output: Path, cores: int, say: Say) -> Site:
    """The embedded local site: this machine, Apptainer if it has it, only the folders that the run needs.

    Args:
        checkout: Folder of the workflow and of flashlink itself.
        output: Folder of the results.
        cores: How many cores jobs may fill.
        say: Shows a line to the user.
    """
    site = Site(
        batch=Batch(cpus=cores),
        containers=Containers(path=[str(Path(sys.executable).parent)]),
        volumes=Volumes(host_paths=sorted({str(checkout), str(output)})),
    )
    site = resolve(site)
    if notice := host_mode_notice(site):
        say(notice[0].upper() + notice[1:] + ".")
        return site
    image = built_image(checkout, say)
    return msgspec.structs.replace(site, images=Images(folders=[str(image.parent)], aliases={IMAGE: str(image)}))


def cluster_site(system: str, checkout: Path, output: Path, say: Say) -> Site:
    """The batch system of this machine as its users have it; workers see the checkout and the results at their paths.

    Args:
        system: One of `CLUSTERS`.
        checkout: Folder of the workflow and of flashlink itself.
        output: Folder of the results.
        say: Shows a line to the user.

    Raises:
        SiteError: The image of the pods cannot be built.
    """
    image = built_image(checkout, say)
    return Site(
        name=system,
        batch=Batch(system=system),
        containers=Containers(runtime="apptainer"),
        images=Images(folders=[str(image.parent)], aliases={IMAGE: str(image)}),
        volumes=Volumes(host_paths=sorted({str(checkout), str(output)})),
    )


def is_elsewhere(choice: str) -> bool:
    """Whether ``--site`` names a batch system that this machine does not have."""
    return choice in CLUSTERS and shutil.which(CLUSTERS[choice]) is None


def built_image(checkout: Path, say: Say) -> Path:
    """The SIF file in which pods run, built by ``deploy/images/build`` unless it stands already.

    Raises:
        SiteError: It cannot be built.
    """
    say("Pods run in containers; their image is looked up, or built (this takes minutes, once).")
    script = checkout / "deploy" / "images" / "build"
    built = subprocess.run([str(script)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    lines = built.stdout.split("\n")
    path = Path(next((line for line in reversed(lines) if line), ""))
    if built.returncode != 0 or not path.is_file():
        raise SiteError(f"{script} built no image (exit code {built.returncode}); its messages stand above")
    return path
