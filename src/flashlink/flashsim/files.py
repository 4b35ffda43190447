"""Samples on disk: Parquet between the steps, ROOT for analysis. Outputs appear whole or not at all."""

from __future__ import annotations

import fcntl
import glob
import json
import os
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from flashlink.errors import RequestError, wrong
from flashlink.flashsim import limits
from flashlink.flashsim.arrow import ROWS, opened, release_unused, schema_of, tables, to_numpy, to_table
from flashlink.flashsim.units import watched

#: A table in memory: name to array, all of the same length.
Columns = dict[str, npt.NDArray[Any]]

_METADATA = b"flashlink"

_RUN = "run"


def read(path: Path, schema: Mapping[str, str]) -> Columns:
    """Read a sample and check it.

    Args:
        path: A Parquet file.
        schema: Column to numpy type: one of those in `flashlink.flashsim.samples`. Other columns are left out.

    Raises:
        RequestError: The file cannot be read, or has a column that is missing, of the wrong type, not finite or
            beyond `flashlink.flashsim.limits`.
    """
    with _opened(path) as file:
        _check_schema(path, file.schema_arrow, schema)
        (columns,) = _watched(path, file, [_checked(path, file.read(columns=list(schema)), schema)])
        return columns


def parts(path: Path, schema: Mapping[str, str]) -> Iterator[Columns]:
    """Read a sample in pieces, the row groups that it was written in or less, and check each as `read` does."""
    with _opened(path) as file:
        _check_schema(path, file.schema_arrow, schema)
        yield from _watched(path, file, map(partial(_checked, path, schema=schema), tables(file, list(schema))))


def metadata(path: Path) -> dict[str, Any]:
    """What `write` noted of a sample; empty for a Parquet file from elsewhere.

    Raises:
        RequestError: The file cannot be read.
    """
    with _opened(path) as file:
        return _noted(path, file)


def write(
    path: Path, columns: Mapping[str, npt.ArrayLike], schema: Mapping[str, str], noted: Mapping[str, Any]
) -> None:
    """Write a sample under a temporary name, then rename it. The same arguments give the same bytes.

    Args:
        path: The Parquet file.
        columns: The table; its arrays are cast to the types of `schema`.
        schema: Column to numpy type; exactly these columns are written, in this order.
        noted: What to tell about the sample (seed, step, versions), for `metadata`; as JSON, so no times and no hosts.

    Raises:
        RequestError: A value is not finite or beyond `flashlink.flashsim.limits`, or `path` is that of a ROOT file:
            nothing is written.
    """
    write_parts(path, [columns], schema, noted)


def write_parts(
    path: Path, parts: Iterable[Mapping[str, npt.ArrayLike]], schema: Mapping[str, str], noted: Mapping[str, Any]
) -> int:
    """Write a sample that comes in pieces, as `write` does a whole one; memory holds one piece at a time.

    Returns:
        The number of rows.
    """
    if path.suffix == ".root":
        raise wrong(f"output {path}", path.suffix, "the name of a Parquet file", "flashlink convert makes ROOT of one")
    rows = 0
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(temporary, schema_of(schema, _note(noted)), compression="zstd") as writer,
    ):
        for part in parts:
            typed = {name: np.ascontiguousarray(part[name], dtype=dtype) for name, dtype in schema.items()}
            limits.check(str(path), typed)
            writer.write_table(to_table(typed, writer.schema), row_group_size=ROWS)
            rows += len(next(iter(typed.values())))
            del part, typed  # before the next one is made
            release_unused()
    return rows


@dataclass
class Joined:
    """What `join` has put together.

    Attributes:
        rows: Particles or tracks.
        events: Events with at least one of them.
    """

    rows: int = 0
    events: int = 0


#: How the columns of a sample are called in a ROOT file: from its columns to other names of some of them.
Names = Callable[[Collection[str]], Mapping[str, str]]


