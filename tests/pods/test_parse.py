"""From interLink's requests to pods: what is honoured, and the one line for what is not."""

import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashlink.errors import RequestError
from flashlink.pods.parse import Identity, container_images, parse_create, parse_identity
from flashlink.pods.pod import (
    Claim,
    Cvmfs,
    EmptyDir,
    File,
    Files,
    Fuse,
    HostPath,
    JobConfig,
    Mount,
    Network,
    Pod,
    Resources,
    RestartRule,
    Security,
)
from flashlink.pods.wire import KnownPod

UID = "0a1b2c3d-0000-4000-8000-000000000001"


def request(**spec: Any) -> dict[str, Any]:
    """A create request of the smallest pod, its spec changed; `main` changes its container, `annotations` the pod's."""
    main = {"name": "main", "image": "busybox", **spec.pop("main", {})}
    metadata = {"name": "demo", "namespace": "default", "uid": UID, "annotations": spec.pop("annotations", {})}
    container = spec.pop("container", [])
    return {"pod": {"metadata": metadata, "spec": {"containers": [main], **spec}}, "container": container}


def identity(pod: dict[str, Any]) -> Identity:
    return parse_identity(msgspec.convert(pod, KnownPod))


def parse(body: object) -> Pod:
    return parse_create(json.dumps(body).encode())


def mounted(volume: dict[str, Any], container: dict[str, Any] | None = None, **spec: Any) -> Any:
    """The volume `v` of a pod that mounts it."""
    main = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    return parse(request(main=main, volumes=[{"name": "v", **volume}], container=[container or {}], **spec)).volumes[
        "v"
    ]


# What is honoured


def test_the_smallest_pod_has_kubernetes_defaults() -> None:
    pod = parse(request())
    assert (pod.uid, pod.name, pod.namespace) == (UID, "demo", "default")
    assert (pod.restart_policy, pod.deadline, pod.grace) == ("Always", None, 30)
    assert pod.containers[0].command is None
    assert pod.containers[0].args is None


def test_a_list_with_one_request_is_taken_too() -> None:
    assert parse([request()]) == parse(request())


def test_everything_of_a_container() -> None:
    main = {
        "command": ["sh", "-c", "echo $(A) $$(A) $(NO)"],
        "args": ["$(B)"],
        "workingDir": "/srv//here/",
        "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)"},
            {"name": "A", "value": "2"},
            {"name": "E"},
        ],
        "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": 2, "memory": "1Gi", "nvidia.com/gpu": "1"}},
    }
    container = parse(request(main=main)).containers[0]
    assert container.command == ("sh", "-c", "echo 2 $(A) $(NO)")
    assert container.args == ("$(A)",)
    assert container.working_dir == "/srv/here"
    assert list(container.env.items()) == [("A", "2"), ("B", "$(A)"), ("E", "")]
    assert container.requests == Resources(cpu=0.5, memory=2**30, gpu=1, gpu_vendor="nvidia")
    assert container.limits == Resources(cpu=2, memory=2**30, gpu=1, gpu_vendor="nvidia")


def test_init_containers_and_pod_settings() -> None:
    pod = parse(
        request(
            initContainers=[{"name": "a", "image": "i"}, {"name": "b", "image": "i"}],
            restartPolicy="OnFailure",
            activeDeadlineSeconds=60,
            terminationGracePeriodSeconds=0,
        )
    )
    assert [container.name for container in pod.init_containers] == ["a", "b"]
    assert (pod.restart_policy, pod.deadline, pod.grace) == ("OnFailure", 60, 0)


