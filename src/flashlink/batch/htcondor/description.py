"""What HTCondor is told of a job: a submit description that many jobs share, and one row of values a job; pure."""

from __future__ import annotations

import math
from pathlib import Path

from flashlink.batch.htcondor.options import Options, check_attribute, check_plain
from flashlink.batch.htcondor.states import ENDING_HOLDS, SPOOLING
from flashlink.batch.system import JobSpec
from flashlink.errors import SiteError

#: Runs the script where worker and plugin share no file system.
WORKER = Path(__file__).with_name("worker.sh")

#: Seconds between the end of a job's grace, by which the script has ended its containers, and SIGKILL.
MARGIN_SECONDS = 10

#: After which a job whose files have not arrived is given up: whoever was sending them has died.
SENDING_SECONDS = 3600

#: By which the author of a pod keeps its job from being started again, at Slurm as well.
NO_REQUEUE = "no-requeue"

#: Whether a job has been started before; one that failed on the way to its worker has not.
_BEGUN = "(NumJobStarts ?: 0) > 0"

#: How long the queue keeps a job that has ended, for the plugin to see; what was spooled, until the plugin fetches it.
KEEP_SECONDS, KEEP_OUTPUT_SECONDS = 600, 3 * 86400

Description = dict[str, str]


def shape(spec: JobSpec) -> tuple[object, ...]:
    """Jobs of one shape share a description."""
    given = (spec.memory > 0, spec.disk > 0, spec.gpus > 0, spec.walltime > 0)
    return (*given, *sorted(spec.options.items()))


def describe(spec: JobSpec, options: Options) -> Description:
    """The description of all jobs that have the shape of `spec`, in HTCondor's submit language.

    Raises:
        SiteError: An option of the job is none that a job may have.
    """
    return {
        "universe": "vanilla",
        "batch_name": "$(name)",
        "notification": "never",
        "initialdir": "$(folder)",
        "output": "job.log",
        "error": "job.log",
        "should_transfer_files": "YES",
        "when_to_transfer_output": "ON_EXIT",
        **(_spooled(starts_again(spec, options)) if options.spool else _shared()),
        **_resources(spec),
        **_ending(spec, options),
        **_site(options),
        **_job(spec),
        **_requirements(spec, options),
        "+FlashlinkUid": '"$(uid)"',
    }


def starts_again(spec: JobSpec, options: Options) -> bool:
    """Whether a job may be started again after an eviction."""
    return options.requeue and NO_REQUEUE not in spec.options


def row(spec: JobSpec) -> dict[str, str]:
    """The values of one job: what stands as ``$(…)`` in the description.

    Raises:
        SiteError: HTCondor would read its paths as something else.
    """
    check_plain("work", str(spec.folder))
    if "," in str(spec.script):
        raise SiteError(f"work: {str(spec.folder)!r} holds a comma, which HTCondor takes for two paths; choose another")
    return {
        "uid": spec.uid,
        "name": spec.name,
        "folder": str(spec.folder),
        "script": str(spec.script),
        "script_name": spec.script.name,
        "cores": str(math.ceil(spec.cpus)),
        "mebibytes": str(math.ceil(spec.memory / 2**20)),
        "disk_kibibytes": str(math.ceil(spec.disk / 2**10)),
        "devices": str(spec.gpus),
        "walltime": str(spec.walltime),
        "grace": str(spec.grace),
        "patience": str(spec.grace + MARGIN_SECONDS),
        "limit": str(spec.walltime + 2 * (spec.grace + MARGIN_SECONDS) + 60),
        "minutes": str(math.ceil(spec.walltime / 60)),
    }


def quoted(text: str) -> str:
    """A ClassAd string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _shared() -> Description:
    """The script runs where it lies; only the output of the script itself travels."""
    return {"executable": "$(script)", "transfer_executable": "False", "transfer_output_files": '""'}


def _spooled(again: bool) -> Description:
    return {
        "executable": str(WORKER),
        "arguments": f"$(script_name) $(walltime) $(patience){'' if again else ' once'}",
        "transfer_input_files": "$(script)",
        "transfer_output_files": "pod/journal,pod/logs,pod/end",
    }


def _resources(spec: JobSpec) -> Description:
    asked = {"request_cpus": "$(cores)"}
    if spec.memory:
        asked["request_memory"] = "$(mebibytes)"
    if spec.disk:
        asked["request_disk"] = "$(disk_kibibytes)"
    if spec.gpus:
        asked["request_gpus"] = "$(devices)"
    return asked


def _ending(spec: JobSpec, options: Options) -> Description:
    """When a job is ended, and how long the queue keeps it then.

    A job that is spooled ends itself at its wall time, so that its output comes back; HTCondor's own limit is for a
    worker that fails to. The attribute ``maxWallTime`` (minutes) is what an HTCondor-CE's routes read.
    """
    codes = ", ".join(map(str, ENDING_HOLDS))
    longest = f"ifThenElse(HoldReasonCode is {SPOOLING}, {SENDING_SECONDS}, {options.held_seconds})"
    held = f"time() - EnteredCurrentStatus > {longest}"
    removed = f"JobStatus == 5 && (member(HoldReasonCode, {{{codes}}}) || ({held}))"
    if not starts_again(spec, options):
        removed = f"({removed}) || (JobStatus == 1 && {_BEGUN})"
    kept = f"JobStatus == 3 && time() - EnteredCurrentStatus < {KEEP_SECONDS}"
    if options.spool:
        output = (
            f"(StageOutFinish ?: 0) < EnteredCurrentStatus && time() - EnteredCurrentStatus < {KEEP_OUTPUT_SECONDS}"
        )
        completed = f"JobStatus == 4 && {output}"
    else:
        completed = f"JobStatus == 4 && time() - EnteredCurrentStatus < {KEEP_SECONDS}"
    ending = {
        "kill_sig": "SIGTERM",
        "want_graceful_removal": "True",
        "job_max_vacate_time": "$(patience)",
        "periodic_remove": removed,
        "leave_in_queue": f"({completed}) || ({kept})",
    }
    if spec.walltime:
        ending["allowed_execute_duration"] = "$(limit)" if options.spool else "$(walltime)"
        ending["+FlashlinkWalltime"] = "$(walltime)"
        ending["+maxWallTime"] = "$(minutes)"
    return ending


def _site(options: Options) -> Description:
    words = {
        "accounting_group": options.accounting_group,
        "accounting_group_user": options.accounting_group_user,
    }
    attributes = {f"+{name}": text for name, text in options.attributes.items()}
    return {key: text for key, text in words.items() if text} | attributes


def _job(spec: JobSpec) -> Description:
    """What this one job adds: an ``accounting_group``, further attributes."""
    added = {}
    for key, text in spec.options.items():
        check_plain(key, text)
        if key == "flavour":
            raise SiteError(f"flavour: {text!r} is none of this site, which has no flavours; leave it out")
        if key == "accounting_group":
            added[key] = text
        elif key not in ("requirements", NO_REQUEUE):
            check_attribute(key, key)
            added[f"+{key}"] = text
    return added


def _requirements(spec: JobSpec, options: Options) -> Description:
    """What a worker has to fulfil for the site, for the job, and for a job that may only start once."""
    once = "" if starts_again(spec, options) else f"!({_BEGUN})"
    wanted = [text for text in (options.requirements, spec.options.get("requirements", ""), once) if text]
    if len(wanted) > 1:
        wanted = [f"({text})" for text in wanted]
    return {"requirements": " && ".join(wanted)} if wanted else {}
