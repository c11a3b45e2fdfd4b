"""Auxiliary heads and deep supervision: part of training, and of nothing that training leaves for prediction."""

import os
import subprocess
from dataclasses import replace

import pytest
import torch

from densevit import create_segmentor
from densevit.checkpoint.snapshots import list_snapshots
from densevit.decoders import DenseMap
from densevit.losses import create_loss
from densevit.train import check_config, train
from densevit.train import test as score
from densevit.train.optim import create_optimizer
from densevit.train.tasks.segment import create_segment_model
from densevit.train.tasks.supervision import FCNHead, Supervision
from densevit.weights import read_weights
from tests.common import calls
from tests.conftest import REPOSITORY
from tests.train.hooks import Compiled, cut_at
from tests.train.test_training import assert_same, final_state, free_port, scalars, write_config

SUPERVISED = dict(auxiliary=[dict(level=2, dim=8), dict(level=0, dim=4, weight=0.1)], deep_supervision={})


@pytest.fixture
def supervised(config):
    """Six iterations with two heads and deep supervision of an FPN."""
    config["model"].update(decoder="fpn", decoder_options=dict(dim=16, head_dim=16))
    return {**config, **SUPERVISED}


def make(config, *, size=(32, 32)):
    """A training model in double precision and a batch for it."""
    torch.manual_seed(0)
    model = create_segment_model(check_config(config)).double()
    batch = dict(image=torch.randn(2, 3, *size).double(), label=torch.randint(0, 3, (2, *size)))
    return model, batch


def test_a_run_trains_the_heads_and_saves_the_segmentor_alone(supervised, tmp_path):
    result = train(supervised, work_dir=tmp_path, device="cpu")
    weights, state = final_state(result)
    plain = create_segmentor(**vars(check_config(supervised).model))
    assert weights.keys() == plain.state_dict().keys()
    assert read_weights(result.best)[0].keys() == weights.keys()
    assert any(name.startswith("heads.2.") for name in state["supervision"])
    row = scalars(tmp_path)[0]
    named = {f"loss_{name}cross_entropy" for name in ("", "auxiliary_2_", "auxiliary_0_", "level_1_", "level_3_")}
    assert named <= row.keys()
    parts = [value for name, value in row.items() if name.startswith("loss_")]
    assert row["loss"] == pytest.approx(sum(parts), rel=1e-5)


@pytest.mark.parametrize("more", [{}, dict(ema=0.9, checkpointing=True, amp="bf16")], ids=["plain", "averaged"])
def test_a_crashed_run_resumes_to_the_last_bit_heads_included(supervised, tmp_path, more):
    supervised["train_cfg"].update(max_iters=4, checkpoint_interval=2, **more)
    supervised["val_data"] = None
    straight = train(supervised, work_dir=tmp_path / "straight", device="cpu")
    with pytest.raises(SystemError):
        train(cut_at(supervised, 3), work_dir=tmp_path / "crashed", device="cpu")
    resumed = train(supervised, work_dir=tmp_path / "crashed", resume=True, device="cpu")
    assert_same(final_state(resumed), final_state(straight))


@pytest.mark.parametrize("other", [dict(auxiliary=[]), dict(auxiliary=[dict(level=1)]), dict(deep_supervision=None)])
def test_a_run_with_other_heads_cannot_be_resumed(supervised, tmp_path, other):
    supervised["train_cfg"].update(max_iters=1)
    supervised["val_data"] = None
    train(supervised, work_dir=tmp_path, device="cpu")
    supervised["train_cfg"].update(max_iters=2)
    with pytest.raises(ValueError, match="trained with other auxiliary heads or deep supervision"):
        train({**supervised, **other}, work_dir=tmp_path, resume=True, device="cpu")


