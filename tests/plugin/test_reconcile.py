"""The reconciler against a fake scheduler that fails in every way that real ones do."""

from __future__ import annotations

import dataclasses
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from flashlink.batch import Capacity, JobSpec, JobState, JobStatus
from flashlink.errors import RequestError, SiteError
from flashlink.plugin import backoff, folders, patience, reconcile, watch
from flashlink.plugin.books import Books
from flashlink.plugin.patience import PatientBatch
from flashlink.plugin.pods import Answer, Pods
from flashlink.plugin.reconcile import Reconciler
from flashlink.plugin.record import Record
from flashlink.pods import wire
from flashlink.site.config import Containers, Images, Site

DOWN = SiteError("the scheduler does not answer", transient=True)


class FakeScheduler:
    """Keeps jobs in memory and fails as told: a fake, for what the local system never does."""

    name = "fake"

    def __init__(self) -> None:
        self.jobs: dict[str, JobStatus] = {}
        self.specs: list[JobSpec] = []
        self.graces: list[int | None] = []
        self.calls: list[str] = []
        self.failures: dict[str, Exception] = {}
        self.refusals: dict[str, SiteError] = {}
        self.dies_after_submission = False

    def _called(self, call: str) -> None:
        self.calls.append(call)
        if call in self.failures:
            raise self.failures[call]

    def submit(self, jobs: Sequence[JobSpec]) -> list[str | SiteError]:
        self._called("submit")
        return [self.refusals.get(spec.name) or self._take(spec) for spec in jobs] if not self._die(jobs) else []

    def _die(self, jobs: Sequence[JobSpec]) -> bool:
        if self.dies_after_submission:
            for spec in jobs:
                self._take(spec)
            raise DOWN
        return False

    def _take(self, spec: JobSpec) -> str:
        self.specs.append(spec)
        self.jobs[f"fake:host:{spec.uid}"] = JobStatus(JobState.QUEUED)
        return f"fake:host:{spec.uid}"

    def query(self, job_ids: Sequence[str]) -> dict[str, JobStatus]:
        self._called("query")
        return {job_id: self.jobs.get(job_id, JobStatus(JobState.LOST)) for job_id in job_ids}

    def find(self, uids: Sequence[str]) -> dict[str, str]:
        self._called("find")
        return {uid: f"fake:host:{uid}" for uid in uids if f"fake:host:{uid}" in self.jobs}

    def cancel(self, job_ids: Sequence[str], grace: int | None = None) -> None:
        self._called("cancel")
        self.graces.append(grace)
        for job_id in job_ids:
            self.jobs[job_id] = JobStatus(JobState.ENDED, exit_code=143, reason="removed")

    def forget(self, job_ids: Sequence[str]) -> None:
        self._called("forget")
        for job_id in job_ids:
            self.jobs.pop(job_id, None)

    def capacity(self) -> Capacity:
        self._called("capacity")
        return Capacity(cpus=8, memory=2**33)

    def close(self) -> None:
        return


class House:
    """Pods, books, reconciler and scheduler; `restart` is a kill."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.batch = FakeScheduler()
        self.books = Books(folder / "state")
        self._build()

    def _build(self) -> None:
        site = Site(containers=Containers(runtime="host"))
        self.pods = Pods(self.books, site, self.folder / "work", "fake")
        self.seen: list[tuple[str, bool]] = []
        self.patient = PatientBatch(self.batch, lambda call, seconds, well: self.seen.append((call, well)))
        self.reconciler = Reconciler(self.pods, self.patient, 0.0)

    def restart(self) -> None:
        self.books.close()
        self.books = Books(self.folder / "state")
        self._build()

    def rounds(self, count: int = 3) -> None:
        for _ in range(count):
            self.reconciler.round()

    def create(self, raw: dict) -> tuple[Record, Answer]:
        """Take in a pod, and wait until it is in the books."""
        return self.pods.create(body(raw)).result(10)

    def delete(self, raw: dict) -> Record | None:
        """Delete a pod, and wait until that is in the books."""
        return self.pods.delete(known(raw)).result(10)

    def waiting(self, raw: dict) -> str:
        """The waiting message of the pod's container."""
        return self.pods.status([known(raw)])[0].containers[0].state.waiting.message


