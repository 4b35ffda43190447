"""What a pod says of names: its own, those of other hosts, and who resolves them."""

from __future__ import annotations

import ipaddress
import re

from flashlink.pods import fields, names
from flashlink.pods.pod import Network
from flashlink.pods.value import Value

_OPTION = re.compile(r"[A-Za-z0-9_.:-]{1,255}", re.ASCII)
_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")


def network(spec: Value, pod: str) -> Network:
    """The names in the spec of a pod whose own name is `pod`.

    Raises:
        RequestError: One is no name or address, or cannot be had.
    """
    for container in (*spec["initContainers"].each(), *spec["containers"].each()):
        for port in container["ports"].each():
            _check_port(port)
    if spec["setHostnameAsFQDN"].boolean() and spec["subdomain"]:
        raise spec["setHostnameAsFQDN"].refuse(
            "stands with a subdomain, and a job does not know the cluster's domain; give the whole name in "
            "hostnameOverride"
        )
    config = spec["dnsConfig"]
    fields.check(config, fields.DNS_CONFIG, "dnsConfig")
    servers = tuple(_address(server) for server in config["nameservers"].each())
    alone = spec["dnsPolicy"].one_of(_POLICIES, "ClusterFirst") == "None"
    if alone and not servers:
        raise config["nameservers"].wrong("a list of addresses, as dnsPolicy is None")
    return Network(
        hostname="" if spec["hostNetwork"].boolean() else _hostname(spec) or usual_hostname(pod),
        hosts=tuple(_alias(alias) for alias in spec["hostAliases"].each()),
        resolver=(
            *(f"nameserver {server}" for server in servers),
            *_searches(config["searches"]),
            *(_option(option) for option in config["options"].each()),
        ),
        resolver_alone=alone,
    )


def _searches(searches: Value) -> list[str]:
    """One line, as of several resolvers take the last alone."""
    found = [names.subdomain(search) for search in searches.each()]
    return ["search " + " ".join(found)] if found else []


def _hostname(spec: Value) -> str:
    if spec["hostnameOverride"]:
        return names.subdomain(spec["hostnameOverride"])
    return names.label(spec["hostname"]) if spec["hostname"] else ""


def usual_hostname(pod: str) -> str:
    """What Kubernetes makes of a pod's name where nothing else is said: a host has 63 characters at most."""
    return pod[:63].rstrip("-.")


def _alias(alias: Value) -> str:
    fields.check(alias, fields.HOST_ALIAS, "host alias")
    return " ".join([_address(alias["ip"]), *(names.subdomain(name) for name in alias["hostnames"].each())])


def _option(option: Value) -> str:
    fields.check(option, fields.DNS_OPTION, "option of dnsConfig")
    words = [value for value in (option["name"], option["value"]) if value]
    for word in words:
        if not _OPTION.fullmatch(word.text()):
            raise word.wrong("a word of letters, digits, '_', '.', ':' and '-'")
    return "options " + ":".join(word.text() for word in words)


def _address(value: Value) -> str:
    try:
        return str(ipaddress.ip_address(value.text()))
    except ValueError:
        raise value.wrong("an IP address") from None


def _check_port(port: Value) -> None:
    fields.check(port, fields.PORT, "port")
    if port["hostPort"] and port["hostPort"].raw != port["containerPort"].raw:
        raise port["hostPort"].wrong("the containerPort", "a job has the worker's ports as they are; use that number")
