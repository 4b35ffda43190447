"""Jobs' files on their way to a site and back. The site is a folder here, and its shell a bash of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flashlink.batch import JobSpec, JobState, JobStatus
from flashlink.batch.slurm import fetching, growth, output
from flashlink.batch.slurm.books import Books, Job
from flashlink.batch.slurm.commands import Answer, text
from flashlink.batch.slurm.connection import Connection
from flashlink.batch.slurm.options import read
from flashlink.batch.slurm.output import Output
from flashlink.batch.slurm.spool import Spool
from flashlink.errors import SiteError


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site" / "spool"


@pytest.fixture
def connection(site: Path, tmp_path: Path) -> Iterator[Connection]:
    with (tmp_path / "held").open("w") as held:
        yield Connection(read({"spool": str(site)}), held.fileno(), tmp_path)


@pytest.fixture
def spool(connection: Connection, site: Path) -> Spool:
    return Spool(connection, read({"spool": str(site)}))


@pytest.fixture
def sent(spool: Spool, tmp_path: Path) -> Job:
    """A job whose files have been sent."""
    spec = job(tmp_path)
    spool.send([spec])
    return Job(7, spec.uid, spool.folder(spec.uid), home=str(spec.folder))


def job(tmp_path: Path, uid: str = "uid-1", script: bytes = b"#!/bin/bash\n") -> JobSpec:
    home = tmp_path / "work" / uid
    home.mkdir(mode=0o700, parents=True)
    (home / "job.sh").write_bytes(script)
    return JobSpec(uid, "pod", home / "job.sh", home)


def write(job: Job, name: str, content: bytes) -> None:
    path = Path(job.folder) / name
    path.parent.mkdir(exist_ok=True)
    with path.open("ab") as file:
        file.write(content)


def many(spool: Spool, tmp_path: Path, count: int) -> list[Job]:
    """Jobs whose files have been sent."""
    specs = [job(tmp_path, f"uid-{number:03}") for number in range(100, 100 + count)]
    spool.send(specs)
    return [Job(n, spec.uid, spool.folder(spec.uid), home=str(spec.folder)) for n, spec in enumerate(specs)]


def hostile(job: Job, tmp_path: Path) -> None:
    """Files that a job has no business to write."""
    (tmp_path / "secret").write_text("hunter2")
    for name in (
        "other",
        "logs/a b",
        "logs/.hidden",
        "logs/x\n9 uid-1",
        f"logs/$(touch {tmp_path.name})",
        "logs/a[$(id)]",
    ):
        write(job, name, b"x")
    Path(job.folder, "logs", "link.0.log").symlink_to(tmp_path / "secret")
    os.mkfifo(Path(job.folder) / "logs" / "pipe.0.log")


def here(job: Job) -> dict[str, bytes]:
    """What the plugin's folder of a job has of what the job wrote."""
    files = {str(path.relative_to(job.home)): path for path in Path(job.home).rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if fetching.is_written_by_job(name)}


class TestSending:
    def test_the_script_arrives_byte_by_byte_and_private(self, spool: Spool, tmp_path: Path, site: Path) -> None:
        script = bytes(range(256)) * 40
        specs = [job(tmp_path, "uid-1", script), job(tmp_path, "uid-2", b"two")]
        (specs[0].folder / "reports.json").write_text("{}")
        spool.send(specs)
        assert (site / "uid-1" / "job.sh").read_bytes() == script
        assert (site / "uid-2" / "job.sh").read_bytes() == b"two"
        assert (site / "uid-1" / "reports.json").read_text() == "{}"
        assert all(path.stat().st_mode & 0o077 == 0 for path in (site, *site.rglob("*")))

    def test_it_can_be_sent_again(self, spool: Spool, tmp_path: Path, site: Path) -> None:
        spec = job(tmp_path)
        spool.send([spec])
        (site / "uid-1" / "slurm").mkdir()
        spec.script.write_bytes(b"other")
        spool.send([spec])
        assert (site / "uid-1" / "job.sh").read_bytes() == b"other"
        assert (site / "uid-1" / "slurm").is_dir()

    def test_what_the_job_wrote_is_not_sent_back(self, spool: Spool, tmp_path: Path, site: Path) -> None:
        spec = job(tmp_path)
        (spec.folder / "journal").write_text("old")
        spool.send([spec])
        assert not (site / "uid-1" / "journal").exists()

    def test_a_site_that_takes_nothing_says_why(self, spool: Spool, tmp_path: Path, site: Path) -> None:
        site.parent.write_text("no folder")
        with pytest.raises(SiteError, match=r"cannot be written: .*directory") as caught:
            spool.send([job(tmp_path)])
        assert caught.value.transient
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("words", ["No space left on device", "Disk quota exceeded"])
    def test_a_site_that_is_full_says_so_and_is_soon_asked_again(
        self, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
    ) -> None:
        (tmp_path / "bin").mkdir()
        tar = tmp_path / "bin" / "tar"
        tar.write_text(f"#!/bin/sh\necho 'tar: uid-1/job.sh: Cannot write: {words}' >&2\nexit 2\n")
        tar.chmod(0o700)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        with pytest.raises(SiteError, match=rf"of the site is full: {words}; make room$") as caught:
            spool.send([job(tmp_path)])
        assert (caught.value.transient, caught.value.again) == (True, 5.0)

    def test_a_cut_connection_is_no_success(self, tmp_path: Path, site: Path) -> None:
        options = read({"spool": str(site), "shell": ["sh", "-c", "head -c 4000 | bash"]})
        with (tmp_path / "held").open("w") as held:
            spool = Spool(Connection(options, held.fileno(), tmp_path), options)
            with pytest.raises(SiteError) as caught:
                spool.send([job(tmp_path, script=os.urandom(100_000))])
        assert caught.value.transient