@pytest.fixture
def house(tmp_path, monkeypatch) -> Iterator[House]:
    monkeypatch.setattr(backoff, "FIRST", 0.0)
    monkeypatch.setattr(reconcile, "REST", 0.0)
    house = House(tmp_path)
    yield house
    house.books.close()


def pod(name: str = "demo") -> dict:
    container = {"name": "main", "image": "any", "command": ["true"]}
    metadata = {"name": name, "namespace": "default", "uid": str(uuid.uuid4()), "annotations": {}}
    return {"metadata": metadata, "spec": {"restartPolicy": "Never", "containers": [container]}}


def known(raw: dict) -> wire.KnownPod:
    """A pod as the routes read it."""
    return msgspec.convert(raw, wire.KnownPod)


def body(raw: dict) -> bytes:
    return msgspec.json.encode({"pod": raw})


def uid(raw: dict) -> str:
    return raw["metadata"]["uid"]


def test_all_that_waits_goes_in_one_submission(house):
    for _ in range(50):
        house.create(pod())
    house.rounds()
    assert house.batch.calls.count("submit") == 1
    assert len(house.batch.specs) == 50


def test_status_names_the_image_and_what_runs_in_its_place(house):
    images = Images(aliases={"any": "/images/any.sif"})
    house.pods.site = Site(containers=Containers(runtime="apptainer", executable="apptainer"), images=images)
    raw = pod()
    house.create(raw)
    house.restart()
    (entry,) = house.pods.status([known(raw)])[0].containers
    assert (entry.image, entry.imageID) == ("any", "/images/any.sif")


def test_a_job_that_was_lost_before_it_began_is_submitted_again(house):
    raw = pod()
    _, answer = house.create(raw)
    house.rounds()
    house.restart()
    house.batch.jobs[answer.result()] = JobStatus(JobState.FORGOTTEN, reason="forgotten by the scheduler")
    house.rounds(1)
    assert house.waiting(raw) == "forgotten by the scheduler; it is submitted again"
    house.rounds()
    assert [spec.uid for spec in house.batch.specs] == [uid(raw)] * 2
    house.batch.jobs[answer.result()] = JobStatus(JobState.RUNNING)
    house.rounds(1)
    house.batch.jobs[answer.result()] = JobStatus(JobState.FORGOTTEN, reason="forgotten by the scheduler")
    house.rounds()
    ended = house.pods.status([known(raw)])[0].containers[0].state.terminated
    assert (ended.exitCode, ended.message) == (137, "not started: lost: forgotten by the scheduler")
    assert len(house.batch.specs) == 2


def test_a_deleted_pod_whose_job_was_lost_before_it_began_is_gone(house):
    raw = pod()
    _, answer = house.create(raw)
    house.rounds()
    house.batch.jobs[answer.result()] = JobStatus(JobState.FORGOTTEN)
    house.batch.failures["cancel"] = DOWN
    house.delete(raw)
    house.rounds()
    assert house.pods.get(uid(raw)) is None
    assert len(house.batch.specs) == 1


def test_a_job_id_that_is_given_again_is_the_new_pods_alone(house, monkeypatch):
    first, second = pod("first"), pod("second")
    house.create(first)
    house.rounds()
    monkeypatch.setattr(FakeScheduler, "_take", lambda fake, spec: fake.specs.append(spec) or f"fake:host:{uid(first)}")
    house.create(second)
    house.rounds(1)
    assert house.pods.get(uid(second)).job_id == f"fake:host:{uid(first)}"
    assert house.pods.get(uid(first)).job_id == ""
    assert "gave its job's id to another" in house.waiting(first)
    monkeypatch.undo()
    house.rounds(1)
    assert [spec.uid for spec in house.batch.specs] == [uid(first), uid(second), uid(first)]


