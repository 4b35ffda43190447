"""The main job where there are containers: a fresh clone of a plain user, and the lab's Slurm and HTCondor."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.condor.conftest import condor, condors  # noqa: F401 (fixtures)

CHECKOUT = Path(__file__).parents[2]

pytestmark = [pytest.mark.lab, pytest.mark.slow]

CONFIGURATION = "{events: 400, chunk: 200, seed: 7}"

#: The images are kept in the checkout, as making one takes minutes, and as all workers of the lab see it there.
BUILT = CHECKOUT / "build" / "images"


@pytest.fixture(scope="module")
def embedded(lab: Any, tmp_path_factory: Any) -> Path:
    """Results of the embedded site, run in a clone that belongs to the lab's plain user."""
    clone = tmp_path_factory.mktemp("main-job") / "flashlink"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    for name in listed.stdout.split("\0"):
        source = CHECKOUT / name
        if source.is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, clone / name)
    (clone / "small.yaml").write_text(CONFIGURATION)
    BUILT.mkdir(parents=True, exist_ok=True)
    for folder in (clone, BUILT):
        subprocess.run(["chown", "-R", f"{lab.user}:{lab.user}", folder], check=True)
    script = f"cd {clone} && FLASHLINK_IMAGES={BUILT} ./run --config small.yaml --cores 2"
    ended = run(lab.command("bash", "-c", script, bind=[clone, BUILT]))
    assert "host processes" not in ended.stdout + ended.stderr
    return clone / "results"


@pytest.fixture
def slurm(lab: Any) -> Iterator[None]:
    """Slurm where `./run` looks for it; ended and forgotten again, unless it ran before."""
    folder = Path(os.environ.get("FLASHLINK_LAB", CHECKOUT / ".lab")) / "slurm"
    ran = folder.exists()
    run([CHECKOUT / "lab/slurm/start"])
    yield
    if not ran:
        run([CHECKOUT / "lab/slurm/stop", "--remove"])


@pytest.fixture
def htcondor(request: Any) -> Any:
    """HTCondor where `./run` looks for it."""
    return request.getfixturevalue("condor")


@pytest.fixture
def results() -> Iterator[Path]:
    """A folder for results, which workers see."""
    folder = CHECKOUT / "build" / f"results-{os.getpid()}"
    yield folder
    shutil.rmtree(folder)


def test_pods_run_in_containers_of_the_image_that_is_built(embedded: Path) -> None:
    assert (embedded / "report.html").stat().st_size > 100_000
    assert {record["site"] for record in records(embedded)} == {"local"}
    assert len(list(BUILT.glob("flashlink-*.sif"))) >= 1


@pytest.mark.parametrize("system", ["slurm", "htcondor"])
def test_a_batch_system_of_the_lab_gives_the_same_results(
    request: Any, embedded: Path, results: Path, tmp_path: Path, system: str
) -> None:
    request.getfixturevalue(system)
    configuration = results.with_suffix(".yaml")
    configuration.write_text(CONFIGURATION)
    try:
        run([CHECKOUT / "run", "--site", system, "--config", configuration, "--output", results])
    finally:
        configuration.unlink()
    assert (results / "report.html").stat().st_size > 100_000
    assert {record["site"] for record in records(results)} == {system}
    samples = sorted(path.relative_to(embedded) for path in embedded.rglob("*.parquet"))
    assert len(samples) > 4
    for name in samples:
        assert (results / name).read_bytes() == (embedded / name).read_bytes(), name


def test_a_system_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    command = [CHECKOUT / "lab/run", "slurm", tmp_path / "results", "python3", "-m", "flashlink", "run"]
    lab = {**os.environ, "FLASHLINK_LAB": str(tmp_path / "none")}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=lab)
    assert ended.returncode == 3
    assert ended.stderr.count("\n") == 1
    assert "this machine has no slurm of its own, and no lab stands" in ended.stderr
    assert "lab/slurm/start" in ended.stderr


def records(folder: Path) -> list[dict[str, Any]]:
    """What the executor has noted of each pod."""
    return [json.loads(path.read_text()) for path in (folder / "records").rglob("*.json")]


def run(command: list[Any]) -> subprocess.CompletedProcess[str]:
    """Run a command that has to succeed."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1500)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended
