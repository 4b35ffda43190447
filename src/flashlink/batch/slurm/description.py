"""From a job specification to the job that slurmrestd is sent; pure."""

from __future__ import annotations

import math
from typing import Any

from flashlink.batch.slurm.options import Options, Placement
from flashlink.batch.slurm.submission import batch_script, job_name, mebibytes, place
from flashlink.batch.system import JobSpec
from flashlink.errors import SiteError

#: Options of sbatch that a site or a pod may give, and their fields.
FIELDS = {
    "account": "account",
    "comment": "comment",
    "constraint": "constraints",
    "dependency": "dependency",
    "licenses": "licenses",
    "network": "network",
    "partition": "partition",
    "prefer": "prefer",
    "qos": "qos",
    "reservation": "reservation",
    "wckey": "wckey",
}

#: Those that are a yes or a no, and its field.
_FLAGS = {"requeue": ("requeue", True), "no-requeue": ("requeue", False)}

_NAMED = ("partition", "account", "qos", "reservation", "constraint")

#: sbatch would send the environment of its shell; here there is none.
_ENVIRONMENT = ["PATH=/usr/local/bin:/usr/bin:/bin"]


def describe(spec: JobSpec, options: Options) -> dict[str, Any]:
    """The body of a request to ``job/submit``.

    Raises:
        SiteError: The job cannot be placed, or has an option for which there is no field.
    """
    placement = place(spec, options)
    words = dict(argument.removeprefix("--").partition("=")[::2] for argument in placement.arguments)
    words |= {name: value for name, value in spec.options.items() if name != "flavour"}
    job = {
        "name": job_name(spec),
        "current_working_directory": str(spec.folder),
        "standard_output": f"{spec.folder}/job.log",
        "open_mode": "append",
        "environment": _ENVIRONMENT,
        "argv": ["flashlink", str(spec.script), str(spec.folder), spec.uid, str(spec.grace)],
        "nodes": "1",
        "tasks": 1,
        **_resources(spec, placement),
        **{FIELDS[name]: value for name in _NAMED if (value := getattr(placement, name))},
        **({"shared": ["none"]} if placement.exclusive else {}),
        **({} if placement.requeue is None else {"requeue": placement.requeue}),
        **dict(_field(name, value) for name, value in words.items()),
    }
    return {"script": batch_script(placement.prologue), "job": job}


def check(arguments: list[str]) -> None:
    """Refuse options of a site for which there is no field.

    Raises:
        SiteError: Names it.
    """
    for argument in arguments:
        _field(*argument.removeprefix("--").partition("=")[::2])


def _field(name: str, value: str) -> tuple[str, str | bool]:
    if name in _FLAGS and not value:
        return _FLAGS[name]
    if name not in FIELDS:
        known = ", ".join((*FIELDS, *_FLAGS))
        raise SiteError(f"--{name}: slurmrestd takes of sbatch's options only {known}; leave it out")
    return FIELDS[name], value


def _resources(spec: JobSpec, placement: Placement) -> dict[str, Any]:
    found: dict[str, Any] = {"cpus_per_task": max(1, math.ceil(spec.cpus))}
    if spec.memory:
        found["memory_per_node"] = {"set": True, "number": mebibytes(spec.memory)}
    if spec.disk and placement.tmp:
        found["temporary_disk_per_node"] = mebibytes(spec.disk)
    if spec.walltime:
        found["time_limit"] = {"set": True, "number": math.ceil(spec.walltime / 60)}
    if spec.gpus:
        found["tres_per_node"] = f"gres/{placement.gpu or 'gpu'}:{spec.gpus}"
    return found
