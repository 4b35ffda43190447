"""What flashlink does with each field of a pod: honours it, ignores it, or refuses a pod that sets it.

This is the one place of that decision. `flashlink.pods.parse` reads what is honoured and calls `check`, so a field that
is not in a table here is refused too (it is misspelt, or newer than flashlink), and nothing is ever dropped in silence.
`flashlink.pods.tables` says which objects of Kubernetes the tables belong to and makes docs/pods.md of them; tests hold
them against Kubernetes' own list of fields, and each honoured field against the job script that it must change.
Fields as of Kubernetes 1.34: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any

from flashlink.pods.value import Value


class Treatment(Enum):
    """What becomes of a field."""

    HONOURED = "honoured"
    IGNORED = "ignored"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of a field, and why.

    Attributes:
        treatment: See `Treatment`.
        why: For people: what it means for a job; for a refused field why and what to do, as the end of a sentence.
        harmless: Values with which a refused field changes nothing; those that count as not set always are.
    """

    treatment: Treatment
    why: str
    harmless: tuple[Any, ...] = ()


def _honoured(why: str) -> Rule:
    return Rule(Treatment.HONOURED, why)


def _ignored(why: str) -> Rule:
    return Rule(Treatment.IGNORED, why)


def _refused(why: str, *harmless: Any) -> Rule:
    return Rule(Treatment.REFUSED, why, harmless)


_SCHEDULING = _ignored("a matter of the cluster's scheduler, which has chosen the virtual node already")
_IDENTITY = _ignored("a matter of the cluster: a job holds no credentials for it unless they are mounted")
_NETWORK = _ignored("a job has the worker's network")
_ACCOUNT = _ignored("a job runs as the account that the site gives it, never as root")
_SITE = _ignored("a matter of the worker's own policy, which a job can neither loosen nor tighten")
_VOLUME = _refused("a job cannot mount this kind of volume; ask the site for a host path or a claim")

#: Fields of PodSpec.
POD_SPEC: Mapping[str, Rule] = {
    "containers": _honoured("run side by side in one job"),
    "initContainers": _honoured("run before, in order; a failure stops the pod; sidecars go on beside the containers"),
    "volumes": _honoured("those that a container mounts"),
    "restartPolicy": _honoured("with Kubernetes' back-off, in the same job"),
    "activeDeadlineSeconds": _honoured("counted from the start of the job"),
    "terminationGracePeriodSeconds": _honoured("time between SIGTERM and SIGKILL"),
    "securityContext": _honoured("see its own table"),
    "affinity": _SCHEDULING,
    "nodeName": _SCHEDULING,
    "nodeSelector": _SCHEDULING,
    "tolerations": _SCHEDULING,
    "topologySpreadConstraints": _SCHEDULING,
    "schedulerName": _SCHEDULING,
    "schedulingGates": _SCHEDULING,
    "priority": _SCHEDULING,
    "priorityClassName": _SCHEDULING,
    "preemptionPolicy": _SCHEDULING,
    "overhead": _SCHEDULING,
    "runtimeClassName": _SCHEDULING,
    "readinessGates": _SCHEDULING,
    "serviceAccount": _IDENTITY,
    "serviceAccountName": _IDENTITY,
    "automountServiceAccountToken": _IDENTITY,
    "imagePullSecrets": _ignored("images come by the site's own means"),
    "dnsPolicy": _honoured("None takes dnsConfig alone; else the worker's resolver, which knows no cluster names"),
    "dnsConfig": _honoured("lines of /etc/resolv.conf after the worker's"),
    "enableServiceLinks": _NETWORK,
    "hostNetwork": _NETWORK,
    "hostname": _honoured("the containers' own; without it the pod's name; with hostNetwork the worker's"),
    "hostnameOverride": _honoured("as hostname, over which it stands"),
    "subdomain": _ignored("a name in the cluster's DNS, which does not know jobs"),
    "setHostnameAsFQDN": _honoured(
        "changes nothing without a subdomain, as in Kubernetes; with one it is refused, as a job does not know the "
        "cluster's domain: give the whole name in hostnameOverride"
    ),
    "shareProcessNamespace": _ignored("the containers of a job see each other's processes anyhow"),
    "hostUsers": _ACCOUNT,
    "os": _refused("workers run Linux", {"name": "linux"}),
    "hostPID": _refused("a job may not look at other processes of the worker; leave it out"),
    "hostIPC": _refused("a job may not share memory with other processes of the worker; leave it out"),
    "hostAliases": _honoured("lines of /etc/hosts after the worker's"),
    "ephemeralContainers": _refused("containers cannot be added to a job; put them into the pod"),
    "resourceClaims": _refused("devices are asked for as resources, such as nvidia.com/gpu"),
    "resources": _refused("flashlink reads the resources of containers; set them there"),
}

