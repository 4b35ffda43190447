"""Containers of one shell script each, and the journal of their pod in short."""

from __future__ import annotations

from typing import Any

from flashlink.jobscript import journal
from flashlink.pods.pod import Container


def shell(name: str, script: str, env: dict[str, str] | None = None, **more: Any) -> Container:
    """A container that runs `script`."""
    return Container(name=name, image="any", command=("sh", "-c", script), env=env or {}, **more)


def order(events: list[journal.Event]) -> list[str]:
    """The events of containers: ``started a``."""
    names = {journal.Started: "started", journal.Ended: "ended", journal.Skipped: "skipped"}
    return [f"{names[type(event)]} {event.container}" for event in events if type(event) in names]  # type: ignore[union-attr]
