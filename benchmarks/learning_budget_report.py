"""Tables of what learning_budget.py and learning_evenness.py recorded: budgets met, dimensions used evenly."""

from pathlib import Path
from statistics import mean

from learning_tables import Records, read_records, replace_between, table, where_from


def write_budgets(path: Path, page: Path) -> None:
    """Write into a page what the runs cost that found λ by themselves, the last one of each setting."""
    found = [r for r in read_records(path) if r["weight"] == "controller"]
    last = {(r["target"], r["batch_size"], r["seed"]): r for r in found}
    records = [last[key] for key in sorted(last)]
    if records:
        replace_between(page, "budget", [where_from(records), budget_table(records)])


def budget_table(records: Records) -> str:
    rows = []
    for r in records:
        held_out, unseen, target = r["held_out"], r["unseen"], r["target"]
        shares = held_out["reached"] / target, unseen["flops_per_document"] / target
        rows.append([
            f"{target:g}", str(r["batch_size"]), str(r["steps"]), str(held_out["held_out_classes"]),
            f"{held_out['reached']:.3f}", f"{unseen['flops_per_document']:.3f}",
            *(f"{100 * (share - 1):+.0f} %".replace("-", "−") for share in shares),
            "yes" if abs(shares[0] - 1) <= 0.1 and abs(shares[1] - 1) <= 0.2 else "**no**",
            f"{unseen['hit_rate_at_1']:.3f}",
        ])  # fmt: skip
    header = ["target", "batch", "steps", "classes held out", "FLOPs, held out", "FLOPs, never seen", "off, held out",
              "off, never seen", "within 10 and 20 %", "hit rate@1"]  # fmt: skip
    return table(header, rows)


def write_evenness(path: Path, page: Path) -> None:
    """Write into a page how even encoders are on what they learned from, and on classes never seen."""
    records = list({r["model"]: r for r in read_records(path)}.values())
    if records:
        replace_between(page, "evenness", [where_from(records), evenness_table(records)])


def evenness_table(records: Records) -> str:
    rows = []
    for regularizer, target in sorted({(r["regularizer"], r["target"]) for r in records}):
        runs = [r for r in records if (r["regularizer"], r["target"]) == (regularizer, target)]
        figures = [
            f"{mean(r[split][key] for r in runs):.{digits}f}"
            for split in ("background", "evaluation")
            for key, digits in (("nnz", 1), ("r_sub", 2), ("r_sub_of_classes", 2))
        ]
        rows.append([regularizer, f"{target:g}", str(len(runs)), *figures])
    names = [
        f"{what}, {split}"
        for split in ("background", "evaluation")
        for what in ("nnz", "R_sub", "R_sub that the classes set")
    ]
    return table(["encoder", "target", "seeds", *names], rows)
