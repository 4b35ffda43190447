"""From plain manifests to interLink's requests, resolved as the virtual kubelet resolves them."""

import io
import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashlink.client import manifests
from flashlink.errors import RequestError
from flashlink.pods.parse import parse_pod
from flashlink.pods.wire import CreateRequest

#: The first of ten lines with nine aliases each of the line before.
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]"
CONFIG = {
    "kind": "ConfigMap",
    "metadata": {"name": "c"},
    "data": {"A": "1", "b.txt": "x\ny"},
    "binaryData": {"bin": "/wA="},
}
SECRET = {
    "kind": "Secret",
    "metadata": {"name": "s"},
    "data": {"K": "aGVsbG8=", "L": "b2xk"},
    "stringData": {"L": "new"},
}


def pod(main: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "busybox", **(main or {})}
    metadata = {"name": "demo", "labels": {"app": "x"}}
    return {"kind": "Pod", "metadata": metadata, "spec": {"restartPolicy": "Never", "containers": [container], **spec}}


def one(*objects: dict[str, Any]) -> CreateRequest:
    (request,) = manifests.requests(objects)
    return request


def env(*entries: dict[str, Any], others: tuple[dict[str, Any], ...] = (CONFIG, SECRET), **main: Any) -> dict[str, str]:
    request = one(pod({"env": list(entries), **main}), *others)
    return {entry["name"]: entry["value"] for entry in request.pod["spec"]["containers"][0].get("env", [])}


# Files


def test_documents_lists_and_json(tmp_path: Path) -> None:
    several = tmp_path / "a.yaml"
    several.write_text(
        "kind: Pod\n---\n---\nkind: PodList\nitems: [{kind: Job}, {kind: List, items: [{kind: Secret}]}]\n"
    )
    lone = tmp_path / "b.json"
    lone.write_text(json.dumps(CONFIG))
    loaded = manifests.load([several, str(lone)])
    assert [one["kind"] for one in loaded] == ["Pod", "Job", "Secret", "ConfigMap"]
    assert [one.source for one in loaded] == [str(several)] * 3 + [str(lone)]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("kind: Pod"))
    assert manifests.load(["-"]) == [{"kind": "Pod"}]


def test_dates_are_text_as_in_kubernetes(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("kind: ConfigMap\ndata: {day: 2026-01-31, at: 2026-01-31T10:00:00Z}\n")
    assert manifests.load([path])[0]["data"] == {"day": "2026-01-31", "at": "2026-01-31T10:00:00Z"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1", "line 1, column 6: not YAML or JSON: expected ',' or ']', but got '<stream end>'"),
        ("kind: Pod\nkind: Job\n", "line 1, column 1: not YAML or JSON: the key 'kind' stands there twice"),
        ("a: !!python/object:os.system {}", "line 1, column 4: not YAML or JSON: could not determine a constructor"),
        ("just text", "'just text' is not an object with text keys"),
        ("- kind: Pod", "[{'kind': 'Pod'}] is not an object with text keys"),
        ("a: 1", "kind: missing; expected text"),
        ('a: "\\ud800"', "not YAML or JSON: "),
        ("[" * 5000, "not YAML or JSON: "),
        ("&a [*a]", "more than 1000000 values, aliases counted; give less, and no aliases"),
        ("\n".join([BOMB, *(f"a{n}: &a{n} [{f'*a{n - 1},' * 9}]" for n in range(1, 10))]), "more than 1000000 values"),
        ("a: \x07", "not YAML or JSON: "),
    ],
)
def test_a_file_that_is_none_gets_one_line(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text(text)
    with pytest.raises(RequestError) as caught:
        manifests.load([path])
    assert str(caught.value).startswith(f"{path}: {line}")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"none\.yaml: No such file or directory; give a file"):
        manifests.load([tmp_path / "none.yaml"])
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RequestError, match="not a text file in UTF-8"):
        manifests.load([tmp_path / "binary"])


# Identity


def test_a_pod_gets_namespace_and_a_fresh_uid() -> None:
    first, second = manifests.requests([pod(), pod()])
    assert first.pod["metadata"]["namespace"] == "default"
    assert uuid.UUID(first.pod["metadata"]["uid"]) != uuid.UUID(second.pod["metadata"]["uid"])