def test_one_question_a_sweep_whatever_the_number_of_pods(house):
    for _ in range(50):
        house.create(pod())
    house.rounds()
    before = house.batch.calls.count("query")
    house.rounds(1)
    assert house.batch.calls.count("query") == before + 1


def test_no_question_when_all_is_over(house):
    raw = pod()
    house.create(raw)
    house.rounds()
    house.batch.jobs[f"fake:host:{uid(raw)}"] = JobStatus(JobState.LOST)
    _age(house, raw)
    assert house.pods.get(uid(raw)).final
    house.batch.calls.clear()
    house.rounds()
    assert "query" not in house.batch.calls


def _age(house: House, raw: dict) -> None:
    """Let the time pass that a journal gets to arrive."""
    house.rounds()
    record = house.pods.get(uid(raw))
    house.pods.change({uid(raw): {"ended_at": record.ended_at - watch.SETTLE}})
    house.rounds()


def test_scheduler_that_is_down_holds_pods_and_says_so(house):
    house.batch.failures["submit"] = DOWN
    raw = pod()
    _, answer = house.create(raw)
    house.rounds(5)
    assert not answer.done()
    assert "the scheduler does not answer" in house.waiting(raw)
    assert house.patient.trouble == "the scheduler does not answer"
    del house.batch.failures["submit"]
    house.rounds()
    assert answer.result(0) == f"fake:host:{uid(raw)}"
    assert house.patient.trouble == ""


def test_a_pod_that_comes_while_the_scheduler_is_down_says_so_at_once(house, monkeypatch):
    monkeypatch.setattr(backoff, "FIRST", 60.0)
    house.batch.failures["submit"] = DOWN
    house.create(pod())
    house.rounds()
    later = pod()
    house.create(later)
    house.rounds(1)
    assert "the scheduler does not answer" in house.waiting(later)
    assert house.batch.calls.count("submit") == 1


def test_a_pod_that_waits_for_an_answer_to_another_question_says_so(house, monkeypatch):
    monkeypatch.setattr(patience, "TURN", 0.01)
    monkeypatch.setattr(patience, "SILENCE", 0.05)
    waiting, answered = threading.Event(), threading.Event()

    def slow() -> Capacity:
        waiting.set()
        assert answered.wait(30)
        return Capacity(cpus=8, memory=2**33)

    house.batch.capacity = slow
    house.reconciler.start()
    try:
        assert waiting.wait(10)
        raw = pod()
        _, answer = house.create(raw)
        limit = time.monotonic() + 10
        while "fake has not answered for 0.05 s" not in house.waiting(raw):
            assert time.monotonic() < limit
            time.sleep(0.01)
        assert house.patient.trouble == ""  # nothing has failed
        answered.set()
        assert answer.result(10) == f"fake:host:{uid(raw)}"
        assert house.waiting(raw) == "waiting in the queue of the batch system"
    finally:
        answered.set()
        house.reconciler.stop()


def test_scheduler_that_failed_is_left_in_peace(house, monkeypatch):
    monkeypatch.setattr(backoff, "FIRST", 60.0)
    house.batch.failures["submit"] = DOWN
    for _ in range(5):
        house.create(pod())
        house.rounds()
    assert house.batch.calls.count("submit") == 1
    assert house.seen.count(("submit", False)) == 1


def test_scheduler_that_failed_for_what_may_soon_be_over_is_soon_asked_again(house, monkeypatch):
    monkeypatch.setattr(backoff, "FIRST", 60.0)
    house.batch.failures["submit"] = SiteError("the disk is full", transient=True, again=1e-6)
    house.create(pod())
    house.rounds(5)
    assert house.batch.calls.count("submit") == 5


def test_submission_that_died_after_it_was_taken_is_not_repeated(house):
    house.batch.dies_after_submission = True
    raw = pod()
    _, answer = house.create(raw)
    house.rounds(1)
    house.batch.dies_after_submission = False
    house.rounds()
    assert answer.result(0) == f"fake:host:{uid(raw)}"
    assert len(house.batch.specs) == 1