def test_validation_and_testing_never_run_the_heads(supervised, tmp_path):
    supervised["train_cfg"].update(max_iters=2)
    results = []
    runs = calls(Supervision.forward, lambda: results.append(train(supervised, work_dir=tmp_path, device="cpu")))
    runs_of_test = calls(
        Supervision.forward, lambda: results.append(score(supervised, results[0].checkpoint, device="cpu"))
    )
    trained, tested = results
    assert tested.scores.as_dict(tested.classes) == trained.scores
    assert (runs, runs_of_test) == (2, 0)


def test_the_encoder_runs_once(supervised):
    model, batch = make(supervised)
    calls = []
    model.segmentor.backbone.register_forward_hook(lambda *_: calls.append(1))
    model(**batch)
    assert calls == [1]


def test_every_parameter_gets_a_gradient(supervised):
    model, batch = make(supervised)
    sum(model(**batch).values()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_the_losses_are_the_weighted_ones_of_the_resized_logits(supervised):
    supervised["auxiliary"] = [dict(level=2, dim=8, weight=0.3, dropout=0.0, loss=dict(type="dice"))]
    supervised["deep_supervision"] = dict(weights=(1.0, 0.5, 0.0, 0.25))
    supervised["model"]["decoder_options"]["dropout"] = 0.0
    model, batch = make(supervised, size=(33, 47))
    image, label = batch["image"], batch["label"]
    losses = model(**batch)
    features = model.segmentor.backbone(image)
    maps = [level.values for level in model.segmentor.decoder.forward_levels(features)]

    def expected(logits, kind):
        resized = torch.nn.functional.interpolate(logits.float(), label.shape[1:], mode="bilinear")
        return create_loss(dict(type=kind))(DenseMap(resized), label)[f"loss_{kind}"]

    supervision = model.supervision
    wanted = {
        "loss_cross_entropy": expected(model.segmentor.head(maps[0]), "cross_entropy"),
        "loss_auxiliary_2_dice": 0.3 * expected(supervision.heads["2"](features[2]), "dice"),
        "loss_level_1_cross_entropy": 0.5 * expected(supervision.levels["1"](maps[1]), "cross_entropy"),
        "loss_level_3_cross_entropy": 0.25 * expected(supervision.levels["3"](maps[3]), "cross_entropy"),
    }
    assert losses.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-5, atol=1e-6)


def test_without_supervision_the_main_loss_is_the_same(supervised):
    supervised["deep_supervision"] = None
    supervised["model"]["decoder_options"]["dropout"] = 0.0
    model, batch = make(supervised)
    with_heads = model(**batch)["loss_cross_entropy"]
    model.supervision = None
    torch.testing.assert_close(model(**batch)["loss_cross_entropy"], with_heads, rtol=1e-6, atol=0)


def test_halving_weights_add_up_to_one(supervised):
    model, _ = make({**supervised, "auxiliary": []})
    weights = model.supervision.weights
    assert weights["level_1"] == pytest.approx(weights["main"] / 2)
    assert weights["level_3"] == pytest.approx(weights["main"] / 8)
    assert sum(weights.values()) == pytest.approx(1)


def test_the_main_map_keeps_the_decoders_dropout(supervised):
    supervised["model"]["decoder_options"]["dropout"] = 1.0
    model, batch = make(supervised)
    outputs, _ = model.supervision(model.segmentor, batch["image"])
    assert torch.equal(outputs["main"].values, model.segmentor.head.bias.view(1, -1, 1, 1).expand(2, 3, 8, 8))
    assert outputs["level_1"].values.std() > 0


def test_a_supervised_step_can_be_compiled_whole(supervised):
    supervised["model"]["decoder_options"]["dropout"] = 0.0
    supervised["auxiliary"] = [dict(level=2, dim=8, dropout=0.0)]
    model, batch = make(supervised)
    eager, _ = model.supervision(model.segmentor, batch["image"])
    compiled, _ = torch.compile(model.supervision, fullgraph=True, backend="eager")(model.segmentor, batch["image"])
    assert compiled.keys() == eager.keys()
    for name, output in eager.items():
        torch.testing.assert_close(compiled[name].values, output.values)