#: Fields of Container, in ``containers`` and in ``initContainers``.
CONTAINER: Mapping[str, Rule] = {
    "name": _honoured("a DNS label; of the container's log, too"),
    "image": _honoured("as the site resolves it; its ENV, ENTRYPOINT, CMD and, of a SIF, WORKDIR; never its USER"),
    "command": _honoured("with $(VAR) expanded"),
    "args": _honoured("with $(VAR) expanded"),
    "workingDir": _honoured("made if the image has it not and its root can be written; else the image's WORKDIR"),
    "env": _honoured("byte for byte; names as a shell takes them"),
    "volumeMounts": _honoured("with subPath, subPathExpr and readOnly"),
    "resources": _honoured("requests and limits of cpu, memory, ephemeral-storage, nvidia.com/gpu, amd.com/gpu"),
    "securityContext": _honoured("see its own table"),
    "envFrom": _refused("arrived unresolved; interLink's virtual kubelet and 'flashlink submit' resolve it"),
    "restartPolicy": _honoured("of this container; an init container with 'Always' is a sidecar"),
    "restartPolicyRules": _honoured("come before the container's restartPolicy"),
    "livenessProbe": _honoured(
        "a failure ends the container, which starts again by its policy; not of init containers"
    ),
    "readinessProbe": _honoured("a container that is not ready is told as waiting; not of init containers"),
    "startupProbe": _honoured("the other probes wait for it; a failure ends the container; not of init containers"),
    "lifecycle": _honoured("not of init containers, but of sidecars"),
    "volumeDevices": _refused("a job cannot use raw block devices; mount a file system"),
    "stdin": _refused("nobody can attach to a job; read from a file"),
    "stdinOnce": _ignored("nobody can attach to a job"),
    "tty": _ignored("output goes to a file"),
    "ports": _honoured("as names for probes and hooks; a job has the worker's network, so none is opened or closed"),
    "imagePullPolicy": _honoured("Never refuses what the site has no copy of; else each job fetches it once"),
    "resizePolicy": _ignored("the resources of a job do not change while it runs"),
    "terminationMessagePath": _honoured(
        "the last 4096 bytes of the file are the message in the status, after flashlink's own words if it ended the "
        "container; below /dev not by a setuid Apptainer"
    ),
    "terminationMessagePolicy": _honoured(
        "'File' or 'FallbackToLogsOnError': of a container that failed and left no file, the last 80 lines of its log, "
        "2048 bytes at most"
    ),
}

#: Fields of Probe.
PROBE: Mapping[str, Rule] = {
    "exec": _honoured("in the container, see its own table"),
    "httpGet": _honoured("see its own table"),
    "tcpSocket": _honoured("see its own table"),
    "grpc": _refused("a job has nothing that speaks gRPC; use exec with a client of the image, or tcpSocket"),
    "initialDelaySeconds": _honoured("from the container's start"),
    "periodSeconds": _honoured("10 if not given"),
    "timeoutSeconds": _honoured("1 if not given; then it has failed"),
    "successThreshold": _honoured("of readiness probes; others have 1"),
    "failureThreshold": _honoured("3 if not given"),
    "terminationGracePeriodSeconds": _honoured("of a container that failed it, in place of the pod's"),
}

#: Fields of Lifecycle.
LIFECYCLE: Mapping[str, Rule] = {
    "postStart": _honoured("when the container has started; a failure ends it, and it starts again by its policy"),
    "preStop": _honoured("before its signal, within its grace; not where it ends by itself"),
    "stopSignal": _honoured("in place of SIGTERM"),
}

#: Fields of LifecycleHandler.
HOOK: Mapping[str, Rule] = {
    "exec": _honoured("in the container, see its own table"),
    "httpGet": _honoured("see its own table"),
    "sleep": _honoured("see its own table"),
    "tcpSocket": _refused("Kubernetes cannot do it either; use exec or httpGet"),
}

#: Fields of ExecAction.
EXEC: Mapping[str, Rule] = {
    "command": _honoured(
        "with the container's environment; $(VAR) is expanded in probes; by nsenter and setpriv (util-linux) on the "
        "worker or by Apptainer 1.2.3, and where there is neither the container is not started"
    ),
}

