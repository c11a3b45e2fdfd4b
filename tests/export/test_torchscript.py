"""A trace is kept only if it computes what the model computes."""

import pytest
import torch
from torch import nn

from densevit import create_segmentor
from densevit.export.torchscript import TraceError, save, trace

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")


class KeepsTheBatch(nn.Module):
    """Loops over the batch in Python, which a trace of one image unrolls once."""

    def forward(self, x):
        return torch.cat([image[None] * (i + 1) for i, image in enumerate(x)])


class KeepsTheSize(nn.Module):
    def forward(self, x):
        return x * float(x.shape[-1])


class Fails(nn.Module):
    def forward(self, x):
        raise RuntimeError("this model is never traced\nand says why")


@pytest.mark.parametrize(
    ("backbone", "decoder"), [("mit_b0", "all_mlp"), ("pvt_v2_b0", "fpn"), ("mit_b0", "unetr")], ids=str
)
def test_a_traced_segmentor_gives_the_same_logits_for_other_batches_and_sizes(backbone, decoder, tmp_path):
    model = create_segmentor(backbone, decoder, num_classes=3, spatial_dims=3, in_channels=1).eval()
    save(trace(model, in_channels=1, sizes=[[32, 32, 32], [32, 64, 32]]), tmp_path / "m.ts", extra={"a.json": "{}"})
    extra = {"a.json": ""}
    again = torch.jit.load(tmp_path / "m.ts", _extra_files=extra)
    assert extra["a.json"] == b"{}"
    image = torch.randn(3, 1, 64, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(again(image), model(image), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("backbone", "decoder"), [("swin_unetr_tiny", "unetr"), ("mvit_v2_tiny", "all_mlp")], ids=str)
def test_a_trace_makes_its_tensors_where_its_input_lies(backbone, decoder):
    model = create_segmentor(backbone, decoder, num_classes=2, spatial_dims=3, in_channels=1).eval()
    with torch.no_grad():
        plain = torch.jit.trace(model, torch.randn(1, 1, 32, 32, 32), check_trace=False)
    assert devices_used(plain) > 0
    assert devices_used(trace(model, in_channels=1, sizes=[[32, 32, 32]])) == 0


def devices_used(traced):
    """How many operations get a device that is written down."""
    graph = traced.inlined_graph
    constants = [node.output() for node in graph.findAllNodes("prim::Constant")]
    devices = {value.debugName() for value in constants if value.type().kind() == "DeviceObjType"}
    return sum(value.debugName() in devices for node in graph.nodes() for value in node.inputs())


def test_a_trace_that_keeps_the_batch_it_saw_is_refused():
    with pytest.raises(TraceError, match=r"the trace of KeepsTheBatch (gives|fails).* images \(2, 1, 4, 4, 4\)"):
        trace(KeepsTheBatch(), in_channels=1, sizes=[[4, 4, 4]])


def test_a_trace_that_keeps_the_size_it_saw_is_refused_where_other_sizes_come():
    assert trace(KeepsTheSize(), in_channels=1, sizes=[[4, 4, 4]])
    with pytest.raises(TraceError, match=r"the trace of KeepsTheSize gives .* images \(1, 1, 4, 4, 8\)"):
        trace(KeepsTheSize(), in_channels=1, sizes=[[4, 4, 4], [4, 4, 8]])


def test_a_model_that_cannot_be_traced_says_why_in_one_sentence():
    with pytest.raises(TraceError, match=r"Fails cannot be traced to TorchScript \(this model is never traced\)$"):
        trace(Fails(), in_channels=1, sizes=[[4, 4, 4]])