def join(paths: Sequence[Path], output: Path, names: Names | None = None) -> Joined:
    """Put samples one after the other into one file, Parquet or ROOT by the suffix of `output`.

    The TTree is ``particles`` for generated samples, ``photons`` for those of photons, and ``tracks`` for all others.
    Behind ``event`` comes ``run``: the seed of the generated events, as LHCb's simulations number runs; 0 for events
    from elsewhere.

    Memory holds one input at a time.

    Args:
        paths: Parquet files with the same columns, in the order in which their rows shall stand.
        output: Ends with ``.parquet`` or ``.root``.
        names: Other names in a ROOT file.

    Raises:
        RequestError: Files differ in their columns, cannot be read, or the suffix is another.
    """
    writers = {".parquet": _join_parquet, ".root": _join_root}
    if names and output.suffix != ".root":
        raise wrong(f"output {output}", output.suffix, ".root, where names of other experiments stand")
    if output.suffix not in writers:
        raise wrong(f"output {output}", output.suffix, "a file name that ends with .parquet or .root")
    if not paths:
        raise RequestError("no sample to join: name at least one Parquet file")
    schema = _common_schema(paths)
    notes = [metadata(path) for path in paths]
    noted = notes[0] if len(notes) == 1 else {"joined": notes}
    with replacing(output) as temporary:
        joined = Joined()
        called = names(schema.names) if names else {}
        writers[output.suffix](_tables(paths, joined), schema, noted, temporary, called)
    return joined


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it when the block ends well and removed when it does not.

    What a killed process left under such a name is removed as well.

    Raises:
        RequestError: The folder cannot be written, or `path` is a folder itself.
    """
    if path.is_dir():
        raise wrong("output", str(path), "the name of a file", "it is a folder")
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        with temporary.open("wb") as held:
            _locked(held)
            yield temporary
        temporary.replace(path)
    except OSError as error:
        raise RequestError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        # Where nothing can be written, nothing is to be removed: why is told above.
        with suppress(OSError):
            temporary.unlink()


def _remove_abandoned(path: Path) -> None:
    """Remove what earlier attempts at `path` left that were killed: the kernel has taken their locks off."""
    for left in path.parent.glob(f".{glob.escape(path.stem)}.????????{glob.escape(path.suffix)}"):
        # Another user's, or just renamed: no reason to fail.
        with suppress(OSError), left.open("rb") as file:
            if _locked(file):
                left.unlink()


def _locked(file: IO[bytes]) -> bool:
    """Whether this process has the lock of a file now; never where the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with opened(path) as file:
            yield file
    except OSError as error:
        # Arrow's own words repeat the path and the number of the error.
        reason = os.strerror(error.errno) if error.errno else _line(error)
        raise RequestError(f"{path}: cannot be read: {reason}") from error
    except pa.ArrowException as error:
        if path.suffix == ".root":
            advice = "say by --mapping what its columns mean, or take it in by flashlink convert --mapping first"
            raise wrong(str(path), "a ROOT file", "a sample in Parquet", advice) from error
        raise RequestError(f"{path}: not a whole Parquet file ({_line(error)}); make it again") from error


