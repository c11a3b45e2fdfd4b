"""Key maps: every release is recognised by its names, and translated to ours and back without losing a bit."""

import warnings
from collections import OrderedDict

import pytest
import torch

import densevit
from densevit.weights import guess_source, load_weights, read_checkpoint, to_ours, to_theirs
from tests.weights.common import backbone, equal, release, segformer
from tools.peers import import_mmseg, import_peer
from tools.peers.common import mmseg_segformer, randomize, transformers_segformer

WHOLE = ["densevit", "nvlabs", "huggingface_segformer", "mmseg_segformer"]
ALONE = [
    ("densevit", "mit_b0"),
    ("nvlabs", "mit_b0"),
    ("huggingface_segformer", "mit_b0"),
    ("mmseg_segformer", "mit_b0"),
    ("whai362_pvt_v2", "pvt_v2_b0"),
    ("whai362_pvt_v2", "pvt_v2_b2_li"),
    ("timm_pvt_v2", "pvt_v2_b0"),
    ("timm_pvt_v2", "pvt_v2_b2_li"),
]


def whole_of(source):
    return segformer(decoder_options=dict(project_norm=source == "mmseg_segformer"))


@pytest.mark.parametrize("source", WHOLE)
def test_a_whole_model_survives_the_way_to_a_release_and_back(source):
    model = whole_of(source)
    theirs = release(model, source)
    assert guess_source(theirs) == source
    translation = to_ours(theirs, source)
    assert translation.unexpected == []
    assert equal(translation.state, model)


@pytest.mark.parametrize(("source", "name"), ALONE)
def test_a_backbone_survives_the_way_to_a_release_and_back(source, name):
    model = backbone(name)
    theirs = release(model, source)
    assert guess_source(theirs) == source
    translation = to_ours(theirs, source, class_head=False)
    assert translation.unexpected == []
    assert equal({name.removeprefix("backbone."): t for name, t in translation.state.items()}, model)


@pytest.mark.parametrize("source", WHOLE)
def test_the_prefix_of_data_parallel_training_is_dropped(source):
    model = whole_of(source)
    theirs = {f"module.{name}": tensor for name, tensor in release(model, source).items()}
    assert guess_source(theirs) == source
    assert equal(to_ours(theirs, source).state, model)


def test_the_released_names_of_mit_are_those_of_its_authors():
    expected = {
        "patch_embed1.proj.weight": (32, 3, 7, 7),
        "patch_embed4.norm.bias": (256,),
        "block1.0.norm1.weight": (32,),
        "block1.1.attn.q.weight": (32, 32),
        "block1.0.attn.kv.weight": (64, 32),
        "block2.0.attn.sr.weight": (64, 64, 4, 4),
        "block2.0.attn.norm.weight": (64,),
        "block3.1.attn.proj.bias": (160,),
        "block4.0.mlp.fc1.weight": (1024, 256),
        "block4.0.mlp.dwconv.dwconv.weight": (1024, 1, 3, 3),
        "block4.1.mlp.fc2.weight": (256, 1024),
        "norm4.weight": (256,),
    }
    theirs = to_theirs(backbone().state_dict(), "nvlabs")
    assert {name: tuple(theirs[name].shape) for name in expected} == expected
    whole = to_theirs(segformer().state_dict(), "nvlabs")
    assert {f"backbone.{name}" for name in theirs} < set(whole)
    assert {name for name in whole if name.startswith("decode_head.")} == {
        *(f"decode_head.linear_c{i}.proj.{part}" for i in (1, 2, 3, 4) for part in ("weight", "bias")),
        "decode_head.linear_fuse.conv.weight",
        *(f"decode_head.linear_fuse.bn.{part}" for part in ("weight", "bias", "running_mean", "running_var")),
        "decode_head.linear_fuse.bn.num_batches_tracked",
        "decode_head.linear_pred.weight",
        "decode_head.linear_pred.bias",
    }
    assert whole["decode_head.linear_fuse.conv.weight"].shape == (256, 1024, 1, 1)


@pytest.mark.parametrize("linear", [False, True])
def test_pvt_v2_b5_and_mit_b5_share_names_and_shapes_so_that_either_source_fits(linear):
    state = {"patch_embed1.proj.weight": torch.zeros(64, 3, 7, 7), "block1.0.mlp.fc1.weight": torch.zeros(256, 64)}
    state |= {"block4.0.attn.sr.weight": torch.zeros(512, 512, 1, 1)} if linear else {}
    assert guess_source(state) == ("whai362_pvt_v2" if linear else "nvlabs")
    assert to_ours(state, "whai362").state.keys() == to_ours(state, "nvlabs").state.keys()


def test_unknown_names_are_answered_with_the_list_of_sources():
    with pytest.raises(ValueError, match=r"layer1\.0\.conv1\.weight.*known sources: .*nvlabs.*densevit.*timm"):
        guess_source({"layer1.0.conv1.weight": torch.ones(1)})
    with pytest.raises(ValueError, match=r"no source named 'nvlab'; did you mean nvlabs"):
        to_ours({}, "nvlab")


