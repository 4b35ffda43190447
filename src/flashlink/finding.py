"""What was looked at and how it is: the lines of ``flashlink check``."""

from __future__ import annotations

from dataclasses import dataclass

#: From good to bad.
STATUSES = ("ok", "warning", "problem")


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at and how it is.

    Attributes:
        status: "ok"; "warning" where pods run, but not all or not as well as they could; "problem" where none can.
        subject: What was looked at.
        message: What was seen and, unless all is well, what to do.
    """

    status: str
    subject: str
    message: str
