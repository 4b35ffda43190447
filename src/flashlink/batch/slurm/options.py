"""``batch.options`` of a site with Slurm: where Slurm's commands are, and how jobs are placed.

`Placement` stands at the top, for all jobs, and in each flavour, for the jobs that fit it: what a flavour says stands
over what the site says, lists are added.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec

from flashlink.errors import SiteError

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.,:=@/&|!*\[\]()-]*$|^$")]

#: Options of sbatch by which flashlink keeps hold of its jobs; neither a site nor a pod may give them.
RESERVED = (
    *("array", "batch", "chdir", "clusters", "error", "export", "export-file", "get-user-env", "gid", "help"),
    *("ignore-pbs", "input", "job-name", "nodes", "open-mode", "output", "parsable", "quiet", "test-only", "uid"),
    *("usage", "version", "wait", "wrap"),
)

_REST = r"^$|^https://[A-Za-z0-9.:\[\]-]+$|^unix:/.+$|^http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?$"
_SPOOL = re.compile(r"(/[A-Za-z0-9._-]+)+", re.ASCII)
_OPTION = re.compile(r"--([a-z][a-z0-9-]*)(=.*)?", re.DOTALL)


class Placement(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """How jobs are placed.

    Attributes:
        partition: One or several, by commas.
        account: That jobs are charged to.
        qos: Quality of service.
        reservation: Advance reservation.
        constraint: Features of the nodes.
        gpu: How a GPU is asked for, without its number: "gpu", "gpu:a100".
        exclusive: Jobs share their node with no other.
        requeue: Whether Slurm may start a job again whose node failed or was taken from it; its pod fails otherwise. By
            default as Slurm's ``JobRequeue`` says.
        tmp: A pod's ephemeral storage is asked for by ``--tmp``. Only for nodes whose TmpDisk Slurm knows: it refuses
            the job elsewhere.
        arguments: Further long options of sbatch, as "--licenses=cvmfs".
        prologue: Shell lines that run in the job before the pod, as "module load apptainer".
    """

    partition: Name = ""
    account: Name = ""
    qos: Name = ""
    reservation: Name = ""
    constraint: Name = ""
    gpu: Name = ""
    exclusive: bool | None = None
    requeue: bool | None = None
    tmp: bool | None = None
    arguments: list[str] = []
    prologue: list[str] = []

    def over(self, other: Placement) -> Placement:
        """This one where it says something, `other` elsewhere."""
        return Placement(
            partition=self.partition or other.partition,
            account=self.account or other.account,
            qos=self.qos or other.qos,
            reservation=self.reservation or other.reservation,
            constraint=self.constraint or other.constraint,
            gpu=self.gpu or other.gpu,
            exclusive=other.exclusive if self.exclusive is None else self.exclusive,
            requeue=other.requeue if self.requeue is None else self.requeue,
            tmp=other.tmp if self.tmp is None else self.tmp,
            arguments=[*other.arguments, *self.arguments],
            prologue=[*other.prologue, *self.prologue],
        )


class Flavour(Placement, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A kind of nodes; a job gets the first flavour that it fits.

    Attributes:
        name: For messages, and for pods that choose it themselves.
        cpus: Most cores of a job; 0 is no limit.
        memory_mb: Most memory of a job in MiB, Slurm's unit; 0 is no limit.
        min_gpus: Least devices: 1 keeps jobs without GPU away.
        gpus: Most devices.
        walltime_seconds: Longest wall time; 0 is no limit.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
    cpus: Annotated[int, msgspec.Meta(ge=0)] = 0
    memory_mb: Annotated[int, msgspec.Meta(ge=0)] = 0
    min_gpus: Annotated[int, msgspec.Meta(ge=0)] = 0
    gpus: Annotated[int, msgspec.Meta(ge=0)] = 0
    walltime_seconds: Annotated[int, msgspec.Meta(ge=0)] = 0


class Options(Placement, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """All of ``batch.options``.

    Attributes:
        login: ``user@host`` of a login node; Slurm's commands are run there by ssh. "" runs them here.
        ssh: Further options of ssh, as ["-p", "2222", "-i", "/etc/flashlink/key"].
        shell: Command that starts a bash where Slurm's commands are.
        rest: slurmrestd, "https://HOST:PORT" or "unix:PATH", "http://" only on loopback: it is asked in place of
            Slurm's commands. "" asks the commands.
        rest_version: Of its interface, as "v0.0.42"; "" takes the newest that both sides know.
        token_file: File with the user's token for slurmrestd, of mode 0600, that somebody else renews; "" for a socket
            at which users are known by their accounts.
        ca_file: Certificates by which slurmrestd is known; "" for the machine's.
        spool: Folder at the site, seen by the login node and all workers, where worker and plugin share no file
            system: the jobs' files travel over the connection. "" where the plugin sees the work folder itself.
        command_seconds: After which a command of Slurm that does not answer is ended.
        history_days: How far back jobs are looked for in the accounting when the plugin has lost their ids.
        flavours: Kinds of nodes, tried in order. Without one every job goes where `Placement` says.
    """

    login: Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z0-9_.-]+@)?[A-Za-z0-9][A-Za-z0-9.:-]*$|^$")] = ""
    ssh: list[str] = []
    shell: Annotated[list[str], msgspec.Meta(min_length=1)] = msgspec.field(default_factory=lambda: ["bash"])
    rest: Annotated[str, msgspec.Meta(pattern=_REST)] = ""
    rest_version: Annotated[str, msgspec.Meta(pattern=r"^v0\.0\.[0-9]{2,3}$|^$")] = ""
    token_file: str = ""
    ca_file: str = ""
    spool: str = ""
    command_seconds: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 60
    history_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 30
    flavours: list[Flavour] = []


def read(options: Mapping[str, Any]) -> Options:
    """``batch.options`` of a site.

    Raises:
        SiteError: A key is unknown or wrong; one line that names it.
    """
    try:
        found = msgspec.convert(dict(options), Options)
    except msgspec.ValidationError as error:
        raise _explained(str(error)) from None
    _check_arguments("", found)
    names = [flavour.name for flavour in found.flavours]
    for at, flavour in enumerate(found.flavours):
        place = f".flavours[{at}]"
        if names.index(flavour.name) != at:
            raise SiteError(
                f"batch.options{place}.name: {flavour.name!r} is the name of another flavour; choose another"
            )
        if flavour.gpus < flavour.min_gpus:
            raise SiteError(
                f"batch.options{place}.gpus: {flavour.gpus} is less than min_gpus; raise it to what a node has"
            )
        _check_arguments(place, flavour)
    if found.spool and (_SPOOL.fullmatch(found.spool) is None or ".." in found.spool.split("/")):
        raise SiteError(
            f"batch.options.spool: {found.spool!r}: expected an absolute path of letters, digits, '/._-' without '..'"
        )
    if found.rest and not found.rest.startswith("unix:") and not found.token_file:
        raise SiteError("batch.options.token_file: missing; slurmrestd at an address admits users by their tokens")
    if found.ssh and not found.login:
        raise SiteError("batch.options.ssh: is of no use without batch.options.login; name the login node")
    return found


def _check_arguments(place: str, placement: Placement) -> None:
    for argument in placement.arguments:
        match = _OPTION.fullmatch(argument)
        if match is None:
            raise SiteError(
                f"batch.options{place}.arguments: {argument!r} is no long option of sbatch; write --name=value"
            )
        if is_reserved(match[1]):
            raise SiteError(f"batch.options{place}.arguments: --{match[1]} is flashlink's own; remove it")
    for line in placement.prologue:
        if "\0" in line:
            raise SiteError(f"batch.options{place}.prologue: {line!r} holds a NUL; remove it")


def is_reserved(name: str) -> bool:
    """Whether sbatch would take ``--name`` for one of `RESERVED`: it takes abbreviations, too."""
    return any(reserved.startswith(name) for reserved in RESERVED)


def words(options: Mapping[str, str]) -> list[str]:
    """What a pod asks for by annotation, as options of sbatch.

    Raises:
        SiteError: One is flashlink's own, or none.
    """
    found = [f"--{name}={value}" if value else f"--{name}" for name, value in options.items()]
    for name, word in zip(options, found, strict=True):
        if _OPTION.fullmatch(word) is None or is_reserved(name) or "=" in name or "\0" in word:
            raise SiteError(f"--{name} is not an option of sbatch that a pod can give; leave it out")
    return found


def _explained(message: str) -> SiteError:
    said, _, where = message.partition(" - at `$")
    where = where.rstrip("`")
    unknown = re.fullmatch(r"Object contains unknown field `(.+)`", said, re.DOTALL)
    if unknown:
        table = Flavour if where.startswith(".flavours[") else Options
        known = ", ".join(_keys(table))
        return SiteError(f"batch.options{where}.{unknown[1]}: no option of Slurm; known are {known}")
    return SiteError(f"batch.options{where}: {said[:1].lower()}{said[1:]}")


def _keys(table: type[msgspec.Struct]) -> Iterable[str]:
    return sorted(table.__struct_fields__)
