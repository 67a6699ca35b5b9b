"""Compare orders of rows for block max: how long they take, and how well blocks of neighbours can be pruned.

For each order: the distinct (block, dimension) pairs as a share of all entries, which is what the bounds of a query
cost; and the blocks that an exact search has to open, those whose bound exceeds the query's true 10th best score.
Data: ``identities``, ``identities-signed``, ``uniform``, or a .npz file of codes with the CSR arrays docs_indptr,
docs_dims, docs_values, the same of queries, and dim; with ``--images m`` its row i is a variant of image i % m.

Appends one record for each order to benchmarks/results/row_order.jsonl and prints a table.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import records
import scipy.sparse as sp
import vectors
from numpy.typing import NDArray

from gossamer.kernels import grouping, jit, ordering
from gossamer.kernels.heads import Heads, Rows

K = 10
IMAGES_PER_CLASS = 20


class Data(NamedTuple):
    """Rows to order, and queries with their true 10th best scores."""

    documents: sp.csr_array
    queries: sp.csr_array
    labels: dict[str, NDArray]  # of each oracle
    kth_scores: NDArray


def identities(n: int, dim: int, n_classes: int, n_queries: int, *, seed: int, pattern: int, signed: bool) -> tuple:
    """Draw rows as `vectors.identities` does, and return the class of each document, too."""
    rng = np.random.default_rng(seed)
    dims = np.sort(rng.integers(0, dim - pattern, (n_classes, pattern)), axis=1) + np.arange(pattern)
    weights = (rng.gamma(2.0, 1.0, dims.shape) + 0.1) * (rng.choice([-1, 1], dims.shape) if signed else 1)
    m = n + n_queries
    labels = rng.integers(0, n_classes, m)
    kept = rng.random((m, pattern)) < 0.75
    values = kept * weights[labels].astype(np.float32) * np.exp(0.35 * rng.standard_normal(kept.shape, np.float32))
    extra = (rng.gamma(1.0, 0.6, (m, 3)) + 0.05) * (rng.choice([-1, 1], (m, 3)) if signed else 1)
    columns = np.hstack([dims[labels], rng.integers(0, dim, (m, 3))])
    entries = np.hstack([values, extra]).astype(np.float32).ravel()
    rows = sp.csr_array((entries, (np.repeat(np.arange(m), pattern + 3), columns.ravel())), (m, dim))
    rows.eliminate_zeros()
    norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    rows.data /= np.repeat(norms, np.diff(rows.indptr)).astype(np.float32)
    return rows[:n], rows[n:], {"class": labels[:n]}


def load(name: str, n: int, n_queries: int, images: int, seed: int) -> Data:
    if name == "uniform":
        both = vectors.uniform(n + n_queries, 1024, 16, seed=seed).to_scipy()
        documents, queries, labels = both[:n], both[n:], {}
    elif name.startswith("identities"):
        signed = name.endswith("signed")
        dim, pattern = (4096, 38) if signed else (1024, 14)
        documents, queries, labels = identities(n, dim, n // 50, n_queries, seed=seed, pattern=pattern, signed=signed)
    else:
        file = np.load(name)
        documents, queries = (
            sp.csr_array(
                (file[f"{rows}_values"], file[f"{rows}_dims"], file[f"{rows}_indptr"]),
                (file[f"{rows}_indptr"].size - 1, int(file["dim"])),
            )
            for rows in ("docs", "queries")
        )
        documents.sort_indices()
        queries = queries[np.sort(np.random.default_rng(seed).choice(queries.shape[0], n_queries, replace=False))]
        image = np.arange(documents.shape[0]) % images if images else None
        labels = {} if image is None else {"image": image, "class": image // IMAGES_PER_CLASS}
    best = np.full((K, n_queries), 0, np.float32)
    dense = np.ascontiguousarray(queries.toarray().T)
    for first in range(0, documents.shape[0], 100_000):
        scores = np.vstack([best, documents[first : first + 100_000] @ dense])
        best = np.partition(scores, scores.shape[0] - K, axis=0)[-K:]
    return Data(documents, queries, labels, best.min(axis=0))


def arrays(rows: sp.csr_array) -> tuple[NDArray, NDArray, NDArray]:
    return rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data


def measure(data: Data, order: NDArray, block: int) -> dict:
    """Return what block max would pay with this order."""
    rows = data.documents[order]
    n, dim = rows.shape
    n_blocks = -(-n // block)
    blocks = np.repeat(np.arange(n, dtype=np.int64), np.diff(rows.indptr)) // block
    keys = blocks * dim + rows.indices
    by_key = np.argsort(keys, kind="stable")
    keys, values = keys[by_key], rows.data[by_key]
    starts = np.flatnonzero(np.r_[True, np.diff(keys) > 0])
    largest, smallest = np.maximum.reduceat(values, starts), np.minimum.reduceat(values, starts)
    lacking = np.diff(np.r_[starts, keys.size]) < np.minimum(block, n - keys[starts] // dim * block)
    largest[lacking], smallest[lacking] = np.maximum(largest[lacking], 0), np.minimum(smallest[lacking], 0)
    at, shape = (keys[starts] // dim, keys[starts] % dim), (n_blocks, dim)
    dense = data.queries.toarray().T
    bounds = sp.csr_array((largest, at), shape) @ np.maximum(dense, 0)
    bounds += sp.csr_array((smallest, at), shape) @ np.minimum(dense, 0)
    opened = (bounds > data.kth_scores - 1e-6).sum(axis=0)  # sums of float32 in another order
    return {
        "distinct_share": round(starts.size / rows.nnz, 4),
        "opened_mean": round(float(opened.mean()), 1),
        "opened_median": float(np.median(opened)),
        "n_blocks": n_blocks,
    }


def by_largest_entries(rows: sp.csr_array, n_keys: int = 4) -> NDArray:
    """Order rows by their largest dimension, then by the second largest, and so on."""
    indptr, dims, values = arrays(rows)
    row = np.repeat(np.arange(rows.shape[0]), np.diff(indptr))
    by_size = np.lexsort((-np.abs(values), row))
    keys = np.full((n_keys, rows.shape[0]), 2 * rows.shape[1])
    for i in range(n_keys):
        has = np.flatnonzero(np.diff(indptr) > i)
        entries = by_size[indptr[has] + i]
        keys[i, has] = 2 * dims[entries] + (values[entries] < 0)
    return np.lexsort(keys[::-1])


def around(rows: sp.csr_array, members: NDArray, seeds: NDArray, head_size: int, iterations: int) -> NDArray:
    """Return the nearest of random seeds for each member, after some iterations of k-means."""
    csr, k = Rows(*arrays(rows)), seeds.size
    dim, heads = rows.shape[1], Heads(head_size, 0)
    centroids = Rows(*grouping.means(*csr, seeds, np.arange(k, dtype=np.int32), k, dim, 64))
    for _ in range(iterations):
        nearest, _ = grouping.find_nearest(csr, members, dim, centroids, heads, 1)
        centroids = Rows(*grouping.means(*csr, members, nearest, k, dim, 64))
    return grouping.find_nearest(csr, members, dim, centroids, heads, 1)[0]


def by_random_seeds(rows: sp.csr_array, seed: int) -> NDArray:
    n = rows.shape[0]
    seeds = np.random.default_rng(seed).choice(n, min(n // 60 + 1, 16_384), replace=False).astype(np.int32)
    return np.argsort(around(rows, np.arange(n, dtype=np.int32), seeds, 6, 0), kind="stable")


def by_k_means_in_two_levels(rows: sp.csr_array, seed: int) -> NDArray:
    n, rng = rows.shape[0], np.random.default_rng(seed)
    coarse_seeds = rng.choice(n, int(np.sqrt(n)) + 1, replace=False).astype(np.int32)
    coarse = around(rows, np.arange(n, dtype=np.int32), coarse_seeds, 12, 2)
    order = np.argsort(coarse, kind="stable").astype(np.int32)
    pieces = np.split(order, np.flatnonzero(np.diff(coarse[order])) + 1)
    for piece in (piece for piece in pieces if piece.size > 64):
        seeds = rng.choice(piece, piece.size // 32, replace=False)
        piece[:] = piece[np.argsort(around(rows, piece, seeds, 12, 2), kind="stable")]
    return order


def by_bisection(rows: sp.csr_array, seed: int) -> NDArray:
    order = np.random.default_rng(seed).permutation(rows.shape[0])
    bisect(*arrays(rows), rows.shape[1], order, 16, 8)
    return order


@jit
def bisect(indptr, dims, values, dim, order, smallest, iterations):  # noqa: PLR0917
    """Halve rows, again and again, so that halves share few dimensions (Dhulipala et al., KDD 2016)."""
    degrees, gains = np.zeros((2, 2 * dim)), np.zeros(order.size)
    stack = [(0, order.size)]
    while stack:
        first, last = stack.pop()
        half = (last - first) // 2
        if half < smallest:
            continue
        for _ in range(iterations):
            for i in range(first, last):
                for p in range(indptr[order[i]], indptr[order[i] + 1]):
                    degrees[np.int64(i - first >= half), 2 * dims[p] + (values[p] < 0)] += 1
            for i in range(first, last):
                gains[i] = 0
                for p in range(indptr[order[i]], indptr[order[i] + 1]):
                    feature = 2 * dims[p] + (values[p] < 0)
                    gains[i] += np.log2((1 + degrees[1, feature]) / (1 + degrees[0, feature]))
            for i in range(first, last):
                for p in range(indptr[order[i]], indptr[order[i] + 1]):
                    degrees[:, 2 * dims[p] + (values[p] < 0)] = 0
            order[first:last] = order[first:last][np.argsort(gains[first:last], kind="mergesort")]
        stack.append((first, first + half))
        stack.append((first + half, last))


def orders(data: Data, seed: int) -> dict[str, Callable[[sp.csr_array], NDArray]]:
    def order_rows(rows: sp.csr_array) -> NDArray:
        return ordering.order_rows(*arrays(rows), rows.shape[1], seed=seed)

    def without_roots(rows: sp.csr_array) -> NDArray:
        squared = rows.copy()
        squared.data *= np.abs(rows.data)
        return order_rows(squared)

    def random(rows: sp.csr_array) -> NDArray:
        return np.random.default_rng(seed).permutation(rows.shape[0])

    def oracle(labels: NDArray) -> Callable[[sp.csr_array], NDArray]:
        return lambda _: np.argsort(labels, kind="stable")

    return {
        "random": random,
        **{f"oracle, {name}": oracle(labels) for name, labels in data.labels.items()},
        "largest entries": by_largest_entries,
        "nearest random seed": lambda rows: by_random_seeds(rows, seed),
        "k-means, two levels": lambda rows: by_k_means_in_two_levels(rows, seed),
        "bisection": lambda rows: by_bisection(rows, seed),
        "order_rows of squares": without_roots,
        "order_rows": order_rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("data", help="identities, identities-signed, uniform, or a .npz file of codes")
    parser.add_argument("--n", type=int, default=1_000_000, help="documents of synthetic data")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--images", type=int, default=0, help="images of which the rows of a file are variants")
    parser.add_argument("--blocks", type=int, nargs="+", default=[32], help="rows per block")
    parser.add_argument("--orders", nargs="+", help="the orders to compare; all if left out")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = load(options.data, options.n, options.queries, options.images, options.seed)
    for name, order_of in orders(data, options.seed).items():
        if options.orders and name not in options.orders:
            continue
        order_of(data.documents[:2000])  # compiles
        start, cpu_start = time.perf_counter(), time.process_time()
        order = order_of(data.documents)
        order_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
        for block in options.blocks:
            record = {
                "benchmark": "row_order",
                "data": Path(options.data).stem,
                "n": data.documents.shape[0],
                "dim": data.documents.shape[1],
                "nnz": round(data.documents.nnz / data.documents.shape[0], 2),
                "n_queries": options.queries,
                "k": K,
                "order": name,
                "rows_per_block": block,
                **measure(data, order, block),
                "order_s": round(order_s, 2),
                "order_cpu_s": round(cpu_s, 2),
                "threads": 1,
            }
            records.append(record, seed=options.seed, is_quiet=True)
            print(
                f"{record['data']:18s} blocks of {block:2d}  {name:22s} {order_s:6.2f} s  distinct "
                f"{record['distinct_share']:.4f}  opened: mean {record['opened_mean']:7.1f}  "
                f"median {record['opened_median']:6.0f} of {record['n_blocks']:,}",
                flush=True,
            )


if __name__ == "__main__":
    main()