class TestFollowing:
    def test_files_come_as_they_grow(self, spool: Spool, sent: Job) -> None:
        write(sent, "journal", b"one\n")
        write(sent, "logs/main.0.log", b"\0\xff\n")
        assert spool.follow([sent]) == 1
        assert here(sent) == {"journal": b"one\n", "logs/main.0.log": b"\0\xff\n"}
        write(sent, "logs/main.0.log", b"more")
        write(sent, "job.log", b"x")
        spool.follow([sent])
        assert here(sent) == {"journal": b"one\n", "logs/main.0.log": b"\0\xff\nmore", "job.log": b"x"}
        assert (Path(sent.home) / "journal").stat().st_mode & 0o777 == 0o600

    def test_one_question_is_about_all_jobs_and_its_answer_holds_nothing_but_news(
        self, spool: Spool, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Answer] = []
        run = connection.run
        monkeypatch.setattr(connection, "run", lambda *commands: asked.extend(told := run(*commands)) or told)
        jobs = many(spool, tmp_path, 450)
        for each in jobs:
            write(each, "journal", b"x" * 500)
            write(each, "logs/main.0.log", b"y" * 500)
        assert spool.follow(jobs) == 450
        assert all(here(each) == {"journal": b"x" * 500, "logs/main.0.log": b"y" * 500} for each in jobs)
        write(jobs[321], "logs/main.0.log", b"z")
        assert spool.follow(jobs) == 450
        assert here(jobs[321])["logs/main.0.log"] == b"y" * 500 + b"z"
        assert len(asked) == 2
        assert asked[1].output == f"grown {jobs[321].uid}/logs/main.0.log 501 500 1\nlooked 450\neg=="

    def test_a_large_log_comes_in_pieces_and_before_the_journal(
        self, spool: Spool, sent: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(growth, "MOST_OF_FILE", 700)
        log = os.urandom(2000)
        write(sent, "logs/main.0.log", log)
        write(sent, "journal", b"ended\n")
        spool.follow([sent])
        assert here(sent) == {"logs/main.0.log": log[:700]}
        for _ in range(3):
            spool.follow([sent])
        assert here(sent) == {"logs/main.0.log": log, "journal": b"ended\n"}

    def test_of_more_than_an_answer_holds_each_job_has_its_turn(
        self, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(growth, "MOST", 1000)
        jobs = many(spool, tmp_path, 5)
        books = Books(tmp_path / "books")
        books.add(jobs)
        for each in jobs:
            write(each, "logs/main.0.log", b"x" * 600)
            write(each, "journal", b"y")
        assert spool.follow(jobs) == 2
        assert [bool(here(each)) for each in jobs] == [True, True, False, False, False]
        made = Output(spool, books, 30)
        for count in (4, 5):
            made.told({each.number: JobStatus(JobState.RUNNING) for each in jobs})
            write(jobs[0], "logs/main.0.log", b"x" * 600)  # it does not keep the others from theirs
            assert [bool(here(each)) for each in jobs].count(True) == count

    def test_a_job_whose_logs_do_not_fit_gets_no_journal_yet(
        self, spool: Spool, sent: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(growth, "MOST", 10)
        write(sent, "logs/a.0.log", b"x" * 20)
        write(sent, "logs/b.0.log", b"x" * 20)
        write(sent, "journal", b"y")
        assert spool.follow([sent]) == 0
        assert len(here(sent)) == 1
        assert spool.follow([sent]) == 1
        assert here(sent).keys() == {"logs/a.0.log", "logs/b.0.log", "journal"}

    def test_a_file_that_was_begun_anew_is_begun_anew_here(self, spool: Spool, sent: Job) -> None:
        Path(sent.home, "logs").mkdir()
        Path(sent.home, "logs", "main.0.log").write_bytes(b"a longer one of before")
        write(sent, "logs/main.0.log", b"new")
        spool.follow([sent])
        assert here(sent)["logs/main.0.log"] == b""
        spool.follow([sent])
        assert here(sent)["logs/main.0.log"] == b"new"

    def test_pieces_that_the_job_keeps_no_longer_go_here_too(self, spool: Spool, sent: Job) -> None:
        for name in ("logs/main.0.log", "logs/main.0.log.100", "logs/main.0.log.200"):
            write(sent, name, b"x")
        spool.follow([sent])
        (Path(sent.folder) / "logs" / "main.0.log.100").unlink()
        spool.follow([sent])
        assert here(sent).keys() == {"logs/main.0.log", "logs/main.0.log.200"}

    def test_a_folder_that_cannot_be_seen_now_takes_nothing_away(self, spool: Spool, sent: Job) -> None:
        write(sent, "logs/main.0.log", b"x")
        spool.follow([sent])
        Path(sent.folder).rename(f"{sent.folder}-hidden")
        assert spool.follow([sent]) == 1
        assert here(sent) == {"logs/main.0.log": b"x"}

    def test_only_what_jobs_write_comes(self, spool: Spool, sent: Job, tmp_path: Path) -> None:
        hostile(sent, tmp_path)
        spool.follow([sent])
        assert here(sent) == {}

    def test_a_link_here_is_not_followed_and_does_not_stop_the_others(
        self, spool: Spool, sent: Job, tmp_path: Path
    ) -> None:
        (tmp_path / "victim").write_bytes(b"v")
        Path(sent.home, "journal").symlink_to(tmp_path / "victim")
        (other,) = many(spool, tmp_path, 1)
        for each in (sent, other):
            write(each, "journal", b"xyz")
        spool.follow([sent, other])
        assert (tmp_path / "victim").read_bytes() == b"v"
        assert here(other) == {"journal": b"xyz"}

    def test_half_an_answer_changes_nothing(self, spool: Spool, sent: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        write(sent, "journal", b"x")
        monkeypatch.setattr(growth, "text", lambda name: text(name).replace("printf 'looked", "exit; printf '"))
        with pytest.raises(SiteError, match="no whole answer") as caught:
            spool.follow([sent])
        assert caught.value.transient
        assert here(sent) == {}


class TestFetching:
    def test_at_the_end_all_comes_at_once(self, spool: Spool, sent: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fetching, "MOST", 1000)
        monkeypatch.setattr(fetching, "MOST_OF_FILE", 700)
        written = {f"logs/c{number}.0.log": os.urandom(1500) for number in range(3)} | {"journal": b"ended\n"}
        for name, content in written.items():
            write(sent, name, content)
        assert spool.fetch([sent]) == {}
        assert here(sent) == written

    def test_what_was_cut_in_the_middle_goes_on(self, spool: Spool, sent: Job) -> None:
        write(sent, "logs/main.0.log", b"abcdef")
        Path(sent.home, "logs").mkdir()
        Path(sent.home, "logs", "main.0.log").write_bytes(b"abc")
        spool.fetch([sent])
        assert here(sent)["logs/main.0.log"] == b"abcdef"

    def test_a_file_that_was_begun_anew_is_the_new_one_at_the_end(self, spool: Spool, sent: Job) -> None:
        Path(sent.home, "logs").mkdir()
        Path(sent.home, "logs", "main.0.log").write_bytes(b"a longer one of before")
        write(sent, "logs/main.0.log", b"new")
        spool.fetch([sent])
        assert here(sent)["logs/main.0.log"] == b"new"

    def test_pieces_that_the_job_keeps_no_longer_go_here_at_the_end(self, spool: Spool, sent: Job) -> None:
        for name in ("logs/main.0.log", "logs/main.0.log.100", "logs/main.0.log.200"):
            write(sent, name, b"x")
        spool.fetch([sent])
        (Path(sent.folder) / "logs" / "main.0.log.100").unlink()
        spool.fetch([sent])
        assert here(sent).keys() == {"logs/main.0.log", "logs/main.0.log.200"}

    def test_only_what_jobs_write_comes(self, spool: Spool, sent: Job, tmp_path: Path) -> None:
        hostile(sent, tmp_path)
        spool.fetch([sent])
        assert here(sent) == {}

    def test_a_link_here_is_not_followed(self, spool: Spool, sent: Job, tmp_path: Path) -> None:
        (tmp_path / "victim").write_bytes(b"v")
        Path(sent.home, "journal").symlink_to(tmp_path / "victim")
        write(sent, "journal", b"xyz")
        assert list(spool.fetch([sent])) == [7]
        assert (tmp_path / "victim").read_bytes() == b"v"

    def test_one_job_without_a_folder_does_not_stop_the_others(self, spool: Spool, sent: Job, tmp_path: Path) -> None:
        write(sent, "journal", b"x")
        gone = Job(8, "uid-8", spool.folder("uid-8"), home=str(tmp_path / "work" / "uid-8"))
        assert spool.fetch([gone, sent]) == {8: "its folder at the site is gone"}
        assert here(sent) == {"journal": b"x"}


class TestFolders:
    def test_they_tell_of_their_jobs(self, spool: Spool, sent: Job) -> None:
        assert spool.look([sent.uid, "uid-9", "../x"]).keys() == {sent.uid}
        assert spool.look([sent.uid])[sent.uid].number is None
        Path(sent.folder, "slurm").mkdir()
        Path(sent.folder, "slurm", "claim").symlink_to("7")
        place = spool.look([sent.uid])[sent.uid]
        assert (place.number, place.home) == (7, sent.home)

    @pytest.mark.parametrize("home", ["/etc", "uid-1", "/nowhere/uid-1", "/tmp/../uid-1"])
    def test_a_home_that_is_none_is_not_written_to(self, spool: Spool, sent: Job, home: str) -> None:
        Path(sent.folder, "home").write_text(home)
        assert spool.look([sent.uid])[sent.uid].home == ""

    def test_they_are_removed(self, spool: Spool, sent: Job, site: Path) -> None:
        spool.remove([sent.uid, "uid-9", ".."])
        assert list(site.iterdir()) == []

    def test_old_ones_that_nobody_has_are_removed_once_a_day(self, spool: Spool, tmp_path: Path, site: Path) -> None:
        names = ("ours", "queued", "old", "new")
        spool.send([job(tmp_path, uid) for uid in names])
        for uid in names[:3]:
            os.utime(site / uid, (0, 0))
        (site / "not ours").mkdir()
        os.utime(site / "not ours", (0, 0))
        books = Books(tmp_path / "books")
        books.add([Job(1, "ours", "")])
        made = Output(spool, books, 30)
        made.tidy({"queued"})
        assert {path.name for path in site.iterdir()} == {"ours", "queued", "new", "not ours"}
        os.utime(site / "new", (0, 0))
        made.tidy(set())
        assert (site / "new").exists()


class TestEnds:
    ended = JobStatus(JobState.ENDED, 3)

    def test_a_job_has_not_ended_before_its_output_is_here(
        self, spool: Spool, sent: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        books = Books(tmp_path / "books")
        books.add([sent])
        made = Output(spool, books, 30)
        write(sent, "journal", b"x")
        (Path(sent.home) / "journal").mkdir()  # in its way
        told: Any = made.told({7: self.ended})
        assert told[7].state is JobState.RUNNING
        assert "its output cannot be fetched yet" in told[7].reason
        (Path(sent.home) / "journal").rmdir()
        assert made.told({7: self.ended}) == {7: self.ended}
        assert here(sent) == {"journal": b"x"}
        spool.remove([sent.uid])
        monkeypatch.setattr(output, "PATIENCE", -1.0)
        told = made.told({7: self.ended})
        assert (told[7].state, told[7].exit_code) == (JobState.ENDED, 3)
        assert told[7].reason == "it has ended; its output could not be fetched: its folder at the site is gone"


def test_of_a_job_that_is_requeued_the_end_of_its_first_run_is_seen(spool: Spool, sent: Job, tmp_path: Path) -> None:
    books = Books(tmp_path / "books")
    books.add([sent])
    made = Output(spool, books, 30)
    write(sent, "journal", b"started\n")
    made.told({7: JobStatus(JobState.RUNNING)})
    write(sent, "journal", b"cancelled\n")
    made.told({7: JobStatus(JobState.QUEUED)})
    assert here(sent) == {"journal": b"started\ncancelled\n"}


@pytest.mark.parametrize("folder", ["spool", "/a/../b", "/a b", "/", "/a\n", "~/x"])
def test_a_spool_that_is_no_plain_path_is_refused(folder: str) -> None:
    with pytest.raises(SiteError, match=r"batch\.options\.spool: .*expected an absolute path"):
        read({"spool": folder})
