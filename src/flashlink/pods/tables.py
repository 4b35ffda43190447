"""The tables of `flashlink.pods.fields` as objects of Kubernetes' API, and docs/pods.md, which is made of them.

``python -m flashlink.pods.tables > docs/pods.md`` makes it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from flashlink.pods import fields
from flashlink.pods.fields import Rule


@dataclass(frozen=True, slots=True)
class Table:
    """What becomes of the fields of an object.

    Attributes:
        models: The object's names in Kubernetes' API; more than one where objects with nearly the same fields share a
            table.
        rules: Field to rule.
        nested: Of the fields that hold objects, or lists of objects, which have tables too: those tables.
        note: What there is to say about the whole.
    """

    models: tuple[str, ...]
    rules: Mapping[str, Rule]
    nested: Mapping[str, Table] = field(default_factory=dict)
    note: str = ""

    @property
    def title(self) -> str:
        """The names of the object."""
        return ", ".join(self.models)


def _source(kind: str, *models: str, **nested: Table) -> Table:
    return Table(models, fields.VOLUME_SOURCE[kind], nested)


FIELD_REF = Table(("ObjectFieldSelector",), fields.FIELD_REF)
RESOURCE_FIELD_REF = Table(("ResourceFieldSelector",), fields.RESOURCE_FIELD_REF)
ITEM = Table(
    ("KeyToPath", "DownwardAPIVolumeFile"),
    fields.ITEM,
    {"fieldRef": FIELD_REF, "resourceFieldRef": RESOURCE_FIELD_REF},
)
EMPTY_DIR = _source("emptyDir", "EmptyDirVolumeSource")
CONFIG_MAP = _source("configMap", "ConfigMapVolumeSource", "ConfigMapProjection", items=ITEM)
SECRET = _source("secret", "SecretVolumeSource", "SecretProjection", items=ITEM)
DOWNWARD_API = _source("downwardAPI", "DownwardAPIVolumeSource", "DownwardAPIProjection", items=ITEM)
TOKEN = _source("serviceAccountToken", "ServiceAccountTokenProjection")
PROJECTION = Table(
    ("VolumeProjection",),
    fields.PROJECTION,
    {"configMap": CONFIG_MAP, "secret": SECRET, "downwardAPI": DOWNWARD_API, "serviceAccountToken": TOKEN},
)
PROJECTED = _source("projected", "ProjectedVolumeSource", sources=PROJECTION)
HOST_PATH = _source("hostPath", "HostPathVolumeSource")
CLAIM = _source("persistentVolumeClaim", "PersistentVolumeClaimVolumeSource")
VOLUME = Table(
    ("Volume",),
    fields.VOLUME,
    {
        "emptyDir": EMPTY_DIR,
        "configMap": CONFIG_MAP,
        "secret": SECRET,
        "projected": PROJECTED,
        "downwardAPI": DOWNWARD_API,
        "hostPath": HOST_PATH,
        "persistentVolumeClaim": CLAIM,
    },
    note="Only volumes that a container mounts are looked at. An annotation `cvmfs.vk.io/<volume>` or "
    "`fuse.vk.io/<volume>` overrides the kind, whatever it is.",
)
CAPABILITIES = Table(("Capabilities",), fields.CAPABILITIES)
SECURITY_CONTEXT = Table(
    ("PodSecurityContext", "SecurityContext"), fields.SECURITY_CONTEXT, {"capabilities": CAPABILITIES}
)
RESOURCES = Table(("ResourceRequirements",), fields.RESOURCES)
EXIT_CODES = Table(("ContainerRestartRuleOnExitCodes",), fields.EXIT_CODES)
RESTART_RULE = Table(("ContainerRestartRule",), fields.RESTART_RULE, {"exitCodes": EXIT_CODES})
VARIABLE = Table(
    ("EnvVar",), fields.VARIABLE, note="The last of equal names counts. A job also sees `FLASHLINK_POD`, the pod's uid."
)
MOUNT = Table(("VolumeMount",), fields.MOUNT)
PORT = Table(("ContainerPort",), fields.PORT)
EXEC = Table(("ExecAction",), fields.EXEC)
HTTP_HEADER = Table(("HTTPHeader",), fields.HTTP_HEADER)
HTTP_GET = Table(("HTTPGetAction",), fields.HTTP_GET, {"httpHeaders": HTTP_HEADER})
TCP_SOCKET = Table(("TCPSocketAction",), fields.TCP_SOCKET)
SLEEP = Table(("SleepAction",), fields.SLEEP)
PROBE = Table(("Probe",), fields.PROBE, {"exec": EXEC, "httpGet": HTTP_GET, "tcpSocket": TCP_SOCKET})
HOOK = Table(("LifecycleHandler",), fields.HOOK, {"exec": EXEC, "httpGet": HTTP_GET, "sleep": SLEEP})
LIFECYCLE = Table(("Lifecycle",), fields.LIFECYCLE, {"postStart": HOOK, "preStop": HOOK})
HOST_ALIAS = Table(("HostAlias",), fields.HOST_ALIAS)
DNS_OPTION = Table(("PodDNSConfigOption",), fields.DNS_OPTION)
DNS_CONFIG = Table(("PodDNSConfig",), fields.DNS_CONFIG, {"options": DNS_OPTION})
CONTAINER = Table(
    ("Container",),
    fields.CONTAINER,
    {
        "env": VARIABLE,
        "lifecycle": LIFECYCLE,
        "livenessProbe": PROBE,
        "ports": PORT,
        "readinessProbe": PROBE,
        "resources": RESOURCES,
        "restartPolicyRules": RESTART_RULE,
        "securityContext": SECURITY_CONTEXT,
        "startupProbe": PROBE,
        "volumeMounts": MOUNT,
    },
    note="The same for init containers.",
)
POD_SPEC = Table(
    ("PodSpec",),
    fields.POD_SPEC,
    {
        "containers": CONTAINER,
        "dnsConfig": DNS_CONFIG,
        "hostAliases": HOST_ALIAS,
        "initContainers": CONTAINER,
        "securityContext": SECURITY_CONTEXT,
        "volumes": VOLUME,
    },
)

#: All of them, from the outermost to the innermost.
TABLES = (
    *(POD_SPEC, CONTAINER, VARIABLE, MOUNT, RESOURCES, RESTART_RULE, EXIT_CODES, PORT, SECURITY_CONTEXT, CAPABILITIES),
    *(PROBE, LIFECYCLE, HOOK, EXEC, HTTP_GET, HTTP_HEADER, TCP_SOCKET, SLEEP),
    *(VOLUME, EMPTY_DIR, CONFIG_MAP, SECRET, PROJECTED, PROJECTION, TOKEN, DOWNWARD_API, ITEM),
    *(FIELD_REF, RESOURCE_FIELD_REF, HOST_PATH, CLAIM, HOST_ALIAS, DNS_CONFIG, DNS_OPTION),
)

#: Keys of a pod's metadata, which are no fields of Kubernetes.
ANNOTATION = Table(
    ("Annotations and labels",),
    fields.ANNOTATION,
    note="Labels, and all other annotations, are told to containers that ask for them by the downward API, and mean "
    "nothing else to a job.",
)

#: interLink's own words beside a pod.
JOB_CONFIG = (
    Table(("Create request",), fields.CREATE, note="What interLink sends beside the pod and its volumes."),
    Table(("jobConfig",), fields.JOB_CONFIG, note="Zero values say nothing."),
    Table(("jobConfig.SingularityHubProxy",), fields.HUB_PROXY),
    Table(("jobConfig.ApptainerOptions",), fields.APPTAINER_OPTIONS),
    Table(("jobConfig.Volumes",), fields.JOB_VOLUMES),
)

_INTRODUCTION = """\
# What becomes of a pod's fields