def test_init_containers_that_always_restart_are_sidecars() -> None:
    rule = {"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [1, 2]}}
    pod = parse(
        request(
            initContainers=[{"name": "a", "image": "i"}, {"name": "b", "image": "i", "restartPolicy": "Always"}],
            main={"restartPolicy": "Always", "restartPolicyRules": [rule]},
        )
    )
    assert [(container.restart, container.sidecar) for container in pod.init_containers] == [
        ("", False),
        ("Always", True),
    ]
    main = pod.containers[0]
    assert (main.restart, main.sidecar) == ("Always", False)
    assert main.restart_rules == (RestartRule((1, 2), inside=False),)


#: As interLink sends it where next to nothing is configured.
JOB_CONFIG = {
    "SingularityHubProxy": {"server": "", "master_token": "", "cache_validity_seconds": 0},
    "ApptainerOptions": {"executable": "", "fakeroot": False, "cleanenv": True, "fuseMode": ""},
    "Volumes": {"apptainer_cachedir": "/c", "additional_directories_in_path": ["/a"], "fuse_sleep_seconds": 5},
}


def test_job_script_and_job_config_are_read() -> None:
    pod = parse({**request(), "jobScript": "", "jobConfig": JOB_CONFIG})
    assert (pod.job_script, pod.job_config) == ("", JobConfig(cache="/c", path=("/a",)))


def test_a_job_config_that_a_job_script_was_made_by_means_nothing_more() -> None:
    hub = {"SingularityHubProxy": {"server": "hub"}}
    pod = parse({**request(), "jobScript": "#!/bin/sh\n", "jobConfig": hub})
    assert (pod.job_script, pod.job_config) == ("#!/bin/sh\n", JobConfig())


def test_containers_that_stay_in_the_cluster_are_left_out() -> None:
    both = request(
        containers=[{"name": "main", "image": "i"}, {"name": "proxy", "image": "i"}],
        annotations={"interlink.eu/disable-offload-containers": "proxy, other"},
    )
    pod = parse(both)
    assert [container.name for container in pod.containers] == ["main"]
    assert pod.not_offloaded == ("proxy", "other")


def test_mounts() -> None:
    main = {
        "env": [{"name": "RUN", "value": "7"}],
        "volumeMounts": [
            {"name": "v", "mountPath": "/a/", "subPath": "x//y", "readOnly": True},
            {"name": "v", "mountPath": "/b", "subPathExpr": "run-$(RUN)"},
            {"name": "c", "mountPath": "/c"},
            {"name": "kube-api-access-x1y2z", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
        ],
    }
    volumes = [
        {"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "c", "persistentVolumeClaim": {"claimName": "data", "readOnly": True}},
        {"name": "kube-api-access-x1y2z", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
        {"name": "unused", "csi": {"driver": "x"}},
    ]
    pod = parse(request(main=main, volumes=volumes))
    assert pod.containers[0].mounts == (
        Mount("v", "/a", "x/y", read_only=True),
        Mount("v", "/b", "run-7"),
        Mount("c", "/c", read_only=True),
    )
    assert pod.volumes == {"v": EmptyDir("v", in_memory=True, size_limit=2**20), "c": Claim("c", "data")}


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        ({}, EmptyDir("v")),
        ({"emptyDir": {}}, EmptyDir("v")),
        ({"hostPath": {"path": "/data//x", "type": "Directory"}}, HostPath("v", "/data/x", "Directory")),
        ({"persistentVolumeClaim": {"claimName": "c"}}, Claim("v", "c")),
    ],
)
def test_simple_volumes(volume: dict[str, Any], expected: object) -> None:
    assert mounted(volume) == expected


def test_annotations_override_the_kind_of_a_volume() -> None:
    claim = {"persistentVolumeClaim": {"claimName": "c"}}
    assert mounted(claim, annotations={"cvmfs.vk.io/v": "lhcb.cern.ch"}) == Cvmfs("v", "lhcb.cern.ch")
    assert mounted({"csi": {"driver": "x"}}, annotations={"fuse.vk.io/v": "mount.sh\n"}) == Fuse("v", "mount.sh\n")


def test_config_map_bytes_items_and_modes() -> None:
    data = {"a": "one\\n\nzwei ü\0", "b": "2"}
    came = {"configMaps": [{"metadata": {"name": "m"}, "data": data, "binaryData": {"bin": "/wA="}}]}
    assert mounted({"configMap": {"name": "m", "defaultMode": 0o400}}, came) == Files(
        "v", (File("a", "one\\n\nzwei ü\0".encode(), 0o400), File("b", b"2", 0o400), File("bin", b"\xff\x00", 0o400))
    )
    items = [{"key": "a", "path": "d/x"}, {"key": "bin", "path": "y", "mode": 0o755}]
    picked = mounted({"configMap": {"name": "m", "items": items}}, came)
    assert [(file.path, file.mode) for file in picked.files] == [("d/x", 0o644), ("y", 0o755)]


def test_optional_contents_may_be_absent() -> None:
    assert mounted({"configMap": {"name": "m", "optional": True}}).files == ()
    assert mounted({"secret": {"secretName": "m", "optional": True}}).files == ()


@given(st.dictionaries(st.from_regex(r"[a-z][-._a-z0-9]{0,20}", fullmatch=True), st.binary(max_size=200), max_size=5))
def test_secrets_are_byte_exact(data: dict[str, bytes]) -> None:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    volume = mounted({"secret": {"secretName": "s"}}, {"secrets": [{"metadata": {"name": "s"}, "data": encoded}]})
    assert {file.path: file.content for file in volume.files} == data


def test_projected_volumes() -> None:
    came = {
        "projectedvolumemaps": [{"metadata": {"name": "v"}, "data": {"d/map": "1", "labels": "2", "token": "t"}}],
        "secrets": [{"metadata": {"name": "s"}, "data": {"k": "eA=="}}],
    }
    sources = [
        {"configMap": {"name": "m", "items": [{"key": "k", "path": "d/map", "mode": 0o600}]}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"serviceAccountToken": {"path": "token"}},
        {"secret": {"name": "s"}},
    ]
    assert mounted({"projected": {"defaultMode": 0o440, "sources": sources}}, came) == Files(
        "v",
        (File("d/map", b"1", 0o600), File("k", b"x", 0o440), File("labels", b"2", 0o440), File("token", b"t", 0o440)),
    )


def test_downward_api_is_told_from_the_pod_where_it_did_not_come() -> None:
    items = [
        {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
        {"path": "notes", "fieldRef": {"fieldPath": "metadata.annotations"}, "mode": 0o600},
    ]
    volume = mounted({"downwardAPI": {"items": items}}, annotations={"b": 'say "x"\n', "a": "1"})
    assert volume.files == (File("name", b"demo"), File("notes", b'a="1"\nb="say \\"x\\"\\n"', 0o600))


def test_fields_that_matter_to_the_cluster_alone_are_ignored() -> None:
    spec = {
        "nodeSelector": {"type": "virtual-kubelet"},
        "tolerations": [{"key": "virtual-node.interlink/no-schedule", "operator": "Exists"}],
        "serviceAccountName": "default",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "priority": 0,
        "enableServiceLinks": True,
        "imagePullSecrets": [{"name": "x"}],
        "securityContext": {"fsGroup": 100, "supplementalGroups": [5], "seccompProfile": {"type": "RuntimeDefault"}},
        "affinity": {"nodeAffinity": {}},
        "preemptionPolicy": "PreemptLowerPriority",
        "hostPID": False,
        "hostAliases": [],
        "os": {"name": "linux"},
    }
    main = {
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "ports": [{"containerPort": 80}],
        "securityContext": {"capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": False},
        "livenessProbe": None,
        "volumeMounts": None,
    }
    assert parse(request(main=main, **spec)) == parse(request())


def test_a_containers_security_context_stands_over_the_pods() -> None:
    own = {"runAsUser": 1000, "readOnlyRootFilesystem": True}
    pod = parse(request(main={"securityContext": own}, securityContext={"runAsUser": 5, "runAsGroup": 7}))
    assert pod.containers[0].security == Security(1000, 7, non_root=False, read_only_root=True)
    pod = parse(request(securityContext={"runAsUser": 5, "runAsNonRoot": True}))
    assert pod.containers[0].security == Security(5, None, non_root=True)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"Volumes": {"scratch": "/s"}}, "Volumes.scratch: no field of a jobConfig that flashlink knows"),
        (
            {"Volumes": {"image_dir": "/s"}},
            "Volumes.image_dir: images are named by path below the site's images.folders",
        ),
        ({"SingularityHubProxy": {"master_token": "s3cret"}}, "SingularityHubProxy.master_token: this plugin fetches"),
        ({"ApptainerOptions": {"fakeroot": "yes"}}, "ApptainerOptions.fakeroot: 'yes' is not true or false"),
    ],
)
def test_a_job_config_that_cannot_be_is_refused_by_its_key(config: dict[str, Any], line: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse({**request(), "jobConfig": config})
    assert str(caught.value).startswith(f"jobConfig.{line}")
    assert "s3cret" not in str(caught.value)


def test_names_become_lines_of_their_files() -> None:
    dns = {"nameservers": ["10.0.0.53"], "searches": ["a.org", "b"], "options": [{"name": "ndots", "value": "1"}]}
    aliases = [{"ip": "10.0.0.1", "hostnames": ["a", "b.org"]}]
    spec = {"hostname": "me", "hostAliases": aliases, "dnsConfig": dns, "dnsPolicy": "None"}
    lines = ("nameserver 10.0.0.53", "search a.org b", "options ndots:1")
    assert parse(request(**spec)).network == Network("me", ("10.0.0.1 a b.org",), lines, resolver_alone=True)
    assert parse(request(hostname="me", hostNetwork=True)).network == Network()
    assert parse(request(setHostnameAsFQDN=True)).network == Network("demo")
    long = request()
    long["pod"]["metadata"]["name"] = "a" * 62 + ".b"
    assert parse(long).network == Network("a" * 62)
    assert parse(request(hostname="me", hostnameOverride="you.org")).network.hostname == "you.org"


# What is refused

MAIN = "spec.containers[0]"
LONG = "x" * 140_000

REFUSED: list[tuple[dict[str, Any], str]] = [
    # fields
    (
        {"main": {"comand": ["x"]}},
        f"{MAIN}.comand: no field of a container that flashlink knows; did you mean 'command'?",
    ),
    ({"hostPID": True}, "spec.hostPID: a job may not look at other processes of the worker; leave it out"),
    (
        {"main": {"lifecycle": {"preStop": {"tcpSocket": {"port": 1}}}}},
        f"{MAIN}.lifecycle.preStop.tcpSocket: Kubernetes cannot do it either; use exec or httpGet",
    ),
    (
        {"initContainers": [{"name": "init", "image": "i", "livenessProbe": {"exec": {"command": ["true"]}}}]},
        "spec.initContainers[0].livenessProbe: only a sidecar has it among the init containers; leave it out",
    ),
    (
        {"initContainers": [{"name": "side", "image": "i", "restartPolicy": "Sometimes"}]},
        "spec.initContainers[0].restartPolicy: 'Sometimes' is not one of '', 'Always', 'OnFailure', 'Never'",
    ),
    (
        {"main": {"restartPolicyRules": [{"action": "Restart"}]}},
        f"{MAIN}.restartPolicyRules: stands without a restartPolicy of the container; give it one",
    ),
    (
        {"main": {"restartPolicy": "Never", "restartPolicyRules": [{"action": "Stop"}]}},
        f"{MAIN}.restartPolicyRules[0].action: 'Stop' is not one of 'Restart'",
    ),
    (
        {"main": {"restartPolicy": "Never", "restartPolicyRules": [{"action": "Restart"}]}},
        f"{MAIN}.restartPolicyRules[0].exitCodes.operator: missing; expected one of 'In', 'NotIn'",
    ),
    (
        {
            "main": {
                "restartPolicy": "Never",
                "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [256]}}],
            }
        },
        f"{MAIN}.restartPolicyRules[0].exitCodes.values[0]: 256 is not a whole number from 0 to 255",
    ),
    (
        {"securityContext": {"runAsUser": 0, "runAsNonRoot": True}},
        "spec.securityContext.runAsUser: is root, and runAsNonRoot is true; leave one out",
    ),
    (
        {"main": {"securityContext": {"runAsUser": 0, "capabilities": {"drop": ["ALL"]}}}},
        f"{MAIN}.securityContext.capabilities.drop: a container that runs as root keeps its capabilities, "
        "which end at its walls; leave it out",
    ),
    (
        {"hostAliases": [{"ip": "10.0.0.1\nnameserver", "hostnames": ["a"]}]},
        "spec.hostAliases[0].ip: '10.0.0.1\\nnameserver' is not an IP address",
    ),
    (
        {"dnsPolicy": "None"},
        "spec.dnsConfig.nameservers: missing; expected a list of addresses, as dnsPolicy is None",
    ),
    (
        {"dnsConfig": {"options": [{"name": "a b"}]}},
        "spec.dnsConfig.options[0].name: 'a b' is not a word of letters, digits, '_', '.', ':' and '-'",
    ),
    (
        {"main": {"ports": [{"containerPort": 80, "hostPort": 8080}]}},
        f"{MAIN}.ports[0].hostPort: 8080 is not the containerPort; a job has the worker's ports as they are; "
        "use that number",
    ),
    (
        {"main": {"securityContext": {"runAsUser": -1}}},
        f"{MAIN}.securityContext.runAsUser: -1 is not a whole number from 0",
    ),
    (
        {"main": {"securityContext": {"privileged": True}}},
        f"{MAIN}.securityContext.privileged: no job is privileged; leave it out",
    ),
    (
        {"main": {"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}},
        f"{MAIN}.securityContext.capabilities.add: a job cannot be given capabilities; leave it out",
    ),
    ({"restartPolicy": "Sometimes"}, "spec.restartPolicy: 'Sometimes' is not one of 'Always', 'OnFailure', 'Never'"),
    ({"activeDeadlineSeconds": 0}, "spec.activeDeadlineSeconds: 0 is not a whole number from 1"),
    ({"terminationGracePeriodSeconds": True}, "spec.terminationGracePeriodSeconds: True is not a whole number from 0"),
    # containers
    ({"containers": []}, "spec.containers: [] is not a list with a container that runs here"),
    ({"containers": None}, "spec.containers: missing; expected a list with a container that runs here"),
    ({"containers": "main"}, "spec.containers: 'main' is not a list"),
    ({"containers": ["main"]}, "spec.containers[0]: 'main' is not an object with text keys"),
    (
        {"initContainers": [{"name": "main", "image": "i"}]},
        "spec.containers[0].name: 'main' is not a name that no other container of the pod has",
    ),
    (
        {"main": {"name": "../main"}},
        f"{MAIN}.name: '../main' is not a DNS label (a-z, 0-9 and '-', 63 characters at most)",
    ),
    ({"main": {"image": None}}, f"{MAIN}.image: missing; expected an image reference"),
    ({"main": {"image": "--bind /:/x"}}, f"{MAIN}.image: '--bind /:/x' is not an image reference"),
    ({"main": {"command": "sleep 1"}}, f"{MAIN}.command: 'sleep 1' is not a list"),
    ({"main": {"args": [1]}}, f"{MAIN}.args[0]: 1 is not text; put it in quotes"),
    ({"main": {"args": ["a\0b"]}}, f"{MAIN}.args[0]: holds the character NUL, which no process can be given"),
    ({"main": {"workingDir": "../x"}}, f"{MAIN}.workingDir: '../x' is not an absolute path without '..'"),
    # variables
    (
        {"main": {"env": [{"name": "A"}, {"name": "1B"}]}},
        f"{MAIN}.env[1].name: '1B' is not a variable name of letters, digits and '_' that starts with no digit",
    ),
    (
        {"main": {"env": [{"name": "A;B"}]}},
        f"{MAIN}.env[0].name: 'A;B' is not a variable name of letters, digits and '_' that starts with no digit",
    ),
    ({"main": {"env": [{"name": "A", "value": 1}]}}, f"{MAIN}.env[0].value: 1 is not text; put it in quotes"),
    (
        {"main": {"env": [{"name": "A", "valueFrom": {"fieldRef": {}}}]}},
        f"{MAIN}.env[0].valueFrom: arrived unresolved; interLink's virtual kubelet and 'flashlink submit' resolve it",
    ),
    (
        {"main": {"env": [{"name": "A", "value": LONG}]}},
        f"{MAIN}.env[0].value: is longer than a process can be given (131071 bytes); mount a file",
    ),
    (
        {"main": {"env": [{"name": "A", "value": LONG[:100_000]}], "args": ["$(A)" * 1000]}},
        f"{MAIN}.args[0]: is longer than a process can be given (131071 bytes); mount a file",
    ),
    # resources
    (
        {"main": {"resources": {"limits": {"cpu": "two"}}}},
        f"{MAIN}.resources.limits.cpu: 'two' is not a number of cores as '2' or '500m'",
    ),
    (
        {"main": {"resources": {"requests": {"example.com/foo": 1}}}},
        f"{MAIN}.resources.requests.example.com/foo: no resource that a job can have; "
        "known are amd.com/gpu, cpu, ephemeral-storage, memory, nvidia.com/gpu",
    ),
    (
        {"main": {"resources": {"limit": {"cpu": 1}}}},
        f"{MAIN}.resources.limit: no field of a container's resources that flashlink knows; did you mean 'limits'?",
    ),
    (
        {"main": {"resources": {"requests": {"nvidia.com/gpu": 1}}}},
        f"{MAIN}.resources.requests.nvidia.com/gpu: 1 is not equal to limits[nvidia.com/gpu], as GPUs are asked for as "
        "limits; leave the request out",
    ),
    (
        {"main": {"resources": {"requests": {"amd.com/gpu": 1}, "limits": {"amd.com/gpu": 2}}}},
        f"{MAIN}.resources.requests.amd.com/gpu: 1 is not equal to limits[amd.com/gpu], as GPUs are asked for as "
        "limits; leave the request out",
    ),
    (
        {"main": {"resources": {"limits": {"nvidia.com/mig-1g.5gb": 1}}}},
        f"{MAIN}.resources.limits.nvidia.com/mig-1g.5gb: no resource that a job can have; "
        "known are amd.com/gpu, cpu, ephemeral-storage, memory, nvidia.com/gpu",
    ),
    (
        {"main": {"resources": {"limits": {"gpu.intel.com/i915": 1}}}},
        f"{MAIN}.resources.limits.gpu.intel.com/i915: no resource that a job can have; "
        "known are amd.com/gpu, cpu, ephemeral-storage, memory, nvidia.com/gpu",
    ),
    (
        {"main": {"resources": {"limits": {"nvidia.com/gpu": "500m"}}}},
        f"{MAIN}.resources.limits.nvidia.com/gpu: '500m' is not a whole number of devices",
    ),
    (
        {"main": {"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}}},
        f"{MAIN}.resources.requests.memory: '2Gi' is not at most its limit, 1Gi",
    ),
    (
        {"main": {"resources": {"requests": {"cpu": 1}, "limits": {"cpu": "500m"}}}},
        f"{MAIN}.resources.requests.cpu: 1 is not at most its limit, 500m",
    ),
    (
        {"main": {"resources": {"limits": {"nvidia.com/gpu": 1, "amd.com/gpu": 1}}}},
        f"{MAIN}.resources.limits: asks for GPUs of two vendors; choose one",
    ),
]


def mount(entry: dict[str, Any], *, env: list[dict[str, str]] | None = None) -> dict[str, Any]:
    full = {"name": "v", "mountPath": "/v", **entry}
    return {"main": {"env": env or [], "volumeMounts": [full]}, "volumes": [{"name": "v", "emptyDir": {}}]}


def of_volume(volume: dict[str, Any], container: dict[str, Any] | None = None) -> dict[str, Any]:
    main = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    return {"main": main, "volumes": [{"name": "v", **volume}], "container": [container or {}]}


MAP = {"configMaps": [{"metadata": {"name": "m"}, "data": {"k": "1", "../up": "2"}}]}
MOUNT = f"{MAIN}.volumeMounts[0]"
VOLUME = "spec.volumes[0]"

REFUSED += [
    (
        {"setHostnameAsFQDN": True, "subdomain": "sub"},
        "spec.setHostnameAsFQDN: stands with a subdomain, and a job does not know the cluster's domain; give the whole "
        "name in hostnameOverride",
    ),
    (mount({"name": "w"}), f"{MOUNT}.name: 'w' is not the name of a volume of the pod"),
    (mount({"mountPath": "/"}), f"{MOUNT}.mountPath: '/' is not an absolute path below '/' without '..' or ':'"),
    (
        mount({"mountPath": "/a:/etc"}),
        f"{MOUNT}.mountPath: '/a:/etc' is not an absolute path below '/' without '..' or ':'",
    ),
    (mount({"mountPath": "/a/../etc"}), f"{MOUNT}.mountPath: '/a/../etc' is not an absolute path without '..'"),
    (mount({"mountPath": "v"}), f"{MOUNT}.mountPath: 'v' is not an absolute path without '..'"),
    (mount({"mountPath": "/a\nb"}), f"{MOUNT}.mountPath: '/a\\nb' is not an absolute path without '..'"),
    (mount({"subPath": "a/../../x"}), f"{MOUNT}.subPath: 'a/../../x' is not a relative path without '..'"),
    (mount({"subPath": "/etc"}), f"{MOUNT}.subPath: '/etc' is not a relative path without '..'"),
    (
        mount({"subPathExpr": "$(X)"}, env=[{"name": "X", "value": "../up"}]),
        f"{MOUNT}.subPathExpr: '$(X)' is not a relative path without '..' once its variables are in place",
    ),
    (
        mount({"subPathExpr": "$(X)"}),
        f"{MOUNT}.subPathExpr: '$(X)' is not made of variables of the container: it has no 'X'",
    ),
    (
        mount({"mountPropagation": "Bidirectional"}),
        f"{MOUNT}.mountPropagation: mounts made in a container stay in it; leave it out",
    ),
    (
        of_volume({"nfs": {"server": "x"}}),
        f"{VOLUME}.nfs: a job cannot mount this kind of volume; ask the site for a host path or a claim",
    ),
    (
        of_volume({"emptyDir": {"medium": "HugePages"}}),
        f"{VOLUME}.emptyDir.medium: 'HugePages' is not one of '', 'Memory'",
    ),
    (
        of_volume({"hostPath": {"path": "/a/../b"}}),
        f"{VOLUME}.hostPath.path: '/a/../b' is not an absolute path without '..'",
    ),
    (
        of_volume({"hostPath": {"path": "/a", "type": "Socket"}}),
        f"{VOLUME}.hostPath.type: 'Socket' is not one of '', 'Directory', 'DirectoryOrCreate', 'File', 'FileOrCreate'",
    ),
    (
        of_volume({"configMap": {"name": "m"}}),
        f"{VOLUME}.configMap: config map 'm' did not come with the pod; create it, or mark it optional",
    ),
    (
        of_volume({"configMap": {"name": "m"}}, MAP),
        f"{VOLUME}.configMap, a key: '../up' is not a relative path without '..'",
    ),
    (
        of_volume({"configMap": {"name": "m", "items": [{"key": "z", "path": "z"}]}}, MAP),
        f"{VOLUME}.configMap.items[0].key: 'z' is not one of its keys: ../up, k",
    ),
    (
        of_volume({"configMap": {"name": "m", "items": [{"key": "k", "path": "a"}, {"key": "k", "path": "a/b"}]}}, MAP),
        f"{VOLUME}: 'a' would be a file and, for 'a/b', a folder",
    ),
    (
        of_volume({"configMap": {"name": "m", "items": [{"key": "k", "path": "a", "mode": 0o1777}]}}, MAP),
        f"{VOLUME}.configMap.items[0].mode: 1023 is not a whole number from 0 to 511",
    ),
    (
        of_volume(
            {"secret": {"secretName": "s"}}, {"secrets": [{"metadata": {"name": "s"}, "data": {"k": "geheim!"}}]}
        ),
        "container[0].secrets[0].data.k: is not base64",
    ),
    (
        of_volume({"projected": {"sources": [{"secret": {"name": "s"}}]}}),
        f"{VOLUME}.projected.sources[0].secret: secret 's' did not come with the pod; create it, or mark it optional",
    ),
    (
        of_volume({"projected": {"sources": [{"clusterTrustBundle": {"path": "x"}}]}}),
        f"{VOLUME}.projected.sources[0].clusterTrustBundle: "
        "a job cannot ask the cluster for certificates; mount a config map",
    ),
    (of_volume({"nfs": {}}), f"{VOLUME}.nfs: no kind of volume that flashlink knows; leave it out"),
    (
        of_volume({"downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPth": "metadata.name"}}]}}),
        f"{VOLUME}.downwardAPI.items[0].fieldRef.fieldPth: no field of a fieldRef that flashlink knows; "
        "did you mean 'fieldPath'?",
    ),
    (of_volume({"emptyDir": {}, "hostPath": {"path": "/x"}}), f"{VOLUME}: is emptyDir and hostPath at once; leave one"),
    (
        {**of_volume({"emptyDir": {}}), "annotations": {"cvmfs.vk.io/v": "../../etc"}},
        "metadata.annotations.cvmfs.vk.io/v: '../../etc' is not the name of a CVMFS repository",
    ),
]


@pytest.mark.parametrize(("spec", "line"), REFUSED, ids=[line for _, line in REFUSED])
def test_one_line_names_place_and_expectation(spec: dict[str, Any], line: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(request(**{**spec, "main": dict(spec.get("main", {}))}))
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"", "body: not JSON: Input data was truncated"),
        (b"\xff", "body: not JSON: "),
        (b"[" * 100_000, "body: not JSON: "),
        (b"[]", "body: not a create request of interLink: Expected `object`, got `array`"),
        (b'{"pod": []}', "body: not a create request of interLink: Expected `object`, got `array` - at `$.pod`"),
        (b'{"pod": {}}', "spec.containers: missing; expected a list with a container that runs here"),
    ],
)
def test_what_is_no_request_gets_one_line(body: bytes, line: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_create(body)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("uid", ["", "..", "a/b", "-x", "a\n", "x" * 65, None, 5, "a b", "é"])
def test_a_uid_that_is_no_safe_name_of_a_folder_is_refused(uid: object) -> None:
    body = request()
    body["pod"]["metadata"]["uid"] = uid
    with pytest.raises(RequestError, match=r"metadata\.uid"):
        parse(body)
    with pytest.raises((RequestError, msgspec.ValidationError), match=r"metadata\.uid"):
        identity(body["pod"])


def test_secrets_never_stand_in_an_error() -> None:
    bad: list[Callable[[], object]] = [
        lambda: mounted(
            {"secret": {"secretName": "s"}}, {"secrets": [{"metadata": {"name": "s"}, "data": {"k": "hunter2!"}}]}
        ),
        lambda: parse(request(main={"env": [{"name": "PASSWORD", "value": "hunter2\0"}]})),
    ]
    for attempt in bad:
        with pytest.raises(RequestError) as caught:
            attempt()
        assert "hunter2" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    *("metadata", "metadata.annotations", "metadata.labels"),
    *("spec", "spec.initContainers", "spec.containers", "spec.volumes", "spec.securityContext"),
    *(
        f"spec.containers.0.{key}"
        for key in ("env", "command", "image", "resources", "volumeMounts", "securityContext")
    ),
    *("spec.volumes.0.configMap", "spec.volumes.0.projected"),
]


