"""One checkpoint on the disk: every bit comes back, and damage is said."""

import json
import math

import pytest
import torch

from gossamer.errors import FormatError, VersionError
from gossamer.learning.training.checkpoint_files import read_state, write_state


def test_everything_comes_back_bit_for_bit(tmp_path):
    weights = torch.randn(2, 3, 4, 4)
    state = {
        "none": None, "flag": True, "third": 1 / 3, "lowest": -math.inf, "text": "θ",
        "by number": {0: {"step": torch.tensor(3.0)}, 7: [1, (2, {"tensor": "no tensor"})]},
        "last": weights.contiguous(memory_format=torch.channels_last), "half": weights.bfloat16(),
        "shared": [weights[0], weights[0]], "empty": torch.zeros(0, 3), "counts": torch.arange(5),
    }  # fmt: skip
    write_state(tmp_path / "state", state)
    found = read_state(tmp_path / "state")
    tensors = ("last", "half", "empty", "counts")
    for name in tensors:
        assert found[name].dtype == state[name].dtype
        assert found[name].stride() == state[name].stride()
        assert torch.equal(found.pop(name), state.pop(name))
    assert torch.equal(found.pop("shared")[1], state.pop("shared")[1])
    assert found["by number"][0].pop("step") == state["by number"][0].pop("step")
    assert found == state
    assert isinstance(found["by number"][7][1], tuple)


def test_no_file_is_a_pickle(tmp_path):
    write_state(tmp_path / "state", {"weights": torch.zeros(2)})
    assert sorted(file.name for file in (tmp_path / "state").iterdir()) == ["state.json", "tensors.safetensors"]
    with pytest.raises(TypeError, match="state: expected tensors, .*; got set"):
        write_state(tmp_path / "other", {"names": {"a"}})
    assert [file.name for file in tmp_path.iterdir()] == ["state"]


def damage(change):
    def damaged(folder):
        content = json.loads((folder / "state.json").read_text())
        change(content)
        (folder / "state.json").write_text(json.dumps(content))

    return damaged


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda folder: (folder / "state.json").write_text('{"format": "goss'), FormatError, "truncated or damaged"),
        (lambda folder: (folder / "state.json").write_text("[]"), FormatError, "does not say format"),
        (damage(lambda content: content.pop("state")), FormatError, "truncated or damaged"),
        (damage(lambda content: content.update(format="other")), FormatError, "does not say format"),
        (damage(lambda content: content.update(version=2)), VersionError, "of version 2, newer than 1"),
        (lambda folder: (folder / "tensors.safetensors").unlink(), FormatError, "truncated or damaged"),
        (lambda folder: (folder / "tensors.safetensors").write_bytes(b"1234"), FormatError, "truncated or damaged"),
        (
            lambda folder: (folder / "tensors.safetensors").write_bytes(
                (folder / "tensors.safetensors").read_bytes()[:-1]
            ),
            FormatError,
            "truncated or damaged",
        ),
    ],
)
def test_damage_is_said_in_one_sentence(tmp_path, spoil, error, message):
    write_state(tmp_path / "state", {"weights": torch.arange(2.0)})
    spoil(tmp_path / "state")
    with pytest.raises(error, match=f"checkpoint: .*{message}"):
        read_state(tmp_path / "state")
