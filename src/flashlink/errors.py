"""What can go wrong, in three kinds.

::

    FlashlinkError            one line for the user, never a traceback
    ├── RequestError          what was asked is wrong: ask differently
    ├── SiteError             the site refused or is out of reach; ``transient`` says whether trying again can help
    └── InternalError         flashlink broke its own rules: a defect to report

Every message gives the place, the value seen, what was expected and what to do. `plugin.errors` maps the kinds to
HTTP, `cli` maps them to one line on standard error and an exit status.
"""

from __future__ import annotations


class FlashlinkError(Exception):
    """Base of all errors that flashlink raises on purpose; ``str()`` is the line that the user reads."""


class RequestError(FlashlinkError):
    """The request (a manifest, an option, a file, a configuration) is wrong."""


class SiteError(FlashlinkError):
    """The site cannot or will not do it.

    Args:
        message: The line for the user.
        transient: True if the same request can succeed later (a daemon restarts, a network returns).
        again: Seconds after which it is worth another try at the latest; None where only time can tell.
    """

    def __init__(self, message: str, *, transient: bool = False, again: float | None = None) -> None:
        super().__init__(message)
        self.transient = transient
        self.again = again


class InternalError(FlashlinkError):
    """flashlink broke one of its own rules."""


def wrong(place: str, seen: object, expected: str, advice: str = "") -> RequestError:
    """Compose the one line that tells bad input: place, value seen, what was expected, what to do.

    Args:
        place: Where it stands: a file and a key (``pod.yaml: spec.containers[0].image``), an option, a column.
        seen: The value; shown by ``repr`` and cut to 80 characters.
        expected: What would have been right, as a noun phrase.
        advice: What to do, if that is not obvious from `expected`.
    """
    shown = repr(seen)
    if len(shown) > 80:
        shown = shown[:77] + "..."
    line = f"{place}: {shown} is not {expected}"
    return RequestError(f"{line}; {advice}" if advice else line)
