"""Generated create requests, for property tests: every honoured field, with the most hostile values that it may have.

`requests` makes pods that Kubernetes would take, full of what breaks careless quoting; `spoiled` and `with_spoiled` put
something into one place of such a pod that does not belong there. A new field goes into the dictionary of its object;
the test of this module fails as long as a honoured field is never generated.

Values that would run as shell code try to make the file `CANARY`, paths that would lead out of a folder lead to it.
"""

from __future__ import annotations

import copy
import os
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

#: No test may find this file.
CANARY = Path(tempfile.gettempdir(), f"flashlink-canary-{os.getpid()}")

#: What a site of these tests grants: a folder of images, one of data, a claim, CVMFS.
GRANTS = Path(tempfile.gettempdir(), f"flashlink-grants-{os.getpid()}")

Json = dict[str, Any]

_CODE = f">{CANARY}"
PAYLOADS = (
    *(f"$({_CODE})", f"`{_CODE}`", f"; {_CODE};", f"'; {_CODE}; '", f'"; {_CODE}; "', f"\n{_CODE}\n", f"&& {_CODE}"),
    *(f"| tee {CANARY}", f"$'\\n'{_CODE}", f"\\'; {_CODE}; #", f"x=$({_CODE})", f"a[$({_CODE})]=1"),
    *(f"${{x:=$({_CODE})}}", f"}}\n{_CODE}\n{{", f"EOF\n{_CODE}\nEOF\n", f"'\"'\"'; {_CODE}", f"*)\n{_CODE};;esac"),
    *(f"\r\n{_CODE}", f"<({_CODE})", "", " ", "'", '"', "\\", "\\\\", "\\n", "\n", "\n\n", "\t", "$", "$$", "${", "$("),
    *("`", "!", "!!", "#", "~", "*", "?", "-n", "-e", "--", "-", "--help", "%s%n", "$HOME", "${IFS}", "$0", "$*"),
    *("{a,b}", "[a-z]", "a,b", 'a"b"', "=", "a=b", "$(A)", "$$(A)", "$$$(A)", "$(B)$(A)", "$(NO)", "$()", "\\$(A)"),
    *(
        "true",
        "null",
        "\x01\x7f\x1b[2J",
        "\u202e",
        "é",
        "\ufeff",
        "\u2028",
        "e\u0301",
        "x" * 5000,
        "\ud7ff",
        "\U0010ffff",
    ),
)

#: Any text that a process can be given.
texts = (
    st.sampled_from(PAYLOADS)
    | st.lists(st.sampled_from(PAYLOADS[:-6]), max_size=4).map("".join)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12)
)

_labels = st.sampled_from(["a", "0", "a-b", "x--y", "l" * 63, "name", "in", "for"])
# No two test processes share a uid: the job that ends first would end the other, by its mark.
_uids = st.text("abcXYZ019-", max_size=12).map(lambda text: f"u{os.getpid()}{text}")
_quantities = st.sampled_from(["500m", "1", 2, "1.5Gi", "1e3", "100M", "0", "4Ki", 0.25, "12345678"])
_ample = st.sampled_from([10**12, "1e12", "1Ti", "2.5T", "1000G"])
_modes = st.integers(0, 0o777) | st.sampled_from([0o644, 0o400, 0o755, 0])
_bytes = st.binary(max_size=20) | texts.map(str.encode)

#: One name in a path: no slash and no control character, else anything.
_components = st.sampled_from(
    [
        *("a", "b c", "it's", 'a"b', "$HOME", f"$({CANARY.name})", "`id`", "-rf", "--", "a,b", "a\\b", "ψ", "*", "#"),
        *("...", "..a", "a..", ";", "&", "|", "(x)", "{a,b}", "~", "%s", "!", "=", "\u202e", "d" * 200),
    ]
) | st.text(st.characters(exclude_characters="/\x7f:", exclude_categories=("Cs", "Cc")), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..")
)
_relative = st.lists(_components, min_size=1, max_size=3).map("/".join)
_absolute = _relative.map(lambda path: f"/mnt/{path}")

