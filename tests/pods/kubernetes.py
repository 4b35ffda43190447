"""Kubernetes' own list of fields: the core API of 1.34, from the models that lightkube-models generates of it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

VERSION = "1.34"


@cache
def objects() -> Mapping[str, Mapping[str, str]]:
    """Every object of the core API: its fields and, in words of Python, their types."""
    package = distribution("lightkube-models")
    assert package.version.startswith(f"{VERSION}."), package.version
    module = ast.parse(Path(str(package.locate_file("lightkube/models/core_v1.py"))).read_text("utf-8"))
    return {
        node.name: {
            line.target.id.rstrip("_"): ast.literal_eval(line.annotation)
            if isinstance(line.annotation, ast.Constant)
            else ast.unparse(line.annotation)
            for line in node.body
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
        }
        for node in module.body
        if isinstance(node, ast.ClassDef)
    }


def types_of(*models: str) -> dict[str, str]:
    """The fields of some objects, and their types."""
    return {name: kind for model in models for name, kind in objects()[model].items()}
