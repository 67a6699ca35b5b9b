"""Options that several commands share, each with its one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

DataArgument = Annotated[
    Path, typer.Argument(metavar="DATA", help="Images: a folder tree, or a zip of one.", show_default=False)
]
LabelsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        help="CSV of path and label, on disk or in DATA; only listed images are used. Repeatable. "
        "Without it, an image's class is its folder.",
        show_default=False,
    ),
]
LabelColumnOption = Annotated[
    str, typer.Option("--label-column", help="Column of the label in these lists: a number (0 is the path) or a name.")
]
ClassesOption = Annotated[
    Path | None,
    typer.Option("--classes", metavar="FILE", help="Keep only the classes listed, one a line.", show_default=False),
]
SkipUnreadableOption = Annotated[
    bool, typer.Option("--skip-unreadable", help="Pass over files that are no images, and count them.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an older output.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def setting(flag: str, meaning: str, default: object) -> Any:
    """Make an option that is None unless given: the default is the library's, and shown here."""
    return typer.Option(flag, help=meaning, show_default=str(default))
