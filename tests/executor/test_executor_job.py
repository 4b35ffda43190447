"""The pod of a Snakemake job, and its fingerprint."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashlink.pods.expand import expand
from snakemake_executor_plugin_interlink.job import JobSpec, digest, outermost, pod_name, public, request

GOLDEN = Path(__file__).parent / "golden"
UID = "0f8fad5b-d9cb-469f-a165-70867728950e"

PLAIN = JobSpec(name="simulate", command="exec true", working_dir="/data/results", image="flashlink", site="local")
FULL = JobSpec(
    name="Train_GAN",
    command="python3 -m snakemake --target-jobs 'a:b=$(HOME)' && echo $$ $HOME",
    working_dir="/data/results",
    image="docker://registry/flashlink:1",
    site="slurm",
    environment={"TOKEN": "it's $(secret)"},
    mounts=("/data", "/home/lb"),
    namespace="lhcb",
    cpus=4,
    memory_mb=8000,
    disk_mb=500,
    gpus={"nvidia.com/gpu": 1, "amd.com/gpu": 0},
    deadline=3600,
    grace=20,
)


@pytest.mark.parametrize(("name", "spec"), [("plain", PLAIN), ("full", FULL)])
def test_the_pod_is_as_it_always_was(name: str, spec: JobSpec) -> None:
    """A change here is a change for every site; say so in CHANGELOG.md."""
    sent = request(spec, UID)
    assert sent.container == [{"name": "snakemake"}]
    assert sent.pod == json.loads((GOLDEN / f"{name}.json").read_text())


def test_flashlink_reads_the_pod_as_it_was_meant() -> None:
    import msgspec

    from flashlink.pods.parse import parse_create
    from flashlink.pods.pod import HostPath

    pod = parse_create(msgspec.json.encode(request(FULL, UID)))
    (container,) = pod.containers
    assert container.command == ("/bin/sh", "-c", FULL.command)
    assert container.env["TOKEN"] == "it's $(secret)"
    assert container.env["FLASHLINK_SITE"] == "slurm"
    assert container.env["FLASHLINK_POD_NAME"] == pod.name
    assert container.working_dir == FULL.working_dir
    assert [(mount.path, pod.volumes[mount.volume].path) for mount in container.mounts] == [
        ("/data", "/data"),
        ("/home/lb", "/home/lb"),
    ]
    assert all(isinstance(volume, HostPath) for volume in pod.volumes.values())
    assert (pod.resources.cpu, pod.resources.memory, pod.resources.gpu) == (4, 8_000_000_000, 1)
    assert (pod.restart_policy, pod.deadline, pod.grace) == ("Never", 3600, 20)


@given(st.text(alphabet="$(){}a HOME", max_size=40))
def test_no_command_is_changed_by_the_expansion_of_kubernetes(text: str) -> None:
    sent = request(replace(PLAIN, command=text), UID).pod["spec"]["containers"][0]["command"][2]
    assert expand(sent, {"HOME": "wrong", "a": "wrong"}) == text


@given(st.text(max_size=100))
def test_every_rule_has_a_pod_name_that_is_a_dns_label(rule: str) -> None:
    name = pod_name(rule, UID)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name)


def test_what_is_kept_on_disk_holds_no_value_of_the_environment() -> None:
    kept = public(request(FULL, UID).pod)
    assert "secret" not in json.dumps(kept)
    assert kept["spec"]["containers"][0]["env"][0] == {"name": "TOKEN"}
    assert kept["metadata"]["uid"] == UID


INPUTS = [("a.parquet", 17, 100)]


def test_the_same_job_has_the_same_digest_whatever_the_order_of_its_options() -> None:
    one, other = (replace(PLAIN, command=f"x --shared {words} --y") for words in ("a b", "b a"))
    assert digest(one, "rule", INPUTS) == digest(other, "rule", INPUTS)


@pytest.mark.parametrize(
    "changed",
    [
        digest(replace(PLAIN, command="exec false"), "rule", INPUTS),
        digest(replace(PLAIN, environment={"TOKEN": "other"}), "rule", INPUTS),
        digest(replace(PLAIN, cpus=2), "rule", INPUTS),
        digest(PLAIN, "other rule", INPUTS),
        digest(PLAIN, "rule", [("a.parquet", 18, 100)]),
        digest(PLAIN, "rule", []),
    ],
)
def test_whatever_changes_the_outcome_changes_the_digest(changed: str) -> None:
    assert changed != digest(PLAIN, "rule", INPUTS)


def test_a_folder_inside_another_is_not_mounted_twice() -> None:
    assert outermost(["/data/results", "/data", "/data2", "/data"]) == ("/data", "/data2")
