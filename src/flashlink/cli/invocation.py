"""What a sample notes of the command that wrote it."""

from __future__ import annotations

import shlex

import click
from click.core import ParameterSource


def invocation() -> str:
    """The running command as it was given, as ``flashlink simulate --seed 7``, but without names of files.

    A file's name says nothing of what is in it, and would make samples differ that are equal; what files hold is noted
    by their digests.
    """
    context = click.get_current_context()
    words = ["flashlink", context.info_name or ""]
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and not isinstance(parameter.type, click.Path):
            words += _words(parameter, context.params[name])
    return shlex.join(words)


def _words(parameter: click.Parameter, value: object) -> list[str]:
    values = value if parameter.multiple else (value,)
    assert isinstance(values, tuple)
    return [word for each in values for word in (parameter.opts[0], *_parts(each))]


def _parts(value: object) -> list[str]:
    if value is True:
        return []
    return [str(part) for part in value] if isinstance(value, tuple) else [str(value)]
