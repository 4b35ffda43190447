"""What was sent, on disk: a Snakemake that was killed finds its pods again through these records.

One JSON file a job, written by rename before the create call and removed once Snakemake itself has taken note of the
job's end. It holds no value of the environment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec


class PodRecord(msgspec.Struct, frozen=True):
    """One pod that was sent, or is about to be.

    Attributes:
        key: Which job: see `job_key`; the pod's uid if no job wants it any more and it waits to be deleted.
        site: Name of the site.
        endpoint: Where the pod was sent.
        digest: `snakemake_executor_plugin_interlink.job.digest` of the job.
        pod: The Kubernetes pod, without values of the environment.
        jid: The plugin's job id; "" until the plugin has answered.
    """

    key: str
    site: str
    endpoint: str
    digest: str
    pod: dict[str, Any]
    jid: str = ""

    @property
    def uid(self) -> str:
        """The pod's uid."""
        return str(self.pod["metadata"]["uid"])

    @property
    def name(self) -> str:
        """The pod's name."""
        return str(self.pod["metadata"]["name"])


def job_key(name: str, outputs: Iterable[str]) -> str:
    """Name a job of a workflow, the same in every run: by its rule and the files that it makes."""
    return hashlib.sha256("\0".join([name, *sorted(outputs)]).encode()).hexdigest()[:32]


class Records:
    """The records of one working directory.

    Args:
        folder: Made when first needed, open to the user alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __iter__(self) -> Iterator[PodRecord]:
        """All records, read afresh; files that are no records, as torn ones, are passed over."""
        for path in sorted(self._folder.glob("*.json")):
            if record := self._read(path):
                yield record

    def find(self, key: str) -> PodRecord | None:
        """The record of a job, if there is one."""
        return self._read(self._path(key))

    def write(self, record: PodRecord) -> None:
        """Keep a record, in place of the job's earlier one."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(record.key)
        temporary = path.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode(record))
        temporary.rename(path)

    def rename(self, record: PodRecord, key: str) -> None:
        """Keep a record under another key."""
        self.write(msgspec.structs.replace(record, key=key))
        if key != record.key:
            self.remove(record.key)

    def remove(self, key: str) -> None:
        """Forget a job."""
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"

    @staticmethod
    def _read(path: Path) -> PodRecord | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=PodRecord)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
