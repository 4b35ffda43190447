"""A `JobPlan` becomes bash: the fixed runtime, then a declaration of the pod in which every value is quoted."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from flashlink.jobscript.plan import JobPlan, Report, Step
from flashlink.jobscript.quote import quote
from flashlink.pods import quantity
from flashlink.pods.pod import Files


def render(plan: JobPlan, *, masked: bool = False) -> str:
    """The job script: the same bytes for the same plan.

    Environment and secrets stand in it, so its file is to be 0700 in a folder that is 0700.

    Args:
        plan: The job.
        masked: Leave the content of secrets out; for people to read, not to be run.
    """
    return "\n".join(
        ["#!/bin/bash", f"# {_comment(plan)}", "set -u", "", runtime(), *_declaration(plan, masked=masked), ""]
    )


@cache
def runtime() -> str:
    """The hand-written bash that every script carries: all files of ``runtime/``, in the order of their names."""
    parts = sorted((files("flashlink.jobscript") / "runtime").iterdir(), key=lambda part: part.name)
    return "\n".join(part.read_text("utf-8").removeprefix("# shellcheck shell=bash\n") for part in parts)


def _comment(plan: JobPlan) -> str:
    return f"Pod {plan.name}, as a job of flashlink. It holds secrets."


def _declaration(plan: JobPlan, *, masked: bool) -> Iterator[str]:
    identity = (plan.uid, str(plan.folder), plan.runtime, plan.executable)
    yield _call("pod", *identity, str(plan.grace), str(plan.deadline))
    if plan.log_size:
        yield _call("limit_logs", str(plan.log_size))
    for step in (*plan.init_steps, *plan.steps):
        if step.disk:
            yield _call("limit_disk", step.name, *_limit(step.disk))
    if plan.disk:
        yield _call("limit_pod_disk", *_limit(plan.disk))
    if plan.runtime_options:
        yield _call("runtime_options", *plan.runtime_options)
    if plan.image_cache:
        yield _call("image_cache", plan.image_cache)
    if plan.fuses or any(step.fuses for step in (*plan.init_steps, *plan.steps)):
        yield _call("fuse_limit", str(plan.fuse_seconds))
    yield from (_call("volume_fuse", mount.name, mount.sub_path, mount.script) for mount in plan.fuses)
    if plan.pre_exec:
        yield _call("pre_exec", plan.pre_exec.lines, plan.pre_exec.mesh, plan.pre_exec.pod_ip)
    if plan.path:
        yield _call("process_path", *plan.path)
    if plan.report:
        yield _report(plan.report, masked=masked)
    yield ""
    yield from _volumes(plan, masked=masked)
    steps = (*plan.init_steps, *plan.steps)
    for index, step in enumerate(steps):
        yield ""
        yield from _container(index, step)
        yield _call(_kind(step, init=index < len(plan.init_steps)), step.name, f"container_{index}")
    yield ""
    yield 'run_pod "$@"'


def _kind(step: Step, *, init: bool) -> str:
    if step.sidecar:
        return "sidecar"
    return "init_container" if init else "container"


def _report(report: Report, *, masked: bool) -> str:
    return _call("report_to", report.url, "" if masked else report.token, str(report.seconds), report.authority)


def _volumes(plan: JobPlan, *, masked: bool) -> Iterator[str]:
    calls = []
    for scratch in plan.scratch:
        calls.append(_call("volume_memory" if scratch.in_memory else "volume_scratch", scratch.name))
        if scratch.size_limit:
            calls.append(_call("limit_volume", scratch.name, *_limit(scratch.size_limit)))
    for volume in plan.files:
        calls.append(_call("volume_files", volume.name))
        calls.extend(_files(volume, masked=masked and volume.secret))
    yield "volumes() {"
    yield from (f"  {call} || return" for call in calls)
    yield "  return 0"
    yield "}"


def _files(volume: Files, *, masked: bool) -> Iterator[str]:
    for file in volume.files:
        content = "" if masked else _escaped(file.content)
        yield _call("volume_file", volume.name, file.path, f"{file.mode:04o}", content)


#: Each byte for the %b of bash's printf. Quotes are escaped, too, as bash is slow to read quoted quotes.
_ESCAPED = [
    chr(byte) if chr(byte) in "\t\n" or (0x20 <= byte < 0x7F and chr(byte) not in "\\'") else f"\\0{byte:03o}"
    for byte in range(256)
]


def _escaped(content: bytes) -> str:
    return "".join(map(_ESCAPED.__getitem__, content))


def _container(index: int, step: Step) -> Iterator[str]:
    yield f"container_{index}() {{"
    yield from (f"  {call}" for call in _properties(step))
    yield "}"


def _properties(step: Step) -> Iterator[str]:
    yield _call("with_image", step.image, *step.fetch_options)
    if step.gpu:
        yield _call("with_gpu", step.gpu, str(step.gpu_count), str(step.gpu_first))
    if step.memory:
        yield _call("with_memory", *_limit(step.memory), *step.memory_volumes)
    if step.root != "disk" and step.image:
        yield _call("with_root", step.root)
    if step.fake_root:
        yield _call("with_fake_root")
    if step.user is not None or step.group is not None or step.non_root:
        identity = ("" if number is None else str(number) for number in (step.user, step.group))
        yield _call("with_identity", *identity, "non-root" if step.non_root else "")
    if step.restart != "Never":
        yield _call("with_restart", step.restart)
    for rule in step.restart_rules:
        yield _call("with_restart_rule", "in" if rule.inside else "not-in", *map(str, rule.codes))
    if step.working_dir:
        yield _call("with_workdir", step.working_dir)
    for name, value in step.env:
        yield _call("with_env", name, value)
    for bind in step.binds:
        mode = "ro" if bind.read_only else "rw"
        yield _call("with_bind", str(bind.source), str(bind.target), mode, bind.kind, str(bind.root))
    for fuse in step.fuses:
        yield _call("with_fuse", fuse.name, str(fuse.target), fuse.sub_path, fuse.script)
    if step.argv is not None:
        yield _call("with_argv", *step.argv)
    elif step.args:
        yield _call("with_args", *step.args)


def _limit(size: int) -> tuple[str, str]:
    """Bytes, as a number and as people write them."""
    return str(size), quantity.shown(size)


def _call(*words: str) -> str:
    return " ".join([words[0], *map(quote, words[1:])])
