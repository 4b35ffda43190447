"""The security contexts of a pod and its containers: as whom a container runs, and what it may write.

A job has one account and no privilege, so this can only take away: what would give more is refused.
"""

from __future__ import annotations

from flashlink.pods import fields
from flashlink.pods.pod import Security
from flashlink.pods.value import Value


def security(container: Value, pod: Value) -> Security:
    """What holds for a container: its own security context, and where that is silent the pod's.

    Args:
        container: The container's ``securityContext``.
        pod: The pod's ``securityContext``.

    Raises:
        RequestError: It asks for what no job of a batch system can have: privileges, capabilities, a kernel of its own.
    """
    for context in (pod, container):
        fields.check(context, fields.SECURITY_CONTEXT, "security context")
        fields.check(context["capabilities"], fields.CAPABILITIES, "security context's capabilities")
    user, group = (_either(container[key], pod[key]).integer(0) for key in ("runAsUser", "runAsGroup"))
    non_root = _either(container["runAsNonRoot"], pod["runAsNonRoot"]).boolean()
    if non_root and user == 0:
        raise _either(container["runAsUser"], pod["runAsUser"]).refuse(
            "is root, and runAsNonRoot is true; leave one out"
        )
    drop = container["capabilities"]["drop"]
    if user == 0 and drop:
        raise drop.refuse("a container that runs as root keeps its capabilities, which end at its walls; leave it out")
    return Security(user, group, non_root, container["readOnlyRootFilesystem"].boolean())


def _either(own: Value, otherwise: Value) -> Value:
    return own if own.given else otherwise
