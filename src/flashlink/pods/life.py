"""What a container says of its life: whether it starts again, and that it runs beside the others as a sidecar."""

from __future__ import annotations

from flashlink.pods import fields, names
from flashlink.pods.pod import USUAL_MESSAGE, Message, RestartRule
from flashlink.pods.value import Value

POLICIES = ("Always", "OnFailure", "Never")


def is_sidecar(container: Value, *, init: bool) -> bool:
    """Whether `container`, an init container where `init`, is kept running beside the others."""
    return init and container["restartPolicy"].raw == "Always"


def restart(container: Value) -> str:
    """The container's own restart policy; "" where it has none."""
    return container["restartPolicy"].one_of(("", *POLICIES), "")


def refuse_probes(container: Value) -> None:
    """Refuse what an init container that is to end cannot have: Kubernetes does not let it be probed."""
    for name in ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle"):
        if container[name]:
            raise container[name].refuse("only a sidecar has it among the init containers; leave it out")


def message(container: Value) -> Message:
    """Where the container leaves its last words."""
    path, policy = container["terminationMessagePath"], container["terminationMessagePolicy"]
    from_logs = policy.one_of(("", "File", "FallbackToLogsOnError"), "") == "FallbackToLogsOnError"
    return Message(names.absolute_path(path) if path else USUAL_MESSAGE.path, from_logs)


def restart_rules(container: Value) -> tuple[RestartRule, ...]:
    """The rules that come before the policy.

    Raises:
        RequestError: A rule that Kubernetes would not take either.
    """
    rules = container["restartPolicyRules"]
    if rules and not container["restartPolicy"]:
        raise rules.refuse("stands without a restartPolicy of the container; give it one")
    return tuple(_rule(rule) for rule in rules.each())


def _rule(rule: Value) -> RestartRule:
    fields.check(rule, fields.RESTART_RULE, "restart rule")
    _required(rule["action"], "Restart")
    exit_codes = rule["exitCodes"]
    fields.check(exit_codes, fields.EXIT_CODES, "restart rule's exitCodes")
    codes = tuple(code for value in exit_codes["values"].each() if (code := value.integer(0, 255)) is not None)
    return RestartRule(codes, _required(exit_codes["operator"], "In", "NotIn") == "In")


def _required(value: Value, *words: str) -> str:
    """One of a few words, none of which is a default."""
    if not value.given:
        raise value.wrong("one of " + ", ".join(repr(word) for word in words))
    return value.one_of(words, "")
