"""The commands under one name, and how each failure leaves the process.

Results go to stdout, progress and errors to stderr. The exit status is 0, 1 (failure), 2 (usage: an
argument, a path that is missing, an output that is taken) or 130 (interrupted).
"""

from __future__ import annotations

import logging
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import gossamer
from gossamer.cli.build import build
from gossamer.cli.demo import demo
from gossamer.cli.encode import encode
from gossamer.cli.evaluate import evaluate
from gossamer.cli.fit import fit
from gossamer.cli.inspect import inspect
from gossamer.cli.search import search
from gossamer.cli.study import study
from gossamer.cli.train import train
from gossamer.errors import ArgumentError, GossamerError, NotFoundError, OutputExistsError

FAILURE, USAGE, INTERRUPTED = 1, 2, 130


class _Commands(TyperGroup):
    """Commands whose expected failures end in one sentence on stderr."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (ArgumentError, NotFoundError, OutputExistsError) as error:
            _leave(USAGE, f"error: {error}")
        except GossamerError as error:
            _leave(FAILURE, f"error: {error}")
        except ModuleNotFoundError as error:
            if str(error.name).startswith("gossamer"):
                raise
            _leave(FAILURE, f"error: this needs {error.name}, which is not installed: pip install 'gossamer[learn]'")
        except BrokenPipeError:
            raise  # Typer ends quietly when the reader of a pipe has left
        except OSError as error:
            _leave(FAILURE, f"error: {error}")
        except KeyboardInterrupt as stop:
            _leave(INTERRUPTED, str(stop) or "interrupted")


def _leave(status: int, sentence: str) -> None:
    print(sentence, file=sys.stderr)
    raise typer.Exit(status)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"gossamer {gossamer.__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _options(
    version: Annotated[  # noqa: ARG001 -- its callback does the work
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Learn sparse embeddings that are cheap to search, and search them exactly."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("gossamer").setLevel(logging.INFO)  # what takes its time says so


for _command in (demo, train, fit, encode, build, search, evaluate, inspect):
    app.command()(_command)
app.add_typer(study, name="study")


def main() -> None:
    """Run the command line."""
    app(prog_name="gossamer")