def test_a_compiled_run_saves_the_plain_names(supervised, tmp_path):
    supervised["train_cfg"].update(compile=True, max_iters=1)
    supervised["custom_hooks"] = [dict(type="Compiled")]
    with torch.compiler.set_stance("force_eager"):
        weights, _ = final_state(train(supervised, work_dir=tmp_path, device="cpu"))
    assert Compiled.found == ["supervision"]
    assert "backbone.stages.0.downsample.proj.weight" in weights


def test_heads_learn_at_a_rate_of_their_own(supervised):
    model, _ = make(supervised)
    options = replace(check_config(supervised).optimizer, lr_multipliers={"auxiliary": 10.0})
    optimizer = create_optimizer(model.named_parts(), options)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    mine = {id(p) for p in model.supervision.parameters()}
    assert rates.keys() == {id(p) for p in model.parameters()}
    assert {rates[i] for i in mine} == {1e-2}
    assert {rate for i, rate in rates.items() if i not in mine} == {1e-3}


@pytest.mark.parametrize("decoder", ["unetr", "uper", "vt_fpn"])
def test_volumes_and_decoders_that_read_the_image_are_supervised_too(config, decoder):
    config.update(SUPERVISED)
    config["model"] = dict(backbone="mit_b0", decoder=decoder, num_classes=3, spatial_dims=3, in_channels=1)
    config["train_data"]["augment"] = dict(crop_size=(32, 32, 32))
    with torch.device("meta"):
        model = create_segment_model(check_config(config))
        segmentor = model.segmentor
        outputs, _ = model.supervision(segmentor, torch.empty(2, 1, 32, 40, 36))
    assert outputs["auxiliary_2"].logits().shape == (2, 3, 2, 3, 3)
    expected = segmentor.forward_logits(torch.empty(2, 1, 32, 40, 36, device="meta"))
    assert outputs["main"].logits().shape == expected.shape


def test_the_fcn_head_is_mmsegmentations():
    head = FCNHead(2, 160, 256, num_classes=150, dropout=0.1)
    assert sum(p.numel() for p in head.parameters()) == 160 * 256 * 9 + 2 * 256 + 256 * 150 + 150


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(auxiliary=[dict(level=4)]), "auxiliary names level 4, and the backbone has levels 0 to 3"),
        (dict(auxiliary=[dict(level=1), dict(level=1)]), "a level can have one head"),
        (dict(auxiliary=[dict(lvl=1)]), r"unknown key 'auxiliary.0.lvl'; did you mean level"),
        (dict(auxiliary=[dict(level=1, loss=dict(type="dise"))]), "no loss of type 'dise'; did you mean dice"),
        (dict(deep_supervision=dict(weights=(1.0, 0.5))), "must be 4 numbers for this decoder"),
        (dict(deep_supervision=dict(weights=(0.0, 1.0, 1.0, 1.0))), "the first above 0"),
        (dict(deep_supervision=dict(weights="third")), "'halving'"),
        (
            dict(model=dict(backbone="mit_b0", decoder="all_mlp", num_classes=3)),
            "which the decoder has not; use auxiliary",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_supervised_is_one_sentence_at_the_door(supervised, change, said):
    with pytest.raises(ValueError, match=said) as caught, torch.device("meta"):
        create_segment_model(check_config({**supervised, **change}))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_two_processes_train_every_head(supervised, tmp_path):
    """DDP refuses a second iteration if a parameter got no gradient in the first."""
    supervised["train_cfg"].update(max_iters=2, checkpoint_interval=2)
    supervised["val_data"] = None
    path = write_config(tmp_path / "small.py", supervised)
    environment = {**os.environ, "PORT": str(free_port()), "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = ["bash", REPOSITORY / "tools" / "dist_train.sh", path, "2", "--device", "cpu", "--work-dir", tmp_path]
    subprocess.run(list(map(str, command)), check=True, env=environment, capture_output=True, timeout=300)
    state = list_snapshots(tmp_path)[0].read_state()
    assert any(name.startswith("levels.") for name in state["supervision"])
