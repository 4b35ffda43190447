"""From plain Kubernetes manifests to interLink's requests.

A file holds any number of Pods, Jobs, ConfigMaps and Secrets, as YAML documents, JSON, or a List. Each Pod becomes a
request as the virtual kubelet would make it (see `flashlink.client.resolve`).

A Job becomes the one pod of its template, run once: there is no controller here that would make a second pod, so
``backoffLimit`` counts for nothing (``restartPolicy: OnFailure`` does restart a failed container, in its pod), and more
``completions`` or ``parallelism`` than 1 are refused.
"""

from __future__ import annotations

import base64
import secrets
import string
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from flashlink.client import resolve
from flashlink.errors import RequestError
from flashlink.pods import names
from flashlink.pods.value import Value
from flashlink.pods.wire import CreateRequest

_SUFFIX_LETTERS = string.ascii_lowercase + string.digits

#: Fields of a JobSpec that would make it more than one pod run once, with the values that do not.
_ONE_POD = {"completions": (None, 1), "parallelism": (None, 1), "suspend": (None, False)}


#: Values that manifests have at most, all files of one together.
_MOST_VALUES = 1_000_000

#: What stands for a value that is not shown.
MASK = "(secret)"


class Manifest(dict[str, Any]):
    """A Kubernetes object that knows its file, for errors.

    Args:
        body: The object.
        source: The file, or "standard input".
    """

    def __init__(self, body: Mapping[str, Any], source: str) -> None:
        super().__init__(body)
        self.source = source


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: no dates, and no key twice."""

    # Kubernetes goes by way of JSON, which has no dates: 2026-01-31 is text.
    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse what would silently drop the first of two equal keys."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands there twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def load(paths: Sequence[str | Path]) -> list[Manifest]:
    """Read manifests; "-" is standard input.

    Raises:
        RequestError: A file cannot be read, is not YAML or JSON, or holds something else than Kubernetes objects.
    """
    return [manifest for path in paths for manifest in _documents(*_read(path))]


def requests(manifests: Iterable[Mapping[str, Any]], *, masked: bool = False) -> list[CreateRequest]:
    """One request for each Pod and Job, complete with a uid and with what it refers to.

    A pod that has a ``metadata.uid`` keeps it: flashlink's plugin runs one uid once, so sending it again is safe.

    Args:
        manifests: Kubernetes objects.
        masked: Put `MASK` in place of every value of a Secret, wherever the pods use it; for people to read.

    Raises:
        RequestError: Something is not a Pod, Job, ConfigMap or Secret, or a pod refers to what is not there. The line
            names file, object and field.
    """
    objects = resolve.Objects()
    pods: list[tuple[Mapping[str, Any], str]] = []
    for manifest in manifests:
        body = Value(manifest, _place(manifest))
        match body["kind"].raw:
            case "Pod":
                pods.append((manifest, body.place))
            case "Job":
                pods.append((_pod_of_job(body), body.place))
            case "ConfigMap":
                _add(objects.config_maps, body)
            case "Secret":
                secret = _plain_secret(body)
                _add(objects.secrets, Value(_masked(secret) if masked else secret, body.place))
            case _:
                raise body["kind"].wrong("Pod, Job, ConfigMap, Secret or List")
    return [_request(Value(_with_identity(Value(pod, place)), place), objects) for pod, place in pods]


def _read(path: str | Path) -> tuple[str, str]:
    """Text and name of a file."""
    if str(path) == "-":
        return sys.stdin.read(), "standard input"
    try:
        return Path(path).read_text(encoding="utf-8"), str(path)
    except UnicodeDecodeError:
        raise RequestError(f"{path}: not a text file in UTF-8; give a Kubernetes manifest") from None
    except OSError as error:
        raise RequestError(
            f"{path}: {error.strerror}; give a file with Kubernetes manifests, or - for standard input"
        ) from None


def _documents(text: str, source: str) -> Iterable[Manifest]:
    try:
        documents = list(yaml.load_all(text, _Loader))
        _check_size(documents, source)
        msgspec.json.encode(documents)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        raise RequestError(f"{source}:{where} not YAML or JSON: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError, UnicodeEncodeError, TypeError, ValueError) as error:
        raise RequestError(f"{source}: not YAML or JSON: {' '.join(str(error).split())}") from None
    for document in documents:
        yield from _objects(Value(document, f"{source}: "), source)


def _check_size(documents: list[Any], source: str) -> None:
    """Refuse what a few lines of YAML can be: aliases of aliases, billions of values in all."""
    left, count = [documents], 0
    while left:
        value: Any = left.pop()
        if isinstance(value, dict | list):
            count += len(value)
            left.extend(value.values() if isinstance(value, dict) else value)
        if count > _MOST_VALUES:
            raise RequestError(f"{source}: more than {_MOST_VALUES} values, aliases counted; give less, and no aliases")


def _objects(document: Value, source: str) -> Iterable[Manifest]:
    if not document.given:
        return
    kind = document["kind"].text()
    if kind == "List" or kind.endswith("List"):
        for item in document["items"].each():
            yield from _objects(item, source)
    else:
        yield Manifest(document.mapping(), source)


def _place(manifest: Mapping[str, Any]) -> str:
    """``pod.yaml: Pod demo: ``, as far as it is known."""
    metadata = manifest.get("metadata")
    named = metadata if isinstance(metadata, Mapping) else {}
    words = [manifest.get("kind"), named.get("name") or named.get("generateName")]
    source = manifest.source if isinstance(manifest, Manifest) else None
    parts = [source, " ".join(word for word in words if isinstance(word, str))]
    return "".join(f"{part}: " for part in parts if part)


def _add(known: dict[tuple[str, str], Value], body: Value) -> None:
    key = (body["metadata"]["namespace"].text("default"), body["metadata"]["name"].text())
    if key in known:
        raise body["metadata"]["name"].refuse(f"{key[1]!r} stands twice among the manifests; leave one out")
    known[key] = body


def _plain_secret(body: Value) -> dict[str, Any]:
    """The secret as a cluster stores it: ``stringData`` encoded into ``data``."""
    written = {key: base64.b64encode(text.encode()).decode() for key, text in body["stringData"].table().items()}
    rest = {key: value for key, value in body.mapping().items() if key != "stringData"}
    return {**rest, "data": {**body["data"].table(), **written}}


def _pod_of_job(job: Value) -> dict[str, Any]:
    """The one pod of a Job."""
    spec, template = job["spec"], job["spec"]["template"]
    for key, harmless in _ONE_POD.items():
        if spec[key].raw not in harmless:
            raise spec[key].wrong(f"{harmless[1]!r}", "flashlink runs a Job as one pod, once: submit it again for more")
    pod_spec = dict(template["spec"].mapping())
    if pod_spec.get("restartPolicy") not in {"Never", "OnFailure"}:
        raise template["spec"]["restartPolicy"].wrong("'Never' or 'OnFailure', one of which a Job needs")
    deadlines = [spec["activeDeadlineSeconds"].integer(1), template["spec"]["activeDeadlineSeconds"].integer(1)]
    if given := [deadline for deadline in deadlines if deadline is not None]:
        pod_spec["activeDeadlineSeconds"] = min(given)
    name = job["metadata"]["name"].text("") or _generated(job["metadata"])
    metadata = {
        **template["metadata"].mapping(),
        "generateName": f"{name}-",
        "namespace": job["metadata"]["namespace"].text("default"),
        "labels": {**template["metadata"]["labels"].table(), "batch.kubernetes.io/job-name": name, "job-name": name},
    }
    metadata.pop("name", None)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec}


def _with_identity(pod: Value) -> dict[str, Any]:
    """The pod with name, namespace and uid, and without what only a cluster writes."""
    own = pod["metadata"]
    metadata = {
        **own.mapping(),
        "name": names.subdomain(own["name"]) if own["name"] else _generated(own),
        "namespace": names.label(own["namespace"]) if own["namespace"] else "default",
        "uid": names.uid(own["uid"]) if own["uid"] else str(uuid.uuid4()),
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": dict(pod["spec"].mapping())}


def _generated(metadata: Value) -> str:
    """A name made of ``generateName`` and five random letters, as Kubernetes makes them."""
    start = metadata["generateName"].text("")
    if not start:
        raise metadata["name"].wrong("a name")
    return start + "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(5))


def _masked(secret: Mapping[str, Any]) -> dict[str, Any]:
    mask = base64.b64encode(MASK.encode()).decode()
    return {**secret, "data": dict.fromkeys(secret["data"], mask)}


def _request(pod: Value, objects: resolve.Objects) -> CreateRequest:
    spec = pod["spec"]
    if not spec["containers"].each():
        raise spec["containers"].wrong("a list of at least one container")
    beside = [*spec["initContainers"].each(), *spec["containers"].each()]
    resolved = {
        kind: [_resolved(pod, container, objects) for container in spec[kind].each()]
        for kind in ("initContainers", "containers")
        if spec[kind].given
    }
    return CreateRequest(
        pod={**pod.mapping(), "spec": {**spec.mapping(), **resolved}},
        container=[resolve.contents(pod, container, objects) for container in beside],
    )


def _resolved(pod: Value, container: Value, objects: resolve.Objects) -> dict[str, Any]:
    """The container with its final ``env`` and nothing left to resolve."""
    rest = {key: value for key, value in container.mapping().items() if key not in {"env", "envFrom"}}
    env = resolve.environment(pod, container, objects)
    return {**rest, "env": env} if env else rest
