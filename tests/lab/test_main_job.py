"""The main job where there is Apptainer: a clone, a plain user, and an image made of Debian and Python packages."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]

pytestmark = [pytest.mark.lab, pytest.mark.slow]

CONFIGURATION = "{events: 400, chunk: 200, training_events: 600, seed: 7}"


@pytest.fixture
def clone(lab, tmp_path):
    """The files of the checkout, as a clone has them, in a folder that belongs to the lab's plain user."""
    clone = tmp_path / "flashlink"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    for name in listed.stdout.split("\0"):
        source = CHECKOUT / name
        if source.is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, clone / name)
    (clone / "small.yaml").write_text(CONFIGURATION)
    for folder, _, files in os.walk(clone):
        for path in (folder, *(f"{folder}/{file}" for file in files)):
            os.chown(path, lab.user, lab.user)
    return clone


@pytest.fixture
def images(lab):
    """Where images are kept from one test run to the next, as making one takes minutes."""
    folder = Path(os.environ.get("FLASHLINK_LAB", CHECKOUT / ".lab")) / "built"
    folder.mkdir(exist_ok=True)
    lab.give(folder)
    return folder


def test_pods_run_in_containers_of_the_image_that_is_built(lab, clone, images):
    script = f"cd {clone} && FLASHLINK_IMAGES={images} ./run --config small.yaml --cores 2"
    command = lab.command("bash", "-c", script, bind=[clone, images])
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1500)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "host processes" not in ended.stdout + ended.stderr
    results = clone / "results"
    assert (results / "report.html").stat().st_size > 100_000
    records = [json.loads(path.read_text()) for path in (results / "records").rglob("*.json")]
    assert {record["site"] for record in records} == {"local"}
    assert len(list(images.glob("flashlink-*.sif"))) >= 1
