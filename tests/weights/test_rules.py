"""What a network does and no tensor shows: weights load where the model does the same, and say so where it does not."""

import pytest
import torch
import torch.nn.functional as F

import densevit
from densevit.weights import load_weights, read_weights, save_weights, to_theirs
from tests.weights.common import backbone, equal
from tools import convert_weights

MVIT = dict(depths=(1, 2, 1, 1), dim=32, class_token=True)
VIT = dict(depth=4, dim=32, num_heads=2, num_tokens=1, image_size=64)


def swin_unetr(*, seed=0, **options):
    return backbone("swin_unetr_tiny", seed=seed, **dict(spatial_dims=3, in_channels=1) | options)


def written(model, source, path, **beside):
    torch.save(to_theirs(model.state_dict(), source) | beside, path)
    return path


def published_encoder(model, path):
    """As the authors of Swin UNETR saved theirs."""
    names = {f"module.{n}".replace(".linear", ".fc"): t for n, t in to_theirs(model.state_dict(), "monai").items()}
    torch.save(dict(state_dict=names | {"module.rotation_head.weight": torch.zeros(3)}), path)
    return path


def test_the_published_encoder_of_swin_unetr_needs_the_order_in_which_it_was_trained(tmp_path):
    path = published_encoder(model := swin_unetr(merge_order="legacy"), tmp_path / "model_swinvit.pt")
    with pytest.raises(ValueError, match=r"need merge_order='legacy' and the model has merge_order='fixed'"):
        densevit.create_backbone("swin_unetr_tiny", spatial_dims=3, in_channels=1, weights=path)
    target = swin_unetr(seed=1, merge_order="legacy")
    assert load_weights(target, path).source == "monai_legacy_swin_unetr"
    assert equal(target, model)
    assert load_weights(swin_unetr(), path, strict=False).remarks[0].startswith("its weights need merge_order='legacy'")
    pictures = swin_unetr(spatial_dims=2)  # of which there is but one order
    load_weights(swin_unetr(spatial_dims=2, seed=1), published_encoder(pictures, tmp_path / "pictures.pt"))


def test_weights_of_any_monai_load_where_the_user_says_which(tmp_path):
    path = written(swin_unetr(), "monai_swin_unetr", tmp_path / "swin_unetr.pt")
    with pytest.raises(ValueError, match=r"name the source: monai_legacy_swin_unetr for .* before 1.5"):
        load_weights(swin_unetr(), path)
    with pytest.raises(ValueError, match="name the source"):
        load_weights(swin_unetr(), path, source="monai")
    for source, order in (("monai_swin_unetr", "fixed"), ("monai_legacy_swin_unetr", "legacy"),
                          ("monai_v2_swin_unetr", "v2")):  # fmt: skip
        assert load_weights(swin_unetr(merge_order=order), path, source=source).complete
    assert load_weights(swin_unetr(merge_order="legacy"), path).complete  # chosen, since it is not the default
    with pytest.raises(ValueError, match="need merge_order='v2'"):
        load_weights(swin_unetr(), path, source="monai_v2_swin_unetr")


@pytest.mark.parametrize(("source", "adds"), [("facebook_mvit", False), ("timm_mvit", True)])
def test_the_class_token_of_mvit_gets_its_query_as_the_publisher_adds_it(source, adds, tmp_path):
    model = backbone("mvit_v2_tiny", **MVIT, class_residual=adds)
    path = written(model, source, tmp_path / "mvit.pyth")
    right, wrong = (backbone("mvit_v2_tiny", seed=1, **MVIT, class_residual=each) for each in (adds, not adds))
    assert load_weights(right, path).complete
    with pytest.raises(ValueError, match=f"need class_residual={adds} and the model has class_residual={not adds}"):
        load_weights(wrong, path)
    load_weights(wrong, path, strict=False)
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        maps = [each.eval()(image)[-1] for each in (right, wrong)]
    assert (maps[0] - maps[1]).abs().max() > 0.01
    without = {**MVIT, "class_token": False}
    written(backbone("mvit_v2_tiny", **without), source, path)
    assert load_weights(backbone("mvit_v2_tiny", seed=1, **without), path).complete


def test_the_query_of_a_class_token_is_added_to_the_grid_alone_where_the_authors_do_so():
    model = backbone("mvit_v2_tiny", **MVIT, class_residual=False)
    assert {block.attn.residual for stage in model.stages for block in stage.blocks} == {"grid"}
    as_before = backbone("mvit_v2_tiny", **MVIT)
    assert {block.attn.residual for stage in as_before.stages for block in stage.blocks} == {"all"}


def dino_checkpoint(model, path):
    """As its training writes it, the student beside the teacher."""
    teacher = {f"backbone.{name}": t for name, t in to_theirs(model.state_dict(), "timm_vit").items()}
    heads = {"head.mlp.0.weight": torch.zeros(3), "head.last_layer.weight_v": torch.zeros(3)}
    student = {f"module.{name}": tensor + 1 for name, tensor in teacher.items()}
    torch.save(dict(student=student, teacher=teacher | heads, epoch=1), path)
    return path


