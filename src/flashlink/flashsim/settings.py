"""Settings that people write, in TOML."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from flashlink.errors import RequestError, wrong

Settings = TypeVar("Settings", bound=msgspec.Struct)


def read_toml(path: Path, kind: type[Settings], what: str) -> Settings:
    """Read a file of settings.

    Args:
        path: The file.
        kind: What it holds.
        what: Words for it, as "mapping".

    Raises:
        RequestError: The file cannot be read, or has a key or value that is none of `kind`.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=kind)
    except UnicodeDecodeError as error:
        raise wrong(str(path), f"byte {error.start}", "text", f"give the {what}, TOML") from error
    except OSError as error:
        raise wrong(str(path), error.strerror, f"a readable {what}") from error
    except msgspec.MsgspecError as error:
        raise RequestError(f"{path}: {error}; the keys are {', '.join(kind.__struct_fields__)}") from error
