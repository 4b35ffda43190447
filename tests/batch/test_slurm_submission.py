"""From a job specification to sbatch's words."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashlink.batch import JobSpec
from flashlink.batch.slurm.options import read
from flashlink.batch.slurm.submission import batch_script, job_name, place, sbatch, uid_of
from flashlink.errors import SiteError

GIB, MIB = 2**30, 2**20

LEONARDO = read(
    {
        "account": "physics",
        "flavours": [
            {"name": "serial", "partition": "lrd_all_serial", "cpus": 4, "memory_mb": 30800, "walltime_seconds": 14400},
            {"name": "cpu", "partition": "dcgp_usr_prod", "cpus": 112, "memory_mb": 494000, "walltime_seconds": 86400},
            {"name": "booster", "partition": "boost_usr_prod", "cpus": 32, "min_gpus": 1, "gpus": 4, "gpu": "gpu:a100"},
        ],
    }
)


def spec(**fields: Any) -> JobSpec:
    folder = Path("/shared/pods/uid-1")
    return JobSpec(**{"uid": "uid-1", "name": "pod", "script": folder / "job.sh", "folder": folder, **fields})


def test_the_words() -> None:
    job = spec(cpus=1.5, memory=GIB + 1, walltime=61, gpus=2, grace=7, options={"nice": "5"})
    site = read({"partition": "gpu", "account": "physics", "exclusive": True, "arguments": ["--licenses=cvmfs"]})
    assert sbatch(job, site).words == (
        "sbatch",
        "--parsable",
        "--job-name=pod.uid-1",
        "--chdir=/shared/pods/uid-1",
        "--output=job.log",
        "--open-mode=append",
        "--nodes=1",
        "--ntasks=1",
        "--cpus-per-task=2",
        "--mem=1025",
        "--time=2",
        "--gres=gpu:2",
        "--partition=gpu",
        "--account=physics",
        "--exclusive",
        "--licenses=cvmfs",
        "--nice=5",
        "/dev/stdin",
        "/shared/pods/uid-1/job.sh",
        "/shared/pods/uid-1",
        "uid-1",
        "7",
    )


def test_whether_slurm_may_start_a_job_again() -> None:
    def asked(site: dict[str, Any], **options: str) -> list[str]:
        words = sbatch(spec(options=options), read(site)).words
        return [word for word in words if word.endswith("requeue")]

    assert asked({}) == []
    assert asked({"requeue": False}) == ["--no-requeue"]
    assert asked({"requeue": False, "flavours": [{"name": "any", "requeue": True}]}) == ["--requeue"]
    assert asked({"requeue": True}, **{"no-requeue": ""})[-1] == "--no-requeue", "the last one holds for sbatch"


@pytest.mark.parametrize(
    ("fields", "present", "absent"),
    [
        ({"cpus": 0.01}, "--cpus-per-task=1", "--mem="),
        ({"cpus": 3.0000}, "--cpus-per-task=3", "--time="),
        ({"memory": 1}, "--mem=1", "--gres="),
        ({"memory": 500 * MIB}, "--mem=500", "--mem=0"),
        ({"walltime": 60}, "--time=1", "--partition="),
        ({"walltime": 3601}, "--time=61", "--exclusive"),
    ],
)
def test_resources_are_rounded_up_in_slurms_units(fields: dict[str, Any], present: str, absent: str) -> None:
    words = sbatch(spec(**fields), read({})).words
    assert present in words
    assert not [word for word in words if word.startswith(absent)]


def test_scratch_is_asked_for_where_the_nodes_tell_theirs() -> None:
    pod = spec(disk=MIB + 1)
    assert "--tmp=2" in sbatch(pod, read({"tmp": True})).words
    assert not [word for word in sbatch(pod, read({})).words if word.startswith("--tmp")]
    assert not [word for word in sbatch(spec(), read({"tmp": True})).words if word.startswith("--tmp")]
    flavours = read({"tmp": True, "flavours": [{"name": "diskless", "tmp": False}]})
    assert not [word for word in sbatch(pod, flavours).words if word.startswith("--tmp")]


@pytest.mark.parametrize(
    ("fields", "partition"),
    [
        ({"cpus": 4, "walltime": 14400}, "lrd_all_serial"),
        ({"cpus": 4.1}, "dcgp_usr_prod"),
        ({"walltime": 14401}, "dcgp_usr_prod"),
        ({"memory": 30801 * MIB}, "dcgp_usr_prod"),
        ({"memory": 30800 * MIB}, "lrd_all_serial"),
        ({"gpus": 1}, "boost_usr_prod"),
        ({"gpus": 4, "cpus": 32}, "boost_usr_prod"),
        ({"options": {"flavour": "cpu"}}, "dcgp_usr_prod"),
    ],
)
def test_a_job_gets_the_first_flavour_that_it_fits(fields: dict[str, Any], partition: str) -> None:
    placement = place(spec(**fields), LEONARDO)
    assert placement.partition == partition
    assert placement.account == "physics"
    words = sbatch(spec(**fields), LEONARDO).words
    assert f"--partition={partition}" in words
    assert not [word for word in words if "flavour" in word]


def test_the_gpu_of_a_flavour_is_asked_for_by_its_name() -> None:
    assert "--gres=gpu:a100:3" in sbatch(spec(gpus=3), LEONARDO).words


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"gpus": 5}, "pod asks for 1 cores, 0 MiB of memory, 5 GPUs and 0 s; it fits none of this site's flavours"),
        ({"cpus": 113}, "asks for 113 cores"),
        (
            {"options": {"flavour": "booster"}},
            r"it fits none of this site's flavours \(booster: 32 cores, 1 to 4 GPUs\)",
        ),
        ({"options": {"flavour": "x"}}, "pod: this site has no flavour 'x'; known are serial, cpu, booster"),
        ({"options": {"output": "/x"}}, "--output is not an option of sbatch that a pod can give"),
        ({"uid": "../x"}, "uid '../x': a job at Slurm needs one of letters"),
    ],
)
def test_a_job_that_cannot_be_placed_is_refused_in_one_line(fields: dict[str, Any], line: str) -> None:
    with pytest.raises(SiteError, match=line) as caught:
        sbatch(spec(**fields), LEONARDO)
    assert not caught.value.transient


@given(st.text())
def test_whatever_the_pods_name_its_uid_is_found_again(name: str) -> None:
    made = job_name(spec(name=name))
    assert uid_of(made) == "uid-1"
    assert made.isascii()
    assert not set(made) & set(" \n\t\0,;|'\"$`\\%")
    assert len(made) <= 128


def test_other_jobs_of_the_user_are_none_of_ours() -> None:
    assert uid_of("interactive") == ""


def test_the_prologue_comes_before_the_part_that_is_always_the_same() -> None:
    lines = batch_script(["module load apptainer", "export X='a b'"]).splitlines()
    assert lines[:3] == ["#!/bin/bash", "module load apptainer", "export X='a b'"]
    assert lines[3:] == batch_script([]).splitlines()[1:]
    subprocess.run(["bash", "-n"], input=batch_script([]), text=True, check=True)
