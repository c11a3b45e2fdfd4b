import pytest
import torch

from densevit.processes import pick_device


def with_gpus(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)


@pytest.mark.parametrize(
    ("gpus", "device", "local_rank", "picked"),
    [
        (0, None, 3, "cpu"),
        (2, None, 1, "cuda:1"),
        (2, None, 3, "cuda:1"),
        (2, "cuda", 1, "cuda:1"),
        (2, torch.device("cuda:0"), 1, "cuda:0"),
        (2, "cpu", 1, "cpu"),
    ],
)
def test_a_process_takes_the_named_device_or_its_own_gpu(monkeypatch, gpus, device, local_rank, picked):
    with_gpus(monkeypatch, gpus)
    assert pick_device(device, local_rank) == torch.device(picked)


@pytest.mark.parametrize(("gpus", "device"), [(0, "cuda"), (0, "cuda:0"), (2, "cuda:2")])
def test_a_device_that_is_not_there_is_one_sentence(monkeypatch, gpus, device):
    with_gpus(monkeypatch, gpus)
    with pytest.raises(ValueError, match=f"^the device '{device}' is not on this machine; choose cpu or another one$"):
        pick_device(device)


def test_a_name_that_no_device_has_is_one_sentence():
    with pytest.raises(ValueError, match=r"^no device named 'gpu'; cpu, cuda"):
        pick_device("gpu")
