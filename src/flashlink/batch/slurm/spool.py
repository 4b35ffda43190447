"""The folders of jobs at a site that shares no file system with the plugin (docs/decisions/012).

`Options.spool` is a folder that the login node and the workers see. Below it each job has a folder of its pod's uid.
The job script is sent there before the job is submitted, and what the job writes is fetched from there, as it grows.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from flashlink.batch.slurm import fetching
from flashlink.batch.slurm.books import Job
from flashlink.batch.slurm.commands import Answer, Command
from flashlink.batch.slurm.connection import Connection
from flashlink.batch.slurm.fetching import Files, Piece, is_written_by_job
from flashlink.batch.slurm.growth import News, growth, news
from flashlink.batch.slurm.options import Options
from flashlink.batch.system import JobSpec
from flashlink.errors import SiteError

#: In each folder of a job: the plugin's own folder for it, for a plugin that has lost its books.
HOME = "home"

#: Seconds between two looks whether there is room again at the site. Somebody has made it, and waits.
ROOM = 5.0

_FULL = ("No space left on device", "Disk quota exceeded")

_UID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)

#: Of each folder that is there: its name, the number of the job that has claimed the pod, and the plugin's folder.
_LOOK = """cd -- "$0" && for uid; do
  [ ! -e "$uid/home" ] || printf "%s\\1%s\\1%s\\2" "$uid" "$(readlink "$uid/slurm/claim")" "$(cat "$uid/home")"
done; true"""

_REMOVE = 'cd -- "$0" || { [ ! -e "$0" ]; exit; }; rm -rf --one-file-system -- "$@"'

#: Folders in which nothing was made or removed for so many days.
_OLD = '[ ! -d "$0" ] || find "$0/" -mindepth 1 -maxdepth 1 -type d -mtime "+$1" -printf "%f\\n"'


@dataclass(frozen=True, slots=True)
class Place:
    """What a job's folder at the site tells: the job that has claimed it, if one has, and the plugin's own folder."""

    number: int | None
    home: str


class Spool:
    """Carries files to the site and back, over the connection that Slurm's commands go by.

    Args:
        connection: To the login node.
        options: Of the site.
    """

    def __init__(self, connection: Connection, options: Options) -> None:
        self._connection = connection
        self._seconds = options.command_seconds
        self._root = options.spool

    def folder(self, uid: str) -> str:
        """A job's folder at the site."""
        return f"{self._root}/{uid}"

    def at_site(self, spec: JobSpec) -> JobSpec:
        """The job as the site sees it."""
        folder = Path(self.folder(spec.uid))
        return replace(spec, folder=folder, script=folder / spec.script.name)

    def send(self, specs: Sequence[JobSpec]) -> None:
        """Send what jobs need. Doing it again replaces what is there, and disturbs no job that runs.

        Raises:
            SiteError: Transient: it is not there in whole.
        """
        try:
            packed = _packed(specs)
        except OSError as error:
            raise SiteError(f"{error.filename}: {error.strerror}", transient=True) from error
        answer = self._connection.send(self._root, packed, self._seconds)
        full = next((words for words in _FULL if answer.status and words in answer.errors), None)
        if full:
            raise SiteError(
                f"the folder {self._root} of the site is full: {full}; make room", transient=True, again=ROOM
            )
        self._check(answer, "cannot be written")

    def follow(self, jobs: Sequence[Job]) -> int:
        """Bring what the files of running jobs have grown by into the plugin's folders, by one question.

        What a folder here does not take comes again; at the end of its job that is told.

        Args:
            jobs: Whose, in the order in which they are looked at.

        Returns:
            How many of them were looked at: all, unless there was more than one answer holds, or the site is slow.

        Raises:
            SiteError: Transient: the site does not answer.
        """
        known = {job.uid: Path(job.home) for job in jobs if job.home}
        if not known:
            return len(jobs)
        here = {uid: fetching.here(folder) for uid, folder in known.items()}
        (told,) = self._connection.run(growth(self._root, here, self._seconds))
        found, looked = news(told)
        for uid in known.keys() & found.keys():
            with suppress(OSError):
                _bring_news(known[uid], uid, found[uid])
        return len(jobs) if looked >= len(known) else looked

    def fetch(self, jobs: Sequence[Job]) -> dict[int, str]:
        """Bring the files of ended jobs into the plugin's folders, in whole.

        Returns:
            For jobs of which something cannot be had or kept: what.

        Raises:
            SiteError: Transient: the site does not answer.
        """
        known = {job.uid: job for job in jobs if job.home}
        troubles = {job.uid: "the plugin's folder for it is not known" for job in jobs if not job.home}
        if known:
            (told,) = self._connection.run(fetching.listing(self._root, sorted(known), self._seconds))
            there = {} if told.status else fetching.listed(told)
            gone = f"{self._root} at the site: {told.problem}" if told.status else "its folder at the site is gone"
            troubles |= dict.fromkeys(known.keys() - there.keys(), gone)
            troubles |= self._bring(
                {uid: Files(Path(known[uid].home), names) for uid, names in there.items() if uid in known}
            )
        return {job.number: troubles[job.uid] for job in jobs if job.uid in troubles}

    def _bring(self, here: dict[str, Files]) -> dict[str, str]:
        """Fetch pieces; by uid, what the plugin's own folders did not take."""
        troubles: dict[str, str] = {}
        while wanted := fetching.wanted(here):
            (told,) = self._connection.run(fetching.pieces(self._root, wanted, self._seconds))
            self._check(told, "cannot be read")
            for piece, (size, content) in zip(wanted, fetching.contents(told, len(wanted)), strict=True):
                try:
                    if piece.uid in here:
                        here[piece.uid].take(piece, size, content)
                except OSError as error:
                    troubles[piece.uid] = f"{here.pop(piece.uid).folder}: {error.strerror}"
        return troubles

    def look(self, uids: Iterable[str]) -> dict[str, Place]:
        """What the folders of jobs tell, for a plugin that does not know them.

        Raises:
            SiteError: Transient: the site does not answer.
        """
        names = [uid for uid in uids if _UID.fullmatch(uid)]
        if not names:
            return {}
        (told,) = self._connection.run(Command(("bash", "-c", _LOOK, self._root, *names), seconds=self._seconds))
        rows = (row.split("\1") for row in told.output.split("\2"))
        return {
            uid: Place(int(number) if number.isdecimal() else None, home if _is_home(home, uid) else "")
            for uid, number, home in (row for row in rows if len(row) == 3)
        }

    def remove(self, uids: Sequence[str]) -> None:
        """Remove the folders of jobs; what is not there is fine.

        Raises:
            SiteError: Transient: they may still be there.
        """
        names = [uid for uid in uids if _UID.fullmatch(uid)]
        if names:
            (told,) = self._connection.run(Command(("bash", "-c", _REMOVE, self._root, *names), seconds=self._seconds))
            self._check(told, "cannot be cleared")

    def old(self, days: int) -> list[str]:
        """Names of folders in which nothing was made for some days.

        Raises:
            SiteError: Transient: the site does not answer.
        """
        (told,) = self._connection.run(Command(("bash", "-c", _OLD, self._root, str(days)), seconds=self._seconds))
        return [name for name in told.output.splitlines() if _UID.fullmatch(name)]

    def _check(self, answer: Answer, what: str) -> None:
        if answer.status:
            raise SiteError(f"the folder {self._root} of the site {what}: {answer.problem}", transient=True)


