"""The search over settings: one worker, several, killed ones; and what is wrong in its file."""

import math
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from flashlink.cli import main
from flashlink.errors import RequestError
from flashlink.flashsim import files
from flashlink.flashsim.learned.training import search as module
from flashlink.flashsim.learned.training.learn import read_plan
from flashlink.flashsim.learned.training.problem import Problem
from flashlink.flashsim.learned.training.ranges import plan_text, read_ranges
from flashlink.flashsim.learned.training.search import search, storage_of
from flashlink.flashsim.learned.variables import Classes, Continuous
from flashlink.flashsim.samples import GENERATED, RECONSTRUCTED

RANGES = """
[category]
trunk = [8]
head = 4
components = 2
epochs = 3
patience = 3
batch = 100

[search.category]
trunk = [[8], [8, 8]]
head = {from = 2, to = 8}
rate = {from = 1e-4, to = 0.1, log = true}
"""

TRIALS = 6

needs_redis = pytest.mark.skipif(not shutil.which("redis-server"), reason="needs redis-server, a package of Debian")


@pytest.fixture
def ranges(tmp_path):
    path = tmp_path / "ranges.toml"
    path.write_text(RANGES)
    return path


@pytest.fixture(scope="module")
def problem():
    random = np.random.default_rng(1)
    condition = random.normal(size=(600, 2))
    kind = (condition[:, 0] > 0).astype(float)
    value = condition[:, 1] + kind + random.logistic(size=600)
    variables = (Classes.of("kind", kind), Continuous.of("value", value))
    values = {"kind": kind, "value": value}
    return Problem("category", ("a", "b"), condition, variables, values, np.arange(600) // 4, np.ones(600))


def searched(problem, ranges, place, said=lambda _: None, trials=TRIALS, checkpoints=None):
    with storage_of(str(place)) as storage:
        return search({"category": problem}, read_ranges(ranges), trials, 3, storage, checkpoints, said)


@pytest.mark.slow
def test_trials_are_drawn_from_the_ranges_stopped_early_and_the_best_is_a_plan(problem, ranges, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "STARTUP", 2)
    lines = []
    found = searched(problem, ranges, tmp_path / "journal", lines.append)
    started = [line for line in lines if "rate" in line]
    assert len(started) == TRIALS
    assert any("stopped early" in line for line in lines)
    ended = {line.split(":")[0]: float(line.split()[-1]) for line in lines if "ended with" in line}
    assert len(ended) + sum("stopped early" in line for line in lines) == TRIALS
    best = min(ended, key=ended.__getitem__)
    settings = found.plan.category
    line = next(line for line in started if line.startswith(f"{best}:"))
    assert f"trunk {list(settings.trunk)}, head {settings.head}, rate {settings.rate}" in line
    assert settings.trunk in ((8,), (8, 8))
    assert 2 <= settings.head <= 8
    assert 1e-4 <= settings.rate <= 0.1
    (tmp_path / "best.toml").write_text(plan_text(found.plan, found.notes))
    assert read_plan(tmp_path / "best.toml") == found.plan
    lines.clear()
    again = searched(problem, ranges, tmp_path / "journal", lines.append)
    assert (again, lines) == (found, [])


@pytest.fixture(params=["a database", pytest.param("Redis", marks=needs_redis)])
def place(request, tmp_path, port):
    """A storage that is no file, empty."""
    if request.param == "a database":
        yield f"sqlite:///{tmp_path}/base"
        return
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait()


@pytest.mark.slow
def test_an_interrupted_search_goes_on_to_the_same_end_in_whichever_storage(problem, ranges, tmp_path, place):
    whole, lines = [], []
    at_once = searched(problem, ranges, tmp_path / "journal", whole.append, 3)

    def said(line):
        lines.append(line)
        if line.startswith("category trial 1: epoch 2"):
            raise KeyboardInterrupt

    checkpoints = tmp_path / "checkpoints"
    with pytest.raises(KeyboardInterrupt):
        searched(problem, ranges, place, said, 3, checkpoints)
    assert list(checkpoints.iterdir())
    resumed = searched(problem, ranges, place, lines.append, 3, checkpoints)
    assert resumed.plan == at_once.plan
    assert not list(checkpoints.iterdir())
    ends = [[line.split(": ")[1] for line in said if "ended" in line or "stopped" in line] for said in (whole, lines)]
    assert ends[0] == ends[1]


@pytest.mark.slow
def test_workers_share_a_search_and_a_killed_one_loses_nothing(toy, ranges, tmp_path, monkeypatch, capfd):
    generated = toy[0](150)
    files.write(tmp_path / "g.parquet", generated, GENERATED, {})
    files.write(tmp_path / "r.parquet", toy[1](generated), RECONSTRUCTED, {})
    options = ["--generated", f"{tmp_path}/g.parquet", "--reference", f"{tmp_path}/r.parquet", "--seed", "3"]
    options += ["--search", str(ranges), "--trials", "4", "--checkpoints", str(tmp_path)]

    def worker(output):
        command = [sys.executable, "-m", "flashlink", "train", *options, "--output", str(tmp_path / output)]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    killed = worker("killed.toml")
    for line in killed.stderr:
        if "trial 1: epoch 1" in line:
            break
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    killed.stderr.close()
    # The journal is shared by two from now on, of whom one takes who gives no sign of life for killed at once.
    other = worker("other.toml")
    monkeypatch.setattr(module, "GRACE", 3.0)
    assert main(["train", *options, "--output", str(tmp_path / "here.toml")]) == 0
    other.stderr.read()
    assert other.wait() == 0
    other.stderr.close()
    assert main(["train", *options, "--output", str(tmp_path / "last.toml")]) == 0
    assert "trial 4:" in capfd.readouterr().err
    assert " of 4: " in (tmp_path / "last.toml").read_text()
    assert not (tmp_path / "killed.toml").exists()
    assert not list(tmp_path.glob("*.npz"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[search.category]", "[search.categry]", "one of category, track"),
        ("rate = {", "speed = {", "one of trunk, head"),
        ("head = {from = 2, to = 8}", "head = {from = 8, to = 2}", "at most 2"),
        ("head = {from = 2, to = 8}", "head = {from = 0, to = 2}", "0 cannot be tried"),
        ("head = {from = 2, to = 8}", "head = {from = 2.5, to = 3}", "2.5 cannot be tried"),
        ("head = {from = 2, to = 8}", "head = []", "at least one value"),
        ("[[8], [8, 8]]", "{from = 8, to = 16}", "8 cannot be tried"),
        ("[[8], [8, 8]]", '["wide"]', "'wide' cannot be tried"),
        ("from = 1e-4", "from = 0", "0 cannot be tried"),
        ("[search.category]", "[serch.category]", "serch"),
        ("[search.category]", "[search", "ranges.toml"),
        ("batch = 100", "batch = 0", "category.batch"),
    ],
)  # fmt: skip
def test_a_wrong_range_is_told_in_one_line(ranges, old, new, message):
    assert old in RANGES
    ranges.write_text(RANGES.replace(old, new))
    with pytest.raises(RequestError) as error:
        read_ranges(ranges)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_plan_changes_what_it_names_alone(tmp_path):
    (tmp_path / "plan.toml").write_text("[track]\nepochs = 2\n")
    plan, default = read_plan(tmp_path / "plan.toml"), read_plan(None)
    assert plan.track.epochs == 2
    assert plan.track.batch == default.track.batch
    assert plan.category == default.category
    assert math.isclose(plan.track.rate, default.track.rate)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("mysterious://user:secret@host/base", "mysterious"),
        ("sqlite:////no/such/folder/base", "unable to open"),
        ("/dev/null/journal", "exists"),
        ("redis://:secret@127.0.0.1:1/0", "refused"),
    ],
)
def test_a_storage_that_cannot_be_used_is_told_without_its_password(place, message):
    with pytest.raises(RequestError) as error, storage_of(place):
        pass
    assert message in str(error.value)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("place", "package"), [("redis://host/0", "redis"), ("postgresql://host/base", "psycopg2")])
def test_a_missing_client_of_a_storage_is_named(place, package):
    code = f"""if True:
        import sys
        sys.modules[{package!r}] = None
        from flashlink.flashsim.learned.training.search import storage_of
        with storage_of({place!r}):
            pass"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"RequestError: storage of the search: needs the Python package {package!r}; pip install it" in done.stderr
