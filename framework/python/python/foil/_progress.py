"""Progress in a terminal and in a notebook: one line that is written over."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType


class Bar:
    """A line for the current epoch; what an epoch found stays."""

    def __init__(self, shown: bool) -> None:
        self.shown = shown
        self._open = False

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._open:
            print(file=sys.stderr)

    def step(self, epoch: int, epochs: int, done: int, steps: int, text: str) -> None:
        """Called by Rust a few times a second, and at the end of an epoch."""
        if not self.shown:
            return
        whole = done >= steps
        width = 24
        filled = width * done // max(steps, 1)
        bar = "█" * filled + "·" * (width - filled)
        line = f"epoch {epoch}/{epochs} {bar} {done}/{steps} {text.splitlines()[0] if text else ''}"
        print(f"\r{line[:150]:<80}", end="\n" if whole and text else "", file=sys.stderr, flush=True)
        self._open = not (whole and text)


def lines(shown: bool) -> Callable[[str], None] | None:
    """Passes the lines of a command on."""
    if not shown:
        return None
    return lambda line: print(line, file=sys.stderr, flush=True)
