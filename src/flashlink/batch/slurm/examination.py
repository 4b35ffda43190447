"""What ``flashlink check`` asks of a Slurm site before a job is sent: its commands, its words about places, a token."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from flashlink.batch.slurm import submission
from flashlink.batch.slurm.commands import Answer, Command
from flashlink.batch.slurm.options import Options, Placement
from flashlink.batch.slurm.refusals import refusal
from flashlink.batch.system import JobSpec
from flashlink.finding import Finding

#: What flashlink calls; sacct is asked only for what the queue has forgotten.
PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo", "sacct")

#: Without which nothing else can be asked.
VITAL = ("Slurm's commands", "token")

#: MiB of free space with which not all pods run, and none.
LITTLE, NOTHING = 1024, 64

#: Shortest time that a token should be good for when somebody looks.
SOON = 600.0

_LOOK = """for program; do type -P "$program" >/dev/null || missing+=" $program"; done
[ -z "$missing" ] || { echo "there is no$missing" >&2; exit 127; }
sinfo --version"""

_SPACE = 'mkdir -p -- "$0" && : >"$0/.flashlink-check" && rm -- "$0/.flashlink-check" && df -P -k -- "$0" | tail -n 1'


def programs() -> Command:
    """Whether Slurm's commands are where they are looked for."""
    return Command(("bash", "-c", _LOOK, "look", *PROGRAMS))


def commands_found(answer: Answer, where: str) -> Finding:
    """What the answer to `programs` says."""
    if answer.status:
        return Finding("problem", "Slurm's commands", f"{answer.problem} on {where}; set PATH there, or 'shell'")
    return Finding("ok", "Slurm's commands", f"{answer.output.strip()}, on {where}")


def space(folder: str, seconds: int) -> Command:
    """Whether the folder of the jobs' folders can be written, and what is free there."""
    return Command(("bash", "-c", _SPACE, folder), seconds=seconds)


def space_found(answer: Answer, folder: str) -> Finding:
    """What the answer to `space` says."""
    fields = answer.output.split()
    if answer.status or len(fields) < 4 or not fields[3].isdecimal():
        why = answer.problem if answer.status else f"df says {answer.output.strip()!r}"
        return Finding("problem", "spool", f"{folder} at the site cannot be used: {why}; choose another folder")
    mebibytes = int(fields[3]) // 1024
    if mebibytes < LITTLE:
        status = "problem" if mebibytes < NOTHING else "warning"
        return Finding(status, "spool", f"{folder} at the site has only {mebibytes} MiB free; make room")
    return Finding("ok", "spool", f"{folder} at the site, {mebibytes // 1024} GiB free")


def most(probe: JobSpec, options: Options) -> Iterator[tuple[str, JobSpec]]:
    """Of each flavour its name and the most that a job may ask for there; of a site without, "" and `probe`."""
    for flavour in options.flavours:
        yield (
            flavour.name,
            replace(
                probe,
                cpus=flavour.cpus or probe.cpus,
                memory=flavour.memory_mb << 20 or probe.memory,
                gpus=flavour.gpus,
                walltime=flavour.walltime_seconds or probe.walltime,
                options={"flavour": flavour.name},
            ),
        )
    if not options.flavours:
        yield "", probe


def least(probe: JobSpec, options: Options) -> dict[str, JobSpec]:
    """Of each flavour by name `probe` as small as it has to be to run there; nothing at a site without."""
    return {
        flavour.name: replace(
            probe,
            cpus=min(probe.cpus, flavour.cpus or probe.cpus),
            memory=min(probe.memory, flavour.memory_mb << 20 or probe.memory),
            gpus=flavour.min_gpus,
            walltime=min(probe.walltime, flavour.walltime_seconds or probe.walltime),
            options={"flavour": flavour.name},
        )
        for flavour in options.flavours
    }


def trial(spec: JobSpec, options: Options) -> Command:
    """Asks whether Slurm would take a job, and submits none."""
    described = submission.sbatch(spec, options)
    return replace(described, words=("sbatch", "--test-only", *described.words[1:]))


def trial_found(answer: Answer, name: str, placement: Placement) -> Finding:
    """What the answer to `trial` says of a flavour, or of the site."""
    subject = f"flavour {name}" if name else "jobs"
    where = f"partition {placement.partition}" if placement.partition else "Slurm's default partition"
    if answer.status:
        told = str(refusal(answer)).replace("allocation failure: ", "")
        asked = "the most that it allows" if name else "a job"
        return Finding("problem", subject, f"{where} refuses {asked}: {told}; see sinfo and 'scontrol show partition'")
    return Finding("ok", subject, f"{where} takes {'the most that it allows' if name else 'jobs'}")


def token_found(token: str, file: str) -> Finding:
    """Until when a token is good, by its claim ``exp`` (RFC 7519)."""
    claims = claims_of(token)
    ends = claims.get("exp")
    if not isinstance(ends, int | float):
        return Finding("warning", "token", f"{file} does not say until when its token is good")
    until = f"{datetime.fromtimestamp(ends, UTC):%Y-%m-%d %H:%M} UTC"
    left = ends - time.time()
    if left <= 0:
        return Finding("problem", "token", f"{file} holds one that has expired on {until}; renew it")
    whose = f" of {claims['sun']}" if claims.get("sun") else ""
    found = f"{file} holds one{whose} that is good until {until}, {left / 60:.0f} min from now"
    if left < SOON:
        return Finding("warning", "token", f"{found}; something has to renew it there")
    return Finding("ok", "token", found)


def claims_of(token: str) -> dict[str, object]:
    """What a JSON Web Token says; nothing if it is none."""
    with suppress(ValueError, IndexError):
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        if isinstance(claims, dict):
            return claims
    return {}
