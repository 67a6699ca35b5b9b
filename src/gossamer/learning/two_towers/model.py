"""`TwoTowers`: users and items to codes whose inner products rank items; `train_two_towers` learns them."""

from __future__ import annotations

import dataclasses
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gossamer.arrays import FloatArray
from gossamer.embeddings import SparseEmbeddings, stacked
from gossamer.errors import DataError
from gossamer.learning.budget.target import TOLERANCE
from gossamer.learning.calibration import spaced
from gossamer.learning.devices import pick_device
from gossamer.learning.model_card import two_towers_card
from gossamer.learning.pretrained import (
    TWO_TOWERS,
    model_fingerprint,
    read_config,
    read_metrics,
    read_weights,
    write_folder,
)
from gossamer.learning.training.plain_fit import take_steps
from gossamer.learning.training.progress import TrainingProgress
from gossamer.learning.training.quiet import quiet_lightning
from gossamer.learning.two_towers.calibration import calibrate_towers, towers_cost
from gossamer.learning.two_towers.config import TwoTowersConfig
from gossamer.learning.two_towers.histories import Histories, UserBatches
from gossamer.learning.two_towers.network import TwoTowersNetwork
from gossamer.learning.two_towers.task import TwoTowersTask

logger = logging.getLogger(__name__)

_AIM = 0.98  # of the budget, so that rows that were not measured may cost a little more
_MOST_CALIBRATED = 8192
_ROWS_PER_BLOCK = 4096


class TwoTowers:
    """Turn users, by the items that they have, and items into codes whose inner product is the score of a pair.

    Parameters
    ----------
    network : TwoTowersNetwork
        Kept on the CPU and in evaluation mode.
    config : TwoTowersConfig
        What made it.
    metrics : dict
        What is known of its training.
    """

    def __init__(self, network: TwoTowersNetwork, config: TwoTowersConfig, metrics: dict[str, Any]) -> None:
        self.network, self.config, self.metrics = network.cpu().eval(), config, metrics

    def encode_users(self, histories: Histories) -> SparseEmbeddings:
        """Compute the codes of users, known or new, shape (n_users, dim), of length 1; zero for a user without items.

        Raises
        ------
        DataError
            If the histories are of a catalog of another size.
        """
        if histories.n_items != self.config.n_items:
            raise DataError(f"histories: expected {self.config.n_items} items; got {histories.n_items}")
        return stacked(
            [SparseEmbeddings.from_dense(block) for block in self._user_blocks(histories)], dim=self.config.dim
        )

    def encode_items(self) -> SparseEmbeddings:
        """Compute the codes of all items, shape (n_items, dim), each as long as its scale."""
        blocks = []
        with torch.inference_mode():
            for start in range(0, self.config.n_items, _ROWS_PER_BLOCK):
                items = torch.arange(start, min(start + _ROWS_PER_BLOCK, self.config.n_items))
                blocks.append(SparseEmbeddings.from_torch(self.network.items(items)))
        return stacked(blocks, dim=self.config.dim)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of a SHA-256 over what codes are made with: equal if that is."""
        return model_fingerprint({"activation": self.config.activation}, self.network.state_dict())

    def save_pretrained(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the model folder: ``config.json``, ``model.safetensors``, ``metrics.json`` and a card, whole or not.

        Raises
        ------
        OutputExistsError
            If the folder exists and may not be replaced, or is no model folder.
        NotFoundError
            If the folder to write into does not exist.
        """
        folder, settings = Path(folder), dataclasses.asdict(self.config)
        del settings["device"]  # another machine may have none of that name
        card = two_towers_card(folder.name, settings, self.metrics, fingerprint=self.fingerprint)
        weights = self.network.state_dict()
        write_folder(folder, settings, weights, self.metrics, card, overwrite=overwrite, kind=TWO_TOWERS)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> TwoTowers:
        """Read a model folder that `save_pretrained` wrote.

        Raises
        ------
        NotFoundError
            If there is no such folder, or a file is missing in it.
        FormatError
            If a file is damaged, the weights are not those of the configuration, or the folder holds another model.
        VersionError
            If a newer Gossamer wrote it.
        """
        folder = Path(folder)
        config = read_config(folder, TwoTowersConfig, optional={"device"}, kind=TWO_TOWERS)
        with torch.random.fork_rng(devices=[]):  # random weights are made, only to be replaced
            network = TwoTowersNetwork(config)
        network.load_state_dict(read_weights(folder, expected=network.state_dict()))
        return cls(network, config, read_metrics(folder))

    @torch.inference_mode()
    def _user_blocks(self, histories: Histories) -> list[FloatArray]:
        blocks = []
        for start in range(0, len(histories), _ROWS_PER_BLOCK):
            users = range(start, min(start + _ROWS_PER_BLOCK, len(histories)))
            codes = self.network.users(*histories.bags(users)).numpy()
            has_items = np.array([len(histories[user]) > 0 for user in users])
            blocks.append(codes * has_items[:, None])
        return blocks


def train_two_towers(histories: Histories, config: TwoTowersConfig, *, progress: bool = False) -> TwoTowers:
    """Learn two towers from what users have and, where codes are sparse, calibrate them to the budget.

    Leaves no files and no trace in the random generators of the process.

    Parameters
    ----------
    histories : Histories
        What users have; those with fewer than two items are not learned from.
    config : TwoTowersConfig
        How to train.
    progress : bool
        Whether to draw a progress bar on stderr.

    Raises
    ------
    DataError
        If the catalog is of another size, or fewer than two users have at least two items.
    TrainingError
        If the loss becomes NaN or infinite.
    ConfigError
        If the device is not there.
    """
    if histories.n_items != config.n_items:
        raise DataError(f"histories: expected {config.n_items} items; got {histories.n_items}")
    if len(histories.learnable) < 2:
        raise DataError(
            f"histories: expected at least two users with two items to learn from; got {len(histories.learnable)}"
        )
    device, start = pick_device(config.device), time.perf_counter()
    with quiet_lightning(), torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
        torch.manual_seed(config.seed)
        network, batches = TwoTowersNetwork(config), UserBatches(histories, config)
        task = TwoTowersTask(network, config, histories, batches.expected_targets())
        kind = "sparse" if config.is_sparse else "dense"
        take_steps(task, batches, device, TrainingProgress(f"train {kind} towers") if progress else None)
    metrics = {"n_users": len(histories.learnable), "n_items": config.n_items, "torch": torch.__version__}
    towers = TwoTowers(network, config, metrics)
    if config.flops_per_item is not None:
        metrics["flops_per_item"] = _meet_budget(towers, histories, config.flops_per_item)
    metrics |= {"training_seconds": round(time.perf_counter() - start, 1), "history": task.history}
    return towers


@torch.inference_mode()
def _meet_budget(towers: TwoTowers, histories: Histories, target: float) -> float:
    """Calibrate towers, say so if that misses the budget, and return what users cost against items."""
    network = towers.network
    users = network.users(*histories.bags(spaced(histories.learnable, most=_MOST_CALIBRATED)))
    items = network.items(torch.from_numpy(spaced(np.arange(towers.config.n_items), most=_MOST_CALIBRATED)))
    calibrate_towers(network, users.numpy(), items.numpy(), flops_per_item=_AIM * target)
    users = network.users(*histories.bags(histories.learnable))
    cost = towers_cost(users.numpy(), towers.encode_items().to_dense())
    if abs(cost / target - 1) > TOLERANCE:
        remedy = "Take more steps, or a larger target" if cost > target else "No entry had to be dropped"
        logger.warning("flops_per_item: %g was asked for, and %.3g was reached. %s", target, cost, remedy)
    return cost
