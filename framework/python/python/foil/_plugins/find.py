"""Finds a plugin's class in a file, and says where in the file an exception comes from."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
import types
from pathlib import Path
from typing import Any

from .. import _base

BASES = {
    base.KIND: base for base in (_base.Attack, _base.Data, _base.Loss, _base.Objective, _base.Model, _base.Scheduler)
}


class Fault(Exception):
    """Something is wrong with a plugin's file: the key to blame, a message, and what to do."""

    def __init__(self, key: str, message: str, help: str) -> None:
        super().__init__(message)
        self.key, self.message, self.help = key, message, help


def _module(file: str) -> types.ModuleType:
    path = Path(file)
    try:
        source = path.read_bytes()
    except OSError as error:
        raise Fault(
            "file", f"`{file}` cannot be read: {error.strerror}", "paths are relative to the pipeline"
        ) from None
    name = f"foil_plugin_{hashlib.sha256(bytes(str(path.resolve()), 'utf-8') + source).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Fault("file", f"`{file}` is not a Python file", "its name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    keeps, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception):
            raise
        raise Fault(
            "file", f"`{file}` cannot be imported: {where(error, file)}", f"try it alone: python {file}"
        ) from error
    finally:
        sys.dont_write_bytecode = keeps
    return module


def find(kind: str, file: str, name: str | None) -> type[Any]:
    """The class in a file: the one of this name, or the only one of its kind."""
    base, module = BASES[kind], _module(file)
    own = {
        word: thing
        for word, thing in vars(module).items()
        if isinstance(thing, type) and issubclass(thing, base) and thing.__module__ == module.__name__
    }
    if name is None:
        if len(own) == 1:
            return next(iter(own.values()))
        found = ", ".join(own) or "none"
        message = f"`{file}` must have one subclass of foil.{base.__name__}, and has {found}"
        raise Fault(
            "file",
            message,
            "name it: class: " + next(iter(own)) if own else f"write class MyClass(foil.{base.__name__}):",
        )
    if name in own:
        return own[name]
    if isinstance(vars(module).get(name), type):
        raise Fault(
            "class", f"`{name}` in `{file}` is not a foil.{base.__name__}", f"write class {name}(foil.{base.__name__}):"
        )
    help = f"it has {', '.join(own)}" if own else f"write class {name}(foil.{base.__name__}):"
    raise Fault("class", f"`{file}` has no class `{name}`", help)


def where(error: BaseException, file: str) -> str:
    """An exception with the last line of the plugin's file that it passed."""
    said = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]
    whole = Path(file).resolve()
    frames = [one for one in traceback.extract_tb(error.__traceback__) if Path(one.filename).resolve() == whole]
    if not frames:
        return said
    return f"{said} ({file}:{frames[-1].lineno}, in {frames[-1].name})"