#: Values of a field that has nothing to do with it, and paths that lead elsewhere.
ODDITIES = (
    *(None, True, False, 0, -1, 1, 2**63, 1.5, 1e400, [], {}, [None], {"": None}, [[[]]], {"a": {"b": []}}),
    *("..", "../x", f"../../../../../../..{CANARY}", f"{CANARY}", "a/../../b", "/", "//", ".", "/..", "a/..", "./../x"),
    *(
        "a\0b",
        "\ud800",
        "\0",
        "x" * 70_000,
        "x" * 300,
        "/" + "d/" * 3000,
        "Ä",
        "a b",
        "A_B",
        "kube-api-access-x",
        "1Gi",
    ),
    *PAYLOADS,
)

_oddities = st.sampled_from(ODDITIES)

_images = st.sampled_from(
    [f"{GRANTS}/images/some.sif", "busybox", "docker://quay.io/a/b:c", "a.b:5/c@sha256:0", "alias"]
)
_variables = st.sampled_from(
    [
        *(
            "A",
            "B",
            "HOME",
            "PATH",
            "LD_LIBRARY_PATH",
            "IFS",
            "BASH_ENV",
            "ENV",
            "PS4",
            "SHELLOPTS",
            "name",
            "index",
            "argv",
        ),
        *(
            "env",
            "binds",
            "RANDOM",
            "SECONDS",
            "LC_ALL",
            "POSIXLY_CORRECT",
            "pod_uid",
            "stop",
            "code",
            "BASH",
            "TMPDIR",
            "_x",
        ),
    ]
) | st.text("ABCxyz_019", max_size=8).map(lambda text: f"_{text}")


def _object(required: dict[str, SearchStrategy[Any]], **optional: SearchStrategy[Any]) -> SearchStrategy[Json]:
    """An object with all that is `required`, and each `optional` field or not.

    One number says which of these: `st.fixed_dictionaries` draws twice for each, which is half of what a pod takes.
    """
    chosen = st.integers(0, 2 ** len(optional) - 1)

    @st.composite
    def drawn(draw: st.DrawFn) -> Json:
        bits = draw(chosen) if optional else 0
        fields = required | {key: each for bit, (key, each) in enumerate(optional.items()) if bits >> bit & 1}
        return {key: draw(each) for key, each in fields.items()}

    return drawn()


def _few(entries: SearchStrategy[Any], most: int = 3, **more: Any) -> SearchStrategy[list[Any]]:
    return st.lists(entries, max_size=most, **more)


def _rarely(strategy: SearchStrategy[Any], often: SearchStrategy[Any]) -> SearchStrategy[Any]:
    return st.integers(0, 11).flatmap(lambda number: strategy if number == 7 else often)  # 0 comes more often


# Fields of a container

_resources = _object(
    {},
    requests=_object({}, cpu=_quantities, memory=_quantities, **{"ephemeral-storage": _quantities}),
    limits=_object({}, cpu=_ample, memory=_ample, **{"nvidia.com/gpu": st.sampled_from([0, 1, "2"])}),
)
_security = _object(
    {},
    runAsUser=st.integers(1, 70_000),
    runAsGroup=st.integers(0, 70_000),
    runAsNonRoot=st.booleans(),
    capabilities=_object({}, drop=st.just(["ALL"])),
    readOnlyRootFilesystem=st.booleans(),
    allowPrivilegeEscalation=st.just(False),
)
_policies = st.sampled_from(["Always", "OnFailure", "Never"])
_exit_codes = _object({"operator": st.sampled_from(["In", "NotIn"]), "values": _few(st.integers(0, 255))})
_restart_rule = _object({"action": st.just("Restart"), "exitCodes": _exit_codes})
_variable = _object({"name": _variables}, value=texts)

# Probes and hooks

