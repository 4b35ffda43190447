"""Images of all forms in real containers: from a real registry, as files and as unpacked folders."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lab import registry as registries
from lab.specs import assert_clean, container, one, shell

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def registry(lab, tmp_path_factory):
    running = registries.start(lab, tmp_path_factory.mktemp("registry"))
    running.push(lab.images["user"].with_suffix(".tar"), "physics/user")
    yield running
    registries.stop(running)


@pytest.fixture
def site(pods, registry):
    return with_images(pods.site, plain_http=[registry.address])


def with_images(site: Any, **settings: Any) -> Any:
    return msgspec.structs.replace(site, images=msgspec.structs.replace(site.images, **settings))


def test_an_image_comes_from_a_registry(pods, site, registry):
    home = Path(pods.lab.root, "home", "lab")
    before = set(home.rglob("*"))
    job = pods.run(one(container(f"docker://{registry.address}/physics/user:latest")), site=site)
    assert job.log() == b"/srv/work\n", job.job_log
    assert_clean(job)
    assert set(home.rglob("*")) == before


def test_a_reference_without_transport_is_dockers(pods, site, registry):
    job = pods.run(one(container(f"{registry.address}/physics/user")), site=site)
    assert job.log() == b"/srv/work\n", job.job_log


def test_the_containers_of_a_pod_fetch_an_image_once(pods, site, registry):
    image = f"docker://{registry.address}/physics/user"
    before = len(registry.pulls)
    job = pods.run(one(container(image)), site=site)
    once = len(registry.pulls) - before
    same = [{**container(image, imagePullPolicy="Always"), "name": name} for name in ("images", "evicted", "third")]
    job = pods.run({"initContainers": [{**container(image), "name": "first"}], "containers": same}, site=site)
    assert job.wait() == 0, job.job_log
    assert job.log("images") == job.log("evicted") == b"/srv/work\n"
    assert len(registry.pulls) - before - once == once


def test_what_was_fetched_serves_later_jobs_where_the_site_has_a_cache(pods, site, registry):
    cache = pods.shared / "cache"
    site = with_images(site, cache=str(cache))
    image = f"docker://{registry.address}/physics/user"
    pods.run(one(container(image)), site=site)
    kept = [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size > 500_000]
    assert kept
    blobs = registry.log.read_text().count("/blobs/")
    job = pods.run(one(container(image)), site=site)
    assert job.log() == b"/srv/work\n", job.job_log
    assert registry.log.read_text().count("/blobs/") == blobs


def test_a_sif_comes_from_a_registry(pods, site, registry):
    image = f"oras://{registry.address}/physics/sif:1"
    push = pods.lab.command("apptainer", "--silent", "push", "--no-https", pods.lab.images["user"], image)
    subprocess.run(push, check=True, stdin=subprocess.DEVNULL)
    job = pods.run(one(container(image)), site=site)
    assert job.log() == b"/srv/work\n", job.job_log


def test_a_tag_that_is_not_there_is_told(pods, site, registry):
    job = pods.run(one(container(f"docker://{registry.address}/physics/user:gone")), site=site)
    assert job.ends() == {"main": (128, "runtime")}
    assert "manifest unknown" in job.reason()
    assert_clean(job)


def test_library_images_are_asked_for_where_they_would_be(pods, site, registry):
    # No library is here: what it was asked for shows that the reference reached Apptainer as it was written.
    job = pods.run(one(container(f"library://{registry.address}/physics/sif/user:1")), site=site)
    assert job.ends() == {"main": (128, "runtime")}
    assert job.reason().startswith("its image could not be fetched: ")


@pytest.fixture
def unpacked(pods):
    """A folder that plays CVMFS' unpacked images: a link with the image's name to a folder of its content."""
    folder = pods.shared / "unpacked.cern.ch"
    (folder / "registry.example" / "library").mkdir(parents=True)
    build = pods.lab.command(
        *("apptainer", "--silent", "build", "--sandbox", folder / ".flat", pods.lab.images["user"]), bind=[pods.shared]
    )
    pods.lab.give(folder)
    subprocess.run(build, check=True, stdin=subprocess.DEVNULL)
    (folder / "registry.example" / "library" / "user:latest").symlink_to("../../.flat")
    return folder / "registry.example"


def test_an_unpacked_image_is_a_folder(pods, unpacked):
    image = str(unpacked / "library" / "user:latest")
    main = shell('echo "$ANSWER"; pwd; touch /new && echo written', image=image)
    job = pods.run(one(main))
    assert job.log() == b"forty two\n/\nwritten\n", job.job_log
    assert_clean(job)
    assert not (unpacked.parent / ".flat" / "new").exists()
    job = pods.run(one(container(image)))
    assert job.log() == b"/\n", job.job_log


def test_the_site_may_look_for_references_among_unpacked_images(pods, unpacked):
    site = with_images(pods.site, prefix=f"{unpacked}/library/")
    job = pods.run(one(shell('echo "$ANSWER"', image="user:latest", imagePullPolicy="Never")), site=site)
    assert job.log() == b"forty two\n", job.job_log


def test_an_image_file_by_its_path(pods):
    path = pods.shared / "mine.sif"
    path.write_bytes(pods.lab.images["user"].read_bytes())
    job = pods.run(one(container(str(path))))
    assert job.log() == b"/srv/work\n", job.job_log
