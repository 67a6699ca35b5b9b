"""Write the last run of the engines' benchmark into docs/benchmarks.md, and draw docs/figures/engines.png."""

import argparse
import json
from pathlib import Path

from engine_figure import draw
from records import RESULTS

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- engines:begin -->", "<!-- engines:end -->"
OURS = "gossamer"
TITLES = {
    "uniform": "Uniform: one million rows, nothing to prune",
    "identities": "Identities: one million rows in 20,000 classes",
    "identities-4m": "Identities: four million rows in 80,000 classes",
    "signed": "Signed identities: one million rows in 20,000 classes, values of both signs",
    "positive": "The same made positive: absolute values",
    "omniglot": "Omniglot: warped images through a trained encoder",
    "clinc150": "CLINC150: MiniLM vectors through a trained sparse layer",
    "splade": "SPLADE-v3: real query vectors as documents",
}
SINDI, SEISMIC = ("sindi",), ("seismic", "seismic full")


class Run:
    """The records of one run."""

    def __init__(self, records: list[dict]) -> None:
        self.rows = [record for record in records if record["setting"] != "batch"]
        self.batches = {(r["data"], r["engine"]): r for r in records if r["setting"] == "batch"}
        self.data_sets = [name for name in TITLES if any(row["data"] == name for row in self.rows)]

    def of(self, data: str) -> list[dict]:
        return [row for row in self.rows if row["data"] == data]

    def ours(self, data: str, *, n: int | None = None) -> dict | None:
        """Return our exact row of a data set, over all its documents unless n says over how many."""
        rows = [row for row in self.of(data) if row["engine"] == OURS and row["setting"] == "exact"]
        rows = [row for row in rows if row["n"] == (n or max(r["n"] for r in rows))]
        return rows[0] if rows else None

    def time(self, data: str, engines: tuple[str, ...] = (OURS,), recall: float = 0.999) -> float | None:
        """Return the p50 of the fastest of some engines that reaches a recall, over all documents."""
        if engines == (OURS,):
            row = self.ours(data)
            return row and row["p50_us"]
        times = [r["p50_us"] for r in self.of(data) if r["engine"] in engines and r["recall"] >= recall]
        return min(times, default=None)


def last_run(path: Path) -> Run:
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    of_run = [record for record in records if record["run"] == records[-1]["run"]]
    last = {(r["data"], r["engine"], r["setting"], r["n"]): r for r in of_run}  # a run may have been completed later
    dims = {r["data"]: r["dim"] for r in of_run if "dim" in r and not r["engine"].startswith("faiss")}
    # What was completed with codes of another encoder is no longer beside those of the one before.
    kept = [
        r for r in last.values() if r["engine"].startswith("faiss") or r.get("dim", dims[r["data"]]) == dims[r["data"]]
    ]
    return Run(kept)


