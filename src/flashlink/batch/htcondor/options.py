"""What a site's file says of its HTCondor: the table ``[batch.options]``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches

import msgspec

from flashlink.errors import SiteError

METHODS = ("SCITOKENS", "IDTOKENS", "SSL", "KERBEROS", "FS", "PASSWORD", "MUNGE")

#: Attributes that flashlink itself sets, so that neither site nor pod may.
OWN = frozenset(
    {"clusterid", "procid", "owner", "user", "jobstatus", "cmd", "iwd", "leaveinjobqueue", "periodicremove"}
)

_ATTRIBUTE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_MACRO = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*", re.ASCII)


class OpenID(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A provider from which flashlink gets tokens by itself.

    Attributes:
        issuer: Its address, ``https://…``, below which ``/.well-known/openid-configuration`` is.
        client_id: Of flashlink there.
        client_secret_file: File with the client's secret, of mode 0600; "" for a client without one.
        refresh_token_file: File with a refresh token, of mode 0600; "" takes client credentials. Where the provider
            replaces it at each use, the plugin's state keeps the newest.
        audience: What the token is for, as ``https://ce.example.org:9619``; "" leaves it out.
        scopes: What the token may do.
        ca_file: Certificates by which the provider is known; "" for the machine's.
    """

    issuer: str
    client_id: str
    client_secret_file: str = ""
    refresh_token_file: str = ""
    audience: str = ""
    scopes: tuple[str, ...] = ("compute.read", "compute.modify", "compute.create", "compute.cancel")
    ca_file: str = ""


class Options(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The schedd, how to reach it, and what every job of the site has.

    Attributes:
        pool: ``HOST:PORT`` of the collector that knows the schedd; "" is the machine's own pool.
        schedd: Name of the schedd; "" is the machine's own, or with `pool` the one schedd that it knows.
        spool: Worker and plugin share no file system: input and output travel with the job, as at an HTCondor-CE.
        authentication: Methods that may be used, in this order; none leaves it to HTCondor's configuration.
        ca_file: Certificates by which a CE is known; "" leaves it to HTCondor's configuration.
        token_file: File with a SciToken that somebody else renews; "" looks where WLCG's rules say.
        token_directory: Folder of IDTOKENS; "" leaves it to HTCondor's configuration.
        openid: A provider from which flashlink gets SciTokens by itself.
        held_seconds: How long a job may be held before its pod fails.
        requirements: What a worker has to fulfil, a ClassAd expression.
        requeue: Whether the site may start a job again that it evicted, as Slurm's word is; its pod fails otherwise.
        accounting_group: To which the jobs are counted.
        accounting_group_user: For whom they are counted.
        gpus: Devices of the site, where `pool` does not tell.
        attributes: Further job attributes, name to ClassAd expression.
        configuration: HTCondor's own configuration, macro to value, over that of the machine.
    """

    pool: str = ""
    schedd: str = ""
    spool: bool = False
    authentication: tuple[str, ...] = ()
    ca_file: str = ""
    token_file: str = ""
    token_directory: str = ""
    openid: OpenID | None = None
    held_seconds: int = 3600
    requirements: str = ""
    requeue: bool = True
    accounting_group: str = ""
    accounting_group_user: str = ""
    gpus: int = 0
    attributes: dict[str, str] = {}
    configuration: dict[str, str] = {}


def read(options: Mapping[str, object]) -> Options:
    """Check a site's ``batch.options``; expressions are checked later, by HTCondor's own parser.

    Raises:
        SiteError: A key is unknown or wrong; names it.
    """
    unknown = sorted(set(options) - set(Options.__struct_fields__))
    if unknown:
        raise SiteError(f"batch.options.{unknown[0]}: HTCondor has no such option; {_nearest(unknown[0])}")
    try:
        chosen = msgspec.convert(dict(options), Options)
    except msgspec.ValidationError as error:
        said, _, place = str(error).partition(" - at `$")
        raise SiteError(f"batch.options{place.rstrip('`')}: {said}; correct the site's file") from None
    _check(chosen)
    return chosen


def expressions(chosen: Options) -> dict[str, str]:
    """All ClassAd expressions of the site, by the key under which they stand."""
    found = {f"attributes.{name}": text for name, text in chosen.attributes.items()}
    return found | ({"requirements": chosen.requirements} if chosen.requirements else {})


def check_plain(key: str, text: str) -> None:
    """Refuse what HTCondor's submit language would expand or read as a new line.

    Raises:
        SiteError: Names the key.
    """
    if "$" in text or not text.isprintable():
        raise SiteError(f"{key}: {text!r} may hold neither '$' nor line breaks; write it out")


def check_attribute(key: str, name: str) -> None:
    """Refuse what is no name of an attribute, or the name of one that flashlink sets.

    Raises:
        SiteError: Names the key.
    """
    if not _ATTRIBUTE.fullmatch(name) or name.lower() in OWN or name.lower().startswith("flashlink"):
        raise SiteError(f"{key}: {name!r} is not the name of a job attribute that may be set; choose another")


def _check(chosen: Options) -> None:
    for method in chosen.authentication:
        if method not in METHODS:
            raise SiteError(f"batch.options.authentication: {method!r} is not one of {', '.join(METHODS)}")
    if chosen.openid and chosen.token_file:
        raise SiteError("batch.options: token_file and openid exclude each other; keep one")
    if chosen.openid and not chosen.openid.issuer.startswith("https://"):
        raise SiteError(f"batch.options.openid.issuer: {chosen.openid.issuer!r} is not an address https://…")
    if chosen.openid and not (chosen.openid.client_secret_file or chosen.openid.refresh_token_file):
        raise SiteError("batch.options.openid: give client_secret_file, refresh_token_file, or both")
    if chosen.held_seconds < 0 or chosen.gpus < 0:
        raise SiteError("batch.options: held_seconds and gpus are not below 0; correct the site's file")
    for name in chosen.attributes:
        check_attribute("batch.options.attributes", name)
    for name in chosen.configuration:
        if not _MACRO.fullmatch(name):
            raise SiteError(f"batch.options.configuration: {name!r} is not the name of a configuration macro")
    words = {"accounting_group": chosen.accounting_group, "accounting_group_user": chosen.accounting_group_user}
    for key, text in (expressions(chosen) | words).items():
        check_plain(f"batch.options.{key}", text)


def _nearest(key: str) -> str:
    near = get_close_matches(key, Options.__struct_fields__, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(Options.__struct_fields__)}"
