"""Debian's ``docker-registry`` in the lab, on a port of its own, and images pushed into it."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Registry:
    """A registry without encryption or accounts at `address`, ``127.0.0.1:PORT``."""

    address: str
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def pulls(self) -> list[str]:
        """Paths of the manifests that were asked for by GET."""
        lines = self.log.read_text().splitlines()
        return [line.split()[6] for line in lines if '"GET ' in line and "/manifests/" in line]

    def push(self, archive: Path, name: str) -> None:
        """Push the one image of an OCI archive (see lab/images/oci.py) as ``name:latest``."""
        with tarfile.open(archive) as layout:

            def blob(digest: str) -> bytes:
                member = layout.extractfile("blobs/" + digest.replace(":", "/"))
                assert member is not None
                return member.read()

            index = layout.extractfile("index.json")
            assert index is not None
            manifest = blob(json.load(index)["manifests"][0]["digest"])
            described = json.loads(manifest)
            for item in (described["config"], *described["layers"]):
                self._upload(name, blob(item["digest"]))
        self._ask("PUT", f"/v2/{name}/manifests/latest", manifest, {"Content-Type": _MANIFEST})

    def _upload(self, name: str, content: bytes) -> None:
        location = self._ask("POST", f"/v2/{name}/blobs/uploads/", b"", {}).headers["Location"]
        digest = hashlib.sha256(content).hexdigest()
        joint = "&" if "?" in location else "?"
        self._ask(
            "PUT", f"{location}{joint}digest=sha256:{digest}", content, {"Content-Type": "application/octet-stream"}
        )

    def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Any:
        url = path if path.startswith("http") else f"http://{self.address}{path}"
        request = urllib.request.Request(url, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer


def start(lab: Any, folder: Path) -> Registry:
    """Start a registry that keeps its images in `folder` and ends by `stop`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"127.0.0.1:{port}"
    configuration = folder / "config.yml"
    storage = f"{{filesystem: {{rootdirectory: {folder}}}}}"
    configuration.write_text(f"version: 0.1\nlog: {{level: error}}\nstorage: {storage}\nhttp: {{addr: '{address}'}}\n")
    lab.give(folder)
    log = folder / "log"
    with log.open("wb") as output:
        command = lab.command("docker-registry", "serve", configuration, bind=[folder])
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    registry = Registry(address, log, process)
    end = time.monotonic() + 30
    while not _answers(registry):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)
    return registry


def stop(registry: Registry) -> None:
    """End it."""
    registry.process.send_signal(signal.SIGTERM)
    registry.process.wait(10)


def _answers(registry: Registry) -> bool:
    try:
        registry._ask("GET", "/v2/", b"", {})
    except urllib.error.HTTPError:
        raise
    except OSError:
        return False
    return True
