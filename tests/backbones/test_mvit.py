"""MViT: sizes, options, and what every backbone promises, on small members of the family."""

import pytest
import torch
import torch.nn.functional as F

import densevit
from densevit.backbones.mvit import mvit_v1, mvit_v2
from tools.peers.common import largest_difference, picture, randomize

FORMS = {
    "v1": (mvit_v1, dict(spatial_dims=2)),
    "v1, video": (mvit_v1, dict(spatial_dims=3, pyramid="video")),
    "v1, no class token, CT": (mvit_v1, dict(spatial_dims=3, class_token=False)),
    "v2": (mvit_v2, dict(spatial_dims=2)),
    "v2, class token, grows in the Mlp": (mvit_v2, dict(spatial_dims=2, class_token=True, grow_in_mlp=True)),
    "v2, windows": (mvit_v2, dict(spatial_dims=2, pyramid=dict(base="windows", window_size=8))),
    "v2, CT": (mvit_v2, dict(spatial_dims=3)),
    "v2, video": (mvit_v2, dict(spatial_dims=3, pyramid="video", class_token=True)),
}


def small(form, *, seed=0, **options):
    """A narrow member with two blocks in its third stage, random weights, one input channel."""
    build, defaults = FORMS[form]
    return randomize(build(dim=8, depths=(1, 1, 2, 1), in_channels=1, **{**defaults, **options}), seed=seed)


def image_for(model, *, batch=1, seed=0):
    size = (5, 21, 38)[-model.spatial_dims :]
    return torch.cat([picture(*size, channels=1, seed=seed + i) for i in range(batch)])


def ceil(size, stride):
    strides = (stride,) * len(size) if isinstance(stride, int) else stride
    return tuple(-(-s // d) for s, d in zip(size, strides, strict=True))


SIZES = [(224, 224), (75, 93), (1, 1), (2, 300), (64, 64, 64), (1, 1, 1), (9, 50, 33)]


@pytest.mark.parametrize(
    ("name", "size"),
    [*((name, size) for name in ("mvit_v1_base", "mvit_v2_tiny") for size in SIZES), ("mvit_v2_large", (75, 93))],
    ids=str,
)
def test_maps_have_the_size_of_the_image_over_their_stride_rounded_up(name, size):
    with torch.device("meta"):
        model = densevit.create_backbone(name, spatial_dims=len(size), in_channels=2)
        maps = model(torch.empty(2, 2, *size))
    assert model.out_strides == (4, 8, 16, 32)
    expected = [(2, c, *ceil(size, s)) for c, s in zip(model.out_channels, model.out_strides, strict=True)]
    assert [tuple(m.shape) for m in maps] == expected


@pytest.mark.parametrize("size", [(16, 224, 224), (1, 1, 1), (5, 33, 70)], ids=str)
@pytest.mark.parametrize("name", ["mvit_v1_base", "mvit_v2_small"])
def test_the_video_pyramid_leaves_time_alone_after_the_patches(name, size):
    with torch.device("meta"):
        model = densevit.create_backbone(name, spatial_dims=3, pyramid="video", class_token=True)
        maps = model(torch.empty(1, 3, *size))
    assert model.out_strides == ((2, 4, 4), (2, 8, 8), (2, 16, 16), (2, 32, 32))
    assert [tuple(m.shape[2:]) for m in maps] == [ceil(size, s) for s in model.out_strides]


def test_strides_of_thick_slices_can_be_given_per_axis():
    pyramid = dict(patch_stride=(1, 4, 4), patch_kernel=(3, 7, 7), q_stride=(2, 2, 2), kv_stride=(2, 4, 4))
    model = small("v2, CT", pyramid=pyramid)
    assert model.out_strides == ((1, 4, 4), (2, 8, 8), (4, 16, 16), (8, 32, 32))
    image = image_for(model)
    assert [tuple(m.shape[2:]) for m in model(image)] == [ceil(image.shape[2:], s) for s in model.out_strides]


def test_widths_that_grow_in_the_mlp_leave_a_stage_already_doubled():
    with torch.device("meta"):
        assert densevit.create_backbone("mvit_v2_large").out_channels == (288, 576, 1152, 1152)
        assert densevit.create_backbone("mvit_v2_base").out_channels == (96, 192, 384, 768)


@pytest.mark.parametrize("form", FORMS)
def test_images_of_a_batch_do_not_see_each_other(form):
    model = small(form).double()
    images = image_for(model, batch=3).double()
    together = model(images)
    for i in range(3):
        alone = model(images[i : i + 1])
        assert max(largest_difference(a[i : i + 1], b) for a, b in zip(together, alone, strict=True)) <= 1e-12


@pytest.mark.parametrize("form", [form for form in FORMS if form != "v2, windows"])  # tables there fit windows
def test_tables_made_for_another_size_act_as_if_resized_by_hand(form):
    model = small(form)
    image = image_for(model)
    pyramid = FORMS[form][1].get("pyramid", "image")
    pyramid = dict(base=pyramid) if isinstance(pyramid, str) else pyramid
    fitted = small(form, seed=1, pyramid=dict(**pyramid, image_size=tuple(image.shape[2:])))
    state = model.state_dict()
    for name, tensor in fitted.state_dict().items():
        if "rel_pos" in name:
            state[name] = F.interpolate(state[name].T[None], size=len(tensor), mode="linear")[0].T
        elif "spatial" in name:
            old, new = (m.stages[0].downsample.position.grid[-2:] for m in (model, fitted))
            plane = state[name].unflatten(1, old).movedim(-1, 1)
            state[name] = F.interpolate(plane, size=new, mode="bilinear").flatten(2).mT
        elif "temporal" in name:
            state[name] = F.interpolate(state[name].mT, size=tensor.shape[1], mode="linear").mT
    fitted.load_state_dict(state)
    with torch.inference_mode():
        assert max(largest_difference(a, b) for a, b in zip(model(image), fitted(image), strict=True)) <= 1e-5


@pytest.mark.parametrize("form", ["v1", "v2, class token, grows in the Mlp", "v2, video"])
def test_the_class_token_is_seen_by_the_maps_and_is_not_part_of_them(form):
    model = small(form)
    image = image_for(model)
    before = model(image)
    with torch.no_grad():
        model.stages[0].downsample.position.cls_token.mul_(-3)  # adding a number would be undone by the norm
    after = model(image)
    assert [m.shape for m in before] == [m.shape for m in after]
    assert all(not torch.allclose(a, b) for a, b in zip(before, after, strict=True))
    assert small(form, class_token=False).stages[0].downsample.position.cls_token is None


def test_windows_of_detectron2_are_56_wide_at_stride_4_and_open_in_the_last_block_of_later_stages():
    with torch.device("meta"):
        model = densevit.create_backbone("mvit_v2_tiny", pyramid="windows")
    blocks = [block.attn for stage in model.stages for block in stage.blocks]
    strides = [(b.pool_q.conv.stride[0], b.pool_k.conv.stride[0]) for b in blocks]
    windows = [b.windows and (b.windows[0][0], b.windows[1][0]) for b in blocks]
    assert strides == [(1, 4), (2, 2), (1, 4), (2, 1), (1, 1), (1, 1), (1, 1), (1, 2), (2, 1), (1, 1)]
    assert windows == [(56, 14), (28, 28), None, (14, 28), (14, 14), (14, 14), (14, 14), None, (7, 14), None]


@pytest.mark.parametrize("form", FORMS)
def test_checkpointing_changes_no_gradient(form):
    gradients = []
    for enabled in (False, True):
        model = small(form).double().train()
        model.set_checkpointing(enabled)
        sum(m.square().mean() for m in model(image_for(model).double())).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    assert all(g is not None and g.any() for g in gradients[0].values())
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])


