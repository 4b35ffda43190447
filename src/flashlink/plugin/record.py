"""One pod as the plugin knows it: who it is, which job it became, what its containers were last seen to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flashlink.batch import JobState, JobStatus
from flashlink.pods.pod import Pod
from flashlink.pods.status import ContainerState, Outline


@dataclass(frozen=True, slots=True)
class Record:
    """Everything about one pod that must outlive the plugin; never changed, only replaced by a newer one.

    Attributes:
        pod: Identity and container names.
        created: Seconds since the epoch when it was taken in or adopted.
        tried: The batch system may know the uid though the job id is not known: a submission was begun, or another
            plugin's pod is being adopted. It is asked for the uid before anything else happens to the pod.
        hint: The ``JobID`` annotation of an adopted pod: its job id, unless the batch system knows better.
        job_id: The batch system's; "" until it is known.
        job: What the batch system last said about the job.
        ended_at: When the batch system was first seen to call the job ended or lost.
        states: Last known state of each container.
        problem: Why it does not go on at the moment, in words for the user; "" if all is well.
        images: Container to what the container runtime makes of its image; unknown of an adopted pod.
        final: All is over and was read for the last time: no sweep looks at it again.
        deleted: When the delete came, or None.
        grace: Seconds between SIGTERM and SIGKILL that the delete asked for; None for the pod's own.
    """

    pod: Outline
    created: float
    tried: bool = False
    hint: str = ""
    job_id: str = ""
    job: JobStatus | None = None
    ended_at: float | None = None
    states: Mapping[str, ContainerState] = field(default_factory=dict)
    problem: str = ""
    final: bool = False
    deleted: float | None = None
    grace: int | None = None
    images: Mapping[str, str] = field(default_factory=dict)

    @property
    def uid(self) -> str:
        """The pod's uid."""
        return self.pod.uid

    @property
    def label(self) -> str:
        """Namespace and name, as users call the pod."""
        return f"{self.pod.namespace}/{self.pod.name}"

    @property
    def has_no_job(self) -> bool:
        """Its job has still to be found or submitted."""
        return not self.job_id and not self.final

    @property
    def begun(self) -> bool:
        """Its job was seen to run, or all is over: it is never submitted again."""
        waits = (JobState.QUEUED, JobState.HELD, JobState.FORGOTTEN)
        return self.final or (self.job is not None and self.job.state not in waits)


def outline_of(pod: Pod) -> Outline:
    """Identity and container names of a pod that runs here."""
    init_containers = tuple(container.name for container in pod.init_containers)
    containers = tuple(container.name for container in pod.containers)
    return Outline(
        pod.uid,
        pod.name,
        pod.namespace,
        init_containers,
        containers,
        frozenset((*pod.not_offloaded, *pod.not_offloaded_init)),
        frozenset(container.name for container in pod.init_containers if container.sidecar),
    )
