"""TorchScript archives, as OpenAI publishes CLIP: their tensors by name, and nothing of their code."""

import pickle
import zipfile

import pytest
import torch
from torch import nn

import densevit
from densevit.weights import load_weights, read_checkpoint, to_theirs


class Tree(nn.Module):
    """Modules within modules, so that tensors have the names that are given."""

    def __init__(self, tensors):
        super().__init__()
        for name in dict.fromkeys(name.partition(".")[0] for name in tensors):
            inner = {full.partition(".")[2]: t for full, t in tensors.items() if full.startswith(f"{name}.")}
            if inner:
                self.add_module(name, Tree(inner))
            else:
                self.register_buffer(name, tensors[name])

    def forward(self):
        return None


def archive(tensors, path):
    torch.jit.save(torch.jit.script(Tree(tensors)), path)
    return path


def test_tensors_have_their_names_types_and_values(tmp_path):
    base = torch.arange(12.0).view(3, 4)
    tensors = {
        "visual.proj": base.mT,  # which lies by columns
        "visual.blocks.0.weight": base[1:, 1:].half(),
        "visual.blocks.1.weight": torch.zeros(0, 3),
        "logit_scale": torch.tensor(4.6),
        "context_length": torch.tensor(77),
    }
    state, _ = read_checkpoint(archive(tensors, tmp_path / "model.pt"))
    assert state.keys() == tensors.keys()
    assert all(
        torch.equal(state[name], tensor) and state[name].dtype == tensor.dtype for name, tensor in tensors.items()
    )


def test_an_archive_of_clip_loads_in_halves(tmp_path):
    options = dict(width=10, text=dict(dim=16, depth=1, num_heads=2, context=8, vocab=20), dim=16, depth=4, num_heads=2)
    ours = densevit.create_clip("clip_vit_base_p16", image_size=32, **options)
    theirs = {name: tensor.half() for name, tensor in to_theirs(ours.state_dict(), "openai_clip").items()}
    named = dict(input_resolution=torch.tensor(32), context_length=torch.tensor(8), vocab_size=torch.tensor(20))
    again = densevit.create_clip("clip_vit_base_p16", image_size=32, **options)
    report = load_weights(again, archive(theirs | named, tmp_path / "clip.pt"))
    assert (report.source, report.complete, set(report.ignored)) == ("openai_clip", True, set(named))
    assert report.remarks == ()
    assert all(torch.equal(t, ours.state_dict()[name].half().float()) for name, t in again.state_dict().items())


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "torch.load"])
def test_a_name_that_could_run_code_is_refused(name, tmp_path):
    path, module = tmp_path / "model.pt", name.rpartition(".")
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("a/constants.pkl", pickle.dumps(()))
        made.writestr("a/data.pkl", f"c{module[0]}\n{module[2]}\n(S'true'\ntR.".encode())
    with pytest.raises(ValueError, match=f"was not loaded: it asks for {name}"):
        read_checkpoint(path)
