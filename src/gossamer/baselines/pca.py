"""Dense search of fewer dimensions: principal components by scikit-learn, searched exhaustively by FAISS."""

from __future__ import annotations

import numpy as np

from gossamer.arrays import FloatArray
from gossamer.baselines.flat import FlatSearcher
from gossamer.baselines.training_rows import draw_training_rows
from gossamer.embeddings import as_dense
from gossamer.errors import ConfigError, MissingDependencyError
from gossamer.results import SearchResult, check_count, check_k, empty_result


class PcaSearcher:
    r"""Search by the inner product of what the leading principal components keep.

    The score of a document x and a query q is

    .. math:: q \cdot \mu + (V^T q) \cdot (V^T (x - \mu))

    with μ the mean and V the leading components: at full width the inner product itself.

    Parameters
    ----------
    documents : array, shape (n_docs, dim), float32
        What is searched.
    width : int
        How many components are kept, at least 1 and at most ``dim`` and the number of documents.
    n_training_rows : int
        From how many documents, drawn at random, the components are learned, at most.
    seed : int
        Of the draw.

    Raises
    ------
    MissingDependencyError
        If scikit-learn or FAISS is not installed.
    ConfigError
        If the width is too large.
    ArgumentError, ShapeError, EmbeddingsError
        If a count is not a whole number of at least 1, or the documents are not a matrix of finite reals;
        so does `search` for queries.
    """

    def __init__(self, documents: FloatArray, *, width: int, n_training_rows: int = 65_536, seed: int = 0) -> None:
        try:
            from sklearn.decomposition import PCA
        except ImportError as error:
            raise MissingDependencyError(
                "PCA needs scikit-learn, which is not installed: pip install 'gossamer[learn]'"
            ) from error
        documents = as_dense(documents, name="documents")
        self.n_docs, self.dim = documents.shape
        training_rows = draw_training_rows(documents, n_training_rows, seed=seed)
        highest = min(self.dim, len(training_rows)) if self.n_docs else self.dim
        if check_count(width, name="width") > highest:
            raise ConfigError(
                f"width: expected at most {highest}, the smaller of dim {self.dim} and {len(training_rows)} rows to "
                f"learn from; got {width}"
            )
        self._mean = np.zeros(self.dim, np.float32)
        self._components = np.zeros((width, self.dim), np.float32)
        if self.n_docs:
            analysis = PCA(n_components=width, svd_solver="covariance_eigh").fit(training_rows)
            self._mean[:], self._components[:] = analysis.mean_, analysis.components_
        # Not (x − μ) Vᵀ: that would copy all of x.
        self._reduced = FlatSearcher(documents @ self._components.T - self._mean @ self._components.T)
        self.size_bytes = self._reduced.size_bytes + self._components.nbytes + self._mean.nbytes

    def search(self, queries: FloatArray, k: int = 10) -> SearchResult:
        """Return the k documents of largest reduced inner product for each query, shape (n_queries, k)."""
        k = check_k(k)
        queries = as_dense(queries, name="queries", dim=self.dim)
        if self.n_docs == 0:
            return empty_result(len(queries), k)
        doc_ids, scores = self._reduced.search(queries @ self._components.T, k)
        return SearchResult(doc_ids, scores + (queries @ self._mean)[:, None])