#: Fields of HTTPGetAction.
HTTP_GET: Mapping[str, Rule] = {
    "port": _honoured("a number, or the name of one of the container's ports"),
    "path": _honoured("with its query"),
    "host": _honoured("the worker itself, 127.0.0.1, if not given"),
    "scheme": _honoured("HTTP, or HTTPS without a look at certificates, which needs curl on the worker"),
    "httpHeaders": _honoured("see its own table"),
}

#: Fields of HTTPHeader.
HTTP_HEADER: Mapping[str, Rule] = {"name": _honoured("over flashlink's own"), "value": _honoured("without line ends")}

#: Fields of TCPSocketAction.
TCP_SOCKET: Mapping[str, Rule] = {"port": HTTP_GET["port"], "host": HTTP_GET["host"]}

#: Fields of SleepAction.
SLEEP: Mapping[str, Rule] = {"seconds": _honoured("no longer than the grace, before an end")}

#: What a probe, and a hook, can do.
PROBE_HANDLERS: Mapping[str, Mapping[str, Rule]] = {"exec": EXEC, "httpGet": HTTP_GET, "tcpSocket": TCP_SOCKET}
HOOK_HANDLERS: Mapping[str, Mapping[str, Rule]] = {"exec": EXEC, "httpGet": HTTP_GET, "sleep": SLEEP}

#: Fields of ContainerPort.
PORT: Mapping[str, Rule] = {
    "name": _honoured("by which probes and hooks call it"),
    "containerPort": _honoured("1 to 65535"),
    "hostPort": _honoured("must be the containerPort, as nothing is mapped"),
    "hostIP": _refused("a program of a job listens where it says itself; leave it out"),
    "protocol": _NETWORK,
}

#: Fields of ContainerRestartRule.
RESTART_RULE: Mapping[str, Rule] = {
    "action": _honoured("'Restart', the only one there is"),
    "exitCodes": _honoured("see its own table"),
}

#: Fields of a restart rule's ``exitCodes``.
EXIT_CODES: Mapping[str, Rule] = {
    "operator": _honoured("'In' or 'NotIn'"),
    "values": _honoured("0 to 255"),
}

#: Fields of PodSecurityContext and of a container's SecurityContext.
SECURITY_CONTEXT: Mapping[str, Rule] = {
    "runAsUser": _honoured("the job's own user, or 0 by a user namespace where the site allows it; others are refused"),
    "runAsGroup": _honoured("the job's own group; others are refused"),
    "runAsNonRoot": _honoured("a job that is root's refuses it"),
    "fsGroup": _ignored("volumes of a job belong to its account, which can write them"),
    "fsGroupChangePolicy": _ignored("volumes of a job belong to its account, which can write them"),
    "supplementalGroups": _ignored("a job has the groups of its account"),
    "supplementalGroupsPolicy": _ignored("a job has the groups of its account"),
    "allowPrivilegeEscalation": _ignored("no process of a job can gain privileges, whatever it says"),
    "readOnlyRootFilesystem": _honoured(
        "else it can write as far as the site's containers.root says; /tmp it always can"
    ),
    "seccompProfile": _SITE,
    "appArmorProfile": _SITE,
    "seLinuxOptions": _SITE,
    "seLinuxChangePolicy": _SITE,
    "capabilities": _honoured("see its own table"),
    "privileged": _refused("no job is privileged; leave it out"),
    "sysctls": _refused("a job cannot change the worker's kernel; leave it out"),
    "procMount": _refused("a job has the site's /proc; leave it out", "Default"),
    "windowsOptions": _refused("workers run Linux"),
}

#: Fields of a security context's ``capabilities``.
CAPABILITIES: Mapping[str, Rule] = {
    "add": _refused("a job cannot be given capabilities; leave it out"),
    "drop": _honoured("a container has none, so it is kept; refused for runAsUser 0, which has all within its walls"),
}

