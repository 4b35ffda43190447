"""What slurmrestd answers, as far as flashlink reads it, and what that means. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TypeVar

import msgspec

from flashlink.batch.slurm import states
from flashlink.batch.slurm.answers import FAILED, GPUS, NO_NODE, Row, no_nodes
from flashlink.batch.slurm.submission import uid_of
from flashlink.batch.system import Capacity
from flashlink.errors import SiteError

T = TypeVar("T")


class Number(msgspec.Struct, frozen=True):
    """A number that may not be set."""

    set: bool = False
    infinite: bool = False
    number: float = 0

    @property
    def value(self) -> float | None:
        """None where there is none."""
        return self.number if self.set and not self.infinite and self.number else None


class Error(msgspec.Struct, frozen=True):
    """Why a request was refused."""

    error: str = ""
    description: str = ""


class Plugin(msgspec.Struct, frozen=True):
    """Of the answer: what the site's accounting is."""

    accounting_storage: str | None = ""


class Slurm(msgspec.Struct, frozen=True):
    """Of the answer: which cluster it is."""

    cluster: str = ""


class Meta(msgspec.Struct, frozen=True):
    """What every answer has."""

    plugin: Plugin = Plugin()
    slurm: Slurm = Slurm()


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer has."""

    meta: Meta = Meta()
    errors: list[Error] = []


class Interface(msgspec.Struct, frozen=True):
    """Of ``/openapi/v3``: the routes."""

    paths: dict[str, msgspec.Raw] = {}


class Submitted(Reply, frozen=True, kw_only=True):
    """Of ``job/submit``."""

    job_id: int = 0


class Signal(msgspec.Struct, frozen=True):
    """The signal that ended a job."""

    id: Number = Number()


class ExitCode(msgspec.Struct, frozen=True):
    """How a script ended."""

    return_code: Number = Number()
    signal: Signal = Signal()

    @property
    def text(self) -> str:
        """As squeue has it: ``exit code:signal``."""
        return f"{int(self.return_code.value or 0)}:{int(self.signal.id.value or 0)}"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job in the queue."""

    job_id: int
    job_state: list[str]
    name: str | None = ""
    user_name: str = ""
    exit_code: ExitCode = ExitCode()
    state_reason: str = ""
    start_time: Number = Number()
    end_time: Number = Number()
    batch_host: str | None = ""
    restart_cnt: int = 0
    current_working_directory: str | None = ""


class Queue(Reply, frozen=True, kw_only=True):
    """Of ``jobs/``; an answer without jobs is none."""

    jobs: list[Job] | None = None


class State(msgspec.Struct, frozen=True):
    """State of a job in the accounting."""

    current: list[str] = []


class Times(msgspec.Struct, frozen=True):
    """Seconds since the epoch, or 0."""

    start: float = 0
    end: float = 0


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """A job in the accounting."""

    job_id: int
    state: State = State()
    name: str = ""
    exit_code: ExitCode = ExitCode()
    time: Times = Times()
    nodes: str = ""
    working_directory: str = ""


class Accounted(Reply, frozen=True, kw_only=True):
    """Of ``slurmdb`` ``jobs/``; an answer without jobs is none."""

    jobs: list[Past] | None = None


class Ending(msgspec.Struct, frozen=True):
    """Slurm's error, 0 for none."""

    code: int = 0
    string: str = ""


class Ended(msgspec.Struct, frozen=True):
    """What came of ending one job."""

    error: Ending = Ending()


class Deleted(Reply, frozen=True, kw_only=True):
    """Of ending a job."""

    status: list[Ended] = []


class Statistics(msgspec.Struct, frozen=True):
    """Of the controller."""

    req_time_start: Number = Number()


class Diagnosis(Reply, frozen=True, kw_only=True):
    """Of ``diag/``."""

    statistics: Statistics = Statistics()


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A worker; its memory in MiB."""

    name: str = ""
    cpus: int = 0
    real_memory: int = 0
    gres: str = ""
    state: list[str] = []
    partitions: list[str] = []


class Nodes(Reply, frozen=True, kw_only=True):
    """Of ``nodes/``."""

    nodes: list[Node] = []


def rows(told: Queue, user: str) -> list[tuple[Row, str]]:
    """The user's jobs in the queue and their folders.

    Raises:
        SiteError: Transient: it tells of no queue.
    """
    jobs = _told(told.jobs)
    return [(_row(job), job.current_working_directory or "") for job in jobs if job.user_name == user]


def accounted(told: Accounted) -> list[Row]:
    """The jobs that the accounting knows.

    Raises:
        SiteError: Transient: it tells of no accounting.
    """
    return [
        Row(
            job.job_id,
            uid_of(job.name),
            states.status(
                word := _word(job.state.current),
                job.exit_code.text,
                "",
                "" if job.nodes == "None assigned" else job.nodes,
                job.time.start or None,
                job.time.end or None,
            ),
            word,
            job.working_directory,
        )
        for job in _told(told.jobs)
    ]


def capacity(told: Nodes, partitions: Sequence[str], jobs: int) -> Capacity:
    """Totals of the nodes that are up in these partitions; without the name of one, in all.

    Raises:
        SiteError: Transient: there is none.
    """
    named = {part for each in partitions for part in each.split(",") if part}
    up = [
        node
        for node in told.nodes
        if (not named or named & set(node.partitions)) and not any(_is(word, NO_NODE) for word in node.state)
    ]
    if not up:
        raise no_nodes(partitions)
    memory = sum(node.real_memory for node in up) * 2**20
    gpus = sum(int(count) for node in up for count in GPUS.findall(node.gres))
    return Capacity(sum(node.cpus for node in up), memory, gpus, jobs)


def failed(told: Nodes, names: Collection[str]) -> set[str]:
    """Those of the nodes of these names that are down, or do not respond."""
    words = (*FAILED, "not_responding")
    return {node.name for node in told.nodes if node.name in names and any(_is(word, words) for word in node.state)}


def _told(jobs: list[T] | None) -> list[T]:
    if jobs is None:
        raise SiteError("slurmrestd has answered without the jobs that it was asked for", transient=True)
    return jobs


def _is(word: str, words: tuple[str, ...]) -> bool:
    return word.lower().startswith(words)


def _row(job: Job) -> Row:
    word = _word(job.job_state)
    told = states.status(
        word, job.exit_code.text, job.state_reason, job.batch_host or "", job.start_time.value, job.end_time.value
    )
    return Row(job.job_id, uid_of(job.name or ""), replace(told, restarts=job.restart_cnt), word)


def _word(words: Sequence[str]) -> str:
    """The one word that squeue would show: a flag, which stands after the base state, if there is one."""
    return words[-1] if words else ""
