"""``gossamer search``: an index and queries to the best documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from gossamer.catalog import Catalog
from gossamer.cli.options import DeviceOption
from gossamer.cli.printing import print_json, print_table
from gossamer.datasets.embedding_files import SPARSE_SUFFIX, read_sparse
from gossamer.embeddings import SparseEmbeddings
from gossamer.errors import ArgumentError, MismatchError, NotFoundError
from gossamer.index import InvertedIndex
from gossamer.results import SearchResult


def search(
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="An index folder.", show_default=False)],
    queries: Annotated[
        Path,
        typer.Argument(
            metavar="QUERIES", help="Sparse embeddings (.npz), or an image with --model.", show_default=False
        ),
    ],
    *,
    k: Annotated[int, typer.Option("-k", help="How many documents for each query.")] = 10,
    min_score: Annotated[float, typer.Option("--min-score", help="Only documents of a score above this.")] = 0.0,
    effort: Annotated[
        float, typer.Option("--effort", help="1 finds exactly the best; less is faster and may miss some of them.")
    ] = 1.0,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="MODEL", help="The model that encodes an image.", show_default=False),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", help="Threads that share the queries.")] = 1,
    device: DeviceOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each query.")] = False,
) -> None:
    """Print the keys and scores of the documents that score best for each query, exactly unless --effort is below 1."""
    if (queries.suffix == SPARSE_SUFFIX) == (model is not None):
        raise ArgumentError(f"queries: expected {SPARSE_SUFFIX} embeddings, or an image and --model; got {queries}")
    opened = InvertedIndex.open(index)
    rows, catalog = read_sparse(queries) if model is None else _encode_image(queries, model, device=device)
    opened.catalog.check_same_model(catalog, name="queries")
    found = opened.search(rows, k, min_score=min_score, effort=effort, n_threads=threads)
    answers = [_answer(found, row, catalog, opened.catalog) for row in range(len(rows))]
    if as_json:
        for answer in answers:
            print_json(answer)
    else:
        print_table(("query", "rank", "key", "label", "score"), _lines(answers))


def _encode_image(path: Path, model: Path, *, device: str) -> tuple[SparseEmbeddings, Catalog]:
    from gossamer.datasets.decoding import read_image, to_pixels
    from gossamer.learning.encoder import Encoder
    from gossamer.learning.encoding import encode

    if not path.is_file():
        raise NotFoundError(f"queries: expected an image; there is no file {path}")
    encoder = Encoder.from_pretrained(model)
    if not encoder.is_sparse:
        raise MismatchError(f"model: expected one of sparse embeddings, as in the index; {model} is dense")
    size, channels = encoder.config.image_size, encoder.config.channels
    pixels = to_pixels(read_image(path, name=str(path), enough_for=size), size=size, channels=channels)
    catalog = Catalog(n=1, keys=np.array([path.name]), fingerprint=encoder.fingerprint)
    return encode(encoder, pixels[None], device=device), catalog


def _answer(found: SearchResult, row: int, queries: Catalog, documents: Catalog) -> dict[str, Any]:
    results = [
        {"key": documents.key(doc_id), "label": documents.label(doc_id), "score": float(score)}
        for doc_id, score in zip(found.doc_ids[row].tolist(), found.scores[row], strict=True)
        if doc_id >= 0
    ]
    return {"query": queries.key(row), "results": results}


def _lines(answers: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for answer in answers:
        for rank, result in enumerate(answer["results"], 1):
            lines.append((answer["query"], str(rank), result["key"], result["label"] or "–", f"{result['score']:.4f}"))
        if not answer["results"]:
            lines.append((answer["query"], "–", "–", "–", "–"))
    return lines
