"""``batch.options`` of a site with Slurm: one clear line for each mistake."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flashlink.batch import load
from flashlink.batch.slurm import SlurmBatch
from flashlink.batch.slurm.options import Flavour, Options, Placement, read, words
from flashlink.errors import SiteError


def test_the_entry_point_gives_the_class() -> None:
    assert load("slurm") is SlurmBatch


def test_nothing_is_needed() -> None:
    assert read({}) == Options()


def test_what_a_flavour_says_stands_over_the_site() -> None:
    found = read(
        {
            "account": "physics",
            "qos": "normal",
            "exclusive": True,
            "arguments": ["--licenses=cvmfs"],
            "prologue": ["module load apptainer"],
            "flavours": [
                {
                    "name": "booster",
                    "partition": "boost",
                    "qos": "long",
                    "exclusive": False,
                    "gpu": "gpu:a100",
                    "gpus": 4,
                },
                {"name": "cpu", "prologue": ["module load new"], "arguments": ["--nice=10"]},
            ],
        }
    )
    booster, cpu = (flavour.over(found) for flavour in found.flavours)
    assert booster == Placement(
        partition="boost",
        account="physics",
        qos="long",
        gpu="gpu:a100",
        exclusive=False,
        arguments=["--licenses=cvmfs"],
        prologue=["module load apptainer"],
    )
    assert cpu.exclusive is True
    assert cpu.prologue == ["module load apptainer", "module load new"]
    assert cpu.arguments == ["--licenses=cvmfs", "--nice=10"]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"partitoin": "cpu"}, "batch.options.partitoin: no option of Slurm; known are account, arguments, "),
        ({"partition": 3}, "batch.options.partition: expected `str`, got `int`"),
        ({"partition": "a b"}, "batch.options.partition: "),
        ({"account": "x\n--uid=0"}, "batch.options.account: "),
        ({"flavours": [{"partition": "x"}]}, "batch.options.flavours[0]: object missing required field `name`"),
        ({"flavours": [{"name": "a"}, {"name": "b", "core": 2}]}, "batch.options.flavours[1].core: no option of Slurm"),
        ({"flavours": [{"name": "a"}, {"name": "a"}]}, "batch.options.flavours[1].name: 'a' is the name of another"),
        ({"flavours": [{"name": "a", "min_gpus": 1}]}, "batch.options.flavours[0].gpus: 0 is less than min_gpus"),
        ({"arguments": ["-p", "cpu"]}, "batch.options.arguments: '-p' is no long option of sbatch"),
        ({"arguments": ["--output=x"]}, "batch.options.arguments: --output is flashlink's own"),
        ({"arguments": ["--outp=x"]}, "batch.options.arguments: --outp is flashlink's own"),
        ({"prologue": ["a\0b"]}, "batch.options.prologue: 'a\\x00b' holds a NUL"),
        ({"login": "-oProxyCommand=x"}, "batch.options.login: "),
        ({"ssh": ["-p", "22"]}, "batch.options.ssh: is of no use without batch.options.login"),
        ({"shell": []}, "batch.options.shell: "),
        ({"command_seconds": 0}, "batch.options.command_seconds: "),
    ],
)
def test_mistakes_are_named_in_one_line(options: dict[str, Any], line: str) -> None:
    with pytest.raises(SiteError, match="^" + re.escape(line)) as caught:
        read(options)
    assert "\n" not in str(caught.value)
    assert not caught.value.transient


def test_what_a_pod_asks_for() -> None:
    assert words({"nice": "10", "exclusive": ""}) == ["--nice=10", "--exclusive"]


@pytest.mark.parametrize(
    "name", ["output", "outpu", "wrap", "job-name", "chdir", "export", "array", "nodes", "uid", "-p", "a b", "", "x=y"]
)
def test_what_a_pod_cannot_ask_for(name: str) -> None:
    with pytest.raises(SiteError, match="is not an option of sbatch that a pod can give"):
        words({name: "1"})


def test_all_options_are_documented() -> None:
    for table in (Placement, Flavour, Options):
        for key in set(table.__struct_fields__) - (set() if table is Placement else set(Placement.__struct_fields__)):
            assert f"        {key}: " in str(table.__doc__), key
