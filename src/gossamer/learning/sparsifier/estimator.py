"""`Sparsifier`: dense embeddings to sparse ones, by the conventions of scikit-learn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError

from gossamer.arrays import AnyArray
from gossamer.embeddings import SparseEmbeddings
from gossamer.errors import ArgumentError, DataError, ShapeError
from gossamer.learning.devices import pick_device
from gossamer.learning.model_card import sparsifier_card
from gossamer.learning.pretrained import (
    SPARSIFIER,
    model_fingerprint,
    read_config,
    read_metrics,
    read_weights,
    write_folder,
)
from gossamer.learning.sparsifier.config import SparsifierConfig
from gossamer.learning.sparsifier.dense_rows import check_dense
from gossamer.learning.sparsifier.network import SparsifierNetwork
from gossamer.learning.sparsifier.run import train_network

if TYPE_CHECKING:
    from scipy import sparse


class NotFittedSparsifierError(ArgumentError, NotFittedError):  # type: ignore[misc]
    """A sparsifier that is to transform before it learned: scikit-learn's error, in Gossamer's tree."""


class Sparsifier(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    r"""Learn to map dense embeddings to sparse ones that have the same neighbors and cost F to search.

    Learns from the corpus alone: it needs no labels and sees no query. A linear layer and a `SparseHead`
    map a row to ``dim`` entries, few of them nonzero, such that similar rows stay similar (see
    ``objective``), under the FLOPs regularizer. Its weight λ is found by a
    `gossamer.learning.BudgetController`, and a calibration of thresholds meets the budget: rows like
    those of the corpus cost :math:`\sum_j p_j^{query} p_j^{document} = F` multiply-adds a document,
    measured on rows that are held out from training.

    Only the direction of a dense row counts: rows are taken at length 1, and nearest neighbors are those
    by cosine. What is fitted is kept in memory on the CPU.

    Parameters
    ----------
    dim : int
        Dimensions of a sparse row; the more, the more nonzeros the same budget affords: √(F · dim).
    flops_per_document : float
        F, above 0 and at most ``dim``.
    activation : str
        One of `gossamer.learning.activations.ACTIVATIONS` but ``none``. ``top-k`` keeps √(F · dim) entries
        of every row and takes no regularizer; nothing is calibrated, and its FLOPs are above F as far as its
        dimensions are uneven.
    objective : str
        One of `gossamer.learning.sparsifier.OBJECTIVES`.
    regularizer : str
        One of `gossamer.learning.regularizers.REGULARIZERS`. Whichever it is, calibration meets the budget.
    steps : int
        Batches to learn from.
    batch_size : int
        Rows a batch, at least 2; all rows where there are fewer.
    learning_rate : float
        Peak of its course.
    random_state : int
        The same gives the same weights on the same machine, at least 0.
    device : str
        Where to compute: auto, cpu, cuda or cuda:N.
    progress : bool
        Whether `fit` draws a progress bar on stderr.

    Attributes
    ----------
    n_features_in_ : int
        Columns of the dense rows that it learned from.
    network_ : SparsifierNetwork
        What was learned.
    metrics_ : dict
        Rows, seconds, the held-out rows' FLOPs per document and the course of the training.

    Examples
    --------
    >>> import numpy as np
    >>> dense = np.random.default_rng(0).standard_normal((200, 16)).astype(np.float32)
    >>> sparsifier = Sparsifier(dim=64, flops_per_document=1.0, steps=20)
    >>> rows = sparsifier.fit_transform(dense)
    >>> rows.shape, rows.format, rows.dtype
    ((200, 64), 'csr', dtype('float32'))
    """

    def __init__(
        self,
        dim: int = 4096,
        flops_per_document: float = 1.0,
        *,
        activation: str = "relu",
        objective: str = "similarity",
        regularizer: str = "flops",
        steps: int = 400,
        batch_size: int = 512,
        learning_rate: float = 6e-3,
        random_state: int = 0,
        device: str = "auto",
        progress: bool = False,
    ) -> None:
        # As scikit-learn's clone wants it: kept as they came, and checked in fit.
        self.dim = dim
        self.flops_per_document = flops_per_document
        self.activation = activation
        self.objective = objective
        self.regularizer = regularizer
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.device = device
        self.progress = progress

    def fit(self, dense: AnyArray, labels: AnyArray | None = None) -> Sparsifier:
        """Learn from a corpus, and return itself.

        Parameters
        ----------
        dense : array, shape (n, width), float16, float32 or float64
            In memory or memory-mapped: read row by row, never copied whole. float64 is computed with as
            float32. Rows of zeros have no direction and are not learned from; duplicates are fine.
        labels : array, shape (n,), optional
            The class of each row, numbers or text: rows of one class are then drawn nearer to each other.

        Raises
        ------
        ShapeError
            If ``dense`` is not a matrix, or there is not one label for each row.
        EmbeddingsError
            If it is of another type or dtype, or a value is not finite; the message names the row.
        DataError
            If it has fewer than two rows of different directions.
        ConfigError
            If a parameter is unknown or out of its range, or the device is not there.
        TrainingError
            If the loss becomes NaN or infinite.
        """
        rows = check_dense(dense)
        config = SparsifierConfig(width=rows.width, **self._settings())
        if len(rows.nonzero) == 0:
            raise DataError(f"dense: expected rows to learn from; got {len(rows)}, none of them with a nonzero")
        trained = train_network(rows, _targets(labels, len(rows)), config, progress=self.progress)
        self.n_features_in_ = rows.width
        self.network_, self.metrics_, self._config = trained.network, trained.metrics, config
        return self

    def transform(self, dense: AnyArray, *, on_progress: Callable[[int, int], None] | None = None) -> sparse.csr_array:
        """Compute the sparse embeddings of rows, of the corpus or not.

        Parameters
        ----------
        dense : array, shape (n, width), float16, float32 or float64
            As in `fit`; no rows are fine.
        on_progress : callable, optional
            Called with the number of rows done, and of all.

        Returns
        -------
        scipy CSR array, shape (n, dim), float32
            Rows of length 1 with ascending indices, int32. Every row has a nonzero, so that it can be
            found, but for a dense row of zeros, whose sparse row is all zero.

        Raises
        ------
        NotFittedSparsifierError
            If nothing was learned yet.
        ShapeError
            If the rows are of another width than those learned from.
        EmbeddingsError
            As in `fit`.
        """
        from scipy import sparse

        rows = self.encode(dense, on_progress=on_progress)
        # SciPy gives indices the type of indptr, and int32 is what fits most readers.
        indptr = rows.indptr.astype(np.int32 if rows.nnz <= np.iinfo(np.int32).max else np.int64)
        return sparse.csr_array((rows.values.copy(), rows.dims.copy(), indptr), shape=rows.shape)

    def encode(self, dense: AnyArray, *, on_progress: Callable[[int, int], None] | None = None) -> SparseEmbeddings:
        """Compute the sparse embeddings of rows, as `SparseEmbeddings`; otherwise as `transform`."""
        network = self._fitted()
        rows = check_dense(dense, width=self.n_features_in_)
        device = pick_device(self.device)
        network.to(device)
        blocks, done = [], 0
        try:
            with torch.inference_mode():
                for block in rows.blocks():
                    blocks.append(SparseEmbeddings.from_torch(network(block.to(device)).cpu()))
                    done += len(block)
                    if on_progress:
                        on_progress(done, len(rows))
        finally:
            network.cpu()
        counts = [np.zeros(1, np.int64), *(block.nnz_per_row for block in blocks)]
        return SparseEmbeddings(
            np.cumsum(np.concatenate(counts)),
            np.concatenate([np.zeros(0, np.int32), *(block.dims for block in blocks)]),
            np.concatenate([np.zeros(0, np.float32), *(block.values for block in blocks)]),
            dim=self._config.dim,
        )

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of a SHA-256 over what rows are made with: equal if that is."""
        weights, config = self._fitted().state_dict(), self._config
        nnz_per_row = config.even_nnz_per_row if config.activation == "top-k" else None
        return model_fingerprint({"activation": config.activation, "nnz_per_row": nnz_per_row}, weights)

    def save_pretrained(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the model folder: ``config.json``, ``model.safetensors``, ``metrics.json`` and a card, whole or not.

        Parameters
        ----------
        folder : str or Path
            The folder to make; its parent exists.
        overwrite : bool
            Whether another model there may be replaced.

        Raises
        ------
        NotFittedSparsifierError
            If nothing was learned yet.
        OutputExistsError
            If the folder exists and may not be replaced, or is no model folder.
        NotFoundError
            If the folder to write into does not exist.
        """
        weights, settings, folder = self._fitted().state_dict(), dataclasses.asdict(self._config), Path(folder)
        del settings["device"]  # another machine may have none of that name
        card = sparsifier_card(folder.name, settings, self.metrics_, fingerprint=self.fingerprint)
        write_folder(folder, settings, weights, self.metrics_, card, overwrite=overwrite, kind=SPARSIFIER)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Sparsifier:
        """Read a model folder that `save_pretrained` wrote: parameters and what was learned, for device ``auto``.

        Raises
        ------
        NotFoundError
            If there is no such folder, or a file is missing in it.
        FormatError
            If a file is damaged, the weights are not those of the configuration, or the folder holds an
            encoder of images.
        VersionError
            If a newer Gossamer wrote it.
        """
        folder = Path(folder)
        config = read_config(folder, SparsifierConfig, optional={"device"}, kind=SPARSIFIER)
        with torch.random.fork_rng(devices=[]):  # random weights are made, only to be replaced
            network = SparsifierNetwork(config)
        network.load_state_dict(read_weights(folder, expected=network.state_dict()))
        settings = dataclasses.asdict(config)
        del settings["width"], settings["device"]  # an older Gossamer saved the device, too
        sparsifier = cls(**settings)
        sparsifier.network_, sparsifier._config = network.eval(), config
        sparsifier.n_features_in_, sparsifier.metrics_ = config.width, read_metrics(folder)
        return sparsifier

    def _settings(self) -> dict[str, Any]:
        # Searches over parameters pass NumPy's numbers.
        params = self.get_params().items()
        settings = {name: value.item() if isinstance(value, np.generic) else value for name, value in params}
        del settings["progress"]
        return settings

    def _fitted(self) -> SparsifierNetwork:
        if not hasattr(self, "network_"):
            raise NotFittedSparsifierError("sparsifier: expected a fitted one; call fit first, or from_pretrained")
        network: SparsifierNetwork = self.network_
        return network


def _targets(labels: AnyArray | None, n: int) -> AnyArray | None:
    """Return the number of each row's class."""
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.shape != (n,):
        raise ShapeError(f"labels: expected shape ({n},), one for each row; got {labels.shape}")
    if labels.dtype.kind not in "iubU":
        raise ArgumentError(f"labels: expected whole numbers or text; got dtype {labels.dtype}")
    targets: AnyArray = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    return targets
