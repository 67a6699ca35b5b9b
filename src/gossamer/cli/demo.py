"""``gossamer demo``: the main job on real images, from training to a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gossamer.cli.options import JsonOption, OverwriteOption
from gossamer.cli.printing import print_json, print_table
from gossamer.cli.progress import ProgressBars


def demo(
    *,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the report goes.")] = Path("demo"),
    steps: Annotated[int | None, typer.Option("--steps", help="Batches to learn from.", show_default="1600")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same machine: same result.")] = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Learn dense and sparse embeddings of handwritten characters, search both, and compare them.

    Takes Omniglot from GOSSAMER_DATA or the cache folder, or downloads it. Writes a report with figures,
    both models and the index.
    """
    from gossamer.study.demo import REPORT, DemoRecipe, run_demo

    recipe = DemoRecipe(seed=seed) if steps is None else DemoRecipe(steps=steps, seed=seed)
    with ProgressBars() as progress:
        result = run_demo(out, recipe, overwrite=overwrite, on_progress=progress)
    if as_json:
        print_json({**result.record(), "report": str(out / REPORT)})
        return
    if result.notice:
        print(f"Note: {result.notice}\n")
    print(result.summary)
    cells = [row.cells() for row in result.rows]
    print_table(list(cells[0]), [list(row.values()) for row in cells])
    print(result.remarks)
    print(f"Report with figures: {out / REPORT}")