def test_nothing_is_submitted_again_while_the_scheduler_cannot_tell_what_it_has(house):
    house.batch.dies_after_submission = True
    house.create(pod())
    house.rounds(1)
    house.batch.dies_after_submission = False
    house.batch.failures["find"] = DOWN
    house.rounds(5)
    assert len(house.batch.specs) == 1


@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_kill_at_any_moment_of_a_create(house, moment):
    raw = pod()
    house.create(raw)
    if moment == "during":
        house.batch.dies_after_submission = True
        house.rounds(1)
        house.batch.dies_after_submission = False
    elif moment == "after":
        house.rounds()
    house.restart()
    house.rounds()
    assert house.pods.get(uid(raw)).job_id == f"fake:host:{uid(raw)}"
    assert len(house.batch.specs) == 1


def test_refused_by_the_scheduler_while_the_create_waits(house):
    house.batch.refusals["demo"] = SiteError("no such queue")
    raw = pod()
    _, answer = house.create(raw)
    house.rounds()
    assert str(answer.result(0)) == "no such queue"
    assert not house.pods.folder(uid(raw)).exists()


def test_refused_after_the_create_was_answered_fails_the_pod(house):
    house.batch.failures["submit"] = DOWN
    raw = pod()
    house.create(raw)
    house.rounds()
    del house.batch.failures["submit"]
    house.batch.refusals["demo"] = SiteError("no such queue")
    house.rounds()
    ended = house.pods.status([known(raw)])[0].containers[0].state.terminated
    assert ended.exitCode != 0
    assert "no such queue" in ended.message


def test_one_pod_that_cannot_go_now_does_not_hold_up_the_others(house):
    house.batch.refusals["slow"] = SiteError("your limit of jobs is reached", transient=True)
    slow, other = pod("slow"), pod("other")
    house.create(slow)
    house.create(other)
    house.rounds()
    assert house.pods.get(uid(other)).job_id
    assert "limit" in house.waiting(slow)
    house.batch.refusals.clear()
    house.rounds()
    assert house.pods.get(uid(slow)).job_id


def test_failed_query_changes_nothing(house):
    raw = pod()
    house.create(raw)
    house.rounds()
    before = house.pods.get(uid(raw))
    house.batch.failures["query"] = DOWN
    house.batch.jobs.clear()
    house.rounds()
    assert house.pods.get(uid(raw)) == before


def test_lost_job_fails_the_pod_only_after_a_while(house):
    raw = pod()
    house.create(raw)
    house.rounds()
    house.batch.jobs.clear()
    house.rounds()
    assert not house.pods.get(uid(raw)).final
    _age(house, raw)
    assert house.pods.status([known(raw)])[0].containers[0].state.terminated.exitCode != 0


def test_job_that_was_missed_once_and_comes_back_is_not_lost(house):
    raw = pod()
    house.create(raw)
    house.rounds()
    jobs = dict(house.batch.jobs)
    house.batch.jobs.clear()
    house.rounds()
    house.batch.jobs.update(jobs)
    house.rounds()
    record = house.pods.get(uid(raw))
    assert record.ended_at is None
    assert record.job.state is JobState.QUEUED


def test_delete_is_retried_until_the_scheduler_takes_it(house):
    raw = pod()
    house.create(raw)
    house.rounds()
    house.batch.failures["cancel"] = DOWN
    house.delete(raw)
    house.rounds(5)
    assert house.pods.get(uid(raw)) is not None
    del house.batch.failures["cancel"]
    house.rounds()
    assert house.pods.get(uid(raw)) is None
    assert not house.pods.folder(uid(raw)).exists()
    assert house.batch.jobs == {}


def test_grace_of_a_delete_survives_a_restart_and_reaches_job_and_scheduler(house, monkeypatch):
    gentle, sudden = pod(), pod()
    sudden["metadata"]["deletionGracePeriodSeconds"] = 0
    for raw in (gentle, sudden):
        house.create(raw)
    house.rounds()
    for raw in (gentle, sudden):
        house.delete(raw)
    house.restart()
    monkeypatch.setattr(folders, "remove", lambda folder: None)
    house.rounds()
    assert sorted(house.batch.graces, key=str) == [0, None]
    assert (house.pods.folder(uid(sudden)) / "grace").read_text() == "0\n"
    assert not (house.pods.folder(uid(gentle)) / "grace").exists()


