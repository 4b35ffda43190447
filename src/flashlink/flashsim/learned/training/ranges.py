"""What a search tries: the plan of a training with a table of ranges for each chain, in one TOML file.

::

[track]                                    # what stays, as in a plan
epochs = 10

[search.track]                             # what is tried
trunk = [[128, 64], [192, 128, 64]]        # one of these
head = [24, 32, 48]
components = {from = 3, to = 10}           # a number from a range
rate = {from = 5e-4, to = 5e-3, log = true}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import optuna

from flashlink.errors import RequestError, wrong
from flashlink.flashsim.learned.training.fit import Settings
from flashlink.flashsim.learned.training.learn import Plan, decoded_plan


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"least": "from", "largest": "to"}):
    """Numbers from `least` to `largest`, tried evenly in their logarithm if `log`; ``from`` and ``to`` in the file."""

    least: int | float
    largest: int | float
    log: bool = False


#: Values to choose from, or a range of them.
Choice = list[Any] | Range


class SearchPlan(Plan, frozen=True, forbid_unknown_fields=True):
    """A plan, and for some chains what of it is searched: setting to values."""

    search: dict[str, dict[str, Choice]] = msgspec.field(default_factory=dict)


def read_ranges(path: Path) -> SearchPlan:
    """Read what to search.

    Raises:
        RequestError: The file cannot be read, names a chain or setting that is none, or a value that is none of it.
    """
    plan = decoded_plan(path, SearchPlan)
    if not any(plan.search.values()):
        raise wrong(f"{path}: search", plan.search, "a table of settings to try for at least one chain: [search.track]")
    for chain, choices in plan.search.items():
        if chain not in Plan.__struct_fields__:
            raise wrong(f"{path}: search.{chain}", "no chain", f"one of {', '.join(Plan.__struct_fields__)}")
        for setting, choice in choices.items():
            _check(choice, setting, f"{path}: search.{chain}.{setting}")
    return plan


def _check(choice: Choice, setting: str, place: str) -> None:
    if setting not in Settings.__struct_fields__:
        raise wrong(place, "no setting", f"one of {', '.join(Settings.__struct_fields__)}")
    ends = [choice.least, choice.largest] if isinstance(choice, Range) else choice
    if not ends:
        raise wrong(place, choice, "at least one value to try")
    for value in ends:
        try:
            msgspec.convert({setting: value}, Settings)
        except msgspec.ValidationError as error:
            raise RequestError(f"{place}: {value!r} cannot be tried: {error}") from error
    if isinstance(choice, Range) and choice.least > choice.largest:
        raise wrong(f"{place}: from", choice.least, f"at most {choice.largest}, where it goes to")


def draw(trial: optuna.Trial, setting: str, choice: Choice) -> Any:
    """A value of a setting for a trial."""
    if not isinstance(choice, Range):
        # As JSON, since Optuna's storages keep no lists.
        return json.loads(trial.suggest_categorical(setting, [json.dumps(value) for value in choice]))
    if isinstance(getattr(Settings(), setting), int):
        return trial.suggest_int(setting, int(choice.least), int(choice.largest), log=choice.log)
    return trial.suggest_float(setting, choice.least, choice.largest, log=choice.log)


def drawn(parameters: Mapping[str, Any], choices: Mapping[str, Choice]) -> dict[str, Any]:
    """The values of settings of a trial that Optuna kept."""
    return {
        name: value if isinstance(choices[name], Range) else json.loads(value) for name, value in parameters.items()
    }


def plan_text(plan: Plan, notes: Mapping[str, str]) -> str:
    """A plan as the TOML that ``flashlink train --plan`` takes, with a comment of `notes` to each chain."""
    sections = []
    for chain in Plan.__struct_fields__:
        lines = [f"[{chain}]" + (f"  # {notes[chain]}" if chain in notes else "")]
        settings = msgspec.to_builtins(getattr(plan, chain))
        # Numbers and lists of numbers look the same in TOML as in JSON.
        lines += [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        sections.append("\n".join(lines) + "\n")
    return "\n".join(sections)
