"""T2T-ViT: no package that we compare with has it, so it stands beside a network written out, and that beside loops."""

import pytest
import torch

import densevit
from densevit.backbones.t2t_vit import RandomFeatures, split_softly
from densevit.weights import load_weights, to_theirs
from tests.weights.common import equal
from tools.peers.common import largest_difference, picture
from tools.peers.t2t import t2t_pair


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("t2t_vit_7", 4_310_222),
        ("t2t_vit_10", 5_889_230),
        ("t2t_vit_12", 6_941_902),
        ("t2t_vit_14", 21_545_550),
        ("t2t_vit_19", 39_177_422),
        ("t2t_vit_24", 64_105_934),
        ("t2t_vit_t_14", 21_541_070),
        ("t2t_vit_t_19", 39_172_942),
        ("t2t_vit_t_24", 64_101_454),
    ],
)
def test_the_sizes_are_those_of_the_authors_code_with_its_fixed_tensors(name, number):
    with torch.device("meta"):
        classifier = densevit.create_classifier(name, num_classes=1000)
    assert sum(tensor.numel() for tensor in classifier.state_dict().values()) == number


@pytest.mark.parametrize("dtype", [torch.float, torch.double], ids=str)
@pytest.mark.parametrize("performer", [True, False])
def test_every_level_and_the_logits_are_those_of_the_written_out_network(performer, dtype):
    theirs, ours = (model.to(dtype) for model in t2t_pair((48, 64), performer=performer))
    image = picture(48, 64).to(dtype)
    with torch.inference_mode():
        pairs = [*zip(ours.backbone(image), theirs.maps(image, range(4)), strict=True), (ours(image), theirs(image))]
        errors = [largest_difference(found, expected) / expected.abs().max().item() for found, expected in pairs]
    assert max(errors) <= (1e-5 if dtype == torch.float else 1e-10)


@pytest.mark.parametrize(("kernel", "stride", "size"), [(7, 4, (12, 8)), (3, 2, (6, 4)), (7, 4, (8, 4, 4))], ids=str)
def test_a_window_holds_its_pixels_and_beyond_the_borders_zeros_or_the_last_slice(kernel, stride, size):
    grid = picture(*size, channels=2).movedim(1, -1)
    n, before = len(size), (kernel - stride + 1) // 2
    windows = split_softly(grid, [kernel] * n, [stride] * n)
    assert windows.shape == (1, *(side // stride for side in size), *[kernel] * n, 2)
    for place in torch.cartesian_prod(*(torch.arange(side) for side in windows.shape[1 : 1 + 2 * n])).tolist():
        at = [start * stride - before + inside for start, inside in zip(place[:n], place[n:], strict=True)]
        at[: n - 2] = [min(max(i, 0), side - 1) for i, side in zip(at[: n - 2], size, strict=False)]
        inside = all(0 <= i < side for i, side in zip(at, size, strict=True))
        expected = grid[(0, *at)] if inside else torch.zeros(2)
        assert torch.equal(windows[(0, *place)], expected)


def test_soft_splits_of_pictures_are_those_of_unfold():
    image = picture(16, 24)
    windows = split_softly(image.movedim(1, -1), (7, 7), (4, 4))  # (B, 4, 6, 7, 7, C)
    expected = torch.nn.functional.unfold(image, 7, stride=4, padding=2)
    assert torch.equal(windows.movedim(-1, 3).flatten(3).flatten(1, 2).mT, expected)


def test_random_features_weigh_values_as_their_products_say():
    torch.manual_seed(0)
    attend = RandomFeatures(4).double()
    q, k, v = (torch.randn(2, 1, count, 4, dtype=torch.double) for count in (3, 5, 5))
    for b in range(2):
        for n in range(3):
            weights = []
            for m in range(5):
                features = [
                    torch.stack([(w @ x - x @ x / 2).exp() / 2**0.5 for w in attend.w])
                    for x in (q[b, 0, n], k[b, 0, m])
                ]
                weights.append(features[0] @ features[1])
            total = sum(weights) + 1e-8
            expected = sum(weight * value for weight, value in zip(weights, v[b, 0], strict=True)) / total
            torch.testing.assert_close(attend(q, k, v)[b, 0, n], expected, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(attend.weights(q, k)[b, 0, n], torch.stack(weights) / total)


def test_random_features_are_not_rounded_to_half_precision():
    attend = RandomFeatures(64)
    x = torch.randn(1, 1, 6, 64)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(attend(x, x, x), attend(x.clone(), x, x))
        found = attend(x, x, x)
    assert torch.equal(found, attend(x, x, x))


@pytest.mark.parametrize(("spatial_dims", "size"), [(2, (40, 83)), (3, (17, 17, 40))])
@pytest.mark.parametrize("performer", [True, False])
def test_it_is_of_any_rank_and_size(performer, spatial_dims, size):
    options = dict(dim=48, depth=4, token_dim=8, image_size=32, performer=performer, spatial_dims=spatial_dims)
    classifier = densevit.create_classifier("t2t_vit_7", num_classes=4, **options)
    with torch.no_grad():
        assert classifier(torch.randn(2, 3, *size)).shape == (2, 4)


def test_a_fresh_table_counts_rows_by_waves_as_the_authors_does():
    backbone = densevit.create_backbone("t2t_vit_7", dim=6, num_heads=1, depth=4, image_size=(32, 48))
    table = backbone.stages[0].downsample.position.pos_embed
    assert table.shape == (1, 7, 6)
    for row in range(7):
        for channel in range(6):
            angle = torch.tensor(row / 10000 ** (2 * (channel // 2) / 6), dtype=torch.double)
            assert table[0, row, channel] == (angle.cos() if channel % 2 else angle.sin()).float()


@pytest.mark.parametrize(("performer", "source"), [(True, "yitu_t2t_vit"), (False, "yitu_t2t_vit_t")])
def test_files_with_the_names_of_the_authors_load(performer, source, tmp_path):
    theirs, ours = t2t_pair((32, 32), performer=performer)
    torch.save(dict(state_dict_ema=theirs.state_dict(), state_dict={}), tmp_path / "t2t.pth.tar")
    options = dict(dim=48, depth=4, num_heads=3, performer=performer)
    again = densevit.create_classifier("t2t_vit_7", num_classes=10, taps=(0, 3), image_size=32, **options)
    report = load_weights(again, tmp_path / "t2t.pth.tar")
    assert (report.source, report.complete, report.ignored) == (source, True, ())
    assert equal(again.class_head, ours.class_head)
    assert theirs.state_dict().keys() == to_theirs(ours.state_dict(), source).keys()
    other = densevit.create_backbone("t2t_vit_7", **options | dict(performer=not performer))
    with pytest.raises(ValueError, match="does not fit this model"):
        load_weights(other, tmp_path / "t2t.pth.tar")


@pytest.mark.parametrize("how", ["sum", "tile"])
def test_weights_of_colour_take_a_single_channel_where_the_first_norm_has_one_factor(how, tmp_path):
    options = dict(dim=48, depth=4, num_heads=3)
    flat = densevit.create_backbone("t2t_vit_7", **options).eval()  # a fresh norm: all factors are 1
    torch.save(to_theirs(flat.state_dict(), "yitu_t2t_vit"), tmp_path / "t2t.pth")
    weights = dict(path=tmp_path / "t2t.pth", adapt_channels=how)
    found = densevit.create_backbone("t2t_vit_7", in_channels=1, weights=weights, **options).eval()
    if how == "sum":
        grey = picture(48, 64, channels=1)
        with torch.no_grad():
            torch.testing.assert_close(found(grey), flat(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)