def test_a_given_uid_stays_and_a_name_is_generated() -> None:
    manifest = pod()
    manifest["metadata"] = {"generateName": "run-", "uid": "u-1", "namespace": "ns"}
    manifest["status"] = {"phase": "Succeeded"}
    made = one(manifest).pod
    assert re.fullmatch(r"run-[a-z0-9]{5}", made["metadata"]["name"])
    assert (made["metadata"]["uid"], made["metadata"]["namespace"]) == ("u-1", "ns")
    assert "status" not in made


def test_a_job_becomes_its_one_pod() -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {**pod()["spec"], "activeDeadlineSeconds": 100}}
    job = {
        "kind": "Job",
        "metadata": {"name": "j"},
        "spec": {"template": template, "backoffLimit": 4, "activeDeadlineSeconds": 60},
    }
    made = one(job).pod
    assert re.fullmatch(r"j-[a-z0-9]{5}", made["metadata"]["name"])
    assert made["metadata"]["labels"] == {"a": "b", "job-name": "j", "batch.kubernetes.io/job-name": "j"}
    assert made["spec"]["activeDeadlineSeconds"] == 60
    assert made["kind"] == "Pod"


# Environment


def test_env_values_expand_what_came_before() -> None:
    entries = [
        {"name": "X", "value": "$(Y)"},
        {"name": "Y", "value": "1"},
        {"name": "Z", "value": "$(Y)-$$(Y)"},
        {"name": "Y", "value": "2"},
    ]
    assert env(*entries) == {"X": "$(Y)", "Y": "2", "Z": "1-$(Y)"}


def test_env_from_comes_first_and_env_wins() -> None:
    sources = [
        {"configMapRef": {"name": "c"}},
        {"secretRef": {"name": "s"}, "prefix": "S_"},
        {"configMapRef": {"name": "no", "optional": True}},
    ]
    resolved = env({"name": "A", "value": "$(A)$(S_L)"}, envFrom=sources)
    assert resolved == {"A": "1new", "b.txt": "x\ny", "S_K": "hello", "S_L": "new"}


def test_keys_that_are_no_variables_are_skipped() -> None:
    odd = {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"1x": "no", "a b": "no", "ok": "yes"}}
    assert env(envFrom=[{"configMapRef": {"name": "c"}}], others=(odd,)) == {"ok": "yes"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"configMapKeyRef": {"name": "c", "key": "A"}}, "1"),
        ({"configMapKeyRef": {"name": "c", "key": "no", "optional": True}}, None),
        ({"configMapKeyRef": {"name": "no", "key": "A", "optional": True}}, None),
        ({"secretKeyRef": {"name": "s", "key": "K"}}, "hello"),
        ({"fieldRef": {"fieldPath": "metadata.name"}}, "demo"),
        ({"fieldRef": {"fieldPath": "metadata.namespace"}}, "default"),
        ({"fieldRef": {"fieldPath": "metadata.labels['app']"}}, "x"),
        ({"fieldRef": {"fieldPath": "metadata.labels['no']"}}, ""),
        ({"fieldRef": {"fieldPath": "spec.serviceAccountName"}}, "default"),
        ({"resourceFieldRef": {"resource": "limits.cpu"}}, "2"),
        ({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}, "1500"),
        ({"resourceFieldRef": {"resource": "requests.cpu", "divisor": "100m"}}, "15"),
        ({"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}, "1024"),
        ({"resourceFieldRef": {"resource": "requests.ephemeral-storage"}}, "0"),
        ({"resourceFieldRef": {"resource": "limits.memory", "containerName": "main"}}, str(2**30)),
    ],
)
def test_value_from(source: dict[str, Any], expected: str | None) -> None:
    limits = {"resources": {"limits": {"cpu": "1500m", "memory": "1Gi"}}}
    assert env({"name": "X", "valueFrom": source}, **limits).get("X") == expected


def test_uid_by_field_ref_is_the_pods() -> None:
    request = one(pod({"env": [{"name": "U", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}]}))
    assert request.pod["spec"]["containers"][0]["env"][0]["value"] == request.pod["metadata"]["uid"]


# Volumes


