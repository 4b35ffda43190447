"""A plugin process of the lab's plain user, on the schedd of the site or on the CE."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from flashlink.client import manifests
from flashlink.client.interlink import InterLink, with_jid
from flashlink.pods.wire import LogOptions, LogRequest

#: The plain user cannot go where the checkout and its Python may lie; this lets him read there, as a site's user could.
AS_USER = ["setpriv", "--clear-groups", "--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]


class Plugin:
    """``flashlink plugin`` for one of the lab's sites, in a folder that workers see; `within` is what runs it there."""

    def __init__(
        self,
        folder: Path,
        user: int,
        images: Mapping[str, Path],
        batch: Mapping[str, Any],
        host_paths: Sequence[str] = (),
        within: Sequence[str] = (),
        **tables: Any,
    ) -> None:
        self.folder = folder
        self._within = within
        self.work = folder / "work"
        self._user = user
        self._clients: list[InterLink] = []
        site = {
            "name": "lab",
            "listen": "127.0.0.1:0",
            "state": str(folder / "state"),
            "work": str(self.work),
            "batch": {"system": "htcondor", "poll_seconds": 0.5, **batch},
            "containers": {"runtime": "apptainer", "executable": "/usr/bin/apptainer"},
            "images": {"aliases": {name: str(path) for name, path in images.items()}},
            "volumes": {"host_paths": list(host_paths)},
            "limits": {"memory": "64Mi"},
            **tables,
        }
        (folder / "site.json").write_text(json.dumps(site))
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user, user)
        self.start()

    def start(self) -> None:
        """Start it, and wait until it takes requests."""
        identity = ["--reuid", str(self._user), "--regid", str(self._user), "--"]
        command = [sys.executable, "-m", "flashlink", "plugin", "--config", str(self.folder / "site.json")]
        with (self.folder / "plugin.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._within, *AS_USER, *identity, *command],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self.folder,
            )
        self._meet()

    def _meet(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (self.folder / "plugin.log").read_text()
        self.client = InterLink(line.split()[-1], patience=60)
        self._clients.append(self.client)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self._gone()

    def stop(self) -> None:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        self._gone()

    def _gone(self) -> None:
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def end(self) -> None:
        """Stop it, if it runs, and close what other threads may have used until now."""
        if self.process.poll() is None:
            self.stop()
        for client in self._clients:
            client.close()

    @property
    def log(self) -> str:
        """What it logged."""
        return (self.folder / "plugin.log").read_text()

    def send(self, script: str, *objects: Mapping[str, Any], **spec: Any) -> Pod:
        """Create a pod of one container that runs shell lines."""
        pod = self.prepare(script, *objects, **spec)
        pod.create()
        return pod

    def prepare(
        self, script: str, *objects: Mapping[str, Any], image: str = "shell", job_script: str = "", **spec: Any
    ) -> Pod:
        """A pod that was not sent yet: fields of its container are in ``main``, further containers in ``beside``."""
        main = {"name": "main", "image": image, "command": ["sh", "-c", script], **spec.pop("main", {})}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "pod", "annotations": spec.pop("annotations", {})},
            "spec": {"restartPolicy": "Never", "containers": [main, *spec.pop("beside", [])], **spec},
        }
        (request,) = manifests.requests([body, *objects])
        return Pod(self, msgspec.structs.replace(request, jobScript=job_script))


class Pod:
    """A pod of a plugin."""

    def __init__(self, plugin: Plugin, request: Any) -> None:
        self.plugin = plugin
        self.body: dict[str, Any] = request.pod
        self.uid = str(self.body["metadata"]["uid"])
        self.jid = ""
        self._request = request

    def create(self) -> None:
        """Send it."""
        self.jid = self.plugin.client.create(self._request).PodJID

    def state(self, container: str = "main") -> dict[str, Any]:
        """``waiting``, ``running`` or ``terminated``, with what stands below."""
        (status,) = self.plugin.client.status([with_jid(self.body, self.jid)])
        self.jid = status.JID or self.jid
        entry = next(each for each in status.containers if each.name == container)
        state: dict[str, Any] = msgspec.to_builtins(entry.state)
        return state

    def until(self, condition: Callable[[dict[str, Any]], bool], seconds: float = 120) -> dict[str, Any]:
        """The first state that fulfils `condition`."""
        limit = time.monotonic() + seconds
        while not condition(state := self.state()):
            assert time.monotonic() < limit, f"{state}\n{self.plugin.log[-2000:]}"
            time.sleep(0.2)
        return state

    def end(self, seconds: float = 120) -> dict[str, Any]:
        """How its container ended."""
        ended: dict[str, Any] = self.until(lambda state: "terminated" in state, seconds)["terminated"]
        return ended

    def logs(self, container: str = "main", **options: Any) -> str:
        """All that a container wrote, as far as `options` of interLink go."""
        return "".join(self._log(container, **options))

    def follow(self) -> Iterator[str]:
        """What its container writes, as it comes: what ``flashlink logs -f`` shows."""
        return self._log(Follow=True)

    def _log(self, container: str = "main", **options: Any) -> Iterator[str]:
        metadata = self.body["metadata"]
        names = metadata["name"], metadata.get("namespace", "default")
        request = LogRequest(self.uid, container, *names, Opts=LogOptions(**options))
        return (piece.decode() for piece in self.plugin.client.logs(request))

    def delete(self, grace: int | None = None) -> None:
        """Delete it, and wait until nothing of it is left here."""
        self.plugin.client.delete(with_jid(self.body, self.jid), grace)
        limit = time.monotonic() + 120
        while (self.plugin.work / self.uid).exists():
            assert time.monotonic() < limit, self.plugin.log[-2000:]
            time.sleep(0.2)


def prepare(plugin: Plugin, shared: Path, name: str, then: str = "true", **spec: Any) -> Pod:
    """A pod that leaves one line for each time that it runs; it was not sent yet."""
    return plugin.prepare(
        f"echo ran >>/marks/{name}; {then}",
        volumes=[{"name": "marks", "hostPath": {"path": str(shared / "marks")}}],
        main={"volumeMounts": [{"name": "marks", "mountPath": "/marks"}]},
        **spec,
    )


def runs(shared: Path) -> Counter[str]:
    """How often each of these pods has run."""
    return Counter({path.name: len(path.read_text().splitlines()) for path in (shared / "marks").iterdir()})


def send(plugin: Plugin, shared: Path, name: str, then: str = "true", **spec: Any) -> Pod:
    """Create such a pod."""
    pod = prepare(plugin, shared, name, then, **spec)
    pod.create()
    return pod
