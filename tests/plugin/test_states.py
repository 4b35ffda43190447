from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashlink.batch import JobState, JobStatus
from flashlink.jobscript.journal import Ended, JobEnded, JobStarted, Pulling, Ready, Skipped, Started, parse
from flashlink.plugin.record import Record
from flashlink.plugin.states import container_states
from flashlink.pods.status import Outline, Phase, is_final, pod_status

POD = Outline("uid", "demo", "default", ("init",), ("main", "side"))
RUNNING = JobStatus(JobState.RUNNING)


def record(job: JobStatus | None = RUNNING, **more) -> Record:
    return Record(POD, 0.0, job_id="local:host:1", job=job, **more)


def test_queued_job_tells_why_it_waits():
    states = container_states(record(JobStatus(JobState.QUEUED, reason="Priority")), [], over=False)
    assert {state.phase for state in states.values()} == {Phase.WAITING}
    assert states["main"].reason == "JobQueued"
    assert "Priority" in states["main"].message


def test_held_job_is_not_silent():
    states = container_states(record(JobStatus(JobState.HELD, reason="disk quota")), [], over=False)
    assert states["main"].reason == "JobHeld"
    assert "disk quota" in states["main"].message


def test_trouble_with_the_submission_is_told():
    states = container_states(record(None, problem="the schedd does not answer"), [], over=False)
    assert states["main"].message == "the schedd does not answer"


def test_the_way_of_a_container():
    events = [JobStarted(1, "node", 1), Pulling(2, "main"), Started(3, "main", 0), Ended(4, "main", 0, 3, "exited")]
    phases = [container_states(record(), events[:count], over=False)["main"].phase for count in range(5)]
    assert phases == [Phase.WAITING, Phase.WAITING, Phase.WAITING, Phase.RUNNING, Phase.TERMINATED]
    state = container_states(record(), events, over=False)["main"]
    assert (state.exit_code, state.started, state.ended) == (3, 3, 4)


@pytest.mark.parametrize("event", [Pulling(2, "init"), Started(2, "init", 0)])
def test_containers_wait_for_the_init_container_that_runs(event):
    main = container_states(record(), [JobStarted(1, "node", 1), event], over=False)["main"]
    assert (main.phase, main.reason) == (Phase.WAITING, "PodInitializing")
    assert main.message == "waiting for init container init"


@pytest.mark.parametrize(("again", "phase"), [(True, Phase.WAITING), (False, Phase.TERMINATED)])
def test_a_container_that_starts_again_waits(again, phase):
    events = [Started(1, "main", 2), Ended(2, "main", 2, 1, "exited", again=again)]
    state = container_states(record(), events, over=False)["main"]
    assert state.phase is phase
    assert state.restarts == 2


@pytest.mark.parametrize(
    ("events", "phase", "words"),
    [
        ([Started(3, "main", 1, ready=False)], Phase.WAITING, "not ready yet"),
        ([Started(3, "main", 1, ready=False), Ready(4, "main", 1)], Phase.RUNNING, ""),
        ([Started(3, "main", 1), Ready(4, "main", 1, ready=False)], Phase.WAITING, "its readiness probe fails"),
        ([Started(3, "main", 1, ready=False), Ended(5, "main", 1, 0, "exited")], Phase.TERMINATED, ""),
        ([Started(3, "main", 1), Ended(5, "main", 1, 0, "exited"), Ready(6, "main", 1)], Phase.TERMINATED, ""),
    ],
)
def test_what_is_not_ready_waits(events, phase, words):
    state = container_states(record(), events, over=False)["main"]
    assert (state.phase, state.started, state.restarts) == (phase, 3, 1)
    assert words in state.message


def test_a_container_that_was_cut_off_before_it_was_ready_did_run():
    state = container_states(record(ended_at=5.0), [Started(3, "main", 0, ready=False)], over=True)["main"]
    assert (state.phase, state.started) == (Phase.TERMINATED, 3)
    assert not state.message.startswith("not started")


SIDECAR = Outline("uid", "demo", "default", ("proxy", "init"), ("main",), sidecars=frozenset({"proxy"}))