def test_half_of_a_pair_is_unexpected():
    theirs = release(backbone(), "huggingface")
    del theirs["encoder.block.0.0.attention.self.value.weight"]
    translation = to_ours(theirs, "huggingface")
    assert translation.unexpected == ["encoder.block.0.0.attention.self.key.weight"]
    assert "backbone.stages.0.blocks.0.attn.kv.weight" not in translation.state


def test_tensors_that_cannot_be_joined_are_named():
    theirs = release(backbone(), "huggingface")
    theirs["encoder.block.0.0.attention.self.value.weight"] = torch.ones(1, 2, 3)
    with pytest.raises(ValueError, match=r"cannot make .*attn\.kv\.weight from .*self\.key\.weight \(32, 32\)"):
        to_ours(theirs, "huggingface")


def test_what_a_release_has_no_place_for_is_not_exported():
    model = segformer(decoder_options=dict(project_norm=True))
    with pytest.raises(ValueError, match=r"nvlabs has no place for decoder\.project_norms"):
        to_theirs(model.state_dict(), "nvlabs")


# The names are those of the peers' own classes.


@pytest.mark.parity
def test_transformers_writes_files_that_load(tmp_path):
    theirs = randomize(transformers_segformer("mit_b0", num_classes=19))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.save_pretrained(tmp_path)
    state, _ = read_checkpoint(tmp_path / "model.safetensors")
    assert any(name.startswith("segformer.encoder.block.") for name in state)
    model = densevit.create_segmentor("mit_b0", "all_mlp", num_classes=19)
    report = load_weights(model, tmp_path / "model.safetensors")
    assert (report.source, report.complete) == ("huggingface_segformer", True)
    assert equal(to_ours(theirs.state_dict(), "huggingface").state, model)
    assert equal(to_theirs(model.state_dict(), "huggingface"), state)


@pytest.mark.parity
def test_the_classifier_of_transformers_loads_into_a_backbone(tmp_path):
    transformers = import_peer("transformers")
    theirs = randomize(transformers.SegformerForImageClassification(transformers.SegformerConfig()))
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    report = load_weights(densevit.create_backbone("mit_b0"), tmp_path / "pytorch_model.bin")
    assert report.ignored == ("classifier.weight", "classifier.bias")


@pytest.mark.parity
@pytest.mark.parametrize("name", ["pvt_v2_b0", "pvt_v2_b2_li"])
def test_a_translated_backbone_loads_into_timm_and_the_released_file_reads_the_same(name, tmp_path):
    timm = import_peer("timm")
    model = backbone(name)
    theirs = timm.create_model(name, num_classes=0)
    theirs.load_state_dict(to_theirs(model.state_dict(), "timm"))
    features_only = timm.create_model(name, features_only=True).state_dict()
    assert to_ours(features_only, "timm").state.keys() == {f"backbone.{n}" for n in model.state_dict()}
    released = to_theirs(model.state_dict(), "whai362")
    filtered = import_peer("timm.models.pvt_v2").checkpoint_filter_fn(released, theirs)
    assert equal(filtered, theirs)


@pytest.mark.parity
def test_a_translated_model_loads_into_mmsegmentation():
    model = segformer(decoder_options=dict(project_norm=True))
    mmseg_segformer(num_classes=19).load_state_dict(to_theirs(model.state_dict(), "mmseg"))


class TwoNumbers(torch.utils.data.Dataset):
    metainfo = dict(classes=("road", "sky"), palette=[[128, 64, 128], [70, 130, 180]])

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return torch.tensor(float(index))


@pytest.mark.parity
def test_a_checkpoint_that_the_runner_of_mmengine_wrote_loads_with_its_meta(tmp_path, monkeypatch):
    import_mmseg()
    from mmengine.registry import DefaultScope
    from mmengine.runner import Runner

    monkeypatch.setattr(DefaultScope, "_instance_dict", OrderedDict())  # a Runner leaves its scope behind

    theirs = mmseg_segformer(num_classes=2)

    def train_step(data, optim_wrapper):
        loss = sum(parameter.square().sum() for parameter in theirs.parameters()) * data.mean()
        optim_wrapper.update_params(loss)
        return dict(loss=loss.detach())

    theirs.train_step = train_step
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Runner(
            model=theirs,
            work_dir=str(tmp_path),
            train_dataloader=torch.utils.data.DataLoader(TwoNumbers(), batch_size=1),
            train_cfg=dict(by_epoch=False, max_iters=2),
            optim_wrapper=dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=1e-3)),
            param_scheduler=[dict(type="PolyLR", begin=0, end=2, by_epoch=False)],
            default_hooks=dict(
                logger=dict(type="LoggerHook", interval=1), checkpoint=dict(type="CheckpointHook", by_epoch=False)
            ),
            log_level="ERROR",
        ).train()
    path = tmp_path / "iter_2.pth"
    needed = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    assert {"builtins.getattr", "mmengine.logging.history_buffer.HistoryBuffer"} <= set(needed)
    model = segformer(num_classes=2, decoder_options=dict(project_norm=True))
    report = load_weights(model, path)
    assert (report.source, report.complete, report.ignored) == ("mmseg_segformer", True, ())
    assert equal(to_ours(theirs.state_dict(), "mmseg").state, model)
    _, meta = read_checkpoint(path)
    assert meta["dataset_meta"] == TwoNumbers.metainfo
