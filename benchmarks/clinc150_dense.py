"""CLINC150 questions as dense MiniLM rows: a corpus, queries, their intents and their exact neighbors."""

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gossamer import InvertedIndex, SparseEmbeddings, TwoStageQueries, TwoStageSearcher
from gossamer.baselines.exhaustive import ExhaustiveSearcher
from gossamer.metrics import flops_per_document, hit_rate_at_k, recall_at_k, suboptimality_ratio

K, CANDIDATES = 10, 100


class Corpus(NamedTuple):
    """What is searched and asked: documents are the training and validation splits, queries the test split."""

    documents: NDArray[np.float32]
    queries: NDArray[np.float32]
    document_labels: NDArray[np.str_]
    query_labels: NDArray[np.str_]
    exact: NDArray[np.int32]
    """The exact ten nearest documents of each query, best first."""


def load() -> Corpus:
    if "GOSSAMER_DATA" not in os.environ:
        raise SystemExit("GOSSAMER_DATA: expected the folder that holds clinc150/minilm_train.npy; it is not set")
    folder = Path(os.environ["GOSSAMER_DATA"]) / "clinc150"
    texts = json.loads((folder / "data_full.json").read_text(encoding="utf-8"))

    def rows(*splits: str) -> NDArray[np.float32]:
        found = np.concatenate([np.load(folder / f"minilm_{split}.npy") for split in splits]).astype(np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    def labels(*splits: str) -> NDArray[np.str_]:
        return np.array([intent for split in splits for _, intent in texts[split]])

    documents, queries = rows("train", "val"), rows("test")
    exact = ExhaustiveSearcher(documents).search(queries, k=K).doc_ids
    return Corpus(documents, queries, labels("train", "val"), labels("test"), exact)


def judge_sparse(corpus: Corpus, documents: SparseEmbeddings, queries: SparseEmbeddings) -> dict:
    """Search sparse rows, alone and re-ranked by the dense ones, and measure what is found and what it costs."""
    index = InvertedIndex.build(documents, plan="scan")
    found = index.search(queries, k=CANDIDATES).doc_ids
    two_stage = TwoStageSearcher(index, rerank=corpus.documents, candidates=CANDIDATES)
    reranked = two_stage.search(TwoStageQueries(queries, corpus.queries), k=K).doc_ids
    return {
        **judge(corpus, found),
        "recall_reranked": recall_at_k(reranked, corpus.exact, K),
        "flops_per_document": flops_per_document(queries, documents),
        "nnz": documents.nnz / len(documents),
        "r_sub": suboptimality_ratio(documents),
        "bytes_per_document": index.size_bytes / len(documents),
    }


def judge(corpus: Corpus, doc_ids: NDArray[np.int32]) -> dict:
    """Return recall@10 of the exact neighbors, and hit rate@1 of the intent."""
    return {
        "recall": recall_at_k(doc_ids, corpus.exact, K),
        "hit_rate": hit_rate_at_k(doc_ids, corpus.query_labels, corpus.document_labels, 1),
    }
