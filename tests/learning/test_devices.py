"""Devices by name."""

import pytest
import torch

from gossamer.errors import ConfigError
from gossamer.learning.devices import pick_device


def test_auto_is_cuda_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == "cpu"


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ConfigError, match="'cuda:2' is not there, torch sees 2"):
        pick_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "", "meta", "cuda:x"])
def test_what_names_no_device_is_refused(name):
    with pytest.raises(ConfigError, match="device: expected auto, cpu, cuda"):
        pick_device(name)