def test_drop_path_acts_in_training_alone_and_less_in_early_blocks():
    model = small("v2", drop_path=0.4)
    image = image_for(model)
    assert torch.equal(model(image)[3], small("v2")(image)[3])
    rates = [block.drop_path.p for stage in model.stages for block in stage.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("form", ["v1, video", "v2"])
def test_a_model_compiles_into_one_graph(form):
    model = small(form)
    image = image_for(model)
    with torch.no_grad():
        expected = model(image)
        found = torch.compile(model, fullgraph=True, backend="eager")(image)
    assert max(largest_difference(a, b) for a, b in zip(found, expected, strict=True)) <= 1e-5


@pytest.mark.parametrize("form", ["v1", "v2, video"])
def test_a_model_exports(form):
    model = small(form)
    image = image_for(model)
    program = torch.export.export(model, (image,))
    with torch.no_grad():
        pairs = zip(program.module()(image), model(image), strict=True)
        assert max(largest_difference(a, b) for a, b in pairs) <= 1e-5


def test_autocast_runs_in_sixteen_bits():
    model = small("v2, class token, grows in the Mlp")
    image = image_for(model)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = model(image)
    with torch.no_grad():
        expected = model(image)
    pairs = zip(found, expected, strict=True)
    assert all(F.cosine_similarity(a.float().flatten(), b.flatten(), dim=0) > 0.99 for a, b in pairs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(pyramid="video"), "the pyramid 'video' needs spatial_dims=3, got 2"),
        (dict(pyramid="vidio"), "no pyramid named 'vidio'; did you mean video"),
        (dict(pyramid=dict(patch_size=4)), "a pyramid has no field 'patch_size'; did you mean patch_stride"),
        (dict(pyramid=dict(patch_kernel=(7, 7, 7))), r"expected 2 values, one per spatial dimension, got \(7, 7, 7\)"),
        (
            dict(pyramid=dict(patch_kernel=6)),
            r"expected patch_kernel to be odd or equal to patch_stride, .* got \(6, 6\)",
        ),
        (dict(pyramid=dict(window_size=12)), r"expected a window_size that the kv_stride \(4, 4\) .* got \(12, 12\)"),
        (dict(pyramid=dict(window_size=(0, 8))), r"divide, or 0 along every axis, got \(0, 8\)"),
        (dict(pyramid="windows", class_token=True), "a class token belongs to no window: choose class_token=False"),
        (dict(pyramid=dict(q_stride=3)), r"q_stride to be even or 1, got \(7, 7\), \(4, 4\) and \(3, 3\)"),
    ],
)
def test_a_wrong_pyramid_is_refused_with_the_way_out(options, message):
    with pytest.raises(ValueError, match=message):
        densevit.create_backbone("mvit_v2_tiny", **options)
