"""A pod and a site become a `JobPlan`, or a refusal that says what the site would need.

Pure: nothing here looks at a disk or a clock, since the worker is another machine. What only the worker can know (does
the path exist? does a link lead out of it?) the runtime checks there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath

import msgspec

from flashlink.errors import RequestError, SiteError
from flashlink.jobscript import annotated, configured
from flashlink.jobscript.binds import binds
from flashlink.jobscript.fuse import mounts_in_container, mounts_on_worker
from flashlink.jobscript.images import fetch_options, image
from flashlink.jobscript.limits import limited, scratch
from flashlink.jobscript.plan import JobPlan, Report, Step
from flashlink.pods.network import usual_hostname
from flashlink.pods.pod import USUAL_MESSAGE, Container, EmptyDir, Files, Message, Network, Pod, Resources
from flashlink.pods.quantity import size
from flashlink.site.config import Site

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
#: Names that bash does not let go of; a host process gets its environment from bash.
_OF_BASH = frozenset({"_", "BASHOPTS", "BASH_VERSINFO", "BASHPID", "EUID", "PPID", "SHELLOPTS", "SHLVL", "UID"})
#: Names that the interpreter of Apptainer's own scripts does not let go of, or changes.
_OF_APPTAINER = frozenset({"EUID", "GID", "PROMPT_COMMAND", "UID"})
#: Names that Apptainer leaves out, or gives values of its own, where they would be empty.
_NEVER_EMPTY = frozenset({"HOME", "PATH", "PS1"})
#: Linux' limit on one argument or variable, less what the container runtime puts before a name.
_LONGEST = 128 * 1024 - 64
#: On all of a process together: Apptainer's on their JSON, less what else stands in it, and Linux' at its usual stack.
_MOST, _MOST_ON_HOST = 1024 * 1024 - 32 * 1024, 2 * 1024 * 1024 - 64 * 1024


def plan(pod: Pod, site: Site, folder: PurePosixPath, report: Report | None = None) -> JobPlan:
    """Decide everything about the job of a pod.

    Args:
        pod: What was asked.
        site: A site after `flashlink.site.runtime.resolve`.
        folder: The pod's private folder on the worker, absolute.
        report: Where the job reports, if the plugin cannot see that folder.

    Raises:
        RequestError: The pod asks for what cannot be.
        SiteError: The site does not grant what the pod asks for.
    """
    job = partial(
        JobPlan,
        uid=pod.uid,
        name=pod.name,
        folder=folder,
        scratch=scratch(pod),
        files=tuple(volume for volume in pod.volumes.values() if isinstance(volume, Files)),
        deadline=pod.deadline or 0,
        grace=pod.grace,
        resources=_resources(pod, site),
        path=tuple(site.containers.path),
        walltime=_walltime(pod, site),
        pre_exec=annotated.pre_exec(pod, site),
        options=annotated.options(pod, site),
        report=report,
        log_size=size(site.limits.log_size, "limits.log_size"),
        disk=pod.limits.ephemeral_storage,
    )
    return _of_given_script(job, pod, site) if pod.job_script else _of_containers(job, pod, site, folder)


def _of_given_script(job: Callable[..., JobPlan], pod: Pod, site: Site) -> JobPlan:
    """One process of the worker, which stands for all containers: what they are is the business of who made it."""
    if not site.grants.job_script:
        raise SiteError(
            "jobScript: this site runs its own job scripts only (grants.job_script); "
            "let interLink's API server make none (JobScriptTemplate, JobScriptBuilderURL)"
        )
    first, *others = (container.name for container in pod.containers)
    in_memory = (volume.name for volume in pod.volumes.values() if isinstance(volume, EmptyDir) and volume.in_memory)
    limit = pod.limits.memory
    step = Step(first, None, (), "", (), "", (), script=pod.job_script, memory=limit, memory_volumes=tuple(in_memory))
    return job(
        runtime="host",
        executable="",
        runtime_options=(),
        init_steps=(),
        steps=(step,),
        alike=tuple(others),
        alike_init=tuple(container.name for container in pod.init_containers),
    )


def _of_containers(job: Callable[..., JobPlan], pod: Pod, site: Site, folder: PurePosixPath) -> JobPlan:
    configured.check(pod, site)
    containers = site.containers
    return job(
        runtime=containers.runtime,
        executable="" if containers.runtime == "host" else containers.executable or containers.runtime,
        runtime_options=(
            *containers.options,
            *configured.runtime_options(pod, site),
            *annotated.runtime_options(pod, site),
        ),
        init_steps=tuple(_once(_step(pod, site, folder, container)) for container in pod.init_containers),
        steps=tuple(_step(pod, site, folder, container) for container in pod.containers),
        image_cache=configured.image_cache(pod, site),
        fuses=mounts_on_worker(pod, site),
        fuse_seconds=site.volumes.fuse_seconds,
        network=_network(pod, site),
    )


def needs_mounts(plan: JobPlan) -> bool:
    """Whether a host process of the plan needs a mount namespace, which `flashlink.site.runtime.can_mount` may deny."""
    steps = (*plan.init_steps, *plan.steps)
    return plan.runtime == "host" and any(
        bind.read_only or bind.source != bind.target for step in steps for bind in step.binds
    )


def _step(pod: Pod, site: Site, folder: PurePosixPath, container: Container) -> Step:
    on_host = site.containers.runtime == "host"
    argv = None if container.command is None else (*container.command, *(container.args or ()))
    if on_host and not argv:
        raise SiteError(
            f"container {container.name}: this site runs pods without images, so there is no entry point; "
            "give the container a command"
        )
    found = "" if on_host else image(container, site, annotated.image_root(pod, site))
    step = Step(
        name=container.name,
        argv=argv or None,
        args=container.args or () if not argv else (),
        image=found,
        fetch_options=fetch_options(found, site),
        env=tuple(container.env.items()),
        working_dir=container.working_dir,
        binds=binds(pod, site, folder, container, annotated.mounts(pod, site)),
        root="read-only" if container.security.read_only_root else site.containers.root,
        user=configured.user(pod, container),
        group=container.security.group,
        non_root=container.security.non_root,
        fake_root=_fake_root(pod, container, site),
        fuses=mounts_in_container(pod, site, container),
        restart=container.restart or pod.restart_policy,
        restart_rules=container.restart_rules,
        sidecar=container.sidecar,
        life=container.life,
        message=_message(container, on_host=on_host),
    )
    _check_words(step, on_host=on_host)
    return limited(step, container, pod)


def _message(container: Container, *, on_host: bool) -> Message:
    if on_host and container.message.path != USUAL_MESSAGE.path:
        raise SiteError(
            f"container {container.name}: terminationMessagePath {container.message.path}: this site runs pods without "
            "containers, which have no files of their own; leave it out, or let the message come from the log "
            "(terminationMessagePolicy: FallbackToLogsOnError)"
        )
    return container.message


def _network(pod: Pod, site: Site) -> Network:
    if site.containers.runtime != "host":
        return pod.network
    if pod.network not in (Network(), Network(hostname=usual_hostname(pod.name))):
        raise SiteError(
            "spec: this site runs pods without containers, which have the worker's names; "
            "leave hostname, hostAliases, dnsPolicy None and dnsConfig out"
        )
    return Network()


def _fake_root(pod: Pod, container: Container, site: Site) -> bool:
    if configured.user(pod, container) != 0:
        return False
    if not site.containers.fakeroot or site.containers.runtime == "host":
        raise SiteError(
            f"container {container.name}: runAsUser 0: this site runs no container as root, not even in a user "
            "namespace (containers.fakeroot); leave it out to run as the account of the job"
        )
    return True


def _once(step: Step) -> Step:
    """An init container that has succeeded is done, whatever the pod's policy."""
    return step if step.sidecar or step.restart != "Always" else replace(step, restart="OnFailure")


