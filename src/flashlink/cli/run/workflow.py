"""The workflow of the main job, run by Snakemake as a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from flashlink import __file__ as flashlink_file
from flashlink.cli.run.choice import IMAGE
from flashlink.cli.run.embedded import RunSite
from flashlink.cli.run.processes import start
from flashlink.errors import FlashlinkError, RequestError, wrong
from snakemake_executor_plugin_interlink.deletion import Deletions
from snakemake_executor_plugin_interlink.executor import FOLDER
from snakemake_executor_plugin_interlink.records import Records

#: How long the end of a run waits for plugins to take the deletion of pods that are left.
_DELETION_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Production:
    """What is to be made.

    Attributes:
        output: Folder of the results; the workflow's working directory.
        cores: Cores of the site, if it is this machine.
        configuration: Of the workflow, whole and checked.
    """

    output: Path
    cores: int
    configuration: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """Where the run keeps what is no result."""
        return self.output / ".flashlink"


def checkout() -> Path:
    """The folder that holds ``workflow/``.

    Raises:
        FlashlinkError: flashlink was installed without it.
    """
    folder = Path(flashlink_file).resolve().parents[2]
    if not (folder / "workflow" / "Snakefile").is_file():
        raise FlashlinkError(f"{folder}: holds no workflow/Snakefile; run from a checkout of flashlink, with ./run")
    return folder


def configuration(file: Path | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """The workflow's configuration: its own ``config.yaml``, a file of the user's over it, options over both.

    Raises:
        RequestError: The file is no YAML, or a key is unknown or wrong; names file or option, key and value.
    """
    folder = checkout() / "workflow"
    chosen: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text()) | _read(file) | options
    schema = json.loads((folder / "config.schema.json").read_text())
    error = best_match(Draft202012Validator(schema).iter_errors(chosen))
    if error:
        key = ".".join(str(step) for step in error.absolute_path)
        place = f"--{key}" if key in options else ": ".join(filter(None, [str(file), key]))
        raise RequestError(f"{place}: {_told(error)}")
    return chosen


def _told(error: ValidationError) -> str:
    """What is wrong, in words for a person; jsonschema's own do it, but for unknown keys."""
    if error.validator != "additionalProperties":
        return str(error.message)
    known = list(error.schema["properties"])
    unknown = next(key for key in error.instance if key not in known)
    near = get_close_matches(str(unknown), known, n=1)
    return f"{unknown}: no such key; " + (f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}")


def check_sites(chosen: Mapping[str, Any], site: str) -> None:
    """Refuse steps that are to run elsewhere than at the one site that a run has.

    Raises:
        RequestError: Names the step.
    """
    for step, name in chosen["sites"].items():
        if name != site:
            advice = "leave it out, or start Snakemake itself as workflow/profiles/local says, with --interlink-sites"
            raise wrong(f"sites: {step}", name, f"the site of this run, which is {site!r}", advice)


def _read(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RequestError(f"{file}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise wrong(str(file), content, "a table of keys", "see workflow/config.yaml")
    return content


def _write_configuration(production: Production) -> Path:
    """Write it where pods can read it too."""
    path = production.folder / "config.yaml"
    path.write_text(yaml.safe_dump(dict(production.configuration), sort_keys=False))
    return path


def start_snakemake(production: Production, site: RunSite, ledger: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start Snakemake on the workflow, its pods sent to `site`.

    The run holds a lock of its own on the folder, so Snakemake's, which a killed one leaves behind, is not taken.
    """
    workflow = checkout() / "workflow"
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(workflow / "Snakefile")]
    command += ["--profile", str(workflow / "profiles" / "local"), "--directory", str(production.output), "--nolock"]
    command += ["--configfile", str(_write_configuration(production))]
    command += ["--interlink-endpoint", site.endpoint, "--interlink-site-name", site.name]
    command += ["--interlink-image", IMAGE, "--interlink-mounts", str(checkout()), "--interlink-ledger", str(ledger)]
    temporary = production.folder / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)  # what a Snakemake that was killed has left
    temporary.mkdir(exist_ok=True)
    folders = {"XDG_CACHE_HOME": str(production.folder / "cache"), "TMPDIR": str(temporary)}
    return start(command, log, at_death=signal.SIGKILL, environment=folders)


def stop_snakemake(process: subprocess.Popen[bytes], *, at_once: bool) -> None:
    """Ask Snakemake to cancel its pods and end (it takes SIGTERM for "finish what runs"), or end it at once."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL) if at_once else process.send_signal(signal.SIGINT)


def delete_pods(output: Path) -> list[str]:
    """Delete every pod that the executor's records still name, as after a Snakemake that was killed.

    Returns:
        Why not, one line for each that could not be deleted.
    """
    records = Records(output / FOLDER / "pods")
    return Deletions(records).finish(records, _DELETION_SECONDS)
