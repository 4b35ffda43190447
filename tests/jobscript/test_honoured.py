"""No field is honoured on paper only: setting it changes the job script, or the pod is refused by the field's name."""

from __future__ import annotations

import copy
import json
from base64 import b64encode
from pathlib import PurePosixPath
from typing import Any

import pytest

from flashlink.errors import FlashlinkError
from flashlink.jobscript.planning import plan
from flashlink.jobscript.script import render
from flashlink.pods.fields import Treatment
from flashlink.pods.parse import parse_create
from flashlink.pods.tables import ANNOTATION, JOB_CONFIG, TABLES
from flashlink.site.config import Containers, Grants, Site, Volumes

SITE = Site(
    containers=Containers(runtime="apptainer", executable="/usr/bin/apptainer", fakeroot=True),
    volumes=Volumes(
        host_paths=["/data"], claims={"one": "/claims/one", "two": "/claims/two"}, cvmfs="/cvmfs", fuse="host"
    ),
    grants=Grants(pre_exec=True, job_script=True, apptainer_options=["--nv", "--no-init", "--unsquash"]),
)

ASKED_OF_MAIN = {"containerName": "main", "resource": "limits.cpu"}

VOLUMES = [
    {"name": "empty", "emptyDir": {}},
    {"name": "conf", "configMap": {"name": "c1"}},
    {"name": "secret", "secret": {"secretName": "s1"}},
    {"name": "down", "downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    {"name": "asked", "downwardAPI": {"items": [{"path": "c", "resourceFieldRef": {**ASKED_OF_MAIN}}]}},
    {"name": "proj", "projected": {"sources": [{"secret": {"name": "s1"}}]}},
    {"name": "host", "hostPath": {"path": "/data/a"}},
    {"name": "claim", "persistentVolumeClaim": {"claimName": "one"}},
]

POD: dict[str, Any] = {
    "pod": {
        "metadata": {"name": "demo", "namespace": "default", "uid": "0-1", "annotations": {}, "labels": {}},
        "spec": {
            "initContainers": [{"name": "init", "image": "i", "resources": {"limits": {"cpu": 1}}}],
            "containers": [
                {
                    "name": "main",
                    "image": "i",
                    "env": [{"name": "A", "value": "1"}],
                    "resources": {"limits": {"cpu": 7}},
                    "volumeMounts": [{"name": each["name"], "mountPath": f"/v/{each['name']}"} for each in VOLUMES],
                }
            ],
            "volumes": VOLUMES,
        },
    },
    "container": [
        {
            "configMaps": [{"metadata": {"name": name}, "data": {"k": name}} for name in ("c1", "c2")],
            "secrets": [
                {"metadata": {"name": name}, "data": {"k": b64encode(name.encode()).decode()}} for name in ("s1", "s2")
            ],
        }
    ],
}

MAIN = "pod.spec.containers.0"
MOUNT = f"{MAIN}.volumeMounts.0"
CONF, SECRET, DOWN, ASKED, PROJ = (f"pod.spec.volumes.{index}" for index in range(1, 6))
SOURCE = f"{PROJ}.projected.sources.0"
REF = f"{ASKED}.downwardAPI.items.0.resourceFieldRef"
MISSING = {"name": "missing"}
PROBE, HOOK = f"{MAIN}.livenessProbe", f"{MAIN}.lifecycle.preStop"
HTTP: dict[str, Any] = {"httpGet": {"port": 80}}
HEADERS = f"{PROBE}.httpGet.httpHeaders"
PORT = {"name": "web", "containerPort": 80}
NAMED_PORT = {f"{MAIN}.ports": [PORT], PROBE: {"tcpSocket": {"port": "web"}}}
PAUSE = {"sleep": {"seconds": 1}}
RULES = f"{MAIN}.restartPolicyRules"
RULE = {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
WITH_RULE = {f"{MAIN}.restartPolicy": "Never", RULES: [RULE]}

#: Object and field to what sets it, and to what else the pod must have before. A path is made of keys and indices; the
#: index after a list's last appends.
CASES: dict[tuple[str, str], tuple[dict[str, Any], dict[str, Any]]] = {
    ("PodSpec", "containers"): ({"pod.spec.containers.1": {"name": "b", "image": "i"}}, {}),
    ("PodSpec", "initContainers"): ({"pod.spec.initContainers.1": {"name": "b", "image": "i"}}, {}),
    ("PodSpec", "volumes"): ({"pod.spec.volumes.0": {"name": "empty", "hostPath": {"path": "/data"}}}, {}),
    ("PodSpec", "restartPolicy"): ({"pod.spec.restartPolicy": "Never"}, {}),
    ("PodSpec", "activeDeadlineSeconds"): ({"pod.spec.activeDeadlineSeconds": 9}, {}),
    ("PodSpec", "terminationGracePeriodSeconds"): ({"pod.spec.terminationGracePeriodSeconds": 9}, {}),
    ("PodSpec", "securityContext"): ({"pod.spec.securityContext": {"runAsUser": 7}}, {}),
    ("Container", "name"): ({f"{MAIN}.name": "other"}, {}),
    ("Container", "image"): ({f"{MAIN}.image": "other"}, {}),
    ("Container", "command"): ({f"{MAIN}.command": ["echo", "$(A)"]}, {}),
    ("Container", "args"): ({f"{MAIN}.args": ["$(A)"]}, {}),
    ("Container", "workingDir"): ({f"{MAIN}.workingDir": "/srv"}, {}),
    ("Container", "env"): ({f"{MAIN}.env": [{"name": "B"}]}, {}),
    ("Container", "volumeMounts"): ({f"{MAIN}.volumeMounts": []}, {}),
    ("Container", "resources"): ({f"{MAIN}.resources": {"limits": {"cpu": 3}}}, {}),
    ("Container", "imagePullPolicy"): ({f"{MAIN}.imagePullPolicy": "Never"}, {}),
    ("Container", "securityContext"): ({f"{MAIN}.securityContext": {"runAsUser": 7}}, {}),
    ("Container", "restartPolicy"): ({"pod.spec.initContainers.0.restartPolicy": "Always"}, {}),
    ("Container", "restartPolicyRules"): ({f"{MAIN}.restartPolicyRules": [RULE]}, {f"{MAIN}.restartPolicy": "Never"}),
    ("ContainerRestartRule", "action"): ({f"{RULES}.0.action": "Stop"}, WITH_RULE),
    ("ContainerRestartRule", "exitCodes"): ({f"{RULES}.0.exitCodes": {"operator": "In", "values": [9]}}, WITH_RULE),
    ("ContainerRestartRuleOnExitCodes", "operator"): ({f"{RULES}.0.exitCodes.operator": "NotIn"}, WITH_RULE),
    ("ContainerRestartRuleOnExitCodes", "values"): ({f"{RULES}.0.exitCodes.values": [1, 2]}, WITH_RULE),
    ("Container", "livenessProbe"): ({f"{MAIN}.livenessProbe": HTTP}, {}),
    ("Container", "readinessProbe"): ({f"{MAIN}.readinessProbe": HTTP}, {}),
    ("Container", "startupProbe"): ({f"{MAIN}.startupProbe": HTTP}, {}),
    ("Container", "lifecycle"): ({f"{MAIN}.lifecycle": {"stopSignal": "SIGUSR1"}}, {}),
    ("Container", "ports"): ({f"{MAIN}.ports": []}, NAMED_PORT),
    ("ContainerPort", "name"): ({f"{MAIN}.ports.0.name": "other"}, NAMED_PORT),
    ("ContainerPort", "containerPort"): (
        {f"{MAIN}.ports.0.containerPort": 81},
        NAMED_PORT,
    ),
    ("Probe", "exec"): ({f"{PROBE}.exec.command": ["false"]}, {PROBE: {"exec": {"command": ["true"]}}}),
    ("Probe", "httpGet"): ({f"{PROBE}": HTTP}, {PROBE: {"tcpSocket": {"port": 80}}}),
    ("Probe", "tcpSocket"): ({f"{PROBE}": {"tcpSocket": {"port": 80}}}, {PROBE: HTTP}),
    ("Probe", "initialDelaySeconds"): ({f"{PROBE}.initialDelaySeconds": 9}, {PROBE: HTTP}),
    ("Probe", "periodSeconds"): ({f"{PROBE}.periodSeconds": 9}, {PROBE: HTTP}),
    ("Probe", "timeoutSeconds"): ({f"{PROBE}.timeoutSeconds": 9}, {PROBE: HTTP}),
    ("Probe", "successThreshold"): (
        {f"{MAIN}.readinessProbe.successThreshold": 9},
        {f"{MAIN}.readinessProbe": HTTP},
    ),
    ("Probe", "failureThreshold"): ({f"{PROBE}.failureThreshold": 9}, {PROBE: HTTP}),
    ("Probe", "terminationGracePeriodSeconds"): ({f"{PROBE}.terminationGracePeriodSeconds": 9}, {PROBE: HTTP}),
    ("Lifecycle", "postStart"): ({f"{MAIN}.lifecycle": {"postStart": PAUSE}}, {}),
    ("Lifecycle", "preStop"): ({f"{MAIN}.lifecycle": {"preStop": PAUSE}}, {}),
    ("Lifecycle", "stopSignal"): ({f"{MAIN}.lifecycle": {"stopSignal": "SIGUSR1"}}, {}),
    ("LifecycleHandler", "exec"): ({HOOK: {"exec": {"command": ["true"]}}}, {HOOK: PAUSE}),
    ("LifecycleHandler", "httpGet"): ({HOOK: HTTP}, {HOOK: PAUSE}),
    ("LifecycleHandler", "sleep"): ({HOOK: PAUSE}, {HOOK: HTTP}),
    ("ExecAction", "command"): ({f"{PROBE}.exec.command": ["$(A)"]}, {PROBE: {"exec": {"command": ["true"]}}}),
    ("HTTPGetAction", "port"): ({f"{PROBE}.httpGet.port": 81}, {PROBE: HTTP}),
    ("HTTPGetAction", "path"): ({f"{PROBE}.httpGet.path": "/x?y"}, {PROBE: HTTP}),
    ("HTTPGetAction", "host"): ({f"{PROBE}.httpGet.host": "localhost"}, {PROBE: HTTP}),
    ("HTTPGetAction", "scheme"): ({f"{PROBE}.httpGet.scheme": "HTTPS"}, {PROBE: HTTP}),
    ("HTTPGetAction", "httpHeaders"): ({HEADERS: [{"name": "A", "value": "b"}]}, {PROBE: HTTP}),
    ("HTTPHeader", "name"): ({f"{HEADERS}.0.name": "B"}, {PROBE: HTTP, HEADERS: [{"name": "A", "value": "b"}]}),
    ("HTTPHeader", "value"): ({f"{HEADERS}.0.value": "c"}, {PROBE: HTTP, HEADERS: [{"name": "A", "value": "b"}]}),
    ("TCPSocketAction", "port"): ({f"{PROBE}.tcpSocket.port": 81}, {PROBE: {"tcpSocket": {"port": 80}}}),
    ("TCPSocketAction", "host"): ({f"{PROBE}.tcpSocket.host": "::1"}, {PROBE: {"tcpSocket": {"port": 80}}}),
    ("SleepAction", "seconds"): ({f"{HOOK}.sleep.seconds": 2}, {HOOK: PAUSE}),
    ("EnvVar", "name"): ({f"{MAIN}.env.0.name": "B"}, {}),
    ("EnvVar", "value"): ({f"{MAIN}.env.0.value": "2"}, {}),
    ("VolumeMount", "name"): ({f"{MOUNT}.name": "host"}, {}),
    ("VolumeMount", "mountPath"): ({f"{MOUNT}.mountPath": "/elsewhere"}, {}),
    ("VolumeMount", "subPath"): ({f"{MOUNT}.subPath": "part"}, {}),
    ("VolumeMount", "subPathExpr"): ({f"{MOUNT}.subPathExpr": "$(A)"}, {}),
    ("VolumeMount", "mountPropagation"): ({f"{MOUNT}.mountPropagation": "Bidirectional"}, {}),
    ("VolumeMount", "readOnly"): ({f"{MOUNT}.readOnly": True}, {}),
    ("ResourceRequirements", "requests"): ({f"{MAIN}.resources.requests": {"cpu": 2}}, {}),
    ("ResourceRequirements", "limits"): ({f"{MAIN}.resources.limits.cpu": 9}, {}),
    ("PodSecurityContext, SecurityContext", "runAsUser"): ({f"{MAIN}.securityContext": {"runAsUser": 7}}, {}),
    ("PodSecurityContext, SecurityContext", "runAsGroup"): ({f"{MAIN}.securityContext": {"runAsGroup": 7}}, {}),
    ("PodSecurityContext, SecurityContext", "runAsNonRoot"): ({f"{MAIN}.securityContext": {"runAsNonRoot": True}}, {}),
    ("PodSecurityContext, SecurityContext", "readOnlyRootFilesystem"): (
        {f"{MAIN}.securityContext": {"readOnlyRootFilesystem": True}},
        {},
    ),
    ("PodSecurityContext, SecurityContext", "capabilities"): (
        {f"{MAIN}.securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}},
        {},
    ),
    ("Capabilities", "drop"): (
        {f"{MAIN}.securityContext.capabilities": {"drop": ["ALL"]}},
        {f"{MAIN}.securityContext": {"runAsUser": 0}},
    ),
    ("Volume", "name"): ({"pod.spec.volumes.0.name": "other", f"{MOUNT}.name": "other"}, {}),
    ("Volume", "emptyDir"): ({f"{CONF}": {"name": "conf", "emptyDir": {}}}, {}),
    ("Volume", "configMap"): ({SECRET: {"name": "secret", "configMap": {"name": "c1"}}}, {}),
    ("Volume", "secret"): ({CONF: {"name": "conf", "secret": {"secretName": "s1"}}}, {}),
    ("Volume", "projected"): ({CONF: {"name": "conf", "projected": {"sources": []}}}, {}),
    ("Volume", "downwardAPI"): ({CONF: {"name": "conf", "downwardAPI": {}}}, {}),
    ("Volume", "hostPath"): ({CONF: {"name": "conf", "hostPath": {"path": "/data"}}}, {}),
    ("Volume", "persistentVolumeClaim"): (
        {CONF: {"name": "conf", "persistentVolumeClaim": {"claimName": "two"}}},
        {},
    ),
    ("EmptyDirVolumeSource", "medium"): ({"pod.spec.volumes.0.emptyDir.medium": "Memory"}, {}),
    ("EmptyDirVolumeSource", "sizeLimit"): ({"pod.spec.volumes.0.emptyDir.sizeLimit": "1Mi"}, {}),
    ("ConfigMapVolumeSource, ConfigMapProjection", "name"): ({f"{CONF}.configMap.name": "c2"}, {}),
    ("ConfigMapVolumeSource, ConfigMapProjection", "items"): (
        {f"{CONF}.configMap.items": [{"key": "k", "path": "a/b"}]},
        {},
    ),
    ("ConfigMapVolumeSource, ConfigMapProjection", "optional"): (
        {f"{CONF}.configMap.optional": True},
        {f"{CONF}.configMap": MISSING},
    ),
    ("ConfigMapVolumeSource, ConfigMapProjection", "defaultMode"): ({f"{CONF}.configMap.defaultMode": 0o400}, {}),
    ("SecretVolumeSource, SecretProjection", "secretName"): ({f"{SECRET}.secret.secretName": "s2"}, {}),
    ("SecretVolumeSource, SecretProjection", "name"): ({f"{SOURCE}.secret.name": "s2"}, {}),
    ("SecretVolumeSource, SecretProjection", "items"): (
        {f"{SECRET}.secret.items": [{"key": "k", "path": "a/b"}]},
        {},
    ),
    ("SecretVolumeSource, SecretProjection", "optional"): (
        {f"{SECRET}.secret.optional": True},
        {f"{SECRET}.secret.secretName": "missing"},
    ),
    ("SecretVolumeSource, SecretProjection", "defaultMode"): ({f"{SECRET}.secret.defaultMode": 0o400}, {}),
    ("ProjectedVolumeSource", "sources"): ({f"{PROJ}.projected.sources": []}, {}),
    ("ProjectedVolumeSource", "defaultMode"): ({f"{PROJ}.projected.defaultMode": 0o400}, {}),
    ("VolumeProjection", "configMap"): ({SOURCE: {"configMap": MISSING}}, {}),
    ("VolumeProjection", "secret"): ({SOURCE: {"secret": {"name": "s2"}}}, {}),
    ("VolumeProjection", "downwardAPI"): ({SOURCE: {"downwardAPI": {}}}, {}),
    ("VolumeProjection", "serviceAccountToken"): ({SOURCE: {"serviceAccountToken": {"path": "token"}}}, {}),
    ("DownwardAPIVolumeSource, DownwardAPIProjection", "items"): ({f"{DOWN}.downwardAPI.items": []}, {}),
    ("DownwardAPIVolumeSource, DownwardAPIProjection", "defaultMode"): (
        {f"{DOWN}.downwardAPI.defaultMode": 0o400},
        {},
    ),
    ("KeyToPath, DownwardAPIVolumeFile", "key"): (
        {f"{CONF}.configMap.items.0.key": "no"},
        {f"{CONF}.configMap.items": [{"key": "k", "path": "a"}]},
    ),
    ("KeyToPath, DownwardAPIVolumeFile", "path"): ({f"{DOWN}.downwardAPI.items.0.path": "other"}, {}),
    ("KeyToPath, DownwardAPIVolumeFile", "mode"): ({f"{DOWN}.downwardAPI.items.0.mode": 0o400}, {}),
    ("KeyToPath, DownwardAPIVolumeFile", "fieldRef"): (
        {f"{DOWN}.downwardAPI.items.0.fieldRef": {"fieldPath": "metadata.uid"}},
        {},
    ),
    ("KeyToPath, DownwardAPIVolumeFile", "resourceFieldRef"): (
        {REF: {"containerName": "main", "resource": "requests.memory"}},
        {},
    ),
    ("ObjectFieldSelector", "fieldPath"): ({f"{DOWN}.downwardAPI.items.0.fieldRef.fieldPath": "metadata.uid"}, {}),
    ("ResourceFieldSelector", "resource"): ({f"{REF}.resource": "requests.memory"}, {}),
    ("ResourceFieldSelector", "containerName"): ({f"{REF}.containerName": "init"}, {}),
    ("ResourceFieldSelector", "divisor"): ({f"{REF}.divisor": 2}, {}),
    ("HostPathVolumeSource", "path"): ({"pod.spec.volumes.6.hostPath.path": "/data/b"}, {}),
    ("HostPathVolumeSource", "type"): ({"pod.spec.volumes.6.hostPath.type": "File"}, {}),
    ("PersistentVolumeClaimVolumeSource", "claimName"): (
        {"pod.spec.volumes.7.persistentVolumeClaim.claimName": "two"},
        {},
    ),
    ("PersistentVolumeClaimVolumeSource", "readOnly"): (
        {"pod.spec.volumes.7.persistentVolumeClaim.readOnly": True},
        {},
    ),
    ("Annotations and labels", "cvmfs.vk.io/<volume>"): (
        {"pod.metadata.annotations": {"cvmfs.vk.io/empty": "lhcb.cern.ch"}},
        {},
    ),
    ("Annotations and labels", "fuse.vk.io/<volume>"): (
        {"pod.metadata.annotations": {"fuse.vk.io/empty": "rclone mount2 x: $MOUNT_POINT"}},
        {},
    ),
    ("Annotations and labels", "slurm-job.vk.io/pre-exec"): (
        {"pod.metadata.annotations": {"slurm-job.vk.io/pre-exec": "module load apptainer"}},
        {},
    ),
    ("Annotations and labels", "interlink.eu/wstunnel-client-commands"): (
        {"pod.metadata.annotations": {"interlink.eu/wstunnel-client-commands": "./wstunnel &"}},
        {},
    ),
    ("Annotations and labels", "interlink.eu/pod-ip"): (
        {"pod.metadata.annotations": {"slurm-job.vk.io/pre-exec": "true", "interlink.eu/pod-ip": "10.0.0.1"}},
        {"pod.metadata.annotations": {"slurm-job.vk.io/pre-exec": "true"}},
    ),
    ("Annotations and labels", "slurm-job.vk.io/flags"): (
        {"pod.metadata.annotations": {"slurm-job.vk.io/flags": "--constraint=x"}},
        {},
    ),
    ("Annotations and labels", "slurm-job.vk.io/flavor"): (
        {"pod.metadata.annotations": {"slurm-job.vk.io/flavor": "gpu"}},
        {},
    ),
    ("Annotations and labels", "slurm-job.vk.io/singularity-options"): (
        {"pod.metadata.annotations": {"slurm-job.vk.io/singularity-options": "--nv"}},
        {},
    ),
    ("Annotations and labels", "slurm-job.vk.io/singularity-mounts"): (
        {"pod.metadata.annotations": {"slurm-job.vk.io/singularity-mounts": "--bind /data/b:/b"}},
        {},
    ),
    ("Annotations and labels", "slurm-job.vk.io/image-root"): (
        {"pod.metadata.annotations": {"slurm-job.vk.io/image-root": "oras://registry.org/"}},
        {},
    ),
    ("Annotations and labels", "interlink.eu/disable-offload-containers"): (
        {"pod.metadata.annotations": {"interlink.eu/disable-offload-containers": "main"}},
        {"pod.spec.containers.1": {"name": "b", "image": "i"}},
    ),
    ("Annotations and labels", "interlink.eu/disable-offload-init-containers"): (
        {"pod.metadata.annotations": {"interlink.eu/disable-offload-init-containers": "init"}},
        {},
    ),
}

DNS = {"nameservers": ["10.0.0.53"], "searches": ["a.org"], "options": [{"name": "ndots", "value": "1"}]}
CASES |= {
    ("PodSpec", "hostname"): ({"pod.spec.hostname": "me"}, {}),
    ("PodSpec", "setHostnameAsFQDN"): ({"pod.spec.setHostnameAsFQDN": True}, {"pod.spec.subdomain": "sub"}),
    ("PodSpec", "hostnameOverride"): ({"pod.spec.hostnameOverride": "me.a.org"}, {}),
    ("PodSpec", "hostAliases"): ({"pod.spec.hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}]}, {}),
    ("PodSpec", "dnsConfig"): ({"pod.spec.dnsConfig": DNS}, {}),
    ("PodSpec", "dnsPolicy"): ({"pod.spec.dnsPolicy": "None"}, {"pod.spec.dnsConfig": DNS}),
    ("ContainerPort", "hostPort"): ({f"{MAIN}.ports": [{"containerPort": 80, "hostPort": 81}]}, {}),
    ("HostAlias", "ip"): (
        {"pod.spec.hostAliases.0.ip": "10.0.0.2"},
        {"pod.spec.hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}]},
    ),
    ("HostAlias", "hostnames"): (
        {"pod.spec.hostAliases.0.hostnames": ["b"]},
        {"pod.spec.hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}]},
    ),
    ("PodDNSConfig", "nameservers"): ({"pod.spec.dnsConfig.nameservers": []}, {"pod.spec.dnsConfig": DNS}),
    ("PodDNSConfig", "searches"): ({"pod.spec.dnsConfig.searches": []}, {"pod.spec.dnsConfig": DNS}),
    ("PodDNSConfig", "options"): ({"pod.spec.dnsConfig.options": []}, {"pod.spec.dnsConfig": DNS}),
    ("PodDNSConfigOption", "name"): ({"pod.spec.dnsConfig.options.0.name": "x"}, {"pod.spec.dnsConfig": DNS}),
    ("PodDNSConfigOption", "value"): ({"pod.spec.dnsConfig.options.0.value": "2"}, {"pod.spec.dnsConfig": DNS}),
}

APPTAINER = "jobConfig.ApptainerOptions"
CASES |= {
    ("Container", "terminationMessagePath"): ({f"{MAIN}.terminationMessagePath": "/tmp/said"}, {}),
    ("Container", "terminationMessagePolicy"): ({f"{MAIN}.terminationMessagePolicy": "FallbackToLogsOnError"}, {}),
    ("Create request", "jobScript"): ({"jobScript": "echo"}, {}),
    ("Create request", "jobConfig"): ({"jobConfig": {"ApptainerOptions": {"containall": True}}}, {}),
    ("jobConfig", "SingularityHubProxy"): ({"jobConfig.SingularityHubProxy": {"server": "hub"}}, {}),
    ("jobConfig", "ApptainerOptions"): ({APPTAINER: {"containall": True}}, {}),
    ("jobConfig", "Volumes"): ({"jobConfig.Volumes": {"image_dir": "/images"}}, {}),
    (APPTAINER, "executable"): ({f"{APPTAINER}.executable": "podman"}, {}),
    (APPTAINER, "fakeroot"): ({f"{APPTAINER}.fakeroot": True}, {}),
    (APPTAINER, "containall"): ({f"{APPTAINER}.containall": True}, {}),
    (APPTAINER, "fuseMode"): ({f"{APPTAINER}.fuseMode": "container"}, {}),
    (APPTAINER, "noInit"): ({f"{APPTAINER}.noInit": True}, {}),
    (APPTAINER, "nvidiaSupport"): ({f"{APPTAINER}.nvidiaSupport": True}, {}),
    (APPTAINER, "unsquash"): ({f"{APPTAINER}.unsquash": True}, {}),
    ("jobConfig.Volumes", "apptainer_cachedir"): ({"jobConfig.Volumes.apptainer_cachedir": "/data/cache"}, {}),
    ("jobConfig.Volumes", "additional_directories_in_path"): (
        {"jobConfig.Volumes": {"additional_directories_in_path": ["/opt/bin"]}},
        {},
    ),
}

#: Of what becomes of these no script tells: tests of the plugin's contract do.
ELSEWHERE = {("Annotations and labels", "JobID"): "test_restarts.py: the books are lost, jobs are adopted by it"}


def honoured() -> set[tuple[str, str]]:
    return {
        (table.title, name)
        for table in (*TABLES, ANNOTATION, *JOB_CONFIG)
        for name, rule in table.rules.items()
        if rule.treatment is Treatment.HONOURED
    }


def with_changes(request: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(request)
    for path, value in changes.items():
        *parents, last = path.split(".")
        place: Any = changed
        for key in parents:
            place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
        if isinstance(place, list):
            place[int(last) : int(last) + 1] = [value]
        else:
            place[last] = value
    return changed


def outcome(request: dict[str, Any]) -> tuple[str, object]:
    """The script of a pod and what is asked of the batch system, or why it is refused."""
    try:
        decided = plan(parse_create(json.dumps(request).encode()), SITE, PurePosixPath("/pods/0-1"))
    except FlashlinkError as error:
        return "refused", str(error)
    return render(decided), (decided.resources, decided.walltime, decided.options)


def test_every_honoured_field_has_a_case() -> None:
    assert set(CASES) | set(ELSEWHERE) == honoured()


@pytest.mark.parametrize("case", CASES, ids=".".join)
def test_a_honoured_field_changes_the_job(case: tuple[str, str]) -> None:
    setting, before = CASES[case]
    base = with_changes(POD, before)
    without, with_it = outcome(base), outcome(with_changes(base, setting))
    assert with_it != without
    if with_it[0] == "refused":
        assert any(key in str(with_it[1]) for key in (case[1], *setting)), with_it[1]
    elif without[0] == "refused":
        assert case[1] == "optional", without[1]


def test_the_pod_that_is_changed_is_a_good_one() -> None:
    assert outcome(POD)[0] != "refused", outcome(POD)[1]