def table(run: Run, data: str) -> str:
    """Return a table of the engines of one data set, fastest first, ratios to ours over the same documents."""
    rows = sorted(run.of(data), key=lambda row: (-row["n"], row["p50_us"]))
    first = rows[0]
    lines = [
        f"### {TITLES[data]}",
        "",
        f"{first['n']:,} documents, d {first['dim']:,}, {first['nnz']:.1f} nonzeros a row, "
        f"{first['flops_per_document']:.3g} FLOPs per document.",
        "",
        "| engine | recall@10 | p50 µs | p95 µs | p99 µs | time / ours | build s | size MB |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        ours = run.ours(data, n=row["n"])
        ratio = f"{row['p50_us'] / ours['p50_us']:.2f}" if ours else "–"
        name = row["engine"] + ("" if row["setting"] == "exact" else f", {row['setting']}")
        name += f", {row['n']:,} documents" if row["n"] < first["n"] else ""
        name += " (dense)" if row["engine"].startswith("faiss") else ""
        cells = [
            f"**{name}**" if row is ours else name, f"{row['recall']:.4f}",
            *(f"{row[key]:,.0f}" for key in ("p50_us", "p95_us", "p99_us")),
            ratio, f"{row['build_s']:.1f}", f"{row['size_bytes'] / 1e6:,.0f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above and below else None


def targets(run: Run) -> list[tuple[str, float | None, float, float, bool]]:
    """Return the goals: name, reached, must, aim, and whether more is better."""
    times = {name: run.time(name) for name in TITLES}
    batch = run.batches.get(("uniform", OURS), {})
    built = run.ours("identities") or {}
    against = [
        ("uniform", SINDI, 0.48, 0.35), ("omniglot", SINDI, 0.35, 0.2), ("omniglot", SEISMIC, 0.85, 0.4),
        ("clinc150", SINDI, 0.4, 0.25), ("identities", SINDI, 0.17, 0.10), ("identities", SEISMIC, 0.6, 0.35),
        ("signed", SINDI, 0.3, 0.15),
    ]  # fmt: skip
    rows = []
    for data, engines, must, aim in against:
        peer = "SINDI" if engines is SINDI else "Seismic at 0.999"
        rows.append((f"{data}: ours / {peer}", _ratio(times[data], run.time(data, engines)), must, aim, False))
    gain = _ratio(batch.get("gain_of_2_threads"), batch.get("gain_of_2_busy_loops"))
    return [
        *rows,
        ("uniform: a query in a batch of 1,000 / alone", batch.get("over_one_by_one"), 0.65, 0.5, False),
        ("the same batch: gain of 2 threads / gain of 2 busy loops", gain, 0.85, 0.95, True),
        ("identities: 4 M / 1 M documents", _ratio(times["identities-4m"], times["identities"]), 3.5, 2, False),
        ("signed / the same made positive", _ratio(times["signed"], times["positive"]), 1.5, 1.5, False),
        ("identities: build, seconds", built.get("build_s"), 10, 4, False),
        ("identities: peak memory of build / bytes of CSR", built.get("build_peak_over_csr"), 4, 4, False),
        ("identities: bytes per nonzero on disk", built.get("disk_bytes_per_nonzero"), 12, 9, False),
    ]


def target_table(run: Run) -> str:
    lines = ["| one thread, k 10, ratio of medians | reached | must | aim | |", "|---|--:|--:|--:|---|"]
    for name, reached, must, aim, is_more_better in targets(run):
        if reached is None:
            verdict, shown = "not measured", "–"
        else:
            sign = -1 if is_more_better else 1
            verdict = (
                "aim" if sign * reached <= sign * aim else "must" if sign * reached <= sign * must else "**missed**"
            )
            shown = f"{reached:.2f}"
        bound = "≥" if is_more_better else "≤"
        lines.append(f"| {name} | {shown} | {bound} {must} | {bound} {aim} | {verdict} |")
    return "\n".join(lines)


def batch_table(run: Run) -> str:
    lines = [
        "| 1,000 queries as one batch | µs per query | / one by one | gain of 2 threads | of 2 busy loops |",
        "|---|--:|--:|--:|--:|",
    ]
    for (data, engine), row in run.batches.items():
        numbers = row["over_one_by_one"], row["gain_of_2_threads"], row["gain_of_2_busy_loops"]
        cells = [f"{data}, {engine}", f"{row['us_per_query']:,.1f}", *(f"{number:.2f}" for number in numbers)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(run: Run, page: Path) -> None:
    """Replace what is between the markers."""
    first = run.rows[0]
    parts = [
        f"One run (`{first['run']}`, commit `{first['commit']}`, {first['cpu']}, {first['rounds']} rounds).",
        target_table(run),
        "![Time against recall](figures/engines.png)",
        "Lines are the settings that were tried; squares are engines on the first 200,000 documents only.",
        *(table(run, data) for data in run.data_sets),
        batch_table(run),
    ]
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n" + "\n\n".join(parts) + f"\n\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=Path, default=RESULTS / "engines.jsonl")
    parser.add_argument("--docs", type=Path, default=DOCS)
    options = parser.parse_args()
    run = last_run(options.records)
    write(run, options.docs / "benchmarks.md")
    draw({data: run.of(data) for data in run.data_sets}, TITLES, options.docs / "figures" / "engines.png")
    print(target_table(run))


if __name__ == "__main__":
    main()
