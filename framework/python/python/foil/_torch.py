"""Finds torch's libraries, and loads those that foil needs without importing torch.

Importing torch takes seconds; the command `foil` seldom needs its Python side.
"""

from __future__ import annotations

import ctypes
import importlib.util
import platform
import re
import sys
from pathlib import Path

MADE_FOR = "2.11"
INSTALL = f"pip install 'torch=={MADE_FOR}.*'"


class TorchError(ImportError):
    """There is no torch that foil can use; the message says what to do."""


def folder() -> Path:
    """The folder of the installed torch.

    Raises:
        TorchError: there is none, or it is of another version, or this is another platform.
    """
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        here = f"{platform.system()} on {platform.machine()}"
        raise TorchError(f"foil needs Linux on x86-64, and this is {here}: use a Linux machine or a container.")
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        raise TorchError(f"foil needs torch {MADE_FOR}, and this Python has no torch: {INSTALL}")
    found = Path(next(iter(spec.submodule_search_locations)))
    version = _version(found)
    if version.split("+")[0].split(".")[:2] != MADE_FOR.split("."):
        raise TorchError(
            f"foil needs torch {MADE_FOR}, and this Python has torch {version or 'of no known version'}: {INSTALL}"
        )
    return found


def _version(found: Path) -> str:
    try:
        text = (found / "version.py").read_text()
    except OSError:
        return ""
    match = re.search(r"__version__ = ['\"]([^'\"]+)['\"]", text)
    return match.group(1) if match else ""


def load() -> None:
    """Loads libtorch, so that the module `foil._foil` finds it.

    Raises:
        TorchError: as `folder`, or a library of torch cannot be loaded.
    """
    if "torch" in sys.modules:
        folder()  # its version
        return
    libraries = folder() / "lib"
    for name in ("libc10.so", "libtorch_cpu.so"):
        try:
            ctypes.CDLL(str(libraries / name), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise TorchError(f"torch's {name} cannot be loaded ({error}): install torch again, {INSTALL}") from error