def outcome(body: object) -> str:
    try:
        return type(parse(body)).__name__
    except RequestError as error:
        return str(error)


def is_pod_or_one_line(said: str) -> bool:
    return said == "Pod" or (": " in said and "\n" not in said and len(said) < 2000)


@given(st.sampled_from(KEYS), JSON)
def test_any_json_in_any_place_is_a_pod_or_one_line(path: str, value: object) -> None:
    body = request(**of_volume({"emptyDir": {}}))
    at: Any = body["pod"]
    *way, last = path.split(".")
    for step in way:
        at = at[int(step)] if isinstance(at, list) else at[step]
    at[last] = value
    assert is_pod_or_one_line(outcome(body))


@given(JSON)
def test_any_container_list_is_a_pod_or_one_line(value: object) -> None:
    assert is_pod_or_one_line(outcome({**request(), "container": [value]}))


# Status and delete


def test_identity_is_read_even_of_a_pod_that_would_be_refused() -> None:
    pod = request(hostPID=True, annotations={"JobID": "local:host:1"})["pod"]
    assert identity(pod) == (UID, "demo", "default", "local:host:1")


def test_identity_without_annotations() -> None:
    assert identity({"metadata": {"uid": UID, "annotations": None}}) == (UID, "", "", "")


def test_container_images_tell_those_that_were_not_offloaded_too() -> None:
    pod = request(initContainers=[{"name": "a"}], annotations={"interlink.eu/disable-offload-containers": "main"})[
        "pod"
    ]
    assert container_images(msgspec.convert(pod, KnownPod)) == ({"a": ""}, {"main": "busybox"}, frozenset())


