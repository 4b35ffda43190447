"""Samples of anybody's: which files, columns, selections, weights and units mean what ours do.

A mapping is a TOML file with a section for each sample; what it does not name has our name and unit already::

    [generated]
    tree = "DecayTree"                                   # of a ROOT file
    selection = ["nTracks < 400", "TRUEP_Z > 0"]         # all must hold; their names, their units
    weight = "sWeight"                                   # may be negative
    defaults = {mother = -1, stable = true, signal = false}

    [generated.columns]
    event = "eventNumber"
    px = {column = "TRUEP_X", unit = "GeV"}

    [reference]
    …
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flashlink.errors import wrong
from flashlink.flashsim.arrow import opened, tables, to_numpy
from flashlink.flashsim.chunks import read_chunks, whole_events
from flashlink.flashsim.files import Columns, missing_column
from flashlink.flashsim.likelihoods import COMBINED, PROBABILITIES, combined
from flashlink.flashsim.limits import check
from flashlink.flashsim.samples import GENERATED, RECONSTRUCTED
from flashlink.flashsim.settings import read_toml
from flashlink.flashsim.units import watched

#: Column of the weights in a sample of anybody's; ours have none.
WEIGHT = "weight"

#: Rows of a ROOT file that are read at once.
_ROWS = 100_000

#: Units, in ours: MeV, mm.
UNITS = {
    "1": 1.0, "eV": 1e-6, "keV": 1e-3, "MeV": 1.0, "GeV": 1e3, "TeV": 1e6, "um": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1e3,
    "1/MeV": 1.0, "1/GeV": 1e-3, "um2": 1e-6, "mm2": 1.0, "cm2": 100.0, "1/MeV2": 1.0, "1/GeV2": 1e-6,
    "mm/MeV": 1.0, "mm/GeV": 1e-3, "cm/GeV": 1e-2,
}  # fmt: skip

_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
#: Classes of ROOT that hold a table.
_TREES = ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")

_CONDITION = re.compile(r"\s*(?P<column>\S+?)\s*(?P<sign><=|>=|==|!=|<|>)\s*(?P<number>\S+)\s*")


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a column of ours comes from."""

    column: str
    unit: str = "1"


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one sample looks like.

    Attributes:
        tree: Name of the TTree in ROOT files.
        selection: Conditions ``column < number``, with any comparison; rows for which all hold are used.
        weight: Column of the weights; "" for none.
        columns: Our columns to theirs; a name alone has our unit.
        defaults: Values of our columns that they have none for.
    """

    tree: str = ""
    selection: tuple[str, ...] = ()
    weight: str = ""
    columns: dict[str, str | Column] = {}
    defaults: dict[str, float | bool] = {}


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What both samples look like."""

    generated: Section = Section()
    reference: Section = Section()


#: What a training takes from tracks; the other columns follow from these.
LEARNED = {
    name: kind
    for name, kind in RECONSTRUCTED.items()
    if name not in ("track", "charge", "p", "tracks", *COMBINED, *PROBABILITIES)
}


def read_samples(
    generated: Sequence[Path], reference: Sequence[Path], mapping: Path | None
) -> tuple[Columns, Columns]:  # fmt: skip
    """Read both samples of a training, ordered by event; with a column `WEIGHT` where the mapping names one.

    Args:
        generated: Files of generated particles, ROOT or Parquet.
        reference: Files of the tracks that a detailed simulation made of them, or that were measured.
        mapping: The TOML file; None for Parquet files of our own.

    Raises:
        RequestError: A file cannot be read, a column is missing, is not of numbers, has one that is not
            finite or is beyond `flashlink.flashsim.limits`.
    """
    if mapping is None:
        return read_chunks(generated, GENERATED), read_chunks(reference, RECONSTRUCTED)
    layout = read_mapping(mapping)
    return (
        _read(generated, layout.generated, GENERATED, f"{mapping}: generated"),
        _read(reference, layout.reference, LEARNED, f"{mapping}: reference"),
    )


def read_mapping(path: Path) -> Layout:
    """Read a mapping.

    Raises:
        RequestError: The file cannot be read, or has a key that is none of it.
    """
    return read_toml(path, Layout, "mapping")


def take_in(paths: Sequence[Path], mapping: Path, kind: str) -> Iterator[Columns]:
    """Read a sample of anybody's as one of ours, in pieces of whole events; memory holds one piece.

    Args:
        paths: ROOT or Parquet files, in the order of their events.
        mapping: The TOML file.
        kind: ``generated`` or ``reference``, the section of the file.

    Yields:
        The columns of `GENERATED`, or of `RECONSTRUCTED` with what follows from the mapped ones.

    Raises:
        RequestError: As `read_samples`, or the events are not in order.
    """
    section: Section = getattr(read_mapping(mapping), kind)
    schema = GENERATED if kind == "generated" else LEARNED
    pieces = _pieces(paths, section, schema, f"{mapping}: {kind}")
    whole = _with_rows(whole_events(pieces, ", ".join(map(str, paths))), f"{mapping}: {kind}")
    for columns in watched((_ordered(columns, f"{mapping}: {kind}") for columns in whole), f"{mapping}: {kind}"):
        yield columns if kind == "generated" else columns | _that_follow(columns)


def _with_rows(pieces: Iterator[Columns], place: str) -> Iterator[Columns]:
    none = True
    for columns in pieces:
        none = False
        yield columns
    if none:
        raise wrong(place, "no row", "at least one that the selection leaves")


