"""The downward API: fields of a pod, told to its own containers as variables or files.

Source: https://kubernetes.io/docs/concepts/workloads/pods/downward-api/
"""

from __future__ import annotations

import math
import re

from flashlink.pods import quantity
from flashlink.pods.value import Value

_KEYED = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_PLAIN = {"metadata.name", "metadata.namespace", "metadata.uid"}
_TABLES = {"metadata.labels", "metadata.annotations"}


def field(pod: Value, ref: Value) -> str:
    """What ``fieldRef`` `ref` tells of `pod`.

    Raises:
        RequestError: The field is not known to the downward API, or only once the pod runs (its node, its addresses).
    """
    path = ref["fieldPath"].text()
    if path in _PLAIN:
        return pod["metadata"][path.removeprefix("metadata.")].text("")
    if path in _TABLES:
        table = pod["metadata"][path.removeprefix("metadata.")].table()
        return "\n".join(f"{key}={_quoted(value)}" for key, value in sorted(table.items()))
    if keyed := _KEYED.fullmatch(path):
        return pod["metadata"][keyed[1]].table().get(keyed[2], "")
    if path == "spec.serviceAccountName":
        return pod["spec"]["serviceAccountName"].text("default")
    raise ref["fieldPath"].wrong(
        "a field that is known before the pod runs", "use metadata.name, .namespace, .uid, .labels or .annotations"
    )


def resource(pod: Value, ref: Value, container: str) -> str:
    """What ``resourceFieldRef`` `ref` tells of `container`, or of the container that `ref` names.

    The value is divided by ``divisor`` and rounded up. A limit that is not given would be the node's, which is not
    known here, so it is refused; a request that is not given is the limit, else 0.
    """
    name = ref["containerName"].text(container)
    kind, _, what = ref["resource"].text().partition(".")
    if kind not in {"limits", "requests"} or what not in {"cpu", "memory", "ephemeral-storage"}:
        raise ref["resource"].wrong("limits or requests of cpu, memory or ephemeral-storage, as 'limits.cpu'")
    everyone = [*pod["spec"]["initContainers"].each(), *pod["spec"]["containers"].each()]
    found = next((one["resources"] for one in everyone if one["name"].raw == name), None)
    if found is None:
        raise ref["containerName"].wrong("the name of a container of the pod")
    amount = found[kind][what] if found[kind][what].given else found["limits"][what]
    if kind == "limits" and not amount.given:
        raise ref.refuse(f"container {name!r} has no limit of {what}; give it one")
    read = quantity.cores if what == "cpu" else quantity.size
    divisor = read(ref["divisor"].raw or 1, ref["divisor"].place) or 1
    return str(math.ceil(round(read(amount.raw, amount.place) / divisor, 9)))


def _quoted(text: str) -> str:
    """As Go's ``%q`` shows a string, which is what Kubernetes writes into the files of labels and annotations."""
    short = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
    shown = "".join(short.get(one, one if one.isprintable() else f"\\u{ord(one):04x}") for one in text)
    return f'"{shown}"'