def test_delete_of_a_pod_that_waits_submits_nothing(house):
    raw = pod()
    _, answer = house.create(raw)
    house.delete(raw)
    house.rounds()
    assert house.batch.specs == []
    assert isinstance(answer.result(0), RequestError)


def test_tombstones_outlive_a_restart_and_end_some_day(house, monkeypatch):
    raw = pod()
    house.delete(raw)
    house.rounds()
    house.restart()
    with pytest.raises(RequestError, match="was deleted already"):
        house.create(raw)
    monkeypatch.setattr(reconcile, "REMEMBER", -1.0)
    house.rounds(1)
    house.create(raw)


def test_adopted_by_uid_when_the_annotation_does_not_hold_a_job_id(house):
    raw = pod()
    house.batch.jobs[f"fake:host:{uid(raw)}"] = JobStatus(JobState.RUNNING)
    raw["metadata"]["annotations"]["JobID"] = f"fake/{uid(raw)}"
    house.pods.status([known(raw)])
    house.rounds()
    assert house.pods.get(uid(raw)).job_id == f"fake:host:{uid(raw)}"


def test_adopted_while_the_scheduler_is_away_says_so_until_its_job_is_found(house):
    house.batch.failures["find"] = house.batch.failures["query"] = DOWN
    raw = pod()
    job_id = f"fake:host:{uid(raw)}"
    house.batch.jobs[job_id] = JobStatus(JobState.QUEUED)
    raw["metadata"]["annotations"]["JobID"] = job_id
    assert house.pods.status([known(raw)])
    house.rounds()
    away = "looking for its job at the batch system: the scheduler does not answer"
    assert house.waiting(raw) == away
    house.restart()
    assert house.waiting(raw) == away
    house.batch.failures["find"] = house.batch.failures["query"] = SiteError("its disk is full", transient=True)
    house.rounds()
    assert house.waiting(raw) == "looking for its job at the batch system: its disk is full"
    house.batch.failures.clear()
    house.rounds()
    assert house.waiting(raw) == "waiting in the queue of the batch system"


def test_adopted_pod_that_nobody_knows_is_lost(house):
    raw = pod()
    raw["metadata"]["annotations"]["JobID"] = f"fake/{uid(raw)}"
    assert "looking" not in house.pods.status([known(raw)])[0].containers[0].state.waiting.reason
    house.rounds()
    ended = house.pods.status([known(raw)])[0].containers[0].state.terminated
    assert "neither the plugin nor the batch system knows its job" in ended.message
    assert ended.exitCode != 0


def test_full_disk_is_told_and_tried_again(house, monkeypatch):
    raw = pod()
    (house.folder / "work").mkdir()
    mkdir = Path.mkdir

    def full(self: Path, *args, **kwargs) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    house.create(raw)
    house.rounds()
    assert "No space left" in house.waiting(raw)
    monkeypatch.setattr(Path, "mkdir", mkdir)
    house.rounds()
    assert house.pods.get(uid(raw)).job_id


def test_an_end_that_the_books_could_not_take_is_seen_again(house, monkeypatch):
    raw = pod()
    house.create(raw)
    house.rounds()
    house.batch.jobs[f"fake:host:{uid(raw)}"] = JobStatus(JobState.ENDED, exit_code=3)

    def full(records: object) -> None:
        raise SiteError("the plugin cannot write its books: database or disk is full", transient=True)

    with monkeypatch.context() as patched:
        patched.setattr(house.books, "put", full)
        with pytest.raises(SiteError):
            house.rounds(1)
    _age(house, raw)
    assert house.pods.status([known(raw)])[0].containers[0].state.terminated.exitCode == 3


