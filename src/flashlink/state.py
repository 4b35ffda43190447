"""Where flashlink keeps what outlives a command, for one user of one machine."""

from __future__ import annotations

import os
from pathlib import Path


def state_home() -> Path:
    """Folder in the XDG state home: ``$XDG_STATE_HOME/flashlink``, by default ``~/.local/state/flashlink``.

    The standard has relative paths in the variable ignored. Nothing is created.
    """
    home = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (home if home.is_absolute() else Path.home() / ".local" / "state") / "flashlink"
