"""Learn sparse embeddings that are cheap to search, and search them exactly."""

from gossamer.catalog import Catalog
from gossamer.embeddings import SparseEmbeddings
from gossamer.errors import GossamerError
from gossamer.index import InvertedIndex
from gossamer.rerank import TwoStageQueries, TwoStageSearcher
from gossamer.results import Searcher, SearchResult

__version__ = "0.1.0"

__all__ = [
    "Catalog",
    "GossamerError",
    "InvertedIndex",
    "SearchResult",
    "Searcher",
    "SparseEmbeddings",
    "TwoStageQueries",
    "TwoStageSearcher",
    "__version__",
]