def test_contents_stand_beside_init_containers_and_containers_in_order() -> None:
    mount = [{"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/w"}]
    volumes = [{"name": "v", "configMap": {"name": "c"}}, {"name": "w", "secret": {"secretName": "s"}}]
    init = [{"name": "init", "image": "i", "volumeMounts": mount[1:]}]
    request = one(pod({"volumeMounts": mount}, volumes=volumes, initContainers=init), CONFIG, SECRET)
    assert request.container is not None
    first, second = request.container
    assert (first["name"], first["configMaps"], first["emptyDirs"]) == ("init", [], None)
    assert second["configMaps"] == [CONFIG]
    assert second["secrets"][0]["data"] == {"K": "aGVsbG8=", "L": "bmV3"}
    assert "stringData" not in second["secrets"][0]


def test_projected_volumes_come_as_one_map_and_parse_again() -> None:
    sources = [
        {"configMap": {"name": "c", "items": [{"key": "A", "path": "d/a"}, {"key": "bin", "path": "bin"}]}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"secret": {"name": "s", "items": [{"key": "L", "path": "l", "mode": 0o400}]}},
    ]
    mount = [{"name": "v", "mountPath": "/v"}]
    request = one(
        pod({"volumeMounts": mount}, volumes=[{"name": "v", "projected": {"sources": sources}}]), CONFIG, SECRET
    )
    assert request.container is not None
    (came,) = request.container[0]["projectedvolumemaps"]
    assert (came["metadata"]["name"], came["data"]) == ("v", {"d/a": "1", "labels": 'app="x"'})
    files = parse_pod(request).volumes["v"].files  # type: ignore[union-attr]
    assert [(file.path, file.content, file.mode) for file in files] == [
        ("bin", b"\xff\x00", 0o644),
        ("d/a", b"1", 0o644),
        ("l", b"new", 0o400),
        ("labels", b'app="x"', 0o644),
    ]


def test_nothing_is_left_to_resolve() -> None:
    request = one(pod({"envFrom": [{"configMapRef": {"name": "c"}}], "command": ["echo", "$(A)"]}), CONFIG)
    (container,) = request.pod["spec"]["containers"]
    assert "envFrom" not in container
    assert container["command"] == ["echo", "$(A)"]


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z]{1,4}", fullmatch=True),
        st.text(st.characters(exclude_characters="\0", codec="utf-8")),
        max_size=4,
    )
)
def test_secrets_and_variables_arrive_byte_for_byte(data: dict[str, str]) -> None:
    secret = {"kind": "Secret", "metadata": {"name": "s"}, "stringData": data}
    main = {"envFrom": [{"secretRef": {"name": "s"}}], "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    parsed = parse_pod(one(pod(main, volumes=[{"name": "v", "secret": {"secretName": "s"}}]), secret))
    assert parsed.containers[0].env == data
    assert {file.path: file.content.decode() for file in parsed.volumes["v"].files} == data  # type: ignore[union-attr]


# What is refused

MAIN = "spec.containers[0]"
MOUNTED: dict[str, Any] = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}


def job(**spec: Any) -> dict[str, Any]:
    return {"kind": "Job", "metadata": {"name": "demo"}, "spec": {"template": {"spec": pod()["spec"]}, **spec}}


def variable(**source: Any) -> dict[str, Any]:
    return pod({"env": [{"name": "A", "value": "1"}, {"name": "X", "valueFrom": source}]})


ENV = f"Pod demo: {MAIN}.env[1].valueFrom"
ONCE = "flashlink runs a Job as one pod, once: submit it again for more"


