"""Write the last records of learning's benchmarks into docs/learning.md, and draw their figures."""

import argparse
from pathlib import Path
from statistics import mean

from learning_budget_report import write_budgets, write_evenness
from learning_figures import draw_all
from learning_images_report import write_images
from learning_tables import DOCS, Records, interval, read_records, replace_between, table, verdict, where_from
from records import RESULTS

TARGETS = [
    ("recall@10 after re-ranking 100", "recall_reranked", 0.95, 0.98),
    ("recall@10, no re-rank", "recall", 0.68, 0.80),
]


def last_records(path: Path) -> Records:
    """Return the last record of each setting and seed."""
    return list({(r["part"], r["name"], r.get("target"), r["seed"]): r for r in read_records(path)}.values())


def of(records: Records, part: str) -> Records:
    return [record for record in records if record["part"] == part]


def budget_table(records: Records) -> str:
    found = of(records, "budgets")
    names = sorted({r["name"] for r in found}, key=float)
    keys = ("flops_per_document", "nnz", "r_sub", "recall", "recall_reranked", "hit_rate", "minutes")
    rows = []
    for name in names:
        runs = [r for r in found if r["name"] == name]
        rows.append([name, str(len(runs)), *(interval([r[key] for r in runs]) for key in keys)])
    header = ["budget", "seeds", "FLOPs per document", "nnz", "R_sub", "recall@10", "after re-ranking 100",
              "hit rate@1", "minutes"]  # fmt: skip
    return table(header, rows)


def target_table(records: Records) -> str:
    """Return what is asked of these data, and whether it is reached."""
    strict = [r for r in of(records, "budgets") if r["target"] == 1.0]
    dense = next(r for r in of(records, "peers") if r["name"] == "dense")
    rows = []
    for title, key, must, aim in TARGETS:
        reached = mean([r[key] for r in strict])
        rows.append([title, interval([r[key] for r in strict]), f"≥ {must}", f"≥ {aim}", verdict(reached, must, aim)])
    gaps = [r["hit_rate"] - dense["hit_rate"] for r in strict]
    rows.append(
        ["hit rate@1 less the dense rows' own", interval(gaps), "≥ −0.01", "≥ 0", verdict(mean(gaps), -0.01, 0.0)]
    )
    evenness = [r["r_sub"] for r in strict]
    rows.append(["R_sub", interval(evenness), "≤ 1.3", "≤ 1.15", verdict(-mean(evenness), -1.3, -1.15)])
    for step in of(records, "step"):
        ratio = step["ratio"]
        rows.append(
            [
                "step time with the regularizer / without",
                f"{ratio:.3f}",
                "≤ 1.05",
                "≤ 1.02",
                verdict(-ratio, -1.05, -1.02),
            ]
        )
    for title, n_won, n in beaten(records):
        rows.append([title, f"{n_won} of {n}", "≥ 4", "5", verdict(n_won, 4, 5)])
    most = max(r["flops_per_document"] for r in strict)
    return table([f"at most {most:.3f} FLOPs per document", "reached", "must", "aim", ""], rows)


def beaten(records: Records) -> list[tuple[str, int, int]]:
    """Return of how many budgets FLOPs beat ℓ1, by several measures."""
    calibrated, one, even = (
        {(r["name"], r["target"]): r for r in of(records, part)}
        for part in ("regularizers", "equal-flops", "equal-nnz")
    )
    rows = []
    for key, what in (("hit_rate", "hit rate@1"), ("recall", "recall@10")):
        both = {at: max(calibrated[at][key], one[at][key]) for at in calibrated.keys() & one.keys()}
        rows.append(won(f"FLOPs above ℓ1 at equal FLOPs: {what}, both calibrated", calibrated, key))
        rows.append(won(f"the same, each with the thresholds that suit it better: {what}", both))
    return [*rows, won("FLOPs below ℓ1 at equal nonzeros: R_sub, one threshold", even, "r_sub", sign=-1)]


def won(title: str, found: dict, key: str | None = None, *, sign: int = 1) -> tuple[str, int, int]:
    figures = {at: sign * (r if key is None else r[key]) for at, r in found.items()}
    pairs = [(figures["flops", target], figures["l1", target]) for name, target in figures if name == "l1"]
    return title, sum(ours > theirs for ours, theirs in pairs), len(pairs)


