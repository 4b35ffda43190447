"""A batch system of somebody else's, as docs/contributor.md has it: a distribution with an entry point, and no more."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "contributor.md"

MODULE = '''
from collections.abc import Sequence

from flashlink.batch import JobSpec
from flashlink.batch.local import LocalBatch
from flashlink.finding import Finding


class CobaltBatch(LocalBatch):
    """Runs jobs as the local system does, under another name and with two kinds of workers."""

    name = "cobalt"

    def examine(self, probe: JobSpec):
        yield Finding("ok", "cobalt", f"would take a job of {probe.cpus:g} core")

    def kinds(self, probe: JobSpec):
        return {"blue": probe, "green": probe}
'''

CONTRACT = """
import pytest
from flashlink.batch import BatchSystem, Examinable, load
from flashlink.batch.testing import BatchContract


class TestCobalt(BatchContract):
    @pytest.fixture
    def system(self, tmp_path):
        system = load("cobalt")(tmp_path / "state", cpus=4, memory=0, pods=100, options={})
        assert isinstance(system, BatchSystem) and isinstance(system, Examinable)
        yield system
        system.close()
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The distribution, with the entry point word by word from the documentation."""
    block = re.search(
        r'^ {4}\[project\.entry-points\."flashlink\.batch"\]\n(?: {4}.+\n)+', DOCS.read_text(), re.MULTILINE
    )
    assert block is not None
    told = tomllib.loads(re.sub(r"^ {4}", "", block[0], flags=re.MULTILINE))["project"]["entry-points"][
        "flashlink.batch"
    ]
    ((name, place),) = told.items()
    module, _, kind = place.partition(":")
    assert (name, kind) == ("cobalt", "CobaltBatch")
    assert f'batch.system = "{name}"' in DOCS.read_text()
    folder = tmp_path / "site-packages"
    information = folder / f"{module}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[flashlink.batch]\n{name} = {place}\n")
    (folder / f"{module}.py").write_text(MODULE)
    return folder


def run(installed: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, env=environment)


def test_a_site_names_it_and_each_kind_of_its_workers_is_looked_at(installed: Path, tmp_path: Path) -> None:
    site = tmp_path / "site.json"
    state = {
        "state": str(tmp_path / "state"),
        "containers": {"runtime": "apptainer", "executable": "/nowhere/apptainer"},
    }
    site.write_text(json.dumps({"batch": {"system": "cobalt"}, **state}))
    told = run(installed, "-m", "flashlink", "check", "--json", "--site", str(site))
    found = {each["subject"]: each for each in json.loads(told.stdout)}
    assert found["cobalt"]["message"] == "would take a job of 1 core"
    assert found["batch system cobalt"]["status"] == "ok"
    assert {found["blue: worker"]["status"], found["green: worker"]["status"]} == {"ok"}
    assert found["green: apptainer"]["message"].startswith("there is no program /nowhere/apptainer")


def test_one_that_is_not_installed_is_named_with_those_that_are(installed: Path, tmp_path: Path) -> None:
    site = tmp_path / "site.json"
    site.write_text(json.dumps({"batch": {"system": "cobolt"}, "containers": {"runtime": "apptainer"}}))
    told = run(installed, "-m", "flashlink", "plugin", "--config", str(site), "--state", str(tmp_path / "state"))
    assert told.returncode == 1
    assert (
        "'cobolt' is not a batch system that is installed here; there are cobalt, htcondor, local, slurm" in told.stderr
    )


@pytest.mark.slow
def test_the_contract_runs_over_it(installed: Path, tmp_path: Path) -> None:
    test = tmp_path / "test_cobalt.py"
    test.write_text(CONTRACT)
    told = run(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(test))
    assert told.returncode == 0, told.stdout
    assert re.search(r"^\d{2} passed", told.stdout, re.MULTILINE), told.stdout
