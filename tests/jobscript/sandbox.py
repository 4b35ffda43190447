"""Where generated pods are planned, rendered, read back by bash, and run; it sees whatever escapes from it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

from flashlink.jobscript.planning import plan
from flashlink.jobscript.script import render, runtime
from flashlink.pods.parse import parse_create
from flashlink.site.config import Containers, Images, Site, Volumes
from pods.strategies import CANARY, GRANTS

#: A fake Apptainer: it writes down how it was called, and what stands in the volumes and in the files made for the
#: container; `pull` makes an empty file.
FAKE_APPTAINER = """#!/bin/sh
before='' previous=''
for word; do
  [ "$previous" != --workdir ] || scratch=$word
  before=$previous previous=$word
done
if [ "$2" = pull ]; then
  : >"$before"
  exit
fi
pod=${{scratch%/tmp/*}}
record={records}/${{pod##*/}}.${{scratch##*/}}
/bin/cat /proc/$$/cmdline >"$record.argv"
/bin/cat /proc/$$/environ >"$record.environ"
/bin/cp -rpL "$pod/volumes" "$record.volumes"
/bin/cp -rp "$scratch" "$record.scratch"
echo "ran ${{scratch##*/}}"
"""

#: The program of every container of a host process; its first argument is the container's name.
RECORDER = """#!/bin/sh
record={records}/$FLASHLINK_POD.$1
/bin/cat /proc/$$/cmdline >"$record.argv"
/bin/cat /proc/$$/environ >"$record.environ"
echo "ran $1"
"""

#: Bash that knows the runtime, reads declarations of pods and tells what they declare. A line of its input is the file
#: of a declaration, a line of its output the status; beside the file it leaves what the containers were declared to be.
READER = """
{runtime}
run_pod() {{
  mkdir -p -- "$pod_folder/volumes" "$pod_folder/tmp" && volumes || exit 70
  local index name image gpu workdir argv args env binds root identity fake_root
  for ((index = 0; index < ${{#pod_names[@]}}; index++)); do
    declare_container "$index"
    printf '%s\\0' "$name" "$image" "$gpu" "$workdir"
    printf '%s\\0' "${{#argv[@]}}" ${{argv[@]+"${{argv[@]}}"}}
    printf '%s\\0' "${{#args[@]}}" ${{args[@]+"${{args[@]}}"}}
    printf '%s\\0' "${{#env[@]}}" ${{env[@]+"${{env[@]}}"}}
    printf '%s\\0' "${{#binds[@]}}" ${{binds[@]+"${{binds[@]}}"}}
  done
}}
while IFS= read -r file; do
  (set -u && . "$file") >"$file.out" 2>"$file.err" </dev/null
  echo "$?"
done
"""


@dataclass(frozen=True)
class Declared:
    """A container as bash understood the script."""

    name: str
    image: str
    gpu: str
    workdir: str
    argv: list[str]
    args: list[str]
    env: dict[str, str]
    binds: list[tuple[str, ...]]


@dataclass(frozen=True)
class Ran:
    """What the fake Apptainer, or a host process, saw of itself.

    Attributes:
        argv: Of the program in the container: command and arguments, without those of Apptainer.
        mounts: Path in the container of a volume, to whether it is read-only.
        shown: Path in the container of a file made for it, to its text.
    """

    argv: list[str]
    env: dict[str, str]
    workdir: str = ""
    hostname: str = ""
    mounts: dict[str, bool] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    volumes: Path | None = None
    entry_point: bool = False


class Sandbox:
    """Folders of a site, a bash that reads scripts back, and a look-out for what is outside of them.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self.records = folder / "records"
        self.outside = folder / "outside"
        for each in (self.work, self.records, self.outside, GRANTS / "images", GRANTS / "data", GRANTS / "claim"):
            each.mkdir(parents=True)
        (GRANTS / "images" / "some.sif").touch()
        self.recorder = self._program(folder / "recorder", RECORDER)
        apptainer = self._program(folder / "apptainer", FAKE_APPTAINER)
        self.site = self._site(Containers(runtime="apptainer", executable=str(apptainer), root="memory"))
        self.host_site = self._site(Containers(runtime="host"))
        self._prefix = "\n".join(["set -u", "", runtime()])
        self._reader = subprocess.Popen(
            ["bash", "-c", READER.format(runtime=runtime())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=self.outside,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._reader.stdin is not None
        assert self._reader.stdout is not None
        self._reader.stdin.close()
        self._reader.wait(10)
        self._reader.stdout.close()
        shutil.rmtree(GRANTS)
        CANARY.unlink(missing_ok=True)

    def _program(self, path: Path, text: str) -> Path:
        path.write_text(text.format(records=self.records))
        path.chmod(0o755)
        return path

    @staticmethod
    def _site(containers: Containers) -> Site:
        return Site(
            containers=containers,
            images=Images(folders=[f"{GRANTS}/images"], aliases={"alias": f"{GRANTS}/images/some.sif"}),
            volumes=Volumes(host_paths=[f"{GRANTS}/data"], claims={"granted": f"{GRANTS}/claim"}, cvmfs="/cvmfs"),
        )

    def script(self, request: dict[str, Any], *, on_host: bool = False) -> tuple[Path, str]:
        """The folder and the script of a pod.

        Raises:
            RequestError: The pod is refused.
            SiteError: The pod is refused.
        """
        pod = parse_create(json.dumps(request).encode())
        folder = self.work / pod.uid
        return folder, render(plan(pod, self.host_site if on_host else self.site, PurePosixPath(folder)))

    def read(self, folder: Path, script: str) -> list[Declared]:
        """What bash understands a script to declare; the volumes of given files then stand in the pod's folder."""
        first, pod, rest = script.split("\n", 2)
        assert (first, pod[:2]) == ("#!/bin/bash", "# ")
        assert rest.startswith(self._prefix), "the script does not begin with the runtime"
        self._begin(folder)
        file = folder / "declaration"
        file.write_text(rest.removeprefix(self._prefix))
        assert self._reader.stdin is not None
        assert self._reader.stdout is not None
        self._reader.stdin.write(f"{file}\n")
        self._reader.stdin.flush()
        said = self._reader.stdout.readline(), (folder / "declaration.err").read_text()
        assert said == ("0\n", ""), said
        return list(_declared((folder / "declaration.out").read_bytes()))

    def run(self, scripts: Mapping[Path, str]) -> list[tuple[int, str, dict[str, bytes]]]:
        """Run scripts at the same time, each in its folder: status, what it said, and the logs of its containers."""
        self._begin(*scripts)
        with ThreadPoolExecutor(len(scripts) or 1) as pool:
            return list(pool.map(self._run, scripts.keys(), scripts.values()))

    def _run(self, folder: Path, script: str) -> tuple[int, str, dict[str, bytes]]:
        (folder / "job.sh").write_text(script)
        with (folder / "job.log").open("wb") as log:
            code = subprocess.run(
                ["bash", folder / "job.sh"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.outside, timeout=120, check=False,
                env={"PATH": os.environ["PATH"]},
            ).returncode  # fmt: skip
        logs = {path.name.removesuffix(".0.log"): path.read_bytes() for path in (folder / "logs").glob("*.0.log")}
        return code, (folder / "job.log").read_text(errors="replace"), logs

    def _begin(self, *folders: Path) -> None:
        """Make the pods' folders; what an example that failed has left goes first."""
        for place in (self.work, self.records, self.outside):
            _empty(place)
        CANARY.unlink(missing_ok=True)
        for folder in folders:
            self._forget_memory(folder)
            folder.mkdir(mode=0o700)

    def ran(self, folder: Path, name: str) -> Ran:
        """What a container of the pod in `folder` saw in the last run."""
        record = self.records / f"{folder.name}.{name}"
        argv = _words(record.with_name(f"{record.name}.argv"))[1:]
        env = dict(word.split("=", 1) for word in _words(record.with_name(f"{record.name}.environ")))
        if argv[0] == str(self.recorder):
            return Ran(argv, env)
        end = argv.index("--", 2)
        options = argv[:end]
        after = dict(pairwise(options))
        lines = [value for option, value in pairwise(options) if option == "--mount"]
        prefix = "APPTAINERENV_"
        inside = {key.removeprefix(prefix): value for key, value in env.items() if key.startswith(prefix)}
        own = Path(after["--workdir"])
        home = after["--home"].partition(":")[2]
        words = own / "message"  # the container's last, and what leads to them
        mounts = {
            target: (Path(source), ro)
            for target, source, ro in map(_mount, lines)
            if words not in (Path(source), Path(source).parent)
        }
        return Ran(
            argv=argv[end + 2 :],
            env={**inside, "HOME": home},
            workdir=after["--pwd"],
            hostname=after.get("--hostname", ""),
            mounts={target: ro for target, (source, ro) in mounts.items() if source.parent != own},
            shown={
                target: (record.with_name(f"{record.name}.scratch") / source.name).read_text()
                for target, (source, ro) in mounts.items()
                if source.parent == own and ro
            },
            volumes=record.with_name(f"{record.name}.volumes"),
            entry_point=argv[2] == "run",
        )

    def assert_nothing_escaped(self, *folders: Path) -> None:
        """No canary, and nothing anywhere but in the pods' own folders; then make all as it was."""
        assert not CANARY.exists()
        assert list(self.outside.iterdir()) == []
        assert [path for path in self.work.iterdir() if path not in folders] == []
        assert sorted(path.name for path in GRANTS.iterdir()) == ["claim", "data", "images"]
        assert [path.name for path in (GRANTS / "images").iterdir()] == ["some.sif"]
        for place in (*folders, self.records, GRANTS / "data", GRANTS / "claim"):
            _empty(place)
        for folder in folders:
            folder.rmdir()
            self._forget_memory(folder)

    @staticmethod
    def _forget_memory(folder: Path) -> None:
        """Remove the emptyDirs in memory of a script that was only read."""
        shutil.rmtree(f"/dev/shm/flashlink-{folder.name}", ignore_errors=True)


def _mount(line: str) -> tuple[str, str, bool]:
    """Target, source and mode of a ``--mount`` of Apptainer, which reads it as a line of CSV."""
    words = next(csv.reader([line], strict=True))
    options = dict(word.partition("=")[::2] for word in words)
    return options["destination"], options["source"], "ro" in options


def _words(path: Path) -> list[str]:
    content = path.read_bytes()
    return [word.decode() for word in content.split(b"\0")[:-1]] if content else []


def _declared(content: bytes) -> Any:
    words = iter([word.decode() for word in content.split(b"\0")[:-1]])

    def several() -> list[str]:
        return [next(words) for _ in range(int(next(words)))]

    for name in words:
        image, gpu, workdir, argv, args = next(words), next(words), next(words), several(), several()
        env, binds = several(), several()
        pairs = dict(zip(env[::2], env[1::2], strict=True))
        yield Declared(
            name,
            image,
            gpu,
            workdir,
            argv,
            args,
            pairs,
            list(zip(*(binds[start::5] for start in range(5)), strict=True)),
        )


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            _empty(path)
            path.rmdir()
        else:
            path.unlink()


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Path to content and mode of every file below a folder."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        for path in folder.rglob("*")
        if path.is_file()
    }