def objective_table(records: Records) -> str:
    keys = ("flops_per_document", "r_sub", "recall", "recall_reranked", "hit_rate")
    rows = [[r["name"], *(f"{r[key]:.3f}" for key in keys), str(r["steps"])] for r in of(records, "objectives")]
    header = ["objective", "FLOPs per document", "R_sub", "recall@10", "after re-ranking 100", "hit rate@1", "steps"]
    return table(header, rows)


def regularizer_table(records: Records) -> str:
    keys = ("flops_per_document", "r_sub", "recall", "recall_reranked", "hit_rate", "minutes")
    order = ["flops", "unbiased-flops", "corpus-flops", "l1", "none"]
    found = sorted(of(records, "regularizers"), key=lambda r: (r["target"], order.index(r["name"])))
    rows = [[f"{r['target']:g}", r["name"], *(f"{r[key]:.3f}" for key in keys)] for r in found]
    header = ["budget", "regularizer", "FLOPs per document", "R_sub", "recall@10", "after re-ranking 100", "hit rate@1",
              "minutes"]  # fmt: skip
    return table(header, rows)


def threshold_table(records: Records) -> str:
    found = {(r["name"], r["target"]): r for r in of(records, "equal-flops")}
    even = {(r["name"], r["target"]): r for r in of(records, "equal-nnz")}
    names = ("flops", "l1", "none")
    rows = []
    for target in sorted({target for _, target in found}):
        nnz = 64 * target**0.5
        rates = [f"{found[name, target]['hit_rate']:.3f}" for name in names]
        ratios = [f"{even[name, nnz]['r_sub']:.2f}" for name in names]
        rows.append([f"{target:g}", *rates, f"{nnz:.0f}", *ratios])
    rates, ratios = ([f"{what}, {name}" for name in names] for what in ("hit rate@1", "R_sub"))
    return table(["FLOPs per document", *rates, "nnz", *ratios], rows)


def peer_table(records: Records) -> str:
    one = [r for r in of(records, "budgets") if r["seed"] == 0]
    rows = [
        *({**r, "name": f"**Sparsifier, budget {r['name']}**"} for r in one),
        *of(records, "peers"),
    ]  # fmt: skip
    keys = ("recall", "recall_reranked", "hit_rate")
    lines = [
        [
            r["name"],
            f"{r['bytes_per_document']:,.0f}",
            f"{r['flops_per_document']:.3g}",
            *(f"{r[key]:.3f}" for key in keys),
        ]
        for r in sorted(rows, key=lambda r: -r["bytes_per_document"])
    ]
    header = ["rows", "bytes per document", "FLOPs per document", "recall@10", "after re-ranking 100", "hit rate@1"]
    return table(header, lines)


def dimension_table(records: Records) -> str:
    keys = ("flops_per_document", "nnz", "recall", "recall_reranked", "hit_rate", "minutes")
    rows = [
        [f"{r['dim']:,}", *(f"{r[key]:.3f}" for key in keys)]
        for r in sorted(of(records, "dimensions"), key=lambda r: r["dim"])
    ]
    header = ["dim", "FLOPs per document", "nnz", "recall@10", "after re-ranking 100", "hit rate@1", "minutes"]
    return table(header, rows)


SECTIONS = [
    ("What was asked for", target_table, "peers"),
    ("Budgets", budget_table, "budgets"),
    ("Objectives", objective_table, "objectives"),
    ("Regularizers", regularizer_table, "regularizers"),
    ("FLOPs against ℓ1, before calibration", threshold_table, "equal-flops"),
    ("Dimensions", dimension_table, "dimensions"),
    ("Peers", peer_table, "peers"),
]


def write(records: Records, page: Path, figures: list[tuple[str, str]]) -> None:
    parts = [where_from(records)]
    for title, make, needed in SECTIONS:
        if of(records, needed):
            parts += [f"### {title}", make(records)]
    replace_between(page, "learning", [*parts, *(f"![{title}](figures/{file})" for title, file in figures)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--docs", type=Path, default=DOCS)
    options = parser.parse_args()
    records = last_records(options.results / "learning_dense.jsonl")
    write(records, options.docs / "learning.md", draw_all(records, options.docs / "figures"))
    print(target_table(records))
    write_budgets(options.results / "learning_budget.jsonl", options.docs / "learning.md")
    write_evenness(options.results / "learning_evenness.jsonl", options.docs / "learning.md")
    print(write_images(options.results / "learning_images.jsonl", options.docs / "learning.md"))


if __name__ == "__main__":
    main()