def test_a_scheduler_that_lets_wait_delays_no_state_of_a_container(house, monkeypatch):
    monkeypatch.setattr(patience, "TURN", 0.01)
    monkeypatch.setattr(reconcile, "LOOK", 0.0)
    raw = pod()
    house.create(raw)
    house.rounds()
    waiting, answered = threading.Event(), threading.Event()
    query = house.batch.query

    def slow(job_ids: Sequence[str]) -> dict[str, JobStatus]:
        waiting.set()
        assert answered.wait(30)
        return query(job_ids)

    house.batch.query = slow
    house.reconciler.start()
    try:
        assert waiting.wait(10)
        (house.pods.folder(uid(raw)) / "journal").write_text("5\tstarted\tmain\tinstance=0\n")
        limit = time.monotonic() + 10
        while house.pods.status([known(raw)])[0].containers[0].state.running is None:
            assert time.monotonic() < limit
            time.sleep(0.01)
        assert not answered.is_set()
    finally:
        answered.set()
        house.reconciler.stop()


def test_a_scheduler_that_never_answers_does_not_keep_the_plugin_from_ending(house, monkeypatch):
    monkeypatch.setattr(patience, "TURN", 0.01)
    monkeypatch.setattr(patience, "GRACE", 0.1)
    asked, closed = threading.Event(), threading.Event()

    def never() -> Capacity:
        asked.set()
        assert closed.wait(30)
        raise DOWN

    house.batch.capacity = never
    house.batch.close = closed.set  # as a real one does, this ends the call
    house.create(pod())
    house.reconciler.start()
    assert asked.wait(10)
    house.reconciler.stop()
    assert closed.is_set()
    calls = len(house.batch.calls)
    with pytest.raises(SiteError, match="being stopped"):
        house.patient.query([])
    assert len(house.batch.calls) == calls


def test_a_defect_in_one_round_does_not_end_the_thread(house):
    house.batch.failures["capacity"] = ValueError("garbage from the scheduler")
    house.reconciler.start()
    try:
        raw = pod()
        _, answer = house.create(raw)
        assert answer.result(5) == f"fake:host:{uid(raw)}"
    finally:
        house.reconciler.stop()


def test_status_is_answered_from_memory(house):
    raws = [pod() for _ in range(50)]
    for raw in raws:
        house.create(raw)
    house.rounds()
    house.batch.calls.clear()
    statuses = house.pods.status([known(raw) for raw in raws])
    assert len(statuses) == 50
    assert house.batch.calls == []


def test_records_come_back_from_the_books_as_they_were(house):
    raw = pod()
    house.create(raw)
    house.rounds()
    before = house.pods.get(uid(raw))
    house.restart()
    assert dataclasses.asdict(house.pods.get(uid(raw))) == dataclasses.asdict(before)


def test_a_start_that_the_scheduler_has_not_told_yet_is_seen_within_some_sweeps(house, monkeypatch):
    monkeypatch.setattr(watch, "IN_TURN", 3)
    monkeypatch.setattr(reconcile, "LOOK", 3600.0)
    pods = [pod() for _ in range(10)]
    for raw in pods:
        house.create(raw)
    house.rounds()
    for raw in pods:
        folder = house.pods.folder(uid(raw))
        (folder / "journal").write_text("5\tstarted\tmain\tinstance=0\n")
    house.rounds(10 // 3 + 1)
    assert all(house.pods.status([known(raw)])[0].containers[0].state.running for raw in pods)


def test_an_answer_is_new_when_the_question_or_what_is_known_has_changed(house):
    raw = pod()
    house.create(raw)
    house.rounds()
    first = house.pods.status([known(raw)])
    assert house.pods.status([known(raw)]) == first
    house.batch.jobs[f"fake:host:{uid(raw)}"] = JobStatus(JobState.HELD, reason="no credit")
    house.rounds()
    assert "no credit" in house.waiting(raw)
    raw["spec"]["containers"][0]["image"] = "another"
    assert house.pods.status([known(raw)])[0].containers[0].image == "another"
    house.delete(raw)
    house.rounds()
    assert house.pods.status([known(raw)])[0].containers[0].state.terminated.reason == "Deleted"