<!-- Made by `python -m flashlink.pods.tables`; a test holds it against the code. -->

Every field of a pod that Kubernetes 1.34 knows is **honoured** (the job does what it says), **ignored** (it means
nothing to a job, and the pod runs the same without it) or **refused** (the pod is refused when it is created, in one
line that names the field and says why and what to do). Nothing is dropped in silence: a field that is not listed here
is refused too. A refused field that is not set (null, false, 0, empty) is no matter. A field that holds an object is
honoured as far as the object's own table says.

Fields that the virtual kubelet resolves before a plugin sees them (`envFrom`, `valueFrom`) are refused where they
arrive unresolved; in a manifest they work, in a cluster as with `flashlink submit`.
"""


def markdown() -> str:
    """The text of docs/pods.md."""
    return "\n".join(
        [_INTRODUCTION, *(line for table in (*TABLES, ANNOTATION, *JOB_CONFIG) for line in _section(table))]
    )


def _section(table: Table) -> Iterator[str]:
    yield f"## {table.title}"
    yield ""
    if table.note:
        yield table.note
        yield ""
    yield "| field | | why, or how |"
    yield "|---|---|---|"
    for name, rule in table.rules.items():
        yield f"| `{name}` | {rule.treatment.value} | {_cell(rule)} |"
    yield ""


def _cell(rule: Rule) -> str:
    harmless = f" ({', '.join(f'`{value!r}`' for value in rule.harmless)} may stay)" if rule.harmless else ""
    return (rule.why + harmless).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(markdown())