_port_names = ["web", "a-1"]
_plain_ports = [{"name": name, "containerPort": 80 + number} for number, name in enumerate(_port_names)]
_port_list = st.sampled_from([_plain_ports, [{**port, "hostPort": port["containerPort"]} for port in _plain_ports]])
_port = st.integers(1, 65535) | st.sampled_from([*_port_names, "443"])
_host = st.sampled_from(["", "localhost", "::1", "10.0.0.1", "a.example-1.org"])
_header = _object(
    {"name": st.sampled_from(["A", "X-b", "Host", "!#$%&'*+.^_`|~"])}, value=texts.filter(str.isprintable)
)
_exec = _object({"exec": _object({"command": st.lists(texts, min_size=1, max_size=3)})})
_http = _object(
    {
        "httpGet": _object(
            {"port": _port},
            path=texts,
            host=_host,
            scheme=st.sampled_from(["HTTP", "HTTPS"]),
            httpHeaders=_few(_header, 2),
        )
    }
)
_tcp = _object({"tcpSocket": _object({"port": _port}, host=_host)})
_sleep = _object({"sleep": _object({"seconds": st.integers(0, 9)})})
_asking = _object(
    {},
    initialDelaySeconds=st.integers(0, 9),
    periodSeconds=st.integers(0, 9),
    timeoutSeconds=st.integers(0, 9),
    failureThreshold=st.integers(0, 9),
)
_grace = st.just({}) | _object({"terminationGracePeriodSeconds": st.integers(1, 9)})
_thresholds = st.just({}) | _object({"successThreshold": st.integers(0, 9)})
_ending = st.builds(lambda what, how, end: {**what, **how, **end}, _exec | _http | _tcp, _asking, _grace)
_ready = st.builds(lambda what, how, row: {**what, **how, **row}, _exec | _http | _tcp, _asking, _thresholds)
_hook = _exec | _http | _sleep
_lifecycle = _object(
    {}, postStart=_hook, preStop=_hook, stopSignal=st.sampled_from(["SIGTERM", "SIGUSR1", "SIGRTMIN+3", "SIGKILL"])
)
_probes = _object({}, livenessProbe=_ending, startupProbe=_ending, readinessProbe=_ready, lifecycle=_lifecycle)


# Those that take arguments are made once for each, as making a strategy takes longer than drawing from it.


@cache
def _mount(volumes: tuple[str, ...]) -> SearchStrategy[Json]:
    where = _object(
        {"name": st.sampled_from(volumes), "mountPath": _absolute},
        readOnly=st.booleans(),
        mountPropagation=st.sampled_from(["None", "HostToContainer"]),
    )
    part = st.just({}) | _relative.map(lambda path: {"subPath": path}) | st.just({"subPathExpr": "a/$(PART)"})
    return st.builds(lambda mount, part: {**mount, **part}, where, part)


@cache
def _container(name: str, volumes: tuple[str, ...], *, init: bool = False) -> SearchStrategy[Json]:
    mounts = _few(_mount(volumes), unique_by=lambda mount: mount["mountPath"]) if volumes else st.just([])
    life = st.just({}) | _object({"restartPolicy": _policies}, restartPolicyRules=_few(_restart_rule, 2))
    env = st.builds(lambda few, part: [*few, {"name": "PART", "value": part}], _few(_variable, 4), _relative)
    container = _object(
        {"name": st.just(name), "image": _images, "volumeMounts": mounts, "env": env, "ports": _port_list},
        command=st.lists(texts, min_size=1, max_size=3),
        args=_few(texts, 4),
        workingDir=_absolute,
        resources=_resources,
        securityContext=_security,
        tty=st.booleans(),
        imagePullPolicy=st.sampled_from(["Always", "IfNotPresent"]),
        terminationMessagePath=st.just("/dev/termination-log") | _relative.map(lambda path: f"/said/{path}"),
        terminationMessagePolicy=st.sampled_from(["File", "FallbackToLogsOnError"]),
    )
    return st.builds(
        lambda container, life, probes: {
            **container,
            **life,
            **(probes if not init or life.get("restartPolicy") == "Always" else {}),
        },
        container,
        life,
        st.just({}) | _probes,
    )


# Volumes, and the objects that come beside the pod

_key = _components
_field_ref = _object(
    {
        "fieldPath": st.sampled_from(
            [
                *("metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels", "metadata.annotations"),
                *("metadata.labels['some']", "metadata.annotations['example.org/k']"),
            ]
        )
    },
    apiVersion=st.just("v1"),
)
_resource_ref = _object(
    {"containerName": st.just("c0"), "resource": st.sampled_from(["requests.cpu", "requests.memory"])},
    divisor=st.sampled_from(["1", "1Mi", "500m"]),
)
_told = _object({"path": _relative, "fieldRef": _field_ref}, mode=_modes) | _object(
    {"path": _relative, "resourceFieldRef": _resource_ref}, mode=_modes
)
_items = _few(_object({"key": st.sampled_from(["k0", "k1"]), "path": _relative}, mode=_modes), 2)
_config_map = _object({"name": st.sampled_from(["m0", "gone"]), "optional": st.just(True)}, items=_items)
_downward = _object({"items": _few(_told, 2)})
_projection = (
    _object({"configMap": _config_map})
    | _object({"secret": _object({"name": st.sampled_from(["s0", "gone"]), "optional": st.just(True)}, items=_items)})
    | _object({"downwardAPI": _downward})
)
_token = _object(
    {"serviceAccountToken": _object({"path": st.just("token")}, audience=texts, expirationSeconds=st.just(3600))}
)


