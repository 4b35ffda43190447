"""What each container of a job, and all of them together, may use; who gets which of the job's GPUs."""

from __future__ import annotations

from dataclasses import replace

from flashlink.jobscript.plan import Step
from flashlink.pods.pod import Container, EmptyDir, Pod


def limited(step: Step, container: Container, pod: Pod) -> Step:
    """`step` with the limits of its `container`, and its part of the GPUs that the job gets."""
    limits, requests = container.limits, container.requests
    beside = _beside(container, pod)
    return replace(
        step,
        memory=limits.memory,
        memory_volumes=_own_memory(container, beside, pod) if limits.memory else (),
        disk=limits.ephemeral_storage,
        gpu=requests.gpu_vendor,
        gpu_count=requests.gpu,
        gpu_first=sum(other.requests.gpu for other in beside[: _before(container, pod)]),
    )


def scratch(pod: Pod) -> tuple[EmptyDir, ...]:
    """The emptyDirs of `pod`.

    One in memory that several containers mount can hold no more than all of them may use, as in Kubernetes; what is in
    one that only one container mounts counts as its memory.
    """
    return tuple(_within_memory(volume, pod) for volume in pod.volumes.values() if isinstance(volume, EmptyDir))


def _within_memory(volume: EmptyDir, pod: Pod) -> EmptyDir:
    containers = (*pod.init_containers, *pod.containers)
    mounting = [each for each in containers if any(mount.volume == volume.name for mount in each.mounts)]
    if not volume.in_memory or len(mounting) == 1:
        return volume
    return replace(volume, size_limit=min(filter(None, (volume.size_limit, pod.limits.memory)), default=0))


def _beside(container: Container, pod: Pod) -> list[Container]:
    """The containers that run at the same time, in the order in which they start."""
    sidecars = [each for each in pod.init_containers if each.sidecar]
    if container in pod.containers or container.sidecar:
        return [each for each in (*sidecars, *pod.containers) if each is not container]
    return [each for each in pod.init_containers[: pod.init_containers.index(container)] if each.sidecar]


def _before(container: Container, pod: Pod) -> int:
    """How many of those have started before it."""
    order = [each for each in pod.init_containers if each.sidecar or each is container]
    return next(index for index, each in enumerate((*order, *pod.containers)) if each is container)


def _own_memory(container: Container, beside: list[Container], pod: Pod) -> tuple[str, ...]:
    """EmptyDirs in memory that nobody beside the container mounts: all that is in them, it has written."""
    shared = {mount.volume for other in beside for mount in other.mounts}
    own = sorted({mount.volume for mount in container.mounts} - shared)
    return tuple(name for name in own if isinstance(volume := pod.volumes[name], EmptyDir) and volume.in_memory)