def _check_words(step: Step, *, on_host: bool) -> None:
    for name, value in step.env:
        if not _VARIABLE.fullmatch(name) or name == "FLASHLINK_POD" or name in (_OF_BASH if on_host else _OF_APPTAINER):
            raise RequestError(
                f"container {step.name}: a variable cannot be named {name!r} here; "
                "use another name, of letters, digits and underscores"
            )
        if name == "HOME" and ":" in value and not on_host:
            raise RequestError(f"container {step.name}: HOME cannot hold a colon in Apptainer; use another folder")
        if name in _NEVER_EMPTY and not value and not on_host:
            raise RequestError(f"container {step.name}: {name} cannot be empty in Apptainer; leave it out")
        _check_length(step, f"the value of {name}", value)
    for word in (*(step.argv or ()), *step.args, *step.life.words):
        _check_length(step, "one argument", word)
    _check_sum(step, on_host=on_host)


def _check_sum(step: Step, *, on_host: bool) -> None:
    words = [*(step.argv or ()), *step.args, *(f"{name}={value}" for name, value in step.env)]
    total = sum(len(word.encode()) + 9 if on_host else len(msgspec.json.encode(word)) + 1 for word in words)
    if total > (most := _MOST_ON_HOST if on_host else _MOST):
        raise RequestError(
            f"container {step.name}: its arguments and variables have {total} bytes together, "
            f"{'Linux' if on_host else 'Apptainer'} takes {most}; put some into a config map's files"
        )


def _check_length(step: Step, what: str, text: str) -> None:
    if (length := len(text.encode())) > _LONGEST:
        raise RequestError(
            f"container {step.name}: {what} has {length} bytes, Linux takes {_LONGEST}; put it into a config map's file"
        )


def _resources(pod: Pod, site: Site) -> Resources:
    asked = pod.resources
    return replace(
        asked, cpu=asked.cpu or site.limits.cpu, memory=asked.memory or size(site.limits.memory, "limits.memory")
    )


def _walltime(pod: Pod, site: Site) -> int:
    longest = site.limits.walltime_seconds
    if not pod.deadline:
        return longest
    needed = pod.deadline + pod.grace + 60  # the runtime ends the pod at its deadline; the system must not be first
    return min(needed, longest) if longest else needed