#: Kinds of volumes. An annotation ``cvmfs.vk.io/…`` or ``fuse.vk.io/…`` overrides the kind, whatever it is.
VOLUME: Mapping[str, Rule] = {
    "name": _honoured("by which mounts and annotations call it"),
    "emptyDir": _honoured("a folder of the job, removed at its end"),
    "configMap": _honoured("with items, defaultMode, mode, binaryData, optional"),
    "secret": _honoured("with items, defaultMode, mode, optional"),
    "projected": _honoured("as far as interLink sends its contents"),
    "downwardAPI": _honoured("fields that are known before the pod runs"),
    "hostPath": _honoured("below the folders that the site allows"),
    "persistentVolumeClaim": _honoured("the folder that the site gives for the claim"),
    "awsElasticBlockStore": _VOLUME,
    "azureDisk": _VOLUME,
    "azureFile": _VOLUME,
    "cephfs": _VOLUME,
    "cinder": _VOLUME,
    "csi": _VOLUME,
    "ephemeral": _VOLUME,
    "fc": _VOLUME,
    "flexVolume": _VOLUME,
    "flocker": _VOLUME,
    "gcePersistentDisk": _VOLUME,
    "gitRepo": _VOLUME,
    "glusterfs": _VOLUME,
    "image": _VOLUME,
    "iscsi": _VOLUME,
    "nfs": _VOLUME,
    "photonPersistentDisk": _VOLUME,
    "portworxVolume": _VOLUME,
    "quobyte": _VOLUME,
    "rbd": _VOLUME,
    "scaleIO": _VOLUME,
    "storageos": _VOLUME,
    "vsphereVolume": _VOLUME,
}

_ITEMS = {
    "items": _honoured("these keys alone, at these paths; see its own table"),
    "optional": _honoured("it may be missing, and so may keys"),
    "defaultMode": _honoured("0644 where neither it nor the item says"),
}
_TOKEN = _ignored("a matter of the cluster, which issues the token; interLink sends it under its path")

#: Fields of each kind of volume, and of each source of a projected volume.
VOLUME_SOURCE: Mapping[str, Mapping[str, Rule]] = {
    "emptyDir": {
        "medium": _honoured("'' or 'Memory', which lies in the worker's /dev/shm and counts as memory"),
        "sizeLimit": _honoured("the pod ends when it is exceeded, as when Kubernetes evicts it"),
    },
    "configMap": {"name": _honoured("of the config map, which comes with the pod"), **_ITEMS},
    "secret": {
        "secretName": _honoured("of the secret, which comes with the pod"),
        "name": _honoured("the same in a projected volume"),
        **_ITEMS,
    },
    "projected": {"sources": _honoured("see their own tables"), "defaultMode": _ITEMS["defaultMode"]},
    "downwardAPI": {"items": _honoured("see its own table"), "defaultMode": _ITEMS["defaultMode"]},
    "hostPath": {
        "path": _honoured("below a folder that the site grants, with all links followed"),
        "type": _honoured("all but sockets and devices"),
    },
    "persistentVolumeClaim": {
        "claimName": _honoured("one that the site knows; it need not exist in the cluster"),
        "readOnly": _honoured("as readOnly of each mount"),
    },
    "serviceAccountToken": dict.fromkeys(("audience", "expirationSeconds", "path"), _TOKEN),
}

#: Sources of a projected volume.
PROJECTION: Mapping[str, Rule] = {
    "configMap": _honoured("as the volume"),
    "secret": _honoured("as the volume; interLink sends it as a secret"),
    "downwardAPI": _honoured("as the volume"),
    "serviceAccountToken": _honoured("as interLink sends it; only a cluster can issue a token"),
    "clusterTrustBundle": _refused("a job cannot ask the cluster for certificates; mount a config map"),
    "podCertificate": _refused("a job cannot ask the cluster for certificates; mount a secret"),
}

#: Fields of the entries of ``items``, in config maps and secrets and in the downward API.
ITEM: Mapping[str, Rule] = {
    "key": _honoured("of the config map or secret"),
    "path": _honoured("relative, without '..'"),
    "mode": _honoured("0 to 0777"),
    "fieldRef": _honoured("see its own table"),
    "resourceFieldRef": _honoured("see its own table"),
}

#: Fields of a ``fieldRef``.
FIELD_REF: Mapping[str, Rule] = {
    "fieldPath": _honoured("metadata.name, .namespace, .uid, .labels, .annotations, or one of the last two's keys"),
    "apiVersion": _ignored("there is v1 alone"),
}

#: Fields of a ``resourceFieldRef``.
RESOURCE_FIELD_REF: Mapping[str, Rule] = {
    "resource": _honoured("limits or requests of cpu, memory or ephemeral-storage"),
    "containerName": _honoured("of any container of the pod"),
    "divisor": _honoured("the value is divided by it and rounded up"),
}

