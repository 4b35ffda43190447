"""What is asked of Slurm, and what its answers mean. Pure: words out, text in.

``squeue`` is asked for columns of fixed width, which all versions have, ``sacct`` for its own delimited form. Times
come as seconds since the epoch, by ``SLURM_TIME_FORMAT``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from flashlink.batch.slurm import states
from flashlink.batch.slurm.commands import Answer, Command
from flashlink.batch.slurm.refusals import refusal
from flashlink.batch.slurm.submission import uid_of
from flashlink.batch.system import Capacity, JobState, JobStatus
from flashlink.errors import SiteError

#: squeue's columns and their widths. The reason comes last, as it alone can hold more than ASCII.
_QUEUE = {
    "jobid": 12,
    "state": 16,
    "exit_code": 10,
    "starttime": 24,
    "endtime": 24,
    "batchhost": 64,
    "restartcnt": 8,
    "name": 128,
    "reason": 100,
}
_PLACES = {"jobid": 12, "name": 128, "workdir": 1024}
_NODES = {"nodelist": 128, "cpus": 10, "memory": 16, "gres": 256, "statelong": 24}
_ACCOUNT = ("JobIDRaw", "State", "ExitCode", "Start", "End", "NodeList", "JobName", "WorkDir")

#: Most job ids in one argument: Linux allows 128 KiB.
_MOST_IDS = 5000
GPUS = re.compile(r"gpu(?::[^:,(]+)*:(\d+)")
FAILED = ("down", "fail", "unknown")
NO_NODE = ("down", "drain", "fail", "future", "inval", "unknown")


@dataclass(frozen=True, slots=True)
class Row:
    """One job as Slurm tells it.

    Attributes:
        number: Slurm's job id.
        uid: Of the pod; "" if its name has none.
        status: See `JobStatus`.
        state: Slurm's own word.
        folder: Its working directory, where that was asked for.
    """

    number: int
    uid: str
    status: JobStatus
    state: str = ""
    folder: str = ""


def squeue(seconds: int) -> Command:
    """All jobs of the user that the controller knows, ended ones too."""
    return _squeue(_QUEUE, seconds)


def squeue_places(seconds: int) -> Command:
    """The folders of the same jobs."""
    return _squeue(_PLACES, seconds)


def rows(answer: Answer) -> list[Row]:
    """The jobs in the answer to `squeue`.

    Raises:
        SiteError: Transient: Slurm did not answer.
    """
    return [row for fields in _columns(_QUEUE, _said(answer)) if (row := _row(*fields)) is not None]


def places(answer: Answer) -> dict[int, str]:
    """Job number to folder, from the answer to `squeue_places`.

    Raises:
        SiteError: Transient: Slurm did not answer.
    """
    found = _columns(_PLACES, _said(answer))
    return {int(number): folder for number, _, folder in found if number.isdecimal()}


def sacct(numbers: Sequence[int], seconds: int) -> list[Command]:
    """The accounting's word about these jobs."""
    return [
        _sacct((f"--jobs={','.join(map(str, numbers[at : at + _MOST_IDS]))}", "--starttime=1970-01-01"), seconds)
        for at in range(0, len(numbers), _MOST_IDS)
    ]


def sacct_since(days: int, seconds: int) -> Command:
    """All that the accounting knows of the user's jobs of the last days."""
    return _sacct((f"--starttime=now-{days}days",), seconds)


def accounted(answer: Answer) -> list[Row] | None:
    """The jobs in the answer to `sacct`; None at a site without accounting.

    Raises:
        SiteError: Transient: the accounting did not answer.
    """
    if answer.status and "accounting storage is disabled" in answer.errors.lower():
        return None
    lines = (line.split("|") for line in _said(answer).splitlines())
    return [row for fields in lines if len(fields) >= len(_ACCOUNT) and (row := _accounted(*fields)) is not None]


def record(text: str, number: int) -> JobStatus | None:
    """How a job ended by its own record (``slurm/end`` in its folder); None if that is not this job's."""
    fields = dict(line.partition("=")[::2] for line in text.splitlines())
    if fields.get("job") != str(number) or not fields.get("exit", "").isdecimal():
        return None
    stopped = fields.get("stopped") == "1"
    return JobStatus(
        JobState.ENDED,
        int(fields["exit"]),
        "ended by SIGTERM: cancelled, or at its time limit" if stopped else "",
        fields.get("node", ""),
        _time(fields.get("started", "")),
        _time(fields.get("ended", "")),
    )


def configuration() -> Command:
    """The cluster's whole configuration, with its name and when its controller was started."""
    return Command(("scontrol", "show", "config"))


def cluster_name(answer: Answer) -> str:
    """The name in the answer to `configuration`.

    Raises:
        SiteError: Transient: there is none.
    """
    match = re.search(r"^ClusterName\s*=\s*([A-Za-z0-9_.-]+)\s*$", _said(answer), re.MULTILINE)
    if match is None:
        raise SiteError("scontrol show config tells no ClusterName", transient=True)
    return match[1]


