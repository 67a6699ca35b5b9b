"""What the pages of learning's measurements are made of: records, intervals, tables, and their place in a page."""

import json
from pathlib import Path
from statistics import mean, stdev

DOCS = Path(__file__).parents[1] / "docs"
T_95 = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776}  # of Student's distribution, by the number of seeds

Records = list[dict]


def read_records(path: Path) -> Records:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def interval(values: list[float], digits: int = 3) -> str:
    """Return mean ± half of the 95 % interval of the mean, by Student's t."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    return f"{mean(values):.{digits}f} ± {T_95[len(values)] * stdev(values) / len(values) ** 0.5:.{digits}f}"


def verdict(reached: float, must: float, aim: float) -> str:
    return "aim" if reached >= aim else "must" if reached >= must else "**missed**"


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|---" + "|--:" * (len(header) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def where_from(records: Records) -> str:
    """Return on what the records were made."""
    commits = ", ".join(f"`{commit}`" for commit in sorted({r["commit"] for r in records}))
    cpus = " and ".join(sorted({r["cpu"] for r in records}))
    return f"Records of commit {commits} on {cpus}, one thread."


def replace_between(page: Path, name: str, parts: list[str]) -> None:
    """Replace what is between a page's two markers of that name."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, rest = page.read_text(encoding="utf-8").split(begin)
    after = rest.split(end)[1]
    page.write_text(f"{before}{begin}\n\n" + "\n\n".join(parts) + f"\n\n{end}{after}", encoding="utf-8")
