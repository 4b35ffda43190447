"""Specifications of pods in few words, and what must hold of every pod that has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def container(image: str = "shell", **fields: Any) -> dict[str, Any]:
    return {"name": "main", "image": image, **fields}


def shell(script: str, *arguments: str, **fields: Any) -> dict[str, Any]:
    return container(command=["sh", "-c", script, "sh", *arguments], **fields)


def one(the_container: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"containers": [the_container], **spec}


def assert_clean(job: Any) -> None:
    """No process, mount or folder of an ended pod is left; journal and logs stay."""
    assert job.processes() == []
    assert str(job.folder) not in Path("/proc/mounts").read_text()
    assert sorted(path.name for path in job.folder.iterdir()) == ["job.log", "job.sh", "journal", "logs"]
