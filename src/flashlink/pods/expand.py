"""Kubernetes' ``$(VAR)`` in commands, arguments and the values of ``env``.

``$(NAME)`` becomes the variable's value, ``$$`` a single ``$`` (so ``$$(NAME)`` stays as the text ``$(NAME)``), and a
reference to an unknown variable stays as it is. Nothing is expanded twice. Source: the field descriptions of
``Container.command`` and ``EnvVar.value`` in Kubernetes' API reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

#: Kubernetes takes everything up to the next ``)`` as the name.
_REFERENCE = re.compile(r"\$(?:(\$)|\(([^)]*)\))", re.DOTALL)


def expand(text: str, env: Mapping[str, str]) -> str:
    """`text` with its references to `env` replaced.

    >>> expand("$(GREETING), $$(GREETING) and $(OTHER)", {"GREETING": "hello"})
    'hello, $(GREETING) and $(OTHER)'
    """

    def replaced(match: re.Match[str]) -> str:
        if match[1]:
            return "$"
        return env.get(match[2], match[0])

    return _REFERENCE.sub(replaced, text)


def references(text: str) -> list[str]:
    """The names that `text` refers to, known or not, as often as it does."""
    return [match[2] for match in _REFERENCE.finditer(text) if not match[1]]
