"""Cases to compare searches on: rows and settings drawn from a seed, from small integers to the ends of float32."""

import dataclasses
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np

from gossamer import InvertedIndex, SparseEmbeddings
from gossamer.index.searching import Engine
from gossamer.kernels import reference
from rows import csr

_LARGEST_NORM = 0.9e19  # of a row: see `gossamer.csr_checks.MAX_NORM`


@dataclass(frozen=True)
class Rows:
    """What to index and what to ask."""

    kind: str
    documents: SparseEmbeddings
    queries: SparseEmbeddings


def draw_rows(rng, kind=None) -> Rows:
    """Draw documents and queries of a kind, by default of any."""
    kind = kind or str(rng.choice(list(KINDS), p=_SHARES / _SHARES.sum()))
    return Rows(kind, *KINDS[kind][1](rng))


PLANS = ("scan", "split", "block-max", "auto")
WINDOWS = (8, 64, 64, 256, 1 << 16)
"""Small ones, so that few rows take several windows of rows, and of blocks, as millions do in real ones."""


@dataclass(frozen=True)
class Outcome:
    """What came of comparing searches: how many, each of one query, and what was wrong with the first, if any."""

    kind: str
    n_cases: int
    failure: str | None


def compare_searches(seed: int, *, kind=None, plan=None, n_settings=3, window=None) -> Outcome:
    """Build an index of rows drawn from a seed, search it under drawn settings, and compare with the reference."""
    rng = np.random.default_rng(seed)
    rows = draw_rows(rng, kind)
    plan, window = plan or str(rng.choice(PLANS)), window or int(rng.choice(WINDOWS))
    with patch("gossamer.index.contents.WINDOW", window), patch("gossamer.index.building._MIN_DOCS", 0):
        index = with_sums(InvertedIndex.build(rows.documents, plan=plan), int(rng.choice([8, 16])))
    scores = reference_search(rows, 5, -np.inf, None)[1]
    n_cases = 0
    for _ in range(n_settings):
        searched, options = draw_settings(rng, rows, scores[np.isfinite(scores)])
        k = options.pop("k")
        with patch("os.cpu_count", lambda: 4):
            found = index.search(searched, k, **options)
        options.pop("n_threads")
        asked = Rows(rows.kind, rows.documents, searched)
        difference_found = difference(found, reference_search(asked, k, **options))
        n_cases += len(searched)
        if difference_found:
            within = options.pop("within")
            among = "all" if within is None else within.size
            return Outcome(
                rows.kind,
                n_cases,
                f"seed {seed}, {rows.kind}, {rows.documents}, plan {plan}, window {window}, {len(searched)} queries, "
                f"k {k}, {options}, among {among}: {difference_found}",
            )
    return Outcome(rows.kind, n_cases, None)


def with_sums(index: InvertedIndex, bits: int) -> InvertedIndex:
    """Give an index sums of so many bits, whichever were faster when it was built."""
    contents = index._engine.contents
    layout = dataclasses.replace(contents.layout, sum_bits=bits)
    index._engine = Engine(dataclasses.replace(contents, layout=layout))
    return index


def draw_settings(rng, rows: Rows, expected_scores) -> tuple[SparseEmbeddings, dict[str, Any]]:
    """Draw some of the queries and what else a search is told, with thresholds beside and at true scores."""
    n, n_queries = rows.documents.shape[0], len(rows.queries)
    searched = rows.queries[rng.integers(0, n_queries, rng.choice([1, min(7, n_queries), 33], p=[0.3, 0.65, 0.05]))]
    within = None
    if rng.random() < 0.3:
        share = rng.choice([0, 0.01, 0.1, 0.5, 0.9, 1])
        within = np.flatnonzero(rng.random(n) < share).astype(np.int32)
    return searched, {
        "k": int(rng.choice([1, 1, 2, 3, 10, 10, 10, 64, 1000, max(1, n - 1), n + 5])),
        "min_score": _draw_threshold(rng, expected_scores),
        "within": within,
        "n_threads": int(rng.choice([1, 1, 2, 3])),
    }


def _draw_threshold(rng, scores):
    kind = rng.random()
    if kind < 0.6 or scores.size == 0:
        return float(rng.choice([0.0, 0.0, 0.0, 0.0, 0.0, -0.0, -np.inf, np.inf, 1e-45, -1e-45, 1.0, -1.0, -1e30]))
    score = np.float32(rng.choice(scores))
    toward = np.float32(rng.choice([-np.inf, np.inf]))
    return float(score if kind < 0.8 else np.nextafter(score, toward))


def reference_search(rows: Rows, k, min_score, within):
    return reference.search(csr(rows.documents), csr(rows.queries), k, min_score, within)


