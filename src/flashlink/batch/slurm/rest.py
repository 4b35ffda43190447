"""Slurm by slurmrestd, its own REST interface: `flashlink.batch.slurm.scheduler.Scheduler` over HTTP.

Fields and routes are those of Slurm's OpenAPI description (https://slurm.schedmd.com/rest_api.html), the same in its
versions v0.0.42 to v0.0.45; what errors mean is the table of `flashlink.batch.slurm.refusals`.
"""

from __future__ import annotations

import getpass
import re
import ssl
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec

from flashlink.batch.slurm import replies
from flashlink.batch.slurm.answers import Row
from flashlink.batch.slurm.commands import Answer
from flashlink.batch.slurm.description import check, describe
from flashlink.batch.slurm.examination import claims_of, token_found
from flashlink.batch.slurm.options import Options
from flashlink.batch.slurm.refusals import UnsureError, refusal
from flashlink.batch.slurm.submission import partitions
from flashlink.batch.system import Capacity, JobSpec
from flashlink.errors import SiteError
from flashlink.finding import Finding

#: The versions of the interface that flashlink is tested with.
OLDEST, NEWEST = 42, 45

_VERSION = re.compile(r"/slurm/v0\.0\.([0-9]+)/jobs/")

#: Slurm's errors of jobs that have ended or are not known: nothing is left to be ended.
_OVER = (2017, 2021)

#: Most numbers of jobs in one address.
_MOST = 500

T = TypeVar("T", bound=replies.Reply)


