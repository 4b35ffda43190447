"""A `JobPlan` becomes bash: the fixed runtime, then a declaration of the pod in which every value is quoted."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from flashlink.jobscript.containers import container, limit
from flashlink.jobscript.plan import JobPlan, Report, Step
from flashlink.jobscript.quote import call
from flashlink.pods.pod import Files, Network


def render(plan: JobPlan) -> str:
    """The job script: the same bytes for the same plan.

    Environment and secrets stand in it, so its file is to be 0700 in a folder that is 0700.

    Args:
        plan: The job.
    """
    return "\n".join(["#!/bin/bash", f"# {_comment(plan)}", "set -u", "", runtime(), *_declaration(plan), ""])


@cache
def runtime() -> str:
    """The hand-written bash that every script carries: all files of ``runtime/``, in the order of their names."""
    parts = sorted((files("flashlink.jobscript") / "runtime").iterdir(), key=lambda part: part.name)
    return "\n".join(part.read_text("utf-8").removeprefix("# shellcheck shell=bash\n") for part in parts)


def _comment(plan: JobPlan) -> str:
    return f"Pod {plan.name}, as a job of flashlink. It holds secrets."


def _declaration(plan: JobPlan) -> Iterator[str]:
    identity = (plan.uid, str(plan.folder), plan.runtime, plan.executable)
    yield call("pod", *identity, str(plan.grace), str(plan.deadline))
    if plan.log_size:
        yield call("limit_logs", str(plan.log_size))
    for step in (*plan.init_steps, *plan.steps):
        if step.disk:
            yield call("limit_disk", step.name, *limit(step.disk))
    if plan.disk:
        yield call("limit_pod_disk", *limit(plan.disk))
    if plan.alike or plan.alike_init:
        yield call("script_for", str(len(plan.alike_init)), *plan.alike_init, *plan.alike)
    if plan.runtime_options:
        yield call("runtime_options", *plan.runtime_options)
    if plan.image_cache:
        yield call("image_cache", plan.image_cache)
    if plan.fuses or any(step.fuses for step in (*plan.init_steps, *plan.steps)):
        yield call("fuse_limit", str(plan.fuse_seconds))
    yield from (call("volume_fuse", mount.name, mount.sub_path, mount.script) for mount in plan.fuses)
    yield from _network(plan.network)
    if plan.pre_exec:
        yield call("pre_exec", plan.pre_exec.lines, plan.pre_exec.mesh, plan.pre_exec.pod_ip)
    if plan.path:
        yield call("process_path", *plan.path)
    if plan.report:
        yield _report(plan.report)
    yield ""
    yield from _volumes(plan)
    steps = (*plan.init_steps, *plan.steps)
    for index, step in enumerate(steps):
        yield ""
        yield from container(index, step)
        yield call(_kind(step, init=index < len(plan.init_steps)), step.name, f"container_{index}")
    yield ""
    yield 'run_pod "$@"'


def _kind(step: Step, *, init: bool) -> str:
    if step.sidecar:
        return "sidecar"
    return "init_container" if init else "container"


def _report(report: Report) -> str:
    return call("report_to", report.url, report.token, str(report.seconds), report.authority)


def _network(network: Network) -> Iterator[str]:
    if network.hostname:
        yield call("network_hostname", network.hostname)
    if network.hosts:
        yield call("network_hosts", *network.hosts)
    if network.resolver or network.resolver_alone:
        yield call("network_resolver", "alone" if network.resolver_alone else "", *network.resolver)


def _volumes(plan: JobPlan) -> Iterator[str]:
    calls = []
    for scratch in plan.scratch:
        calls.append(call("volume_memory" if scratch.in_memory else "volume_scratch", scratch.name))
        if scratch.size_limit:
            calls.append(call("limit_volume", scratch.name, *limit(scratch.size_limit)))
    for volume in plan.files:
        calls.append(call("volume_files", volume.name))
        calls.extend(_files(volume))
    yield "volumes() {"
    yield from (f"  {call} || return" for call in calls)
    yield "  return 0"
    yield "}"


def _files(volume: Files) -> Iterator[str]:
    for file in volume.files:
        yield call("volume_file", volume.name, file.path, f"{file.mode:04o}", _escaped(file.content))


#: Each byte for the %b of bash's printf. Quotes are escaped, too, as bash is slow to read quoted quotes.
_ESCAPED = [
    chr(byte) if chr(byte) in "\t\n" or (0x20 <= byte < 0x7F and chr(byte) not in "\\'") else f"\\0{byte:03o}"
    for byte in range(256)
]


def _escaped(content: bytes) -> str:
    return "".join(map(_ESCAPED.__getitem__, content))
