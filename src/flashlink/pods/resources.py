"""What a container asks for: ``requests`` and ``limits``, by Kubernetes' own rules.

https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flashlink.errors import RequestError
from flashlink.pods import fields, quantity
from flashlink.pods.pod import Container, Resources
from flashlink.pods.value import Value

_GPUS = {"nvidia.com/gpu": "nvidia", "amd.com/gpu": "amd"}
_SIZES = ("memory", "ephemeral-storage")
_KNOWN = {"cpu", *_SIZES, *_GPUS}


def resources(given: Value) -> tuple[Resources, Resources]:
    """Requests and limits of a container's `given` resources; what is limited but not requested counts as requested.

    Raises:
        RequestError: A resource is unknown, an amount is none, a request is above its limit, or a GPU, which cannot be
            shared, is not asked for as a limit.
    """
    fields.check(given, fields.RESOURCES, "container's resources")
    requests, limits = given["requests"], given["limits"]
    for name, amount in (*requests.items(), *limits.items()):
        if name not in _KNOWN and amount.raw not in (0, "0", None):
            raise amount.refuse(f"no resource that a job can have; known are {', '.join(sorted(_KNOWN))}")
    limited = _resources(limits, {})
    _check_requests(requests, limits)
    return _resources(requests, limits.mapping()), limited


def check_vendor(containers: Iterable[Container]) -> None:
    """Refuse a pod whose containers ask for GPUs of different vendors: no machine has both.

    Raises:
        RequestError: Names two of the containers.
    """
    asking = {container.requests.gpu_vendor: container.name for container in containers if container.requests.gpu}
    if len(asking) > 1:
        named = " and ".join(f"{name} for one of {vendor}" for vendor, name in sorted(asking.items()))
        raise RequestError(f"spec.containers: container {named}: a job has GPUs of one vendor; make two pods of it")


def _check_requests(requests: Value, limits: Value) -> None:
    for name, amount in requests.items():
        if name not in _KNOWN or amount.raw is None:
            continue
        asked, limit = _amount(name, amount), _amount(name, limits[name])
        if name in _GPUS and asked != limit:
            raise amount.wrong(f"equal to limits[{name}], as GPUs are asked for as limits; leave the request out")
        if limits[name].given and asked > limit:
            raise amount.wrong(f"at most its limit, {limits[name].raw}")


def _amount(name: str, amount: Value) -> float:
    if name in _GPUS:
        return quantity.count(amount.raw, amount.place)
    return (quantity.size if name in _SIZES else quantity.cores)(amount.raw, amount.place)


def _resources(given: Value, otherwise: Mapping[str, Any]) -> Resources:
    """Resources; those not `given` are taken from `otherwise`."""
    table = Value({**otherwise, **given.mapping()}, given.place)
    gpus = {kind: quantity.count(table[name].raw, table[name].place) for name, kind in _GPUS.items()}
    vendors = [kind for kind, number in gpus.items() if number]
    if len(vendors) > 1:
        raise given.refuse("asks for GPUs of two vendors; choose one")
    return Resources(
        cpu=quantity.cores(table["cpu"].raw, table["cpu"].place),
        memory=quantity.size(table["memory"].raw, table["memory"].place),
        ephemeral_storage=quantity.size(table["ephemeral-storage"].raw, table["ephemeral-storage"].place),
        gpu=sum(gpus.values()),
        gpu_vendor=vendors[0] if vendors else "",
    )
