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
            values = context.params[name]
            for value in values if parameter.multiple else (values,):
                words += [parameter.opts[0], *_words(value)]
    return shlex.join(words)


def _words(value: object) -> list[str]:
    if value is True:
        return []
    return [str(part) for part in value] if isinstance(value, tuple) else [str(value)]
