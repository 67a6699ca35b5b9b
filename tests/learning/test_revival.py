"""Dead dimensions: found after their patience, started afresh, and of use again."""

import lightning
import pytest
import torch

from gossamer.errors import ConfigError
from gossamer.learning import DeadDimRevival, ImageDataModule, SparseEmbeddingTask, SparseHead, TrainingConfig


def features(seed=0):
    return torch.randn(64, 20, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def head():
    """A head of 32 dimensions of which 3 and 7 are dead: their bias is below any pre-activation."""
    torch.manual_seed(0)
    head = SparseHead(20, 32)
    with torch.no_grad():
        head.norm.bias[[3, 7]] = -50.0
    return head


def test_a_dimension_is_dead_after_so_many_rows_without_a_nonzero(head):
    revival = DeadDimRevival(head, patience=100)
    revival.observe(head(features()))
    assert revival.dead_dims.tolist() == []
    revival.observe(head(features(1)))
    assert revival.dead_dims.tolist() == [3, 7]
    used = torch.zeros(1, 32)
    used[0, 3] = -0.1
    revival.observe(used)
    assert 3 not in revival.dead_dims.tolist()
    assert 7 in revival.dead_dims.tolist()


def test_revived_dimensions_are_used_again_and_the_others_are_untouched(head):
    before = head.linear.weight.detach().clone()
    revival = DeadDimRevival(head, patience=64)
    revival.observe(head(features()))
    assert revival.revive(seed=1) == 2
    share = (head(features()) != 0).float().mean(dim=0)
    assert share[[3, 7]].min() > 0.02
    others = [dim for dim in range(32) if dim not in (3, 7)]
    assert torch.equal(head.linear.weight[others], before[others])
    assert not torch.equal(head.linear.weight[[3, 7]], before[[3, 7]])
    assert revival.revive(seed=1) == 0  # their patience starts again


def test_the_optimizer_forgets_the_gradients_of_revived_dimensions_only(head):
    optimizer = torch.optim.AdamW(head.parameters())
    head(features()).sum().backward()
    optimizer.step()
    revival = DeadDimRevival(head, patience=64)
    revival.observe(head(features()))
    kept = {name: optimizer.state[head.norm.weight][name].clone() for name in ("exp_avg", "exp_avg_sq")}
    optimizer.state[head.linear.weight]["exp_avg"].fill_(1.0)
    revival.revive(optimizer, seed=1)
    average = optimizer.state[head.linear.weight]["exp_avg"]
    assert average.sum(dim=1).tolist() == [0 if dim in (3, 7) else 20 for dim in range(32)]
    others = [dim for dim in range(32) if dim not in (3, 7)]
    for name, values in kept.items():
        assert torch.equal(optimizer.state[head.norm.weight][name][others], values[others])
        assert optimizer.state[head.norm.weight][name][[3, 7]].eq(0).all()


def test_the_seed_alone_decides_the_new_weights():
    heads = []
    for _ in range(2):
        head = SparseHead(20, 4)
        head.restart(torch.tensor([0, 2]), seed=5)
        heads.append(head.linear.weight[[0, 2]])
    assert torch.equal(*heads)


def test_a_patience_below_one_row_is_refused(head):
    with pytest.raises(ConfigError, match="patience: expected at least 1 row; got 0"):
        DeadDimRevival(head, patience=0)


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*LeafSpec")
def test_training_revives_dead_dimensions_until_the_ramp_ends_and_says_how_many(images, encoder, tmp_path):
    head = encoder.head

    class Killer(lightning.Callback):
        """Kill a dimension early, and another after the ramp."""

        def on_train_batch_start(self, trainer, task, batch, batch_idx):  # noqa: ARG002
            if batch.step in (0, 30):
                head.norm.bias.data[3 if batch.step == 0 else 5] = -50.0

    config = TrainingConfig(steps=40, batch_size=16, weight=0.0, ramp_end=0.7, revive_after=5, device="cpu")
    task = SparseEmbeddingTask(encoder, config, n_classes=8)
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path,
        enable_checkpointing=False, enable_model_summary=False, limit_val_batches=0, callbacks=[Killer()],
    )  # fmt: skip
    trainer.fit(task, datamodule=ImageDataModule(images, steps=40, batch_size=16))
    assert [row["revived_dims"] for row in task.history] == [1, 1, 1, 1]
    assert head.norm.bias[3] > -2
    assert head.norm.bias[5] < -40


@pytest.mark.parametrize("revive_after", [0, 1.5])
def test_a_patience_that_is_no_number_of_steps_is_refused(revive_after):
    with pytest.raises(ConfigError, match="revive_after: expected a whole number of at least 1"):
        TrainingConfig(revive_after=revive_after)


def test_the_state_goes_on_where_it_was():
    head = SparseHead(4, 3)
    before, after = DeadDimRevival(head, patience=5), DeadDimRevival(head, patience=5)
    rows = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 2.0]])
    before.observe(rows[:2])
    before.observe(rows[2:])
    after.load_state_dict(before.state_dict())
    after.observe(rows[:2])
    assert after.dead_dims.tolist() == [1]