def difference(found, expected) -> str | None:
    """Return where two results differ in doc_ids or in the bits of a score; None if nowhere."""
    for name, one, other in zip(("doc_ids", "scores"), found, expected, strict=True):
        one, other = np.asarray(one), np.asarray(other)  # noqa: PLW2901
        if one.shape != other.shape or one.dtype != other.dtype:
            return f"{name}: {one.shape} {one.dtype}, expected {other.shape} {other.dtype}"
        differs = one.view(np.uint32) != other.view(np.uint32)
        if differs.any():
            query, rank = (int(place[0]) for place in np.nonzero(differs))
            return f"{name} of query {query}, rank {rank}: {one[query, rank]!r}, expected {other[query, rank]!r}"
    return None


def _signed(rng, values):
    """Make values positive, negative or of both signs."""
    signs = rng.choice([[1, 1], [1, 1], [-1, -1], [1, -1], [1, -1]])
    return np.abs(values) * rng.choice(signs, values.shape)


def _sparse(rng, n, dim, density, values):
    return values * (rng.random((n, dim)) < density)


def _embeddings(*dense):
    return tuple(SparseEmbeddings.from_dense(np.float32(rows)) for rows in dense)


def _shape(rng, most=400):
    """Draw the numbers of documents, queries and dimensions, and the densities."""
    n = int(rng.choice([0, 1, 2, 7, 33, 100, 257, most], p=[0.02, 0.03, 0.05, 0.1, 0.2, 0.2, 0.2, 0.2]))
    n_queries, dim = int(rng.integers(1, 12)), int(rng.choice([1, 2, 3, 8, 16, 40, 100]))
    density = rng.choice([0.02, 0.1, 0.3, 0.6, 1.0], 2)
    return n, n_queries, dim, density[0], density[1]


def _from_pool(rng, pool):
    n, m, dim, document_density, query_density = _shape(rng)
    documents, queries = rng.choice(pool, (n, dim)), rng.choice(pool, (m, dim))
    return (
        _sparse(rng, n, dim, document_density, _signed(rng, documents)),
        _sparse(rng, m, dim, query_density, _signed(rng, queries)),
    )


def _integers(rng):
    return _embeddings(*_from_pool(rng, np.arange(1, 4)))


def _near_ties(rng):
    pool = np.float32([1, 1 + 2.0**-23, 1 - 2.0**-24, 1 / 3, 0.1, rng.standard_normal(), 3e4])
    return _embeddings(*_from_pool(rng, pool))


def _reals(rng):
    return _embeddings(*_from_pool(rng, rng.gamma(rng.choice([0.2, 2.0]), 1.0, 5000).astype(np.float32) + 1e-30))


def _subnormals(rng):
    pool = np.float32([2.0**-149, 2.0**-148, 2.0**-127, 2.0**-126, 1e-38, 1e-30, 2.0**-75, 2.0**-74, 1e-20, 1.0])
    return _embeddings(*_from_pool(rng, rng.choice(pool, int(rng.integers(1, 6)))))


def _huge(rng):
    """Norms near the largest that is allowed: products of 1e37, and bounds that no step can tell apart."""
    documents, queries = _from_pool(rng, np.float32([1, 1, 0.5, 1e-3, 1e-19, 1e-45]))
    scaled = []
    for rows in (documents, queries):
        norms = np.sqrt((rows**2).sum(axis=1, keepdims=True))
        largest = _LARGEST_NORM if rng.random() < 0.5 else 1e18
        scaled.append(rows / np.where(norms > 0, norms, 1) * largest * rng.choice([1, 1, 0.1, 1e-19], norms.shape))
    return _embeddings(*scaled)


def _exponents(rng):
    """Values over sixty binary orders of magnitude, so that the order of the sum is seen in its bits."""
    n, m, dim, document_density, query_density = _shape(rng)
    return _embeddings(
        *(
            _sparse(rng, size, dim, density, _signed(rng, np.exp2(rng.uniform(-30, 30, (size, dim)))))
            for size, density in ((n, document_density), (m, query_density))
        )
    )


def _cancelling(rng):
    """Pairs of dimensions with opposite values, so that sums are zero, or what rounding leaves of it."""
    n, m, dim, document_density, query_density = _shape(rng)
    half = rng.choice(np.float32([1, 1 / 3, 0.1, 1e6, 1 + 2.0**-23]), (n, dim))
    half *= rng.random((n, dim)) < document_density
    other = half * rng.choice(np.float32([-1, -1, -1, -1 - 2.0**-23, 1]), (n, dim))
    documents = np.stack([half, other], axis=2).reshape(n, 2 * dim)
    queries = np.repeat(
        rng.choice(np.float32([1, 0.1, -1, 3]), (m, dim)) * (rng.random((m, dim)) < query_density), 2, 1
    )
    return _embeddings(documents, queries)


