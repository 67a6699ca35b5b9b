"""The command ``gossamer``: parse, call the library, print."""

from gossamer.cli.app import main

__all__ = ["main"]