@pytest.mark.parametrize(
    ("events", "proxy", "phases"),
    [
        ([Started(1, "proxy", 0)], "running", ["waiting"]),
        ([Started(1, "proxy", 0), Started(2, "init", 0)], "sidecar: runs", ["waiting"]),
        ([Started(1, "proxy", 0), Started(2, "main", 0)], "sidecar: runs", ["running"]),
        (
            [Started(1, "proxy", 0), Started(2, "main", 0), Ended(3, "proxy", 0, 9, "exited", again=True)],
            "sidecar: ended with exit code 9; starts again after a pause",
            ["running"],
        ),
        (
            [Started(1, "proxy", 0), Ended(3, "main", 0, 0, "exited"), Ended(4, "proxy", 0, 143, "finished")],
            "sidecar: ended with exit code 143",
            ["terminated"],
        ),
        ([Started(1, "proxy", 0), Ended(2, "init", 0, 4, "exited")], "sidecar: runs", ["terminated"]),
    ],
)
def test_a_sidecar_neither_holds_its_pod_pending_nor_fails_it(events, proxy, phases):
    known = dataclasses.replace(record(), pod=SIDECAR)
    status = pod_status(SIDECAR, "jid", container_states(known, events, over=False))
    told = status.initContainers[0].state
    if told.terminated is None:
        assert getattr(told, proxy) is not None
    else:
        assert (told.terminated.exitCode, told.terminated.message) == (0, proxy)
    assert [phase for phase in phases if getattr(status.containers[0].state, phase) is None] == []


def test_a_pod_is_over_when_its_sidecars_are():
    known = dataclasses.replace(record(), pod=SIDECAR)
    events = [Started(1, "proxy", 0), Ended(2, "init", 0, 0, "exited"), Ended(3, "main", 0, 0, "exited")]
    assert not is_final(SIDECAR, container_states(known, events, over=False))
    events.append(Ended(4, "proxy", 0, 137, "finished"))
    assert is_final(SIDECAR, container_states(known, events, over=False))


@pytest.mark.parametrize("cause", ["cancelled", "deadline"])
def test_what_was_stopped_has_not_succeeded(cause):
    job = JobStatus(JobState.ENDED, reason="ended at its wall time of 60 s")
    state = container_states(record(job), [Started(1, "main", 0), Ended(2, "main", 0, 0, cause)], over=False)["main"]
    assert state.exit_code == 143
    assert "wall time" in state.message


INTERRUPTED = [
    JobStarted(1, "node", 1),
    Started(2, "main", 0),
    Started(2, "side", 0),
    Ended(3, "side", 0, 0, "exited"),
    Ended(4, "main", 0, 143, "cancelled"),
    JobEnded(5, 143),
]


@pytest.mark.parametrize("job", [None, RUNNING])
def test_a_job_that_was_told_to_end_may_run_again_and_has_not_ended_before_the_batch_system_says_so(job):
    states = container_states(record(job), INTERRUPTED, over=False)
    assert states["main"].phase is Phase.RUNNING
    assert states["side"].exit_code == 0
    ended = JobStatus(JobState.ENDED, exit_code=143, reason="preempted")
    state = container_states(record(ended), INTERRUPTED, over=False)["main"]
    assert (state.phase, state.exit_code, state.message) == (Phase.TERMINATED, 143, "preempted")


def test_a_job_that_was_requeued_waits_and_then_runs_anew():
    waits = JobStatus(JobState.QUEUED, reason="its time to start has not come")
    states = container_states(record(waits), INTERRUPTED, over=False)
    assert {state.reason for state in states.values()} == {"JobQueued"}
    assert states["main"].message.endswith("its time to start has not come")
    again = [*INTERRUPTED, JobStarted(9, "other", 1), Started(10, "main", 0)]
    states = container_states(record(waits), again, over=False)  # the batch system is late to tell
    assert (states["main"].phase, states["main"].started) == (Phase.RUNNING, 10)
    assert states["side"].phase is Phase.WAITING


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.HELD])
def test_a_job_whose_node_failed_waits_though_its_journal_tells_no_end(state):
    first = INTERRUPTED[:4]
    waits = JobStatus(state, reason="its node n1 failed", restarts=1)
    states = container_states(record(waits), first, over=False)
    assert {each.phase for each in states.values()} == {Phase.WAITING}
    assert states["main"].message.endswith("its node n1 failed")
    again = [*first, JobStarted(900, "other", 1), Started(901, "main", 1)]  # the batch system is late to tell
    assert container_states(record(waits), again, over=False)["main"].started == 901


