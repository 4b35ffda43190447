"""What the container runtime gets for the image that a pod names."""

from __future__ import annotations

from flashlink.errors import RequestError, SiteError
from flashlink.jobscript.grants import below
from flashlink.pods.pod import Container
from flashlink.site.config import Site

_TRANSPORTS = ("docker", "oras", "library")


def image(container: Container, site: Site, prefix: str) -> str:
    """The path or reference, with its transport, of a container's image.

    Args:
        container: That runs it.
        site: Where.
        prefix: What stands before a name without transport.

    Raises:
        RequestError: The reference has a transport that flashlink does not know.
        SiteError: It is a path that the site does not grant, or would have to be fetched and the pod forbids that.
    """
    found = _found(container, site, prefix)
    if container.pull == "Never" and is_fetched(found):
        raise SiteError(
            f"container {container.name}: imagePullPolicy Never: this site has no copy of {found}; "
            "name an image of the site, or let it be fetched"
        )
    return found


def is_fetched(image: str) -> bool:
    """Whether an image, as `image` gives it, comes from a registry."""
    return "://" in image


def fetch_options(image: str, site: Site) -> tuple[str, ...]:
    """The options with which Apptainer fetches an image."""
    registry = image.partition("://")[2].partition("/")[0]
    return ("--no-https",) if registry in site.images.plain_http else ()


def _found(container: Container, site: Site, prefix: str) -> str:
    named, images = container.image, site.images
    if named in images.aliases:
        return images.aliases[named]
    if "://" not in named and not named.startswith("/") and prefix != images.prefix:
        named = prefix + named  # the author's words, so they are looked at
    place = f"container {container.name}: image {named!r}"
    if named.startswith("/"):
        path = below(named, images.folders)
        if path is None:
            raise SiteError(
                f"{place} is not below a folder of the site's images.folders; ask the site to add its folder"
            )
        return str(path)
    transport, separator, _ = named.partition("://")
    if not separator:
        return images.prefix + named
    if transport not in _TRANSPORTS:
        known = ", ".join(f"{name}://" for name in _TRANSPORTS)
        raise RequestError(f"{place} has an unknown transport; use {known} or the path of a SIF file")
    return named