def test_container_images_tell_the_sidecars() -> None:
    init = [{"name": "a"}, {"name": "b", "restartPolicy": "Always"}]
    containers = container_images(msgspec.convert(request(initContainers=init)["pod"], KnownPod))
    assert containers.sidecars == {"b"}


def test_gpus_of_two_vendors_in_one_pod_are_refused() -> None:
    other = {"name": "other", "image": "x", "resources": {"limits": {"amd.com/gpu": 1}}}
    init = {"name": "init", "image": "x", "resources": {"limits": {"nvidia.com/gpu": 1}}}
    with pytest.raises(RequestError) as caught:
        parse(request(main={}, containers=[{"name": "main", "image": "x"}, other], initContainers=[init]))
    assert str(caught.value) == (
        "spec.containers: container other for one of amd and init for one of nvidia: a job has GPUs of one vendor; "
        "make two pods of it"
    )


def test_a_job_asks_for_what_its_limits_allow_of_memory_and_disk_and_for_the_cores_that_were_requested() -> None:
    def asking(name: str, requests: dict[str, str], limits: dict[str, str]) -> dict[str, Any]:
        return {"name": name, "image": "x", "resources": {"requests": requests, "limits": limits}}

    first = asking("a", {"cpu": "500m", "memory": "1Gi"}, {"cpu": "2", "memory": "1.5Gi", "ephemeral-storage": "1G"})
    second = asking("b", {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1e3"}, {})
    pod = parse(request(main={}, containers=[first, second]))
    assert pod.resources == Resources(cpu=1.5, memory=5 * 2**29, ephemeral_storage=10**9 + 1000)
    assert pod.limits == Resources(cpu=2, ephemeral_storage=10**9)
