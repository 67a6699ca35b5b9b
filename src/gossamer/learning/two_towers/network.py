"""The network of two towers: items that a user has in, or an item in; codes of one space out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gossamer.learning.heads import SparseHead
from gossamer.learning.two_towers.config import TwoTowersConfig

_FIRST_SPREAD = 0.1  # of the features' entries


class TwoTowersNetwork(nn.Module):
    """Two towers, each with a table of features and a `SparseHead` of its own.

    In evaluation, entries of an item's code that are not above ``item_thresholds`` are dropped, all but
    the item's largest, and the others stay as they are: a code made longer would score higher for it. Zero, without
    effect, until `gossamer.learning.two_towers.calibration.calibrate_towers` sets them.

    A user's features are the sum of those of the items that the user has, over the square root of their number: no
    user has weights, so that new users need no training. An item's code has length 1 in the head, where
    the regularizer sees it, and is then as long as its own scale says: popular items may score higher.

    Parameters
    ----------
    config : TwoTowersConfig
        Its sizes and activation.
    """

    item_thresholds: Tensor

    def __init__(self, config: TwoTowersConfig) -> None:
        super().__init__()
        self.owned_features = nn.EmbeddingBag(config.n_items, config.width, mode="sum")
        self.item_features = nn.Embedding(config.n_items, config.width)
        self.log_scales = nn.Parameter(torch.zeros(config.n_items))
        self.register_buffer("item_thresholds", torch.zeros(config.dim))
        self.user_head = SparseHead(config.width, config.dim, activation=config.activation)
        self.item_head = SparseHead(config.width, config.dim, activation=config.activation)
        for table in (self.owned_features, self.item_features):
            nn.init.normal_(table.weight, std=_FIRST_SPREAD)

    def users(self, items: Tensor, starts: Tensor) -> Tensor:
        """Return the codes of users, shape (b, dim), of length 1; of a user without items, any.

        Parameters
        ----------
        items : Tensor, shape (n,), int64
            The items that users have, one user after the other.
        starts : Tensor, shape (b,), int64
            Where the items of each user begin.
        """
        ends = torch.cat([starts[1:], starts.new_tensor([len(items)])])
        counts = (ends - starts).clamp(min=1)[:, None]
        codes: Tensor = self.user_head(self.owned_features(items, starts) / counts.sqrt())
        return codes

    def unit_items(self, items: Tensor) -> Tensor:
        """Return the codes of items, shape (m, dim), of length 1."""
        codes: Tensor = self.item_head(self.item_features(items))
        return codes

    def items(self, items: Tensor) -> Tensor:
        """Return the codes of items as they are searched, shape (m, dim): without what calibration drops."""
        codes = self.unit_items(items) * self.scales(items)[:, None]
        return codes * kept_entries(codes, self.item_thresholds)

    def scales(self, items: Tensor) -> Tensor:
        """Return the lengths of items' codes, shape (m,), above 0."""
        return self.log_scales[items].exp()


def kept_entries(codes: Tensor, thresholds: Tensor) -> Tensor:
    """Return which entries are above the thresholds of their dimensions, or their row's largest: bool, as codes."""
    magnitudes = codes.abs()
    return (magnitudes > thresholds) | (magnitudes == magnitudes.amax(dim=1, keepdim=True))


def sampled_softmax(scores: Tensor, log_expected: Tensor, is_owned: Tensor, target_users: Tensor) -> Tensor:
    r"""Compute the loss of finding targets among candidates that stand for all items, averaged over users.

    .. math:: -\frac{1}{b} \sum_u \frac{1}{|T_u|} \sum_{i \in T_u} \log \frac{e^{s_{ui}}}{e^{s_{ui}} + \sum_{c \notin
        H_u} e^{s_{uc}}}, \qquad s_{uc} = \text{score}_{uc} - \log Q_c

    with H_u the items that user u has, which are no negatives, and Q_c how often candidate c is in a batch, on
    average, so that those that are drawn often do not count more. Source: Yi et al., "Sampling-Bias-Corrected Neural
    Modeling for Large Corpus Item Recommendations", RecSys 2019; Bengio and Senécal, "Adaptive Importance
    Sampling to Accelerate Training of a Neural Probabilistic Language Model", IEEE TNN 19(4), 2008.

    Parameters
    ----------
    scores : Tensor, shape (b, c)
        Of users and candidates, of which the first t are the targets of all users, c > t.
    log_expected : Tensor, shape (c,)
        log Q.
    is_owned : Tensor, shape (b, c), bool
        Whether a user has a candidate.
    target_users : Tensor, shape (t,), int64
        The user of each target; every user has one.

    Returns
    -------
    Tensor, shape ()
        At least 0.

    Examples
    --------
    >>> scores = torch.tensor([[2.0, 2.0, 7.0]]).log()  # the last one is the user's own, and no negative
    >>> owned = torch.tensor([[True, False, True]])
    >>> sampled_softmax(scores, torch.zeros(3), owned, torch.tensor([0])).exp()
    tensor(2.)
    """
    corrected = scores - log_expected
    negatives = corrected.masked_fill(is_owned, torch.finfo(corrected.dtype).min).logsumexp(dim=1)
    own = corrected[target_users, torch.arange(len(target_users), device=scores.device)]
    losses = F.softplus(negatives[target_users] - own)
    shares = 1 / torch.bincount(target_users, minlength=len(scores))
    return (losses * shares[target_users]).sum() / len(scores)
