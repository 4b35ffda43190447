"""A `Step` becomes the function that declares a container to the runtime."""

from __future__ import annotations

from collections.abc import Iterator

from flashlink.jobscript.plan import Step
from flashlink.jobscript.quote import call
from flashlink.pods import quantity
from flashlink.pods.pod import USUAL_MESSAGE
from flashlink.pods.probes import Exec, Handler, HttpGet, Life, Probe, Sleep, TcpSocket


def container(index: int, step: Step) -> Iterator[str]:
    """The lines of the function that declares a container."""
    yield f"container_{index}() {{"
    yield from (f"  {call}" for call in _properties(step))
    yield "}"


def _properties(step: Step) -> Iterator[str]:
    if step.script:
        yield call("with_script", step.script)
    yield call("with_image", step.image, *step.fetch_options)
    if step.gpu:
        yield call("with_gpu", step.gpu, str(step.gpu_count), str(step.gpu_first))
    if step.memory:
        yield call("with_memory", *limit(step.memory), *step.memory_volumes)
    if step.root != "disk" and step.image:
        yield call("with_root", step.root)
    if step.fake_root:
        yield call("with_fake_root")
    if step.user is not None or step.group is not None or step.non_root:
        identity = ("" if number is None else str(number) for number in (step.user, step.group))
        yield call("with_identity", *identity, "non-root" if step.non_root else "")
    if step.restart != "Never":
        yield call("with_restart", step.restart)
    for rule in step.restart_rules:
        yield call("with_restart_rule", "in" if rule.inside else "not-in", *map(str, rule.codes))
    if step.message != USUAL_MESSAGE:
        yield call("with_message", step.message.path, "from-logs" if step.message.from_logs else "")
    yield from _life(step.life)
    if step.working_dir:
        yield call("with_workdir", step.working_dir)
    for name, value in step.env:
        yield call("with_env", name, value)
    for bind in step.binds:
        mode = "ro" if bind.read_only else "rw"
        yield call("with_bind", str(bind.source), str(bind.target), mode, bind.kind, str(bind.root))
    for fuse in step.fuses:
        yield call("with_fuse", fuse.name, str(fuse.target), fuse.sub_path, fuse.script)
    if step.argv is not None:
        yield call("with_argv", *step.argv)
    elif step.args:
        yield call("with_args", *step.args)


def limit(size: int) -> tuple[str, str]:
    """Bytes, as a number and as people write them."""
    return str(size), quantity.shown(size)


def _life(life: Life) -> Iterator[str]:
    for kind, probe in (("startup", life.startup), ("readiness", life.readiness), ("liveness", life.liveness)):
        if probe is not None:
            yield call("with_probe", kind, *_settings(probe), *_handler(probe.handler))
    for kind, hook in (("post-start", life.post_start), ("pre-stop", life.pre_stop)):
        if hook is not None:
            yield call("with_hook", kind, *_handler(hook))
    if life.stop_signal:
        yield call("with_stop_signal", life.stop_signal)


def _settings(probe: Probe) -> Iterator[str]:
    for number in (probe.delay, probe.period, probe.timeout, probe.successes, probe.failures):
        yield str(number)
    yield "" if probe.grace is None else str(probe.grace)


def _handler(handler: Handler) -> tuple[str, ...]:
    match handler:
        case Exec(command=command):
            return ("exec", *command)
        case HttpGet(port=port, path=path, host=host, scheme=scheme, headers=headers):
            return ("http", scheme, host, str(port), path, *(word for header in headers for word in header))
        case TcpSocket(port=port, host=host):
            return ("tcp", host, str(port))
        case Sleep(seconds=seconds):
            return ("sleep", str(seconds))