def test_a_table_of_dino_is_resized_by_the_factor_of_its_authors(tmp_path):
    model = backbone("vit_tiny", **VIT, resizing="dino")
    path = dino_checkpoint(model, tmp_path / "checkpoint.pth")
    report = load_weights(target := backbone("vit_tiny", seed=1, **VIT, resizing="dino"), path)
    assert (report.source, report.complete, equal(target, model)) == ("dino_vit", True, True)
    with pytest.raises(ValueError, match=r"need resizing='dino' and the model has resizing='size'"):
        load_weights(backbone("vit_tiny", **VIT), path)

    position = model.stages[0].downsample.position
    cells = position.pos_embed[:, 1:].unflatten(1, (4, 4)).movedim(-1, 1)  # 64 pixels in patches of 16
    expected = F.interpolate(cells, scale_factor=(6.1 / 4, 9.1 / 4), mode="bicubic").movedim(1, -1)
    grid = position(torch.zeros(1, 6, 9, 32)).grid
    torch.testing.assert_close(grid, expected)
    assert torch.equal(position(torch.zeros(1, 4, 4, 32)).grid, cells.movedim(1, -1))


def test_a_backbone_that_may_be_dinos_is_remarked(tmp_path):
    path = written(backbone("vit_tiny", **VIT), "timm_vit", tmp_path / "dino_deitsmall16_pretrain.pth")
    assert "source='dino_vit'" in load_weights(backbone("vit_tiny", **VIT), path).remarks[0]
    assert load_weights(backbone("vit_tiny", **VIT, resizing="dino"), path, source="dino_vit").remarks == ()
    written(backbone("vit_tiny", **VIT), "timm_vit", path, **{"head.weight": torch.zeros(3)})
    assert load_weights(backbone("vit_tiny", **VIT), path).remarks == ()


def test_converted_files_hold_the_options_that_their_source_needs(tmp_path, capsys):
    def convert(path, *arguments):
        code = convert_weights.main([str(path), str(tmp_path / "out.safetensors"), *arguments])
        return code, read_weights(tmp_path / "out.safetensors")[1]["model"] if code == 0 else capsys.readouterr().err

    encoder = published_encoder(swin_unetr(merge_order="legacy"), tmp_path / "model_swinvit.pt")
    assert convert(encoder)[1]["backbone_options"] == dict(merge_order="legacy")
    mvit = backbone("mvit_v2_tiny", class_token=True, class_residual=False)
    code, model = convert(written(mvit, "facebook_mvit", tmp_path / "MViTv2_T_in21k.pyth"))
    assert (code, model["backbone_options"]) == (0, dict(class_token=True, class_residual=False))
    code, said = convert(written(swin_unetr(), "monai", tmp_path / "swin_unetr.pt"))
    assert code == 2
    assert "name the source: monai_legacy_swin_unetr" in said
    assert convert(tmp_path / "swin_unetr.pt", "--source", "monai_v2_swin_unetr")[1]["backbone_options"] == dict(
        merge_order="v2"
    )


def test_pvt_v1_converts_to_the_authors_backbone_of_segmentation_which_has_no_class_token(tmp_path):
    classifier = backbone("pvt_v1_tiny", class_token=True)
    path = written(classifier, "whai362_pvt_v1", tmp_path / "pvt_tiny.pth", **{"head.weight": torch.zeros(3)})
    assert convert_weights.main([str(path), str(tmp_path / "pvt.safetensors")]) == 0
    state, config = read_weights(tmp_path / "pvt.safetensors")
    assert config["model"]["backbone_options"] == dict(image_size=224)
    assert not any("cls_token" in name for name in state)


def test_our_own_weights_need_the_options_of_their_header(tmp_path):
    options = dict(spatial_dims=3, in_channels=1)
    model = dict(backbone="swin_unetr_tiny", **options, backbone_options=dict(merge_order="legacy"))
    save_weights(swin_unetr(merge_order="legacy"), tmp_path / "own.safetensors", config=dict(model=model))
    assert load_weights(swin_unetr(merge_order="legacy"), tmp_path / "own.safetensors").complete
    with pytest.raises(ValueError, match="need merge_order='legacy'"):
        load_weights(swin_unetr(), tmp_path / "own.safetensors")
    save_weights(swin_unetr(), tmp_path / "own.safetensors", config=dict(model={**model, "backbone_options": {}}))
    with pytest.raises(ValueError, match="need merge_order='fixed' and the model has merge_order='legacy'"):
        load_weights(swin_unetr(merge_order="legacy"), tmp_path / "own.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_refused_with_the_name_of_their_tensor(value, tmp_path):
    model = backbone()
    model.stages[2].blocks[0].norm1.weight.data[3] = value
    save_weights(model, tmp_path / "diverged.safetensors", config={})
    target = backbone(seed=1)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"stages\.2\.blocks\.0\.norm1\.weight of its tensors hold values that are not"
    ):
        load_weights(target, tmp_path / "diverged.safetensors")
    assert equal(target, before)
    report = load_weights(target, tmp_path / "diverged.safetensors", strict=False)
    assert "not finite numbers" in report.remarks[0]


def test_a_checkpoint_that_holds_no_numbers_predicts_nothing(tmp_path):
    options = dict(backbone="mit_b0", decoder="all_mlp", num_classes=2)
    model = densevit.create_segmentor(**options)
    model.head.bias.data[0] = float("nan")
    save_weights(model, tmp_path / "weights.safetensors", config=dict(model=options))
    with pytest.raises(ValueError, match=r"weights\.safetensors .*head\.bias .* not finite numbers"):
        densevit.Predictor(tmp_path / "weights.safetensors", device="cpu")


def test_a_file_of_our_own_loads_whose_backbone_lacks_an_option_of_its_family(tmp_path):
    options = dict(dim=16, depths=(1, 1, 1, 1))  # v1 of MViT, and class_residual of v2
    model = backbone("mvit_v1_base", **options)
    config = dict(model=dict(backbone="mvit_v1_base", backbone_options=options))
    save_weights(model, tmp_path / "a.safetensors", config=config)
    assert load_weights(backbone("mvit_v1_base", seed=1, **options), tmp_path / "a.safetensors").complete