#: Fields of a container's ``resources``.
RESOURCES: Mapping[str, Rule] = {
    "requests": _honoured(
        "what the job asks for: the sum over containers and sidecars, or the most of an init container; of memory and "
        "ephemeral-storage the limits where they are more, since a batch system ends what exceeds its request"
    ),
    "limits": _honoured(
        "count as requests where there are none; memory: a container that uses more is killed; ephemeral-storage: the "
        "pod ends; GPUs: the container sees as many of the job's; cpu: none is slowed down, as the job has its cores"
    ),
    "claims": _refused("devices are asked for as resources, such as nvidia.com/gpu"),
}

#: Fields of EnvVar.
VARIABLE: Mapping[str, Rule] = {
    "name": _honoured(
        "of letters, digits and '_'; others are refused, as Apptainer hands variables to a container by a shell, which "
        "knows no such names"
    ),
    "value": _honoured(
        "byte for byte; Apptainer adds its /.singularity.d/libs to LD_LIBRARY_PATH, and takes no empty HOME, PATH or "
        "PS1, which are refused; 128 KiB each, with all arguments 1 MB in Apptainer and 2 MB without"
    ),
    "valueFrom": _refused("arrived unresolved; interLink's virtual kubelet and 'flashlink submit' resolve it"),
}

#: Fields of VolumeMount.
MOUNT: Mapping[str, Rule] = {
    "name": _honoured("of a volume of the pod"),
    "mountPath": _honoured("absolute; no two mounts of a container at the same"),
    "subPath": _honoured(
        "made as a folder if it is missing, but not where a hostPath has a type; never out of the volume"
    ),
    "subPathExpr": _honoured("with $(VAR) expanded"),
    "readOnly": _honoured("the container cannot write; refused for what is mounted by FUSE inside of a container"),
    "recursiveReadOnly": _ignored("read-only mounts are as recursive as the worker's kernel makes them"),
    "mountPropagation": _honoured(
        "every mount is HostToContainer, where the worker shares its mounts as systemd does; Bidirectional is refused, "
        "as mounts made in a container stay in it"
    ),
}

#: Annotations that mean something to a job; others are told by the downward API and mean nothing else.
ANNOTATION: Mapping[str, Rule] = {
    "cvmfs.vk.io/<volume>": _honoured("the volume of that name is this CVMFS repository, read-only"),
    "fuse.vk.io/<volume>": _honoured(
        "the volume of that name is what this script mounts at $MOUNT_POINT, on the worker or inside of the container, "
        "as the site says; a site may refuse it"
    ),
    "slurm-job.vk.io/pre-exec": _honoured(
        "shell lines that run on the worker before the containers, where the site grants it (grants.pre_exec); with "
        "interLink's mesh heredoc, the job runs inside of that network"
    ),
    "interlink.eu/wstunnel-client-commands": _honoured("run before the lines of pre-exec, as these; end with the job"),
    "interlink.eu/pod-ip": _honoured("POD_IP of these lines; the job has the worker's addresses"),
    "interlink.eu/pod-vpn": _ignored("a matter of interLink, which then makes no tunnel"),
    "slurm-job.vk.io/flags": _honoured("options of the batch system, those that the site grants (grants.flags)"),
    "slurm-job.vk.io/flavor": _honoured("which of the site's flavours of jobs it is, where the batch system has any"),
    "slurm-job.vk.io/singularity-options": _honoured(
        "options of apptainer exec for each container, those that the site grants (grants.apptainer_options)"
    ),
    "slurm-job.vk.io/singularity-mounts": _honoured("paths of the worker, as hostPath volumes: those that it may show"),
    "slurm-job.vk.io/image-root": _honoured("stands before image names without transport, in place of images.prefix"),
    "slurm-job.vk.io/mpi-flags": _refused("flashlink starts no MPI; start it in the container's command"),
    "slurm-job.vk.io/singularity-commands": _refused("there are no such commands; use slurm-job.vk.io/pre-exec"),
    "interlink.eu/disable-offload-containers": _honoured("these containers run in the cluster, not in the job"),
    "interlink.eu/disable-offload-init-containers": _honoured("these init containers run in the cluster"),
    "JobID": _honoured("the job id that the create was answered with: by it the job is found again"),
}

