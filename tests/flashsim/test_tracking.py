"""Metrics of a training: in files always, at a real MLflow server where one is set and answers."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import httpx
import pytest

from flashlink.cli import main
from flashlink.flashsim import files
from flashlink.flashsim.learned.training.tracking import tracked
from flashlink.flashsim.samples import GENERATED, RECONSTRUCTED

pytestmark = pytest.mark.slow

SMALL = "trunk = [8]\nhead = 4\ncomponents = 2\nepochs = 2\nbatch = 500\n"
CHAINS = ("category", "track", "identification", "vertex", "ghosts", "ghost")
PLAN = "".join(f"[{chain}]\n{SMALL}\n" for chain in CHAINS)
SEARCH = f"[category]\n{SMALL}\n[search.category]\nrate = [0.01, 0.02]\n"


@pytest.fixture(scope="module")
def samples(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    generated = toy[0](150)
    files.write(folder / "g.parquet", generated, GENERATED, {})
    files.write(folder / "r.parquet", toy[1](generated), RECONSTRUCTED, {})
    (folder / "plan.toml").write_text(PLAN)
    (folder / "search.toml").write_text(SEARCH)
    return folder


@pytest.fixture
def serve(tmp_path, port):
    """Start MLflow's tracking server, which keeps runs in SQLite and files in a folder, when called."""
    servers = []

    def started():
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--backend-store-uri", f"sqlite:///{tmp_path}/runs", "--workers", "1"]
        environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore"}
        environment |= {"MLFLOW_ARTIFACTS_DESTINATION": f"{tmp_path}/kept", "TMPDIR": str(tmp_path)}
        environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # it keeps books in memory, which a kill leaves
        with (tmp_path / "server.log").open("w") as log:
            servers.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True))
        for _ in range(600):
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health").text == "OK":
                    return
            except httpx.TransportError:
                time.sleep(0.2)
        pytest.fail((tmp_path / "server.log").read_text())

    yield started
    for server in servers:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def train(samples, output, *options):
    given = ["--generated", f"{samples}/g.parquet", "--reference", f"{samples}/r.parquet", "--seed", "1"]
    return main(["train", *given, *options, "--output", str(output)])


def runs(port, name):
    """The runs of the experiment, as MLflow's own routes give them, with a wanted name."""
    base = f"http://127.0.0.1:{port}/api/2.0/mlflow"
    found = httpx.get(f"{base}/experiments/get-by-name", params={"experiment_name": "flashlink"}).json()
    body = {"experiment_ids": [found["experiment"]["experiment_id"]]}
    listed = httpx.post(f"{base}/runs/search", json=body).json()["runs"]
    return [run for run in listed if run["info"]["run_name"].startswith(name)]


def history(port, run, metric):
    query = {"run_id": run["info"]["run_id"], "metric_key": metric}
    found = httpx.get(f"http://127.0.0.1:{port}/api/2.0/mlflow/metrics/get-history", params=query).json()["metrics"]
    return {item["step"]: item["value"] for item in found}


def pairs(items):
    return {item["key"]: item["value"] for item in items}


def test_metrics_settings_and_models_are_kept_at_the_server_and_in_files(
    samples, tmp_path, port, serve, monkeypatch, capfd
):  # fmt: skip
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    lines = []
    with tracked("of an hour without server", {}, lines.append) as early:
        early.metrics({"loss": 1.0}, 1)
        early.metrics({"loss": 0.5}, 2)
        serve()
    assert len(lines) == 1
    assert "the training goes on" in lines[0]
    assert history(port, runs(port, "of an hour")[0], "loss") == {1: 1.0, 2: 0.5}

    capfd.readouterr()
    assert train(samples, tmp_path / "models", "--plan", f"{samples}/plan.toml") == 0
    assert "MLflow" not in capfd.readouterr().err
    (run,) = runs(port, "models")
    assert run["info"]["status"] == "FINISHED"
    assert pairs(run["data"]["params"])["track/head"] == "4"
    with (tmp_path / "models/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    trained = list(json.loads((tmp_path / "models/manifest.json").read_text())["chains"])
    assert [(row["chain"], row["epoch"]) for row in rows] == [(chain, epoch) for chain in trained for epoch in "12"]
    for row in rows:
        for kind in ("training_loss", "validation_loss"):
            sent = history(port, run, f"{row['chain']}/{kind}")
            assert sent[int(row["epoch"])] == pytest.approx(float(row[kind]))

    kept = {path.name: path.read_bytes() for path in (tmp_path / "kept").rglob("*") if path.is_file()}
    assert kept == {path.name: path.read_bytes() for path in (tmp_path / "models").iterdir()}

    options = ["--search", f"{samples}/search.toml", "--trials", "2", "--checkpoints", str(tmp_path / "checkpoints")]
    assert train(samples, tmp_path / "best.toml", *options) == 0
    trials = runs(port, "category trial")
    assert len(trials) == 2
    assert all(pairs(trial["data"]["tags"])["outcome"].startswith("ended with") for trial in trials)


def test_metrics_of_a_training_that_goes_on_are_those_of_one_at_once(samples, tmp_path):
    options = ["--plan", f"{samples}/plan.toml", "--checkpoints", str(tmp_path / "checkpoints")]
    assert train(samples, tmp_path / "models", *options) == 0
    assert train(samples, tmp_path / "again", *options) == 0
    for path in (tmp_path / "models").iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_a_server_that_is_away_stops_nothing_and_is_told_in_one_line(samples, tmp_path, port, monkeypatch, capfd):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{port}")
    options = ["--search", f"{samples}/search.toml", "--trials", "1", "--checkpoints", str(tmp_path / "checkpoints")]
    assert train(samples, tmp_path / "best.toml", *options) == 0
    told = [line for line in capfd.readouterr().err.splitlines() if not line.startswith("category")]
    assert len(told) == 1
    assert "the training goes on" in told[0]
    assert "secret" not in told[0]
    assert (tmp_path / "best.toml").exists()