def projecting(source: dict[str, Any]) -> dict[str, Any]:
    return pod(MOUNTED, volumes=[{"name": "v", "projected": {"sources": [source]}}])


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"kind": "Deployment", "metadata": {"name": "demo"}},
        "Deployment demo: kind: 'Deployment' is not Pod, Job, ConfigMap, Secret or List",
    ),
    ({"kind": "Pod", "metadata": {}, "spec": pod()["spec"]}, "Pod: metadata.name: missing; expected a name"),
    (
        {"kind": "Pod", "metadata": {"name": "demo"}},
        "Pod demo: spec.containers: missing; expected a list of at least one container",
    ),
    (
        variable(configMapKeyRef={"name": "x", "key": "k"}),
        f"{ENV}.configMapKeyRef: config map 'x' is not among the manifests; add it to the files",
    ),
    (variable(secretKeyRef={"name": "s", "key": "k"}), f"{ENV}.secretKeyRef: 's' has no key 'k'"),
    (
        variable(fieldRef={"fieldPath": "status.podIP"}),
        f"{ENV}.fieldRef.fieldPath: 'status.podIP' is not a field that is known before the pod runs; "
        "use metadata.name, .namespace, .uid, .labels or .annotations",
    ),
    (
        variable(resourceFieldRef={"resource": "limits.cpu"}),
        f"{ENV}.resourceFieldRef: container 'main' has no limit of cpu; give it one",
    ),
    (
        variable(resourceFieldRef={"resource": "limits.cpu", "containerName": "no"}),
        f"{ENV}.resourceFieldRef.containerName: 'no' is not the name of a container of the pod",
    ),
    (
        pod({"env": [{"name": "A", "vale": "1"}]}),
        f"Pod demo: {MAIN}.env[0].vale: no field of a variable that flashlink knows; did you mean 'value'?",
    ),
    (
        pod({"env": [{"name": "A", "value": True}]}),
        f"Pod demo: {MAIN}.env[0].value: True is not text; put it in quotes",
    ),
    (
        pod({"envFrom": [{"secretRef": {"name": "x"}}]}),
        f"Pod demo: {MAIN}.envFrom[0].secretRef: secret 'x' is not among the manifests; add it to the files",
    ),
    (pod(MOUNTED), f"Pod demo: {MAIN}.volumeMounts[0].name: 'v' is not the name of a volume of the pod"),
    (
        pod(MOUNTED, volumes=[{"name": "v", "secret": {"secretName": "x"}}]),
        "Pod demo: spec.volumes[0].secret: secret 'x' is not among the manifests; add it to the files",
    ),
    (
        projecting({"serviceAccountToken": {"path": "t"}}),
        "Pod demo: spec.volumes[0].projected.sources[0].serviceAccountToken: "
        "only a cluster can issue a service-account token; leave it out",
    ),
    (
        projecting({"configMap": {"name": "c", "items": [{"key": "z", "path": "z"}]}}),
        "Pod demo: spec.volumes[0].projected.sources[0].configMap.items[0].key: 'z' is not a key of config map 'c'",
    ),
    (
        {**pod(), "metadata": {"name": "demo", "uid": "../up"}},
        "Pod demo: metadata.uid: '../up' is not a uid of letters, digits and '-', 64 characters at most",
    ),
    (
        {**pod(), "metadata": {"name": "Demo"}},
        "Pod Demo: metadata.name: 'Demo' is not a DNS subdomain (a-z, 0-9, '-' and '.', 253 characters at most)",
    ),
    (job(completions=3), f"Job demo: spec.completions: 3 is not 1; {ONCE}"),
    (job(suspend=True), f"Job demo: spec.suspend: True is not False; {ONCE}"),
    (
        job(template={"spec": {"containers": []}}),
        "Job demo: spec.template.spec.restartPolicy: missing; "
        "expected 'Never' or 'OnFailure', one of which a Job needs",
    ),
    (
        {"kind": "ConfigMap", "metadata": {"name": "c"}},
        "ConfigMap c: metadata.name: 'c' stands twice among the manifests; leave one out",
    ),
]


@pytest.mark.parametrize(("manifest", "line"), REFUSED, ids=[line for _, line in REFUSED])
def test_one_line_names_file_object_and_field(manifest: dict[str, Any], line: str) -> None:
    with pytest.raises(RequestError) as caught:
        manifests.requests([CONFIG, SECRET, manifests.Manifest(manifest, "pod.yaml")])
    assert str(caught.value) == f"pod.yaml: {line}"


def test_a_secret_that_is_no_text_cannot_be_a_variable_and_is_not_shown() -> None:
    binary = {"kind": "Secret", "metadata": {"name": "s"}, "data": {"K": "//8="}}
    with pytest.raises(RequestError, match=r"Secret s: data\.K: is not base64 of text") as caught:
        one(variable(secretKeyRef={"name": "s", "key": "K"}), binary)
    assert "//8=" not in str(caught.value)


def test_objects_are_looked_up_in_the_pods_own_namespace() -> None:
    manifest = variable(configMapKeyRef={"name": "c", "key": "A"})
    manifest["metadata"]["namespace"] = "other"
    with pytest.raises(RequestError, match="is not among the manifests of namespace 'other'"):
        one(manifest, CONFIG)