def missing_column(path: Path, name: str, there: Collection[str], advice: str) -> RequestError:
    """That a file has no column of a name, and which it has."""
    some = ", ".join(sorted(there)[:12]) + ("…" if len(there) > 12 else "")
    return RequestError(f"{path}: no column {name}, but {some or 'none at all'}; {advice}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def _check_schema(path: Path, available: pa.Schema, schema: Mapping[str, str]) -> None:
    missing = [name for name in schema if name not in available.names]
    if missing:
        raise missing_column(
            path, missing[0], available.names, "make the sample again, or take it in by convert --mapping"
        )
    for name, expected in schema.items():
        _check_type(path, name, available.field(name).type, expected)


def _checked(path: Path, table: pa.Table, schema: Mapping[str, str]) -> Columns:
    columns = {name: _to_numpy(path, name, table.column(name), dtype) for name, dtype in schema.items()}
    limits.check(str(path), columns)
    return columns


def _check_type(path: Path, name: str, found: pa.DataType, expected: str) -> None:
    kinds = {"f": pa.types.is_floating, "i": pa.types.is_integer, "b": pa.types.is_boolean}
    kind = np.dtype(expected).kind
    if not kinds[kind](found) and not (kind == "f" and pa.types.is_integer(found)):
        raise wrong(f"{path}: column {name}", str(found), f"of type {expected}")


def _to_numpy(path: Path, name: str, column: pa.ChunkedArray, dtype: str) -> npt.NDArray[Any]:
    if column.null_count:
        row = int(np.flatnonzero(to_numpy(column.is_null()))[0])
        raise wrong(f"{path}: column {name}, row {row}", None, "a number")
    try:
        return to_numpy(column.cast(pa.from_numpy_dtype(np.dtype(dtype))))
    except pa.ArrowInvalid as error:
        raise RequestError(f"{path}: column {name}: does not fit into {dtype} ({_line(error)})") from error


def _watched(path: Path, file: pq.ParquetFile, parts: Iterable[Columns]) -> Iterable[Columns]:
    """The pieces, with an eye on the units of a sample that none of our steps made: those of ours were looked at."""
    return parts if _ours(_noted(path, file)) else watched(parts, str(path))


def _ours(noted: Mapping[str, Any]) -> bool:
    """Whether a step notes so, or all that a sample was joined of."""
    return "kind" in noted or "step" in noted or ("joined" in noted and all(map(_ours, noted["joined"])))


def _noted(path: Path, file: pq.ParquetFile) -> dict[str, Any]:
    text = (file.schema_arrow.metadata or {}).get(_METADATA, b"{}")
    try:
        noted = msgspec.json.decode(text, type=dict[str, Any])
        msgspec.convert(noted.get("generated", {}), dict[str, Any])
        msgspec.convert(noted.get("joined", []), list[dict[str, Any]])
    except msgspec.MsgspecError as error:
        advice = "make the sample again, or leave its metadata out"
        raise wrong(f"{path}: metadata flashlink", text, "what a step notes of its sample, JSON", advice) from error
    return noted


def _note(noted: Mapping[str, Any]) -> dict[bytes, str]:
    return {_METADATA: json.dumps(noted, sort_keys=True)}


def _common_schema(paths: Sequence[Path]) -> pa.Schema:
    schemas = []
    for path in paths:
        with _opened(path) as file:
            schemas.append(file.schema_arrow.remove_metadata())
        for field in schemas[-1]:
            kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
            if not any(is_kind(field.type) for is_kind in kinds):
                raise wrong(f"{path}: column {field.name}", str(field.type), "a column of numbers")
        if schemas[-1] != schemas[0]:
            raise wrong(f"{path}: columns", schemas[-1].names, f"those of {paths[0]}", "join samples of one kind")
    if _RUN in schemas[0].names or "event" not in schemas[0].names:
        return schemas[0]
    return schemas[0].insert(schemas[0].get_field_index("event") + 1, pa.field(_RUN, pa.int64()))


def _tables(paths: Sequence[Path], joined: Joined) -> Iterator[pa.Table]:
    """The pieces of all samples in turn, counted."""
    last = None
    for path in paths:
        with _opened(path) as file:
            noted = _noted(path, file)
            run = noted.get("generated", noted).get("seed") or 0
            for piece in tables(file):
                limits.check(str(path), {name: to_numpy(piece.column(name)) for name in piece.column_names})
                table = _with_run(piece, run)
                if table.num_rows and "event" in table.column_names:
                    event = to_numpy(table.column("event"))
                    # Rows are ordered by event, but an event may go on in the next piece.
                    joined.events += int((event[1:] != event[:-1]).sum()) + int(event[0] != last)
                    last = event[-1]
                joined.rows += table.num_rows
                yield table
                del piece, table  # before the next one is read


def _with_run(table: pa.Table, run: int) -> pa.Table:
    if _RUN in table.column_names or "event" not in table.column_names:
        return table
    place = table.column_names.index("event") + 1
    return table.add_column(place, _RUN, pa.repeat(pa.scalar(run, pa.int64()), table.num_rows))


def _join_parquet(
    tables: Iterator[pa.Table], schema: pa.Schema, noted: Mapping[str, Any], output: Path, _: Mapping[str, str]
) -> None:  # fmt: skip
    with pq.ParquetWriter(output, schema.with_metadata(_note(noted)), compression="zstd") as writer:
        for table in tables:
            writer.write_table(table.replace_schema_metadata(writer.schema.metadata))


def _join_root(
    tables: Iterator[pa.Table], schema: pa.Schema, noted: Mapping[str, Any], output: Path, names: Mapping[str, str]
) -> None:  # fmt: skip
    import uproot  # only here: it takes half a second to import

    with uproot.recreate(output) as file:
        tree = file.mktree(
            _tree(schema.names),
            {names.get(field.name, field.name): np.dtype(field.type.to_pandas_dtype()) for field in schema},
        )
        for table in tables:
            if table.num_rows:
                tree.extend({names.get(name, name): to_numpy(table.column(name)) for name in schema.names})
        file["provenance"] = json.dumps(noted, sort_keys=True)


def _tree(columns: Collection[str]) -> str:
    if "cluster" in columns:
        return "photons"
    return "particles" if "mother" in columns else "tracks"
