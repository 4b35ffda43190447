"""What the containers of a pod do, from two witnesses: the job's journal and the batch system.

The journal is the truth about containers, the batch system the truth about the job. Where the job is over and the
journal tells no end of a container, the container was cut off: it ends with an exit code that is not 0 and the cause in
words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from flashlink.batch import JobState, JobStatus
from flashlink.jobscript.journal import Ended, Event, JobEnded, JobStarted, Pulling, Ready, Skipped, Started
from flashlink.plugin.record import Record
from flashlink.pods.status import ContainerState, Phase, not_started

#: Exit code of what was killed from outside: 128 + SIGKILL.
KILLED = 137

#: Exit code of what ended well, but only because it was told to: 128 + SIGTERM.
TERMINATED_EARLY = 143

#: Seconds by which the clocks of a worker and of the batch system may differ.
SKEW = 30.0

#: The journal's word for how a container ended, in words and as Kubernetes' reason.
CAUSES = {
    "exited": ("", ""),
    "signal": ("Error", ""),
    "deadline": ("DeadlineExceeded", "stopped at the deadline (activeDeadlineSeconds or the site's wall time)"),
    "cancelled": ("Cancelled", "stopped because the pod was deleted or its job removed"),
    "probe": ("Unhealthy", "ended because a probe failed"),
    "hook": ("PostStartHookError", "ended because its postStart hook failed"),
    "finished": ("Completed", "ended after the containers of its pod"),
    "evicted": ("Evicted", "ended because the pod wrote more than its limits allow"),
    "oom": ("OOMKilled", "killed because it used more memory than it may"),
    "not-started": ("NotStarted", "not started: the job ended before"),
    "runtime": ("ContainerCannotRun", "the container could not be started or supervised; the job's log tells more"),
}

#: Causes of an end that need no start.
UNBEGUN = ("not-started", "runtime")

#: Of a container that runs.
NOT_READY_YET = "runs, but is not ready yet: its probes or its postStart hook have not succeeded"
NOT_READY = "runs, but is not ready: its readiness probe fails"

#: What a pod's containers wait for, by the state of its job.
WAITS = {
    JobState.QUEUED: ("JobQueued", "waiting in the queue of the batch system"),
    JobState.HELD: ("JobHeld", "held by the batch system"),
    JobState.RUNNING: ("ContainerCreating", "the job is starting"),
}


def container_states(record: Record, journal: Iterable[Event], *, over: bool) -> dict[str, ContainerState]:
    """State of each offloaded container.

    Args:
        record: What is known of the pod; ``record.job`` is the batch system's word about its job.
        journal: The job's events in the order in which they happened; empty if there are none yet.
        over: The batch system calls the job ended or lost, and the journal has had its time to arrive.
    """
    states: dict[str, ContainerState] = {}
    last: JobEnded | None = None
    events = list(_of_their_runs(journal))
    for event in events if over else _certain(record, events):
        match event:
            case JobStarted():
                # A job that the batch system runs a second time begins anew.
                states, last = {}, None
            case JobEnded():
                last = event
            case Ended(container=name):
                states[name] = _ended(event, states.get(name), record.job)
            case Pulling(container=name):
                states[name] = ContainerState(Phase.WAITING, "Pulling", "the image is being fetched")
            case Started(container=name):
                states[name] = _running(event.time, event.instance, NOT_READY_YET if not event.ready else "")
            case Ready(container=name) if _runs(states.get(name)):
                states[name] = _running(states[name].started, event.instance, "" if event.ready else NOT_READY)
            case Skipped(container=name):
                states[name] = not_started(f"init container {event.init} failed", 1, event.time)
    ours = (*record.pod.init_containers, *record.pod.containers)
    fill = _cut_off(record, last) if over or last is not None else _waiting(record, states)
    return {name: fill(states.get(name)) for name in ours if name not in record.pod.not_offloaded}


def _certain(record: Record, events: list[Event]) -> list[Event]:
    """What of a journal can be told: a job that was told to end may run again, elsewhere or later.

    So it is with one that was requeued, evicted or held. What its containers made of that counts when the batch system
    calls the job over; one that waits again has nothing to tell yet.
    """
    state = record.job.state if record.job is not None else None
    if state in (JobState.ENDED, JobState.LOST) or record.deleted is not None:
        return events
    if record.job is not None and _is_of_former_runs(events, record.job):
        return []
    begun = max((at for at, event in enumerate(events) if isinstance(event, JobStarted)), default=0)
    for at, event in enumerate(events[begun:], begun):
        if isinstance(event, Ended) and event.cause == "cancelled":
            return [] if state in (JobState.QUEUED, JobState.HELD) else events[:at]
    return events


def _of_their_runs(journal: Iterable[Event]) -> Iterator[Event]:
    """Without the ends that a former run tells after the next one has begun.

    Its node was taken for dead and its job was started elsewhere; then it came back, and its job was ended there.
    """
    run: JobStarted | None = None
    begun: set[tuple[str, int]] | None = None  # instances of this run; None in the first one, which nobody disturbs
    for event in journal:
        match event:
            case JobStarted():
                run, begun = event, None if run is None else set()
            case Started() if begun is not None:
                begun.add((event.container, event.instance))
            case Ended() if begun is not None and event.cause not in UNBEGUN:
                if (event.container, event.instance) not in begun:
                    continue
            case JobEnded() if run is not None and event.pid not in (0, run.pid):
                continue
        yield event


def _is_of_former_runs(events: Iterable[Event], job: JobStatus) -> bool:
    """Whether a job that was queued again has written nothing since: its journal is of runs that are over.

    One that runs again may have had a run that wrote nothing; so its events count unless they are clearly older.
    """
    began = [event.time for event in events if isinstance(event, JobStarted)]
    if not job.restarts or len(began) > job.restarts:
        return False
    if job.state is JobState.RUNNING:
        return bool(began) and job.started is not None and began[-1] < job.started - SKEW
    return job.state in (JobState.QUEUED, JobState.HELD)


def known_states(record: Record) -> Mapping[str, ContainerState]:
    """The states that were last seen; of a pod without a job, why it has none yet."""
    return record.states or container_states(record, (), over=False)


def _running(started: float | None, instance: int, unready: str) -> ContainerState:
    """InterLink takes what runs for ready, so what is not ready has to be told as waiting."""
    if not unready:
        return ContainerState(Phase.RUNNING, started=started, restarts=instance)
    return ContainerState(Phase.WAITING, "NotReady", unready, started=started, restarts=instance)


def _runs(state: ContainerState | None) -> bool:
    return state is not None and state.started is not None and state.ended is None


def _ended(event: Ended, before: ContainerState | None, job: JobStatus | None) -> ContainerState:
    started = before.started if before is not None and before.restarts == event.instance else None
    code = event.exit
    if event.again:
        phase, reason = Phase.WAITING, "CrashLoopBackOff"
        message = f"{_in_words(event) or f'ended with exit code {code}'}; starts again after a pause"
    else:
        phase = Phase.TERMINATED
        reason, message = CAUSES.get(event.cause, ("Error", event.cause))
        if event.cause == "signal" and code > 128:
            message = f"ended by signal {code - 128}"
        elif event.reason:
            message = _in_words(event)
        elif event.cause in ("cancelled", "deadline"):
            # However well it took SIGTERM, it was stopped before its time, so it has not succeeded.
            code = code or TERMINATED_EARLY
            if event.cause == "cancelled" and job is not None and job.reason:
                message = job.reason  # who removed it, and why; of a deadline only the job itself knows
        if event.message:  # as the kubelet adds it to its own words; that a signal ended it the exit code tells
            message = event.message if event.cause == "signal" else ": ".join(filter(None, (message, event.message)))
    return ContainerState(phase, reason, message, code, started, event.time, event.instance)


def _in_words(event: Ended) -> str:
    """The reason that the job left, if it did."""
    return f"could not be started: {event.reason}" if event.cause == "runtime" and event.reason else event.reason


def _waiting(record: Record, states: Mapping[str, ContainerState]) -> Callable[[ContainerState | None], ContainerState]:
    """Of a job that goes on: a container without events waits for an init container, or for what the job waits for."""
    begun = [name for name in record.pod.init_containers if name in states and not states[name].terminated]
    begun = [name for name in begun if name not in record.pod.sidecars or states[name].phase is Phase.WAITING]
    if begun:
        reason, message = "PodInitializing", f"waiting for init container {begun[-1]}"
    elif record.job is None:
        reason, message = "ContainerCreating", record.problem or "on its way to the batch system"
    else:
        reason, message = WAITS.get(record.job.state, ("ContainerCreating", "the job is ending"))
        message = ": ".join(part for part in (message, record.job.reason or record.problem) if part)
    waiting = ContainerState(Phase.WAITING, reason, message)
    return lambda state: state or waiting


def _cut_off(record: Record, last: JobEnded | None) -> Callable[[ContainerState | None], ContainerState]:
    """Of a job that is over: a container without an end was cut off, or never started."""
    job = record.job or JobStatus(JobState.ENDED)
    told = job.exit_code if job.exit_code is not None else (last.exit if last is not None else None)
    ended = job.ended or (last.time if last is not None else record.ended_at)
    if job.state is JobState.LOST:
        why = f"lost: {job.reason or 'the batch system does not know the job any more'}"
    else:
        why = job.reason or f"the job ended{'' if told is None else f' with exit code {told}'} before the container did"

    def fill(state: ContainerState | None) -> ContainerState:
        if state is None or (state.phase is Phase.WAITING and state.started is None and state.ended is None):
            return not_started(why, told or KILLED, ended)
        if state.terminated:
            return state
        return ContainerState(
            Phase.TERMINATED, "Error", why, state.exit_code or told or KILLED, state.started, ended, state.restarts
        )

    return fill
