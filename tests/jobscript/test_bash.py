"""The runtime keeps to bash 4.2, coreutils and Apptainer, as far as that can be told without a bash 4.2.

No bash 4.2 can be had where these tests run. So what newer versions have brought is looked for by form, the list made
from the CHANGES of bash 4.3 to 5.3; a pod runs with ``BASH_COMPAT=4.2``, which brings back what changed its meaning;
and the programs that a pod starts are those of the list.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flashlink.jobscript.script import runtime
from flashlink.pods.pod import Container, EmptyDir, File, Files

#: What bash 4.2 lacks or does otherwise: version, what it is, how it looks.
NEWER = [
    ("4.3", "references to variables", r"\b(declare|local|typeset|unset)\s+-\w*n\w*\b"),
    ("4.3", "wait for any child", r"\bwait\s+-\w*n"),
    ("4.3", "negative subscripts in assignments", r"\b\w+\[-\d+\]\+?="),
    ("4.3", "negative subscripts for unset", r"\bunset\b.*\[-\d+\]"),
    ("4.3", "[[ -v name[index] ]] and [[ -R name ]]", r"\s-v\s+\w+\[|\[\[\s+-R\s"),
    ("4.3", "time format without its argument", r"printf\s+(-v\s+\w+\s+)?\S*%\([^)]*\)T[^ ]*\s*($|[;&|)])"),
    ("4.4", "transformations of parameters", r"\$\{[^}]*@[A-Za-z]\}"),
    ("4.4", "delimiter of mapfile", r"\b(mapfile|readarray)\s+.*-\w*d"),
    ("4.4", "local shell options", r"\blocal\s+-(\s|$|;)"),
    (
        "4.4",
        "options of the shell",
        r"\b(inherit_errexit|localvar_inherit|assoc_expand_once|varredir_close|globskipdots)\b",
    ),
    ("4.4", "process id of a process substitution", r"[<>]\(.*\)\s*;?\s*\w*=?\$!"),
    ("5.0", "time variables without a way for older versions", r"\$\{?EPOCH(REALTIME|SECONDS)(?!:-)"),
    ("5.0", "further variables", r"\b(BASH_ARGV0|SRANDOM|BASH_LOADABLES_PATH|BASH_MONOSECONDS|GLOBSORT)\b"),
    ("5.0", "further options of wait", r"\bwait\s+-\w*[pf]"),
    ("5.1", "inherited local variables", r"\b(declare|local|typeset)\s+-\w*I"),
    ("5.3", "command substitution without a process", r"\$\{[ |\n\t]"),
]

#: Arrays that are never empty where they are expanded: bash before 4.4 calls an empty one unbound under `set -u`.
NEVER_EMPTY = {
    "command": "of the pump",
    "argv": "asked for its length before",
    "copies": "asked for its length before",
    "devices": "asked for its length before",
    "entries": "one of them is the shell itself",
    "fuse_volumes": "three of it at a position that it has",
    "folders": "asked for its length before",
    "gpu_variables": "names that are fixed",
    "kids": "asked for its length before",
    "links": "asked for its length before",
    "options": "begins with options of its own",
    "pids": "asked for its length before",
    "pod_names": "a pod has a container",
    "points": "one for each of fuses, asked for its length before",
    "post_start": "asked for its length before",
    "pre_stop": "asked for its length before",
    "probe": "one that the container has",
    "tidy": "begins with the program env",
    "way": "begins with the program setpriv",
}

#: Programs of coreutils that the runtime calls, and those that only host processes with volumes need (util-linux).
COREUTILS = {
    "base64",
    "cat",
    "chmod",
    "cp",
    "date",
    "du",
    "env",
    "head",
    "id",
    "ln",
    "mkdir",
    "mv",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
}
COREUTILS |= {"sha256sum", "sleep", "stat", "stdbuf", "tail", "truncate"}

Start = Callable[..., Any]


def code() -> list[tuple[int, str]]:
    """Lines of the runtime with their numbers, without comments."""
    lines = enumerate(runtime().splitlines(), 1)
    return [(number, re.sub(r"(^|\s)#\s.*", "", line)) for number, line in lines]


@pytest.mark.parametrize(("version", "what", "form"), NEWER, ids=[what for _, what, _ in NEWER])
def test_nothing_of_a_newer_bash(version: str, what: str, form: str) -> None:
    assert [(number, line) for number, line in code() if re.search(form, line)] == [], f"bash {version}: {what}"


@pytest.mark.parametrize(
    "line",
    [
        *(
            "local -n x=y",
            "wait -n",
            "a[-1]=x",
            "unset 'a[-1]'",
            "[[ -v a[1] ]]",
            'echo "${x@Q}"',
            "mapfile -t -d '' x",
        ),
        *(
            "local -",
            "shopt -s inherit_errexit",
            "now=$EPOCHREALTIME",
            "now=${EPOCHSECONDS}",
            "wait -p x",
            "local -I x",
        ),
        *("x=${ date; }", "printf '%(%s)T'", "printf -v x '%(%s)T';"),
    ],
)
def test_the_forms_are_found(line: str) -> None:
    assert any(re.search(form, line) for _, _, form in NEWER)


def test_an_array_that_may_be_empty_is_guarded() -> None:
    expanded = re.compile(r'(?<!\+)"\$\{(\w+)\[@\](?:[:#%/][^}]*)?\}"')
    bare = {name for _, line in code() for name in expanded.findall(line)}
    assert bare <= set(NEVER_EMPTY)


def test_a_pod_runs_as_in_bash_4_2_with_the_programs_of_the_list(start: Start, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in (*COREUTILS, "bash", "sh"):
        (programs / name).symlink_to(str(shutil.which(name)))
    volumes = {"e": EmptyDir("e", size_limit=10**6), "c": Files("c", (File("a/b", b"text\0", 0o755),))}
    job = start(
        Container("main", "", ("sh", "-c", 'cat ../../volumes/c/a/b; echo "$A"; exit 3'), env={"A": "b"}),
        Container("other", "", ("sh", "-c", "echo other")),
        init=(Container("first", "", ("sh", "-c", "echo first")),),
        volumes=volumes,
        deadline=60,
        environment={"BASH_COMPAT": "4.2", "PATH": str(programs), "HOME": os.environ.get("HOME", "/")},
    )
    assert job.wait() == 3
    assert job.complaints == ""
    assert (job.log("first"), job.log("main"), job.log("other")) == (b"first\n", b"text\0b\n", b"other\n")
    assert sorted(path.name for path in job.folder.iterdir()) == ["job.log", "job.sh", "journal", "logs"]
