"""The ResNets of CLIP's image encoder beside timm, and the names of its authors."""

from dataclasses import replace

import pytest
import torch

import densevit
from densevit.weights import load_weights, to_theirs
from tests.weights.common import equal
from tools.peers import import_peer
from tools.peers.common import copy_weights, largest_difference, picture, randomize

pytestmark = pytest.mark.parity

SMALL = dict(dim=16, depths=(2, 2, 1, 1), image_size=64)


def pair():
    import_peer("timm")
    byobnet = import_peer("timm.models.byobnet")
    blocks = zip(SMALL["depths"], (64, 128, 256, 512), (1, 2, 2, 2), strict=True)
    config = replace(
        byobnet.model_cfgs["resnet50_clip"],
        blocks=tuple(byobnet.ByoBlockCfg(type="bottle", d=d, c=c, s=s, br=0.25) for d, c, s in blocks),
        stem_chs=(8, 8, 16),
    )
    theirs = randomize(byobnet.ByobNet(config, num_classes=10, img_size=64))
    ours = densevit.create_classifier("clip_resnet50", num_classes=10, **SMALL)
    return theirs, copy_weights(theirs, ours, source="timm_clip_resnet")


@pytest.mark.parametrize("dtype", [torch.double, torch.float], ids=str)
@pytest.mark.parametrize("size", [(64, 64), (96, 160)], ids=str)
def test_maps_and_embeddings_equal_those_of_timm(size, dtype):
    theirs, ours = (model.to(dtype) for model in pair())
    image = picture(*size).to(dtype)
    with torch.inference_mode():
        expected = [*theirs.forward_intermediates(image, intermediates_only=True)[1:], theirs(image)]
        pairs = zip([*ours.backbone(image), ours(image)], expected, strict=True)
        *errors, of_embeddings = [largest_difference(a, b) / b.abs().max().item() for a, b in pairs]
    assert max(errors) <= (1e-5 if dtype == torch.float else 1e-10)
    # timm resizes its table of positions in single precision.
    assert of_embeddings <= (1e-10 if dtype == torch.double and size == (64, 64) else 1e-6)


@pytest.mark.parametrize(
    ("name", "width", "number"),
    [
        ("clip_resnet50", 1024, 38_316_896),
        ("clip_resnet101", 512, 56_259_936),
        ("clip_resnet50x4", 640, 87_137_080),
        ("clip_resnet50x16", 768, 167_328_912),
        ("clip_resnet50x64", 1024, 420_380_352),
    ],
)
def test_the_sizes_are_those_of_timm_with_the_published_widths(name, width, number):
    with torch.device("meta"):
        ours = densevit.create_classifier(name, num_classes=width)
    assert sum(p.numel() for p in ours.parameters()) == number


def test_an_average_at_the_end_of_an_odd_size_is_that_of_what_there_is():
    block = densevit.create_backbone("clip_resnet50", **SMALL).eval().stages[1].blocks[0].double()
    image = torch.randn(1, 64, 5, 6, dtype=torch.double)
    with torch.no_grad():
        found = block(image.movedim(1, -1)).movedim(-1, 1)
        x = block.norms[0](block.convs[0](image)).relu()
        x = block.norms[1](block.convs[1](x)).relu()
        parts = []
        for tensor in (x, image):
            rows = [
                torch.stack([tensor[:, :, r : r + 2, c : c + 2].mean((2, 3)) for c in (0, 2, 4)], 2) for r in (0, 2, 4)
            ]
            parts.append(torch.stack(rows, 2))
        expected = block.norms[2](block.convs[2](parts[0])) + block.skip_norm(block.skip(parts[1]))
    torch.testing.assert_close(found, expected.relu())


def test_a_whole_file_of_the_authors_fills_the_encoder_of_images(tmp_path):
    ours = randomize(densevit.create_classifier("clip_resnet50", num_classes=10, **SMALL))
    state = to_theirs(ours.state_dict(), "openai_clip_resnet")
    assert {"visual.layer2.0.downsample.0.weight", "visual.attnpool.k_proj.bias"} <= state.keys()
    of_texts = {"transformer.resblocks.0.ln_1.weight": torch.zeros(8), "logit_scale": torch.tensor(1.0)}
    torch.save(state | of_texts, tmp_path / "clip.pt")
    again = densevit.create_classifier("clip_resnet50", num_classes=10, **SMALL)
    report = load_weights(again, tmp_path / "clip.pt")
    assert (report.source, report.complete, len(report.ignored)) == ("openai_clip_resnet", True, len(of_texts))
    assert equal(again, ours)