@pytest.mark.parametrize(
    ("started", "restarts", "phase"), [(900.0, 1, Phase.WAITING), (10.0, 1, Phase.RUNNING), (900.0, 0, Phase.RUNNING)]
)
def test_a_job_that_runs_again_is_starting_until_it_writes(started, restarts, phase):
    runs = JobStatus(JobState.RUNNING, started=started, restarts=restarts)
    states = container_states(record(runs), INTERRUPTED[:4], over=False)
    assert states["main"].phase is phase
    again = [*INTERRUPTED[:4], JobStarted(901, "other", 1), Started(902, "main", 1)]
    assert container_states(record(runs), again, over=False)["main"].started == 902


@pytest.mark.parametrize("over", [False, True])
def test_what_a_run_tells_that_was_given_up_is_not_of_the_next_one(over):
    again = [*INTERRUPTED[:3], JobStarted(900, "other", 2), Started(901, "main", 1)]
    late = [Ended(902, "main", 0, 143, "cancelled"), Ended(902, "side", 0, 143, "signal"), JobEnded(903, 143, 1)]
    states = container_states(record(), [*again, *late], over=False)
    assert (states["main"].phase, states["side"].phase) == (Phase.RUNNING, Phase.WAITING)
    end = [Ended(905, "side", 1, 1, "not-started"), Ended(906, "main", 1, 5, "exited"), JobEnded(907, 5, 2)]
    states = container_states(record(), [*again, *late, *end], over=over)
    assert (states["main"].exit_code, states["side"].exit_code) == (5, 1)
    assert states["main"].restarts == 1


def test_the_journal_of_a_deleted_pod_is_told_as_it_is():
    state = container_states(record(RUNNING, deleted=4.5), INTERRUPTED, over=False)["main"]
    assert (state.phase, state.exit_code) == (Phase.TERMINATED, 143)


def test_of_a_deadline_the_job_alone_knows():
    job = JobStatus(JobState.ENDED, exit_code=143, reason="its script was killed by signal 15")
    states = container_states(record(job), [Started(1, "main", 0), Ended(2, "main", 0, 143, "deadline")], over=True)
    assert "deadline" in states["main"].message


def test_oom_is_told_in_words():
    state = container_states(record(), [Ended(2, "main", 0, 137, "oom")], over=False)["main"]
    assert state.reason == "OOMKilled"
    assert "memory" in state.message


@pytest.mark.parametrize(
    ("cause", "reason", "told"),
    [
        ("exited", "", "last\nwords\n"),
        ("signal", "", "last\nwords\n"),
        ("oom", "OOMKilled: used 70Mi of 64Mi", "OOMKilled: used 70Mi of 64Mi: last\nwords\n"),
    ],
)
def test_what_a_container_left_to_be_told_comes_after_our_own_words(cause, reason, told):
    ended = Ended(2, "main", 0, 137, cause, reason, message="last\nwords\n")
    assert container_states(record(), [ended], over=False)["main"].message == told


def test_skipped_after_a_failed_init_container():
    events = [Ended(2, "init", 0, 4, "exited"), Skipped(2, "main", "init-failed", "init")]
    entries = pod_status(POD, "jid", container_states(record(), events, over=False)).containers
    for entry in entries:
        assert entry.state.terminated.message == "not started: init container init failed"
        assert entry.state.terminated.exitCode != 0


def test_a_job_that_begins_again_forgets_its_first_life():
    events = [JobStarted(1, "a", 1), Started(2, "main", 0), JobStarted(9, "b", 1)]
    assert container_states(record(), events, over=False)["main"].phase is Phase.WAITING


@pytest.mark.parametrize(
    ("job", "words", "code"),
    [
        (JobStatus(JobState.LOST), "does not know the job", 137),
        (JobStatus(JobState.LOST, reason="the node failed"), "lost: the node failed", 137),
        (JobStatus(JobState.ENDED, exit_code=0), "exit code 0", 137),
        (JobStatus(JobState.ENDED, exit_code=137, reason="removed by root"), "removed by root", 137),
        (JobStatus(JobState.ENDED, exit_code=9), "exit code 9", 9),
        (JobStatus(JobState.ENDED), "before the container did", 137),
    ],
)
def test_a_job_that_is_over_leaves_no_container_behind(job, words, code):
    states = container_states(record(job, ended_at=5.0), [Started(3, "main", 0)], over=True)
    assert all(state.terminated and state.exit_code != 0 for state in states.values())
    assert states["main"].exit_code == code
    assert words in states["main"].message
    assert states["side"].message.startswith("not started: ")
    assert states["main"].started == 3


