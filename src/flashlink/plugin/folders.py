"""The end of a pod's folder on this machine, and of what its job may have left mounted in it."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

#: Where a job keeps emptyDirs in memory, in a folder of its pod's uid (see runtime/volumes.sh).
MEMORY = Path("/dev/shm")  # noqa: S108 (the job makes it, private, or refuses the pod)

_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def remove(folder: Path) -> None:
    """Remove a pod's folder, and its emptyDirs in memory if a killed job left them; nothing there is fine.

    Raises:
        OSError: Something in it cannot be removed.
    """
    memory = MEMORY / f"flashlink-{folder.name}"
    if memory.is_dir() and not memory.is_symlink() and memory.stat().st_uid == os.geteuid():
        shutil.rmtree(memory)
    unmount(folder)
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return


def unmount(folder: Path) -> None:
    """Let go of what is mounted below `folder`: to remove a folder with a live mount would remove what is in the mount.

    Raises:
        OSError: Something is still mounted there.
    """
    for point in mounted(folder):
        for command in (["fusermount3", "-u", "-z"], ["fusermount", "-u", "-z"], ["umount", "-l"]):
            if shutil.which(command[0]) and _succeeds([*command, "--", os.fsdecode(point)]):
                break
    if left := mounted(folder):
        raise OSError(errno.EBUSY, "a job has left a file system mounted there; unmount it", os.fsdecode(left[0]))


def mounted(folder: Path) -> list[bytes]:
    """Mount points on this machine below `folder`, the deepest first; dead ones too."""
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except FileNotFoundError:  # no Linux
        return []
    within = os.fsencode(os.path.realpath(folder)) + b"/"
    points = [_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), line.split(b" ")[4]) for line in lines]
    return sorted((point for point in points if point.startswith(within)), key=len, reverse=True)


def _succeeds(command: Sequence[str]) -> bool:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30)
    return done.returncode == 0
