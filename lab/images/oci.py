"""Write an OCI image as one archive: layers, and the three JSON documents that describe them.

``oci.py ARCHIVE CONFIG LAYER...``: `CONFIG` is the image's ``config`` object as JSON (Entrypoint, Cmd, Env, User,
WorkingDir; https://github.com/opencontainers/image-spec, config.md), each `LAYER` a folder or an uncompressed tar, the
lowest first. The same input gives the same bytes. Apptainer reads it as ``oci-archive:ARCHIVE``.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import sys
import tarfile
from pathlib import Path

MEDIA_TYPE = "application/vnd.oci.image"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def layer(source: Path) -> bytes:
    """The layer as an uncompressed tar; a folder's files belong to root and carry no time."""
    if source.is_file():
        return source.read_bytes()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(source.rglob("*")):
            archive.add(path, path.relative_to(source), recursive=False, filter=_of_root)
    return buffer.getvalue()


def write(archive: Path, config: dict[str, object], layers: list[bytes]) -> None:
    """Write the image layout of `layers` and `config`, tagged ``latest``, to `archive`."""
    blobs: dict[str, bytes] = {}

    def put(kind: str, content: bytes) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"mediaType": f"{MEDIA_TYPE}.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    described = [put("layer.v1.tar", content) for content in layers]
    image = {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [item["digest"] for item in described]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{MEDIA_TYPE}.manifest.v1+json",
        "config": put("config.v1+json", _json(image)),
        "layers": described,
    }
    entry = put("manifest.v1+json", _json(manifest)) | {"annotations": {"org.opencontainers.image.ref.name": "latest"}}
    with tarfile.open(archive, "w") as target:
        for name in ("blobs", "blobs/sha256"):
            _add(target, name, b"", tarfile.DIRTYPE)
        _add(target, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(target, "index.json", _json({"schemaVersion": 2, "manifests": [entry]}))
        for digest, content in blobs.items():
            _add(target, f"blobs/sha256/{digest}", content)


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = "root"
    return member


def _add(archive: tarfile.TarFile, name: str, content: bytes, kind: bytes = tarfile.REGTYPE) -> None:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: oci.py ARCHIVE CONFIG LAYER...")
    write(Path(sys.argv[1]), json.loads(sys.argv[2]), [layer(Path(argument)) for argument in sys.argv[3:]])