def clustered(
    rng, *, n=1500, n_classes=40, dim=200, pattern=10, ordered=True, signed=False, integers=False, n_queries=8
):
    """Draw documents that are patterns with noise, class by class or shuffled, and queries of the same kind."""
    places = np.array([rng.choice(dim, pattern, replace=False) for _ in range(n_classes)])
    means = rng.gamma(2.0, 1.0, places.shape) + 0.5
    if signed:
        means *= rng.choice([-1, 1], places.shape)

    def rows(size, labels):
        dense = np.zeros((size, dim))
        for row, label in zip(dense, labels, strict=True):
            row[rng.choice(dim, 2, replace=False)] = rng.gamma(1.0, 0.3, 2) + 0.01
            row[places[label]] = means[label] * (1 + 0.3 * rng.standard_normal(pattern))
        return np.round(dense) if integers else dense

    labels = rng.integers(0, n_classes, n)
    documents = rows(n, np.sort(labels) if ordered else labels)
    return _embeddings(documents, rows(n_queries, rng.integers(0, n_classes, n_queries)))


def _clustered(rng):
    return clustered(
        rng,
        n=int(rng.choice([64, 300, 1500])),
        n_classes=int(rng.choice([2, 10, 40])),
        ordered=bool(rng.random() < 0.7),
        signed=bool(rng.random() < 0.4),
        integers=bool(rng.random() < 0.4),
    )


def _csr(rng, dim, lengths, draw_dims=None):
    """Draw rows of given lengths without a dense array."""
    draw_dims = draw_dims or (lambda length: rng.choice(dim, length, replace=False))
    drawn = [np.unique(draw_dims(length)) for length in lengths]
    indptr = np.append(0, np.cumsum([dims.size for dims in drawn])).astype(np.int64)
    values = _signed(rng, rng.choice(np.float32([1, 2, 3, 0.1, 1 / 3]), indptr[-1]))
    dims = np.concatenate([np.zeros(0, np.int64), *drawn]).astype(np.int64)
    return SparseEmbeddings(indptr, dims, values.astype(np.float32), dim=dim)


def _wide(rng):
    """A million dimensions, most of which no document has, and queries that ask for them."""
    dim, n, m = 1_000_000, int(rng.choice([1, 50, 300])), 3
    common = rng.choice(dim, 200, replace=False)
    draw = lambda length: np.append(rng.choice(common, length), rng.integers(0, dim, 3))  # noqa: E731
    return _csr(rng, dim, rng.integers(0, 20, n), draw), _csr(rng, dim, rng.integers(0, 60, m), draw)


def _long(rng):
    """Rows and queries of thousands of nonzeros among short and empty ones."""
    dim = int(rng.choice([5000, 20_000]))
    lengths = rng.choice([0, 1, 5, 50, 3000, 5000], int(rng.choice([3, 20, 60])), p=[0.1, 0.1, 0.3, 0.3, 0.1, 0.1])
    return _csr(rng, dim, lengths), _csr(rng, dim, rng.choice([1, 50, 4000], 2))


def _heavy_tailed(rng):
    """A few dimensions that nearly every row has, and many rare ones, as words are."""
    dim, n = 500, int(rng.choice([100, 600]))
    draw = lambda length: np.minimum(rng.zipf(1.3, length) - 1, dim - 1)  # noqa: E731
    return _csr(rng, dim, rng.integers(0, 60, n), draw), _csr(rng, dim, rng.integers(0, 40, 6), draw)


def _everywhere(rng):
    """Dimensions that every row has, so that a block's extremes are not 0."""
    n, dim = int(rng.choice([40, 200, 400])), int(rng.choice([2, 5, 20]))
    base = _signed(rng, np.full((1, dim), 5.0))
    pool = np.float32([0.1, 0.2, 1 / 3, 1, 2])
    queries = _sparse(rng, 6, dim, 0.7, rng.choice([-1, 1], (6, dim)) * rng.choice(pool, (6, dim)))
    return _embeddings(base + rng.choice(pool, (n, dim)) * rng.choice([0, 1], (1, dim)), queries)


def _ties(rng):
    """A few distinct rows, each many times."""
    documents, queries = _from_pool(rng, np.float32([1, 2, 0.1]))
    repeated = documents[rng.integers(0, min(len(documents), 4), 500)] if len(documents) else documents
    return _embeddings(repeated, queries)


KINDS: dict[str, tuple[float, Any]] = {
    "integers": (3, _integers),
    "near ties": (2, _near_ties),
    "reals": (2, _reals),
    "subnormals": (1, _subnormals),
    "huge": (1, _huge),
    "exponents": (1, _exponents),
    "cancelling": (2, _cancelling),
    "clustered": (3, _clustered),
    "wide": (0.3, _wide),
    "long": (0.3, _long),
    "heavy-tailed": (1, _heavy_tailed),
    "everywhere": (1, _everywhere),
    "ties": (1, _ties),
}
_SHARES = np.array([share for share, _ in KINDS.values()])
