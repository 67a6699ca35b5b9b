"""``gossamer evaluate``: how well embeddings find their own class, and what a query costs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from gossamer.arrays import FloatArray, TextArray
from gossamer.baselines.exhaustive import ExhaustiveSearcher
from gossamer.catalog import Catalog
from gossamer.cli.embedding_input import read_embeddings
from gossamer.cli.options import JsonOption
from gossamer.cli.printing import print_record
from gossamer.cli.progress import ProgressBars
from gossamer.embeddings import SparseEmbeddings
from gossamer.errors import DataError, MismatchError
from gossamer.index import InvertedIndex
from gossamer.metrics import flops_per_document, suboptimality_ratio
from gossamer.results import Searcher
from gossamer.study.evaluation import judge, search_in_turns


def evaluate(
    embeddings: Annotated[
        Path,
        typer.Argument(
            metavar="EMBEDDINGS", help="The queries, with labels: .npz (sparse) or .npy (dense).", show_default=False
        ),
    ],
    *,
    gallery: Annotated[
        Path | None,
        typer.Option(
            "--gallery",
            metavar="EMBEDDINGS",
            help="The documents to search. Without it, the queries themselves, each one's own row left out.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[list[int], typer.Option("-k", min=1, help="At how many results to measure. Repeatable.")] = [1, 5, 10],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Measure hit rate@k, precision@k, FLOPs per document and the time of a query.

    A query hits if one of its best k documents has its label. Queries whose label no other document
    has are counted, but not judged. The time is that of one query at a time on one thread, the median.
    """
    queries, names = read_embeddings(embeddings)
    documents, document_names = (queries, names) if gallery is None else read_embeddings(gallery)
    document_names.check_same_model(names, name="embeddings")
    labels, document_labels = _labels(names, embeddings), _labels(document_names, gallery or embeddings)
    searcher, work = _searcher(queries, documents)
    own_ids = np.arange(len(queries)) if gallery is None else None
    with ProgressBars() as progress:
        timed = search_in_turns(
            {"": (searcher, queries)},
            max(k) + (gallery is None),
            rounds=1,
            on_progress=partial(progress, "search"),
        )[""]
    accuracy = judge(timed.found, labels, document_labels, ks=k, own_ids=own_ids)
    record = {
        "queries": len(queries),
        "documents": len(documents),
        "queries_without_answer": accuracy.n_unanswerable,
        **{f"hit_rate_at_{n}": rate for n, rate in accuracy.hit_rate.items()},
        **{f"precision_at_{n}": rate for n, rate in accuracy.precision.items()},
        **work,
        "query_us": float(np.median(timed.query_us)),
        "bytes_per_document": searcher.size_bytes / len(documents),
        "fingerprint": names.fingerprint,
    }
    print_record(record, as_json=as_json)


def _labels(catalog: Catalog, path: Path) -> TextArray:
    if catalog.labels is None:
        raise DataError(f"{path}: expected labels, as gossamer encode writes them; it has none")
    return catalog.labels


def _searcher(
    queries: SparseEmbeddings | FloatArray, documents: SparseEmbeddings | FloatArray
) -> tuple[Searcher[Any], dict[str, Any]]:
    """Return what searches the documents, and the work that it does for a query."""
    if isinstance(queries, SparseEmbeddings) and isinstance(documents, SparseEmbeddings):
        work = {
            "dim": documents.dim,
            "nnz_per_row": documents.nnz / max(len(documents), 1),
            "flops_per_document": flops_per_document(queries, documents),
            "suboptimality_ratio": suboptimality_ratio(documents),
        }
        return InvertedIndex.build(documents), work
    if isinstance(queries, SparseEmbeddings) or isinstance(documents, SparseEmbeddings):
        raise MismatchError("gallery: expected embeddings of the same kind as the queries; one is sparse, one dense")
    dim = documents.shape[1]
    work = {"dim": dim, "nnz_per_row": dim, "flops_per_document": dim, "suboptimality_ratio": 1.0}
    return ExhaustiveSearcher(documents), work