def test_nothing_is_final_before_the_journal_had_its_time():
    ended = record(JobStatus(JobState.ENDED, exit_code=0), ended_at=5.0)
    states = container_states(ended, [Started(3, "main", 0)], over=False)
    assert not is_final(POD, states)


def test_the_end_of_the_script_is_as_good_as_the_end_of_the_job():
    states = container_states(record(), [Started(3, "main", 0), JobEnded(6, 128)], over=False)
    assert is_final(POD, states)
    assert states["main"].exit_code == 128


def test_containers_of_the_cluster_are_not_ours():
    pod = dataclasses.replace(POD, not_offloaded=frozenset({"side"}))
    assert set(container_states(dataclasses.replace(record(), pod=pod), [], over=False)) == {"init", "main"}


@pytest.mark.parametrize(
    ("cause", "reason", "kind", "message"),
    [
        ("runtime", "there is no program 'x'", "ContainerCannotRun", "could not be started: there is no program 'x'"),
        (
            "runtime",
            "",
            "ContainerCannotRun",
            "the container could not be started or supervised; the job's log tells more",
        ),
        ("evicted", 'Usage of EmptyDir volume "x"', "Evicted", 'Usage of EmptyDir volume "x"'),
        ("evicted", "", "Evicted", "ended because the pod wrote more than its limits allow"),
        ("oom", "OOMKilled: used 70Mi of 64Mi", "OOMKilled", "OOMKilled: used 70Mi of 64Mi"),
        ("probe", "its liveness probe failed: x", "Unhealthy", "its liveness probe failed: x"),
        ("probe", "", "Unhealthy", "ended because a probe failed"),
        ("hook", "its postStart hook failed: x", "PostStartHookError", "its postStart hook failed: x"),
    ],
)
def test_the_reason_that_the_job_left_is_told(cause, reason, kind, message):
    events = [JobStarted(1, "node", 1), Started(2, "main", 0), Ended(3, "main", 0, 127, cause, reason)]
    state = container_states(record(), events, over=False)["main"]
    assert (state.phase, state.reason, state.message) == (Phase.TERMINATED, kind, message)


@pytest.mark.parametrize(
    ("cause", "reason", "message"),
    [
        ("runtime", "no such program", "could not be started: no such program; starts again after a pause"),
        ("oom", "OOMKilled: used 70Mi of 64Mi", "OOMKilled: used 70Mi of 64Mi; starts again after a pause"),
        ("exited", "", "ended with exit code 127; starts again after a pause"),
    ],
)
def test_container_that_is_tried_again_tells_why(cause, reason, message):
    ended = Ended(3, "main", 0, 127, cause, reason, again=True)
    state = container_states(record(), [JobStarted(1, "node", 1), Started(2, "main", 0), ended], over=False)["main"]
    assert (state.phase, state.reason) == (Phase.WAITING, "CrashLoopBackOff")
    assert state.message == message


words = st.sampled_from(
    ["job-started", "pulling", "started", "ready", "unready", "ended", "skipped", "job-ended", "nonsense"]
)
lines = st.builds(
    lambda word, name, instance, code, cause: (
        f"1.5\t{word}\t{name}\tinstance={instance}\texit={code}\tcause={cause}\tinit=init\tnode=n\tpid=1\tagain=yes"
    ),
    words,
    st.sampled_from(["init", "main", "side", "stranger", "-"]),
    st.integers(0, 3),
    st.integers(0, 255),
    st.sampled_from(
        ["exited", "signal", "deadline", "cancelled", "oom", "not-started", "runtime", "evicted", "init-failed", "new"]
    ),
)


@given(st.lists(lines), st.booleans(), st.sampled_from(list(JobState)))
def test_whatever_the_journal_says_every_container_has_one_state(journal, over, state):
    job = JobStatus(state)
    events = parse("".join(line + "\n" for line in journal).encode())
    states = container_states(record(job, ended_at=5.0 if over else None), events, over=over)
    status = pod_status(POD, "jid", states)
    assert [entry.name for entry in status.containers] == ["main", "side"]
    assert [entry.name for entry in status.initContainers] == ["init"]
    if over:
        assert is_final(POD, states)
