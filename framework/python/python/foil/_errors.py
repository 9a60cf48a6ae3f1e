"""What foil raises."""

from __future__ import annotations


class Error(Exception):
    """foil's message, and in `help` what to do instead."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.message, self.help = message, help

    def __str__(self) -> str:
        return f"{self.message}\n  help: {self.help}" if self.help else self.message