def boot_time(answer: Answer) -> float | None:
    """When the controller was started, by the answer to `configuration`; None if that does not tell.

    Raises:
        SiteError: Transient: Slurm did not answer.
    """
    match = re.search(r"^BOOT_TIME\s*=\s*(\d+)\s*$", _said(answer), re.MULTILINE)
    return float(match[1]) if match else None


def sinfo(partitions: Iterable[str], seconds: int) -> Command:
    """The nodes of the partitions, or all."""
    chosen = ",".join(sorted({part for each in partitions for part in each.split(",") if part}))
    some = (f"--partition={chosen}",) if chosen else ()
    return Command(("sinfo", "--noheader", "--Node", *some, f"--Format={_format(_NODES)}"), seconds=seconds)


def sinfo_of(nodes: Iterable[str], seconds: int) -> Command:
    """The nodes of these names."""
    asked = ("sinfo", "--noheader", "--Node", f"--nodes={','.join(sorted(nodes))}", f"--Format={_format(_NODES)}")
    return Command(asked, seconds=seconds)


def failed(answer: Answer) -> set[str]:
    """Those of the nodes in the answer to `sinfo_of` that are down, or do not respond.

    Raises:
        SiteError: Transient: Slurm did not answer.
    """
    told = _columns(_NODES, _said(answer))
    return {name for name, *_, state in told if state.startswith(FAILED) or state.endswith("*")}


def capacity(answer: Answer, partitions: Iterable[str], jobs: int) -> Capacity:
    """Totals of the nodes that are up in the partitions.

    Raises:
        SiteError: Transient: Slurm did not answer, or tells no node.
    """
    nodes = {fields[0]: fields for fields in _columns(_NODES, _said(answer)) if not fields[4].startswith(NO_NODE)}
    if not nodes:
        raise no_nodes(partitions)
    cpus = sum(int(fields[1]) for fields in nodes.values())
    memory = sum(int(fields[2]) for fields in nodes.values())
    gpus = sum(int(count) for fields in nodes.values() for count in GPUS.findall(fields[3]))
    return Capacity(cpus, memory * 2**20, gpus, jobs)


def no_nodes(partitions: Iterable[str]) -> SiteError:
    """None is up there; Slurm does not tell whether there is such a partition at all."""
    named = ", ".join(sorted(filter(None, set(partitions))))
    where = f" in {named}: look whether sinfo knows this partition" if named else ""
    return SiteError(f"Slurm has no node that is up{where}", transient=True)


def _squeue(columns: dict[str, int], seconds: int) -> Command:
    # By number, as the name of the account that runs squeue may be another's at a site with several name services.
    asked = ("squeue", "--noheader", "--states=all", f"--Format={_format(columns)}")
    return Command(("bash", "-c", 'exec "$@" --user="$EUID"', "squeue", *asked), seconds=seconds)


def _sacct(asked: Sequence[str], seconds: int) -> Command:
    form = ("sacct", "--allocations", "--noheader", "--parsable2", f"--format={','.join(_ACCOUNT)}")
    return Command(("bash", "-c", 'exec "$@" --user="$EUID"', "sacct", *form, *asked), seconds=seconds)


def _format(columns: dict[str, int]) -> str:
    return ",".join(f"{name}:{width}" for name, width in columns.items())


def _said(answer: Answer) -> str:
    if answer.status:
        raise SiteError(str(refusal(answer)), transient=True)
    return answer.output


def _columns(columns: dict[str, int], text: str) -> Iterator[list[str]]:
    """The fields of each line; lines that are too short for all columns are some notice, and none of a job."""
    widths = list(columns.values())
    for line in text.splitlines():
        if len(line) > sum(widths[:-1]):
            starts = [sum(widths[:at]) for at in range(len(widths))]
            yield [line[start : start + width].strip() for start, width in zip(starts, widths, strict=True)]


def _row(
    number: str, state: str, code: str, start: str, end: str, node: str, restarts: str, name: str, reason: str
) -> Row | None:
    refused = (state, reason) == ("FAILED", "BadConstraints")  # Slurm keeps a row of what sbatch was refused
    if refused or not number.isdecimal():
        return None
    told = states.status(state, code, reason, "" if node == "n/a" else node, _time(start), _time(end))
    told = replace(told, restarts=int(restarts) if restarts.isdecimal() else 0)
    return Row(int(number), uid_of(name), told, state)


def _accounted(
    number: str, state: str, code: str, start: str, end: str, nodes: str, name: str, *rest: str
) -> Row | None:
    if not number.isdecimal():
        return None
    node = "" if nodes == "None assigned" else nodes
    told = states.status(state, code, "", node, _time(start), _time(end))
    return Row(int(number), uid_of(name), told, state, "|".join(rest))


def _time(text: str) -> float | None:
    return float(text) if text.isdecimal() else None