#: Fields of HostAlias, PodDNSConfig and its options.
HOST_ALIAS: Mapping[str, Rule] = dict.fromkeys(("ip", "hostnames"), _honoured("a line of /etc/hosts"))
DNS_CONFIG: Mapping[str, Rule] = dict.fromkeys(
    ("nameservers", "searches", "options"), _honoured("lines of /etc/resolv.conf")
)
DNS_OPTION: Mapping[str, Rule] = dict.fromkeys(("name", "value"), _honoured("a line of /etc/resolv.conf"))
#: What interLink sends beside a pod.
CREATE: Mapping[str, Rule] = {
    "jobScript": _honoured(
        "where the site grants it (grants.job_script), it runs on the worker in place of all containers and is told as "
        "each of them; what they would have run and mounted is its own business"
    ),
    "jobConfig": _honoured("see its own table; beside a jobScript it means nothing more, as that was made by it"),
}

#: Keys of interLink's jobConfig, and of the three objects in it. Zero values say nothing.
JOB_CONFIG: Mapping[str, Rule] = {
    "SingularityHubProxy": _honoured("see its own table"),
    "ApptainerOptions": _honoured("see its own table"),
    "Volumes": _honoured("see its own table"),
}
HUB_PROXY: Mapping[str, Rule] = dict.fromkeys(
    ("server", "master_token", "cache_validity_seconds"),
    _refused("this plugin fetches images by the site's own means; leave SingularityHubProxy out"),
)
_EVERY = _ignored("every container runs so")
APPTAINER_OPTIONS: Mapping[str, Rule] = {
    "executable": _honoured("the site's own; another is refused"),
    "fakeroot": _honoured("as runAsUser 0 of every container that says no other"),
    "containall": _honoured("every container runs so; it adds an IPC namespace"),
    "fuseMode": _honoured("what the site does in volumes.fuse; another is refused"),
    "noInit": _honoured("where the site grants --no-init"),
    "noHome": _EVERY,
    "noPrivs": _EVERY,
    "nvidiaSupport": _honoured("where the site grants --nv; containers that ask for a GPU have it anyhow"),
    "cleanenv": _EVERY,
    "unsquash": _honoured("where the site grants --unsquash"),
}
JOB_VOLUMES: Mapping[str, Rule] = {
    "scratch_area": _refused("a job's scratch lies in its own folder, where the site says; leave it out"),
    "apptainer_cachedir": _honoured("the site's images.cache, or a folder below its volumes.host_paths"),
    "image_dir": _refused("images are named by path below the site's images.folders; leave it out"),
    "additional_directories_in_path": _honoured("those that the site has in containers.path; others are refused"),
    "fuse_sleep_seconds": _ignored("a container starts when its mounts answer"),
}

#: Fields of EnvVar before the virtual kubelet, or the client, has resolved it.
UNRESOLVED_VARIABLE: Mapping[str, Rule] = {**VARIABLE, "valueFrom": _honoured("resolved before it is sent")}


def check_source(source: Value, kind: str) -> None:
    """Refuse fields of a volume's `source` of `kind`, or of its items, that are refused or unknown; see `check`."""
    if not source.given:
        return
    if kind not in VOLUME_SOURCE:
        raise source.refuse("no kind of volume that flashlink knows; leave it out")
    check(source, VOLUME_SOURCE[kind], f"{kind} volume")
    for item in source["items"].each():
        check(item, ITEM, "volume item")
        check(item["fieldRef"], FIELD_REF, "fieldRef")
        check(item["resourceFieldRef"], RESOURCE_FIELD_REF, "resourceFieldRef")


def check_annotations(annotations: Value) -> None:
    """Refuse annotations that are refused; those that are unknown are nobody's business.

    Raises:
        RequestError: Names the annotation and says why and what to do.
    """
    for name, annotation in annotations.items():
        rule = ANNOTATION.get(name)
        if rule and rule.treatment is Treatment.REFUSED and annotation:
            raise annotation.refuse(rule.why)


def check(value: Value, rules: Mapping[str, Rule], kind: str) -> None:
    """Refuse fields of `value`, a `kind` as "container", that are refused or unknown.

    Raises:
        RequestError: Names the field and says why and what to do.
    """
    for name, field in value.items():
        rule = rules.get(name)
        if rule is None and field:
            near = get_close_matches(name, rules, n=1)
            advice = f"did you mean {near[0]!r}?" if near else "check the spelling, or leave it out"
            raise field.refuse(f"no field of a {kind} that flashlink knows; {advice}")
        if rule and rule.treatment is Treatment.REFUSED and field and field.raw not in rule.harmless:
            raise field.refuse(rule.why)
