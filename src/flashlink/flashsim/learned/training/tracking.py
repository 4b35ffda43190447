"""Metrics of a training: always into a file, and to an MLflow server where ``MLFLOW_TRACKING_URI`` names one.

Credentials are MLflow's own matter: its environment (``MLFLOW_TRACKING_USERNAME``, ``MLFLOW_TRACKING_TOKEN``, …) or
netrc. A server that does not answer stops no training: what it missed is sent when the run ends, and the files have it
anyway.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flashlink import __version__
from flashlink.flashsim.files import replacing

#: The experiment that runs belong to where ``MLFLOW_EXPERIMENT_NAME`` names none.
EXPERIMENT = "flashlink"

#: How MLflow's client behaves unless its environment says otherwise: it tells nobody else of its use, prints nothing,
#: and gives up a server after seconds, not minutes.
_CLIENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}

#: What the server takes at once.
_MOST_METRICS, _MOST_PARAMETERS = 1000, 100


def write_metrics(path: Path, losses: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """Write the losses of all epochs so far as CSV.

    Args:
        path: The file.
        losses: Chain to training and validation loss of each epoch.
    """
    lines = ["chain,epoch,training_loss,validation_loss"]
    for chain, epochs in losses.items():
        lines += [f"{chain},{number},{train!r},{valid!r}" for number, (train, valid) in enumerate(epochs, start=1)]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


@contextmanager
def tracked(
    name: str, parameters: Mapping[str, Any], say: Callable[[str], None], tags: Mapping[str, str] | None = None
) -> Iterator[Run]:
    """A run at the MLflow server, ended as the block ends; where no server is set, nothing.

    Args:
        name: Of the run.
        parameters: What it is made with.
        say: Hears the one line that is told if the server does not answer.
        tags: Of the run.
    """
    run = Run(name, parameters, say, {"flashlink.version": __version__} | dict(tags or {}))
    try:
        yield run
    except BaseException as error:
        run.end("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    run.end("FINISHED")


class Run:
    """What `tracked` gives.

    Attributes:
        tags: Of the run, as they are when it ends.
    """

    def __init__(
        self, name: str, parameters: Mapping[str, Any], say: Callable[[str], None], tags: dict[str, str]
    ) -> None:  # fmt: skip
        self.tags = tags
        self._name, self._parameters, self._say = name, parameters, say
        self._files: list[Path] = []
        self._waiting: list[tuple[str, float, int, int]] = []
        self._server: _Server | None = None
        self._away = not os.environ.get("MLFLOW_TRACKING_URI")
        self._set = not self._away

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Note metrics of a step, such as an epoch."""
        now = int(time.time() * 1000)
        self._waiting += [(name, value, now, step) for name, value in values.items()]
        if not self._away:
            self._attempt(self._send)

    def keep(self, path: Path) -> None:
        """Keep a file, or all files of a folder, with the run when it ends."""
        self._files.append(path)

    def end(self, status: str) -> None:
        """Send what is still to be sent, and end the run as MLflow calls it: FINISHED, FAILED or KILLED."""
        if self._set:
            self._attempt(lambda: self._finish(status))

    def _finish(self, status: str) -> None:
        server = self._send()
        for path in self._files:
            server.upload(path)
        server.end(status, self.tags)

    def _send(self) -> _Server:
        if self._server is None:
            self._server = _Server(self._name, self._parameters, self.tags)
        self._server.log(self._waiting)
        self._waiting = []
        return self._server

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except ModuleNotFoundError as error:
            self._tell(f"its client is missing ({error.name}); pip install 'flashlink[mlflow]'")
        except Exception as error:
            # Whatever MLflow, its transport or its place for files raises: a training of hours is worth more.
            self._tell(" ".join(str(error).split()))

    def _tell(self, reason: str) -> None:
        if not self._away:
            # Its address may hold a password.
            reason = re.sub(r"//[^/@\s]*@", "//", reason)[:160]
            self._say(f"MLflow: {reason}; the training goes on, its metrics and models are in the files")
        self._away = True


class _Server:
    """A run that is there at the server."""

    def __init__(self, name: str, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        for variable, value in _CLIENT.items():
            os.environ.setdefault(variable, value)
        # One line tells of a server that is away, not one for each attempt.
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        from mlflow import MlflowClient  # only here: it takes seconds to import
        from mlflow.entities import Param

        self._client = MlflowClient()
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        found = self._client.get_experiment_by_name(experiment)
        number = found.experiment_id if found else self._client.create_experiment(experiment)
        self._run = self._client.create_run(number, run_name=name, tags=dict(tags)).info.run_id
        items = [Param(key, str(value)) for key, value in parameters.items()]
        for start in range(0, len(items), _MOST_PARAMETERS):
            self._client.log_batch(self._run, params=items[start : start + _MOST_PARAMETERS])

    def log(self, metrics: Sequence[tuple[str, float, int, int]]) -> None:
        from mlflow.entities import Metric

        items = [Metric(*metric) for metric in metrics]
        for start in range(0, len(items), _MOST_METRICS):
            self._client.log_batch(self._run, metrics=items[start : start + _MOST_METRICS])

    def upload(self, path: Path) -> None:
        if path.is_dir():
            self._client.log_artifacts(self._run, str(path), path.name)
        else:
            self._client.log_artifact(self._run, str(path))

    def end(self, status: str, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self._client.set_tag(self._run, key, value)
        self._client.set_terminated(self._run, status)