class Rest:
    """Asks slurmrestd.

    Args:
        options: Of the site.
    """

    def __init__(self, options: Options) -> None:
        for placement in (options, *options.flavours):
            check(placement.arguments)
        self._options = options
        self._where = f"slurmrestd at {options.rest}"
        socket = options.rest.removeprefix("unix:")
        uses_socket = socket != options.rest
        transport = httpx.HTTPTransport(uds=socket if uses_socket else None, verify=_trust(options.ca_file))
        self._client = httpx.Client(
            transport=transport,
            base_url="http://localhost" if uses_socket else options.rest,
            timeout=httpx.Timeout(options.command_seconds, connect=min(20, options.command_seconds)),
            trust_env=False,
        )
        self._version = options.rest_version

    def describe(self, spec: JobSpec) -> dict[str, Any]:
        """See `Scheduler.describe`."""
        return describe(spec, self._options)

    def submit(self, described: Sequence[dict[str, Any]]) -> list[int | SiteError]:
        """See `Scheduler.submit`; one request a job, as the interface has it."""
        outcomes: list[int | SiteError] = []
        for at, job in enumerate(described):
            try:
                outcomes.append(self._submit(job))
            except SiteError as error:
                outcomes.append(error)
                if error.transient:  # the others were not sent
                    return outcomes + [SiteError(str(error), transient=True) for _ in described[at + 1 :]]
        return outcomes

    def _submit(self, job: dict[str, Any]) -> int:
        told = self._ask(replies.Submitted, "POST", "/slurm/{}/job/submit", job)
        if not told.job_id:
            raise UnsureError(f"{self._where} has answered a submission without a number", transient=True)
        return told.job_id

    def queue(self) -> list[Row]:
        """See `Scheduler.queue`."""
        return [row for row, _ in self._jobs()]

    def places(self) -> dict[int, str]:
        """See `Scheduler.places`."""
        return {row.number: folder for row, folder in self._jobs()}

    def accounted(self, numbers: Sequence[int]) -> tuple[list[Row], str]:
        """See `Scheduler.accounted`."""
        rows: list[Row] = []
        for at in range(0, len(numbers), _MOST):
            asked = ",".join(map(str, numbers[at : at + _MOST]))
            try:
                rows += self._accounted(step=asked, start_time="1970-01-02")
            except SiteError as error:
                return rows, str(error)
        return rows, ""

    def accounted_since(self, days: int) -> list[Row]:
        """See `Scheduler.accounted_since`."""
        return self._accounted(start_time=f"now-{days}days")

    def terminate(self, numbers: Sequence[int]) -> None:
        """See `Scheduler.terminate`."""
        self._delete(numbers, signal="SIGTERM", flags="BATCH_JOB")

    def cancel(self, numbers: Sequence[int]) -> None:
        """See `Scheduler.cancel`."""
        self._delete(numbers)

    def cluster(self) -> str:
        """See `Scheduler.cluster`."""
        name = self._ask(replies.Reply, "GET", "/slurm/{}/ping/").meta.slurm.cluster
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            raise SiteError(f"{self._where} tells no name of a cluster", transient=True)
        return name

    def booted(self) -> float | None:
        """See `Scheduler.booted`: since when the controller counts requests; at midnight it begins anew."""
        return self._ask(replies.Diagnosis, "GET", "/slurm/{}/diag/").statistics.req_time_start.value

    def capacity(self, jobs: int) -> Capacity:
        """See `Scheduler.capacity`."""
        told = self._ask(replies.Nodes, "GET", "/slurm/{}/nodes/")
        return replies.capacity(told, partitions(self._options), jobs)

    def failed(self, nodes: Collection[str]) -> set[str]:
        """See `Scheduler.failed`."""
        return replies.failed(self._ask(replies.Nodes, "GET", "/slurm/{}/nodes/"), nodes)

    def examine(self, probe: JobSpec) -> Iterator[Finding]:  # noqa: ARG002 (it has no trial of a job)
        """See `Scheduler.examine`."""
        if self._options.token_file:
            yield token_found(self._token(), self._options.token_file)
        cluster = self.cluster()
        yield Finding(
            "ok", "slurmrestd", f"{self._options.rest} answers for cluster {cluster} in version {self._version}"
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _jobs(self) -> list[tuple[Row, str]]:
        told = self._ask(replies.Queue, "GET", "/slurm/{}/jobs/")
        return replies.rows(told, self._user())

    def _accounted(self, **asked: str) -> list[Row]:
        told = self._ask(replies.Accounted, "GET", "/slurmdb/{}/jobs/", users=self._user(), **asked)
        return replies.accounted(told)

    def _delete(self, numbers: Sequence[int], **how: str) -> None:
        for number in numbers:
            told = self._ask(replies.Deleted, "DELETE", f"/slurm/{{}}/job/{number}", **how)
            for each in told.status:
                if each.error.code and each.error.code not in _OVER:
                    raise SiteError(f"{self._where}: job {number}: {each.error.string}", transient=True)

    def _ask(self, kind: type[T], method: str, path: str, body: Any = None, **parameters: str) -> T:
        """One request and its answer.

        Raises:
            SiteError: There was none, or it says no; an `UnsureError` if the answer to a submission was lost.
        """
        address = path.format(self._version or self._find_version())
        lost = UnsureError if method == "POST" else SiteError
        response = self._send(lost, method, address, body, parameters)
        try:
            told = msgspec.json.decode(response.content, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            shown = " ".join(response.text.split())[:120] or "nothing"
            raise lost(
                f"{self._where}: no answer to {address} but {shown} ({response.status_code})", transient=True
            ) from None
        if not told.errors and response.is_success:
            return told
        if kind is replies.Accounted and told.meta.plugin.accounting_storage in ("", "accounting_storage/none"):
            return msgspec.structs.replace(told, jobs=[])
        error = told.errors[0] if told.errors else replies.Error(error=f"HTTP status {response.status_code}")
        if "authentication" in error.error:  # a token that is none reaches the controller, which says so
            raise self._not_admitted(error.error)
        refused = refusal(Answer("", f"{error.error or error.description}\n", 1))
        if response.status_code >= 500 and not isinstance(refused, UnsureError):  # it could not, which is not for good
            refused = SiteError(str(refused), transient=True)
        raise refused

    def _send(
        self, lost: type[SiteError], method: str, address: str, body: Any, parameters: dict[str, str]
    ) -> httpx.Response:
        try:
            response = self._client.request(method, address, json=body, params=parameters, headers=self._headers())
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            advice = "; its authority's certificates belong in ca_file" if "CERTIFICATE_VERIFY" in str(error) else ""
            raise SiteError(f"{self._where} cannot be reached: {error}{advice}", transient=True) from error
        except httpx.TimeoutException as error:
            seconds = self._options.command_seconds
            raise lost(f"{self._where} does not answer for {seconds} s", transient=True) from error
        except httpx.HTTPError as error:
            raise lost(f"{self._where}: the connection was cut: {error}", transient=True) from error
        if response.status_code in (401, 403):
            raise self._not_admitted(f"HTTP status {response.status_code}")
        return response

    def _not_admitted(self, why: str) -> SiteError:
        file = self._options.token_file
        who = f"the token in {file}; renew it if it has expired" if file else "this user; give token_file"
        return SiteError(f"{self._where} does not admit {who} ({why})", transient=True)

    def _find_version(self) -> str:
        """The newest version of the interface that both sides know, or the nearest one after."""
        response = self._send(SiteError, "GET", "/openapi/v3", None, {})
        try:
            routes = " ".join(msgspec.json.decode(response.content, type=replies.Interface).paths)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            routes = ""
        known = sorted({int(number) for number in _VERSION.findall(routes)})
        fitting = [number for number in known if OLDEST <= number <= NEWEST]
        later = [number for number in known if number > NEWEST]
        if not fitting and not later:
            seen = ", ".join(f"v0.0.{number}" for number in known) or "none"
            raise SiteError(
                f"{self._where} has the interface in versions {seen}; v0.0.{OLDEST} or later is needed", transient=True
            )
        self._version = f"v0.0.{fitting[-1] if fitting else later[0]}"
        return self._version

    def _headers(self) -> dict[str, str]:
        token = self._token()
        return {"X-SLURM-USER-TOKEN": token} if token else {}

    def _token(self) -> str:
        """The token, which somebody else renews: read each time."""
        if not self._options.token_file:
            return ""
        path = Path(self._options.token_file)
        try:
            if path.stat().st_mode & 0o077:
                raise SiteError(f"{path} can be read by others; chmod 600 it", transient=True)
            text = path.read_text("ascii").strip().removeprefix("SLURM_JWT=")
        except OSError as error:
            raise SiteError(
                f"batch.options.token_file: {path} cannot be read: {error.strerror}", transient=True
            ) from error
        except UnicodeDecodeError:
            text = ""
        if not re.fullmatch(r"[!-~]+", text):
            raise SiteError(f"batch.options.token_file: {path} holds no token", transient=True)
        return text

    def _user(self) -> str:
        """Whose jobs these are, by the token: it says so in its claim ``sun``."""
        return str(claims_of(self._token()).get("sun") or getpass.getuser())


def _trust(file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=file or None)
    except OSError as error:
        raise SiteError(f"batch.options.ca_file: {file}: {error.strerror or error}; give certificates in PEM") from None