def _bring_news(folder: Path, uid: str, new: News) -> None:
    """Write what is new of a job; the journal, which comes last, only if all that it tells of is here."""
    for name in new.gone:
        if is_written_by_job(name):
            (folder / name).unlink(missing_ok=True)
    for each in new.grown:
        if each.name != "journal" or new.complete:
            piece = Piece(uid, each.name, each.offset, len(each.content))
            fetching.write(folder, piece, each.size, each.content)


def _packed(specs: Sequence[JobSpec]) -> bytes:
    """A tar file of what jobs need: of their folders all but what jobs themselves write."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for spec in specs:
            files: Mapping[str, bytes] = {
                **{path.name: path.read_bytes() for path in sorted(spec.folder.iterdir()) if _travels(path)},
                spec.script.name: spec.script.read_bytes(),
                HOME: bytes(spec.folder),
            }
            _add(archive, spec.uid, None)
            for name, content in files.items():
                _add(archive, f"{spec.uid}/{name}", content)
    return packed.getvalue()


def _travels(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and not is_written_by_job(path.name)


def _add(archive: tarfile.TarFile, name: str, content: bytes | None) -> None:
    """A private file, or a private folder."""
    member = tarfile.TarInfo(name)
    member.mode = 0o700
    if content is None:
        member.type = tarfile.DIRTYPE
        archive.addfile(member)
    else:
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))


def _is_home(path: str, uid: str) -> bool:
    """Whether files of a job may be written there: a folder of its own, in one that exists."""
    home = Path(path)
    return home.is_absolute() and home.name == uid and ".." not in home.parts and home.parent.is_dir()
