"""From a job specification to sbatch's words, and from what sbatch says to a job number."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from flashlink.batch.slurm import commands
from flashlink.batch.slurm.commands import Answer, Command
from flashlink.batch.slurm.options import Flavour, Options, Placement, words
from flashlink.batch.slurm.refusals import UnsureError, refusal
from flashlink.batch.system import JobSpec
from flashlink.errors import SiteError

_MIB = 2**20
_UID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_NOT_NAME = re.compile(r"[^A-Za-z0-9_.-]", re.ASCII)


def job_name(spec: JobSpec) -> str:
    """Name of the job at Slurm: readable, and with the uid at its end.

    Raises:
        SiteError: The uid is none.
    """
    if not _UID.fullmatch(spec.uid):
        raise SiteError(f"uid {spec.uid!r}: a job at Slurm needs one of letters, digits, '-' and '_', 64 at most")
    return f"{_NOT_NAME.sub('-', spec.name)[:60] or 'pod'}.{spec.uid}"


def uid_of(name: str) -> str:
    """The uid in a job's name; "" if the job is none of flashlink's."""
    readable, _, uid = name.rpartition(".")
    return uid if readable else ""


def place(spec: JobSpec, options: Options) -> Placement:
    """Where a job goes: the first flavour that it fits, or the one that it names.

    Raises:
        SiteError: It fits none.
    """
    named = spec.options.get("flavour")
    flavours = [each for each in options.flavours if named in (None, each.name)]
    if named is not None and not flavours:
        known = ", ".join(each.name for each in options.flavours) or "none"
        raise SiteError(f"{spec.name}: this site has no flavour {named!r}; known are {known}")
    if not flavours:
        return options
    for flavour in flavours:
        if _fits(spec, flavour):
            return flavour.over(options)
    raise SiteError(
        f"{spec.name} asks for {spec.cpus:g} cores, {mebibytes(spec.memory)} MiB of memory, {spec.gpus} GPUs and "
        f"{spec.walltime} s; it fits none of this site's flavours ({'; '.join(map(_describe, flavours))}): ask for less"
    )


def partitions(options: Options) -> list[str]:
    """Partitions to which jobs of the site may go; "" is Slurm's default."""
    return [placement.partition for placement in (*options.flavours, options)]


def sbatch(spec: JobSpec, options: Options) -> Command:
    """The command that submits a job; its script comes on standard input.

    Raises:
        SiteError: The job cannot be placed.
    """
    placement = place(spec, options)
    further = {name: value for name, value in spec.options.items() if name != "flavour"}
    return Command(
        (
            "sbatch",
            "--parsable",
            f"--job-name={job_name(spec)}",
            f"--chdir={spec.folder}",
            "--output=job.log",
            "--open-mode=append",
            "--nodes=1",
            "--ntasks=1",
            *_resources(spec, placement),
            *_placed(placement),
            *placement.arguments,
            *words(further),
            "/dev/stdin",
            str(spec.script),
            str(spec.folder),
            spec.uid,
            str(spec.grace),
        ),
        batch_script(placement.prologue),
        options.command_seconds,
    )


def batch_script(prologue: Sequence[str]) -> str:
    """What Slurm runs: the site's lines, then the part that is always the same."""
    return "\n".join(("#!/bin/bash", *prologue, commands.text("job.sh")))


def number(answer: Answer) -> int:
    """The job's number out of sbatch's answer.

    Raises:
        SiteError: It was refused, for now or for good.
    """
    told = answer.output.strip().partition(";")[0]
    if answer.status == 0 and told.isascii() and told.isdecimal():
        return int(told)
    if answer.status == 0:
        raise UnsureError(f"sbatch answered {told[:80]!r} in place of a job id", transient=True)
    raise refusal(answer)


def _fits(spec: JobSpec, flavour: Flavour) -> bool:
    return (
        (not flavour.cpus or spec.cpus <= flavour.cpus)
        and (not flavour.memory_mb or mebibytes(spec.memory) <= flavour.memory_mb)
        and flavour.min_gpus <= spec.gpus <= flavour.gpus
        and (not flavour.walltime_seconds or spec.walltime <= flavour.walltime_seconds)
    )


def _describe(flavour: Flavour) -> str:
    limits = (
        f"{flavour.cpus} cores" if flavour.cpus else "",
        f"{flavour.memory_mb} MiB" if flavour.memory_mb else "",
        f"{flavour.min_gpus} to {flavour.gpus} GPUs",
        f"{flavour.walltime_seconds} s" if flavour.walltime_seconds else "",
    )
    return f"{flavour.name}: {', '.join(limit for limit in limits if limit)}"


def _resources(spec: JobSpec, placement: Placement) -> list[str]:
    found = [f"--cpus-per-task={max(1, math.ceil(spec.cpus))}"]
    if spec.memory:  # Slurm reads 0 as all of the node's
        found.append(f"--mem={mebibytes(spec.memory)}")
    if spec.disk and placement.tmp:
        found.append(f"--tmp={mebibytes(spec.disk)}")
    if spec.walltime:
        found.append(f"--time={math.ceil(spec.walltime / 60)}")
    if spec.gpus:
        found.append(f"--gres={placement.gpu or 'gpu'}:{spec.gpus}")
    return found


def _placed(placement: Placement) -> list[str]:
    named = ("partition", "account", "qos", "reservation", "constraint")
    found = [f"--{name}={getattr(placement, name)}" for name in named if getattr(placement, name)]
    if placement.exclusive:
        found.append("--exclusive")
    if placement.requeue is not None:
        found.append("--requeue" if placement.requeue else "--no-requeue")
    return found


def mebibytes(size: int) -> int:
    """Bytes in Slurm's unit, rounded up."""
    return math.ceil(size / _MIB)