def _that_follow(tracks: Columns) -> Columns:
    """What of `RECONSTRUCTED` follows from `LEARNED`."""
    _, first, sizes = np.unique(tracks["event"], return_index=True, return_counts=True)
    columns: Columns = dict(combined(tracks))
    return columns | {
        "track": np.arange(len(tracks["event"])) - np.repeat(first, sizes),
        "charge": np.sign(tracks["qop"]),
        "p": 1 / np.abs(tracks["qop"]),
        "tracks": np.repeat(sizes, sizes),
    }


def _read(paths: Sequence[Path], section: Section, schema: Mapping[str, str], place: str) -> Columns:
    parts = list(_pieces(paths, section, schema, place))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
    if not parts or not len(columns["event"]):
        raise wrong(place, "no row", "at least one that the selection leaves")
    (columns,) = watched([_ordered(columns, place)], place)
    return columns


def _ordered(columns: Columns, place: str) -> Columns:
    """The same by event and particle, within the limits."""
    order = np.lexsort((columns["particle"], columns["event"]))
    columns = {name: column[order] for name, column in columns.items()}
    check(place, columns)
    return columns


def _pieces(paths: Sequence[Path], section: Section, schema: Mapping[str, str], place: str) -> Iterator[Columns]:
    """The selected rows of all files in turn, under our names and in our units."""
    unknown = sorted({*section.columns, *section.defaults} - set(schema))
    if unknown:
        raise wrong(f"{place}: column {unknown[0]}", "no column of ours", f"one of {', '.join(schema)}")
    sources = {name: _source(section, name, place) for name in schema if name not in section.defaults}
    if section.weight:
        sources[WEIGHT] = Column(section.weight)
    conditions = [_condition(text, place) for text in section.selection]
    wanted = sorted({source.column for source in sources.values()} | {name for name, _, _ in conditions})
    for path in paths:
        rows = 0
        for table in _tables(path, section.tree, wanted):
            chosen = _selected(table, conditions)
            count = len(chosen[wanted[0]])
            columns = {
                name: _typed(
                    chosen[source.column], UNITS[source.unit], schema.get(name, "float64"), f"{place}.{name}", rows
                )
                for name, source in sources.items()
            }
            rows += count
            yield columns | {
                name: np.full(count, value, dtype=schema[name]) for name, value in section.defaults.items()
            }


def _source(section: Section, name: str, place: str) -> Column:
    found = section.columns.get(name, name)
    column = Column(found) if isinstance(found, str) else found
    if column.unit not in UNITS:
        raise wrong(f"{place}.columns.{name}: unit", column.unit, f"one of {', '.join(UNITS)}")
    return column


def _condition(text: str, place: str) -> tuple[str, Callable[[Any, Any], Any], float]:
    found = _CONDITION.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        return found["column"], _COMPARISONS[found["sign"]], float(found["number"])
    except ValueError:
        raise wrong(f"{place}.selection", text, "column, comparison and number, such as 'nTracks < 400'") from None


def _selected(table: Columns, conditions: Sequence[tuple[str, Callable[[Any, Any], Any], float]]) -> Columns:
    rows = np.ones(len(next(iter(table.values()))), dtype=bool)
    for name, holds, number in conditions:
        rows &= holds(table[name], number)
    return {name: column[rows] for name, column in table.items()}


def _typed(values: npt.NDArray[Any], factor: float, kind: str, place: str, before: int) -> npt.NDArray[Any]:
    """Values in our unit and type; `before` rows were selected of the file already."""
    if values.dtype.kind not in "fiub":
        raise wrong(place, str(values.dtype), "a column of numbers")
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise wrong(f"{place}, row {before + bad[0]} of those selected", float(values[bad[0]]), "a finite number")
    if np.dtype(kind).kind == "f" or factor != 1:
        values = values * factor
    with np.errstate(invalid="ignore"):
        typed = values.astype(kind)
    bad = np.flatnonzero(typed != values)
    if np.dtype(kind).kind != "f" and len(bad):
        expected = {"b": "true or false, or 1 or 0"}.get(np.dtype(kind).kind, f"a whole number that fits into {kind}")
        raise wrong(f"{place}, row {before + bad[0]} of those selected", values[bad[0]].item(), expected)
    return typed


def _tables(path: Path, tree: str, names: Sequence[str]) -> Iterator[Columns]:
    try:
        yield from _of_root(path, tree, names) if path.suffix == ".root" else _of_parquet(path, names)
    except (OSError, pa.ArrowException, ValueError) as error:
        line = " ".join(str(error).split())[:120]
        raise wrong(str(path), line, "a whole file, ROOT with the suffix .root, or Parquet") from error


def _of_parquet(path: Path, names: Sequence[str]) -> Iterator[Columns]:
    with opened(path) as file:
        _there(path, names, file.schema_arrow.names)
        for table in tables(file, names):
            yield {name: to_numpy(table.column(name)) for name in names}


def _of_root(path: Path, tree: str, names: Sequence[str]) -> Iterator[Columns]:
    import uproot  # only here: it takes half a second to import

    with uproot.open(path) as file:
        trees = [key.split(";")[0] for key, kind in file.classnames().items() if kind in _TREES]
        if tree not in trees:
            raise wrong(f"{path}: tree", tree, f"one of {', '.join(trees) or 'none'}", "name it in the mapping: tree")
        _there(path, names, file[tree].keys())
        for start in range(0, file[tree].num_entries, _ROWS):
            found = file[tree].arrays(list(names), entry_start=start, entry_stop=start + _ROWS, library="np")
            yield {name: np.asarray(column) for name, column in found.items()}


def _there(path: Path, names: Sequence[str], found: Sequence[str]) -> None:
    missing = [name for name in names if name not in found]
    if missing:
        raise missing_column(path, missing[0], found, "name the column that means it in the mapping, or a default")
