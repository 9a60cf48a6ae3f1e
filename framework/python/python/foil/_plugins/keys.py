"""A class's fields as keys of a pipeline: describes them, and makes an object of what is written."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import types
import typing
from pathlib import Path
from typing import Any, Union

from .. import _base
from .find import Fault, find

RESERVED = ("type", "file", "class", "sha256")
OF_SCHEDULERS = ("value",)
FOLLOWING = ("attack", "loss")


def _of_type(hint: Any) -> dict[str, Any]:
    """The JSON Schema of a field's type."""
    simple = {float: "number", int: "integer", bool: "boolean", str: "string"}
    if hint in simple:
        return {"type": simple[hint]}
    if hint is _base.Scheduled:
        return {"anyOf": [{"type": "number"}, {"x-component": "scheduler"}]}
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return {"enum": list(inner)}
    if origin is list and inner:
        return {"type": "array", "items": _of_type(inner[0])}
    if origin in (Union, types.UnionType) and type(None) in inner:
        rest = [one for one in inner if one is not type(None)]
        if len(rest) == 1 and rest[0] in simple:
            return {"type": [simple[rest[0]], "null"]}
    raise TypeError(f"{hint} is not a type that a key may have")


def schema(kind: str, file: str, name: str | None) -> str:
    """The JSON Schema of a class's keys."""
    cls = find(kind, file, name)
    try:
        hints = typing.get_type_hints(cls)
    except Exception as error:
        raise Fault(
            "class", f"the types of `{cls.__name__}` cannot be read: {error}", "annotate fields with types of Python"
        ) from error
    about = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
    if not about or about.startswith(f"{cls.__name__}("):  # what dataclasses write where there is none
        raise Fault("class", f"`{cls.__name__}` in `{file}` has no docstring", "write one: it is the manual")
    properties: dict[str, Any] = {
        "file": {"type": "string", "x-file": True, "description": "The Python file, copied into the run's folder."},
        "class": {"type": "string", "description": "The class in it.", "default": cls.__name__},
        "sha256": {"type": ["string", "null"], "description": "The file's SHA-256; a different file is refused."},
    }
    required = ["file"]
    for field in dataclasses.fields(cls):
        if field.name in RESERVED or (kind == "scheduler" and field.name in OF_SCHEDULERS):
            raise Fault(
                "class",
                f"`{cls.__name__}` has a field `{field.name}`, which is a key of every {kind} in Python",
                "call it something else",
            )
        try:
            of_type = _of_type(hints[field.name])
        except TypeError:
            message = f"the field `{field.name}` of `{cls.__name__}` has the type {field.type}, which no key has"
            raise Fault(
                "class", message, "keys are float, int, bool, str, Literal, list, X | None or foil.Scheduled"
            ) from None
        if hints[field.name] is _base.Scheduled and kind not in FOLLOWING:
            message = f"the field `{field.name}` of `{cls.__name__}` has the type foil.Scheduled, which no {kind} has"
            raise Fault("class", message, "a loss or an attack may have one; write float here")
        entry = {**of_type, **field.metadata.get("foil", {})}
        if field.default is not dataclasses.MISSING:
            entry["default"] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            entry["default"] = field.default_factory()
        else:
            required.append(field.name)
        properties[field.name] = entry
    whole = {
        "title": cls.__name__,
        "description": about,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
        "x-fill": True,
    }
    return json.dumps(whole)


def make(kind: str, file: str, name: str | None, sha256: str | None, keys: str) -> Any:
    """An object of the class, with these keys as JSON; scheduled ones keep what is written."""
    if sha256 is not None:
        found = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        if found != sha256.lower():
            message = f"`{file}` has the SHA-256 {found}, not {sha256}"
            raise Fault("sha256", message, "it is not the file that the run was started with; restore that one")
    cls = find(kind, file, name)
    hints, given = typing.get_type_hints(cls), json.loads(keys)
    whole = {word: float(value) if hints.get(word) is float else value for word, value in given.items()}
    return cls(**whole)


def scheduled(plugin: Any) -> list[str]:
    """Names of the keys that follow a scheduler."""
    hints = typing.get_type_hints(type(plugin))
    return [field.name for field in dataclasses.fields(plugin) if hints[field.name] is _base.Scheduled]
