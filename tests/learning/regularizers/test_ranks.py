"""Regularizers on two real processes against one process on the joined batch.

Run as a program, this file is one of the two processes: RANK, the file to meet at, the file to write.
"""

import json
import os
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import distributed as dist
from torch import nn

from gossamer.errors import ShapeError
from gossamer.learning.regularizers import L1, CorpusFlops, Flops, UnbiasedFlops

SHARES = torch.tensor([0.4, 0.1, 0.3, 0.2])
REGULARIZERS = {
    "flops": Flops,
    "l1": L1,
    "unbiased-flops": UnbiasedFlops,
    "unbiased-flops-of-classes": UnbiasedFlops,
    "unbiased-flops-of-shares": lambda: UnbiasedFlops(SHARES),
    "corpus-flops": lambda: CorpusFlops(6, half_life=4),
}
ROWS = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)  # of two steps
LABELS = torch.tensor([0, 3, 3, 0, 1, 3, 1, 0])  # class 0 is on both ranks, however the rows are split
SPLITS = [4, 5, 7, 8]  # the rows of rank 0; rank 1 has the others, at last none


def make_model():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 6), nn.Softshrink(0.3)).double()


def labels_for(name, labels):
    return labels if name.endswith(("classes", "shares")) else None


def two_accumulated_steps(name, model, part, no_sync):
    """Return value and gradients of the mean penalty of two steps, of the rows of one part."""
    regularizer = REGULARIZERS[name]()
    model.zero_grad()
    values = []
    for step in range(2):
        with no_sync() if step == 0 else nullcontext():
            penalty = regularizer(model(ROWS[step, part]), labels_for(name, LABELS[part]))
            (penalty / 2).backward()
            values.append(penalty.item())
    return {"values": values, "gradients": [weights.grad.flatten().tolist() for weights in model.parameters()]}


def own_penalties(rank):
    """Return every regularizer's value, in evaluation, of four rows."""
    rows = make_model()(ROWS[0, rank * 4 : rank * 4 + 4])
    return [REGULARIZERS[name]().eval()(rows).item() for name in REGULARIZERS if not name.endswith("shares")]


def measure(rank):
    """Measure everything that the tests below compare, on one of two ranks."""
    model = nn.parallel.DistributedDataParallel(make_model())
    found = {}
    for split in SPLITS:
        part = slice(None, split) if rank == 0 else slice(split, None)
        for name in REGULARIZERS:
            found[f"{name} {split}"] = two_accumulated_steps(name, model, part, model.no_sync)
    found["own"] = own_penalties(rank)
    try:
        UnbiasedFlops()(ROWS[0, : 1 - rank])
    except ShapeError as error:
        found["error"] = str(error)
    return found


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each of two processes measured."""
    folder = tmp_path_factory.mktemp("ranks")
    # By name, since gloo would ask the network for this host's address.
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": loopback}
    programs = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), str(folder / "meeting"), str(folder / f"{rank}.json")],
            env=environment, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        for program in programs:
            _, stderr = program.communicate(timeout=120)
            assert program.returncode == 0, stderr
    finally:
        for program in programs:
            program.kill()
            program.communicate()
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("name", REGULARIZERS)
@pytest.mark.parametrize("split", SPLITS)
def test_value_and_gradients_equal_those_of_one_process_on_the_joined_batch(ranks, name, split):
    expected = two_accumulated_steps(name, make_model(), slice(None), nullcontext)
    for found in ranks:
        assert found[f"{name} {split}"]["values"] == pytest.approx(expected["values"], rel=1e-6)
        for gradient, joined in zip(found[f"{name} {split}"]["gradients"], expected["gradients"], strict=True):
            assert gradient == pytest.approx(joined, rel=1e-6, abs=1e-12)
    assert all(any(gradient) for gradient in expected["gradients"])


def test_in_evaluation_each_rank_measures_its_own_rows(ranks):
    assert ranks[0]["own"] != ranks[1]["own"]
    for rank, found in enumerate(ranks):
        assert found["own"] == pytest.approx(own_penalties(rank), rel=1e-12)


def test_one_row_in_all_is_refused_on_every_rank_and_none_waits(ranks):
    assert [found["error"].split(";")[0] for found in ranks] == ["embeddings: expected shape (b >= 2, d)"] * 2


if __name__ == "__main__":
    dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=int(sys.argv[1]), world_size=2)
    result = measure(int(sys.argv[1]))
    Path(sys.argv[3]).write_text(json.dumps(result))
    dist.barrier()  # the one that is done first must not take the connection away from the other
    dist.destroy_process_group()