def _with_mode(source: SearchStrategy[Json]) -> SearchStrategy[Json]:
    return st.builds(lambda source, more: {**source, **more}, source, _object({}, defaultMode=_modes))


#: Kind of volume to what it may hold; the site of the tests grants all of them.
SOURCES: dict[str, SearchStrategy[Json]] = {
    "emptyDir": _object(
        {}, medium=st.sampled_from(["", "Memory"]), sizeLimit=st.sampled_from(["1Gi", "100M", "1e9", 10**9])
    ),
    "configMap": _with_mode(_config_map),
    "secret": _with_mode(
        _object({"secretName": st.sampled_from(["s0", "gone"]), "optional": st.just(True)}, items=_items)
    ),
    "downwardAPI": _with_mode(_downward),
    "projected": _with_mode(
        _object({"sources": _few(_projection)}) | _object({"sources": st.lists(_token, max_size=1)})
    ),
    "hostPath": _object(
        {"path": st.just(f"{GRANTS}/data")}, type=st.sampled_from(["", "Directory", "DirectoryOrCreate"])
    )
    | _object({"path": _components.map(lambda name: f"{GRANTS}/data/{name}"), "type": st.just("DirectoryOrCreate")}),
    "persistentVolumeClaim": _object({"claimName": st.just("granted")}, readOnly=st.booleans()),
}


_kinds = _few(st.sampled_from(sorted(SOURCES)))


@st.composite
def _volumes(draw: st.DrawFn) -> list[Json]:
    kinds = draw(_kinds)
    return [{"name": f"v-{number}", kind: draw(SOURCES[kind])} for number, kind in enumerate(kinds)]


_coded = _bytes.map(lambda content: b64encode(content).decode())
_binary = st.dictionaries(_key, _coded, max_size=2)
_secret_data = _object({}, k0=_coded, k1=_coded) | _binary
_plain = _object({}, k0=texts, k1=texts) | st.dictionaries(_key, texts, max_size=3)
_projected_data = st.dictionaries(_relative, texts, max_size=2)


@st.composite
def _contents(draw: st.DrawFn, volumes: list[Json]) -> Json:
    """Config maps, secrets and projected maps, as interLink sends them beside a container."""
    maps = [{"metadata": {"name": "m0"}, "data": draw(_plain), "binaryData": draw(_binary)}]
    secrets = [{"metadata": {"name": "s0"}, "data": draw(_secret_data)}]
    sent = [
        {"metadata": {"name": volume["name"]}, "data": draw(_projected_data)}
        for volume in volumes
        if ("downwardAPI" in volume and draw(st.booleans())) or _has_token(volume)
    ]
    return {"configMaps": maps, "secrets": secrets, "projectedvolumemaps": sent, "emptyDirs": None}


def _has_token(volume: Json) -> bool:
    return any("serviceAccountToken" in source for source in volume.get("projected", {}).get("sources", []))


# The pod


@cache
def _annotations(volumes: tuple[str, ...], containers: tuple[str, ...]) -> SearchStrategy[dict[str, str]]:
    plain = st.dictionaries(texts, texts, max_size=2) | _object({}, **{"example.org/k": texts})
    special = st.sampled_from(
        [
            *("slurm-job.vk.io/flags", "slurm-job.vk.io/pre-exec", "slurm-job.vk.io/singularity-options"),
            "slurm-job.vk.io/flavor",
            *("slurm-job.vk.io/singularity-mounts", "slurm-job.vk.io/image-root", "interlink.eu/pod-ip"),
            *("interlink.eu/wstunnel-client-commands", "interlink.eu/pod-vpn", "slurm-job.vk.io/flavor"),
        ]
    )
    meant = st.dictionaries(special, texts, min_size=2, max_size=6)
    away = st.sampled_from(containers[1:] or ("elsewhere",)).map(
        lambda name: {"interlink.eu/disable-offload-containers": name}
    )
    away_init = st.sampled_from(["i0", "i0, i1", "elsewhere"]).map(
        lambda names: {"interlink.eu/disable-offload-init-containers": names}
    )
    kinds = [meant, away, away_init, texts.map(lambda jid: {"JobID": jid})]
    if volumes:
        volume = st.sampled_from(volumes)
        kinds.append(volume.map(lambda name: {f"cvmfs.vk.io/{name}": "lhcb.cern.ch"}))
        kinds.append(st.builds(lambda name, script: {f"fuse.vk.io/{name}": script}, volume, texts))
    return st.one_of(plain, plain, plain, st.one_of(kinds))


