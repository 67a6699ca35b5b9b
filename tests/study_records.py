"""Records as a study writes them, made up: several methods, regularizers, seeds and numbers of distractors."""

import numpy as np

N_GALLERY, DENSE_DIM, SPARSE_DIM = 1000, 128, 4096
# Curve, settings, microseconds among 1000 distractors, what a batch of queries saves, and accuracy.
DENSE = [
    ("exhaustive", {}, 300.0, 8.0, 0.90),
    ("pca", {"width": 64}, 160.0, 6.0, 0.87),
    ("pca", {"width": 16}, 60.0, 4.0, 0.60),
    ("hnsw", {"search_effort": 16}, 40.0, 1.2, 0.84),
    ("hnsw", {"search_effort": 256}, 180.0, 1.2, 0.895),
]
BUDGETS = (0.1, 0.3, 1.0, 3.0)


def record(curve, label, **values):
    shared = {
        "status": "done",
        "protocol": "identification",
        "data": "0123456789abcdef",
        "gossamer": "0.1.0",
        "cpu": "a processor",
        "machine": "Linux x86_64",
        "k": 100,
        "rounds": 3,
        "batch_size": 1000,
        "n_queries": 1000,
        "dim": DENSE_DIM,
        "rerank": None,
    }
    return {**shared, "method": curve.split(",")[0], "label": label, "curve": curve, **values}


def measured(time_us, saves, accuracy, *, seed, n):
    rng = np.random.default_rng([seed, n, int(1000 * accuracy)])
    reached = accuracy - 0.03 * np.log10(n / 1000) + 0.004 * rng.standard_normal()
    growth = (n + N_GALLERY) / 2000
    return {
        "accuracy": {"hit rate@1": reached, "hit rate@10": reached + 0.05},
        "query_us": time_us * growth,
        "query_us_p95": 1.4 * time_us * growth,
        "query_us_in_batches": time_us * growth / saves,
        "build_s": 1.5,
        "bytes_per_document": 512.0,
        "seed": seed,
        "n_distractors": n,
        "n_docs": n + N_GALLERY,
    }


def sparse(regularizer, flops, *, seed, n, rerank=None):
    ratio = 1.1 if regularizer == "flops" else 4 + flops
    nnz = (flops * SPARSE_DIM / ratio) ** 0.5
    accuracy = 0.88 + 0.02 * np.log10(flops) - (0.01 if regularizer == "l1" else 0) + (0.01 if rerank else 0)
    spread = np.linspace(-3, 3, 21) * (0.2 if regularizer == "flops" else 0.9)
    lengths = n * nnz / SPARSE_DIM * np.exp(spread)
    return record(
        "sparse, re-ranked" if rerank else "sparse",
        f"sparse, {regularizer}, FLOPs {flops}" + (", re-ranked 100" if rerank else ""),
        settings={"regularizer": regularizer, "flops_per_document": flops},
        **{
            **measured(2 + 4 * flops, 1.5, accuracy, seed=seed, n=n),
            "rerank": rerank,
            "flops_per_document": flops * (1 + 0.05 * seed),
            "nnz_per_row": nnz,
            "suboptimality_ratio": ratio,
            "list_lengths": {"quantiles": np.sort(lengths).tolist()},
            "model": {"dim": SPARSE_DIM, "training_seconds": 600.0},
        },
    )


def records(*, seeds=(0, 1, 2), distractors=(1000, 10_000, 100_000), kinds=True):
    """Return records of five dense settings and of models of two regularizers at four budgets, also re-ranked."""
    made = []
    for seed in seeds:
        for n in distractors:
            place = {"seed": seed, "n": n}
            for curve, settings, *values in DENSE:
                label = ", ".join([curve, *(f"{key} {value}" for key, value in settings.items())])
                made.append(
                    record(
                        curve,
                        label,
                        settings=settings,
                        dense_model={"dim": DENSE_DIM, "training_seconds": 300.0},
                        **measured(*values, **place),
                    )
                )
            for regularizer in ("flops", "l1"):
                for flops in BUDGETS:
                    made += [sparse(regularizer, flops, rerank=rerank, **place) for rerank in (None, 100)]
    if kinds:
        for each in made:
            n = each["n_distractors"]
            each["distractors"] = {"pictures": min(n, 4000), "turned": max(0, min(n, 32_000) - 4000),
                                        "warped": max(0, n - 32_000)}  # fmt: skip
    return made