_job_config = _object(
    {},
    SingularityHubProxy=_object({}, server=texts, master_token=texts, cache_validity_seconds=st.integers(0, 9)),
    ApptainerOptions=_object({}, executable=texts, fuseMode=texts, cleanenv=st.booleans(), fakeroot=st.booleans()),
    Volumes=_object({}, scratch_area=texts, image_dir=texts, additional_directories_in_path=_few(texts)),
)


def _resolver(policies: list[str], *, fewest_servers: int = 0) -> SearchStrategy[Json]:
    config = _object(
        {"nameservers": _few(st.just("10.0.0.53"), min_size=fewest_servers)},
        searches=_few(_labels),
        options=_few(_object({"name": _labels}, value=_labels)),
    )
    return _object({"dnsPolicy": st.sampled_from(policies), "dnsConfig": config})


_resolvers = (
    st.just({})
    | _object({}, dnsPolicy=st.sampled_from(["ClusterFirst", "Default"]))
    | _resolver(["ClusterFirst", "Default"])
    | _resolver(["None"], fewest_servers=1)
)
_settings = _object(
    {},
    restartPolicy=_policies,
    activeDeadlineSeconds=st.integers(100, 2**31 - 1),
    terminationGracePeriodSeconds=st.integers(0, 100),
    securityContext=_security,
    nodeSelector=st.dictionaries(texts, texts, max_size=1),
    hostname=_labels,
    setHostnameAsFQDN=st.booleans(),
    hostnameOverride=_labels,
    hostAliases=_few(_object({"ip": st.sampled_from(["10.0.0.1", "::1"]), "hostnames": _few(_labels, min_size=1)})),
)
_identity = _object(
    {"name": _labels, "namespace": _labels, "uid": _uids, "labels": _object({}, some=texts, other=texts)}
)
_request = _object({"jobConfig": _rarely(_job_config, st.none()), "jobScript": _rarely(texts, st.just(""))})


@st.composite
def requests(draw: st.DrawFn) -> Json:
    """A create request of a pod that Kubernetes would take, and that a site which grants `GRANTS` mostly runs."""
    volumes = draw(_volumes())
    known = tuple(volume["name"] for volume in volumes)
    names = [f"c{number}" for number in range(draw(st.integers(1, 2)))]
    containers = [draw(_container(name, known)) for name in names]
    inits = [draw(_container(f"i{number}", known, init=True)) for number in range(draw(st.sampled_from([0, 0, 1, 2])))]
    spec = {"containers": containers, "volumes": volumes, **draw(_settings), **draw(_resolvers)}
    if inits:
        spec["initContainers"] = inits
    metadata = {**draw(_identity), "annotations": draw(_annotations(known, tuple(names)))}
    beside = {"name": [*inits, *containers][0]["name"], **draw(_contents(volumes))}
    return {"pod": {"metadata": metadata, "spec": spec}, "container": [beside], **draw(_request)}


@st.composite
def with_spoiled(draw: st.DrawFn) -> tuple[Json, Json]:
    """Such a request, and the same with an oddity in one place of it."""
    request = draw(requests())
    other = copy.deepcopy(request)
    known = list(places(other))
    parent, key = known[draw(st.integers(0, len(known) - 1))]
    parent[key] = draw(_oddities)
    return request, other


def spoiled() -> SearchStrategy[Json]:
    """A request with an oddity in one place of it."""
    return with_spoiled().map(lambda both: both[1])


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON value: the object or list that it is in, and its key there."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in entries:
        yield value, key
        yield from places(below)
