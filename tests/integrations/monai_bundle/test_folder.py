"""What is read of a bundle, what of it is refused, and that nothing of it is run."""

import json
import re
import shutil

import pytest
import torch

from densevit.checkpoint import open_checkpoint
from densevit.export.monai_bundle import export_monai_bundle
from densevit.integrations.monai_bundle import import_monai_bundle
from densevit.integrations.monai_bundle.config import BundleConfig
from tests.integrations.monai.common import save_checkpoint
from tests.integrations.monai_bundle.bundles import (
    ARGMAX,
    INVERT,
    NETWORK,
    ORIENTATION,
    RANGE,
    SOFTMAX,
    SPACING,
    WINDOWS,
    make_configs,
    make_network,
    write_bundle,
)
from tools.peers import import_peer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module", autouse=True)
def monai():
    return import_peer("monai")


def imported(folder, *, configs=None, state=None, network=None, **changes):
    bundle = write_bundle(
        folder / "bundle", *(configs or make_configs(**changes)), network=network or make_network(), state=state
    )
    return open_checkpoint(import_monai_bundle(bundle, folder / "imported"))


def test_a_checkpoint_says_what_the_configs_say(tmp_path):
    header = imported(tmp_path).header
    options = dict(channels=[4, 8], strides=[2], norm="batch")
    described = dict(backbone="monai.UNet", decoder=None, spatial_dims=3, in_channels=1, num_classes=3)
    assert header.model == {**described, "backbone_options": options}
    assert header.classes == ("background", "spleen", "kidney")
    assert header.modality == ("CT",)
    assert (header.normalization["type"], header.normalization["low"], header.normalization["high"]) == (
        "window",
        -300,
        400,
    )
    assert (header.inference.mode, header.inference.roi_size) == ("slide_monai", (16, 16, 16))
    assert header.inference.stride == (12, 12, 12)
    assert header.scans.spacing == (1.8, 0.9, 2.7)
    assert (header.scans.axes, header.scans.order, header.scans.align) == ("standard", (2, 1, 0), "origin")
    assert (header.scans.first, header.scans.restored) == ("spacing", "probabilities")
    assert header.more["monai_bundle"] == dict(name="spleen_ct", version="0.5.1")


def test_weights_may_lie_under_a_key_behind_a_parallel_prefix_or_in_torchscript(tmp_path):
    network = make_network()
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    of_ignite = imported(tmp_path / "ignite", state=dict(model=state, epoch=torch.tensor(3)))
    bundle = write_bundle(tmp_path / "bundle", *make_configs(), network=network)
    (bundle / "models" / "model.pt").unlink()
    torch.jit.save(torch.jit.trace(network, torch.zeros(1, 1, 8, 8, 8)), bundle / "models" / "model.ts")
    scripted = open_checkpoint(import_monai_bundle(bundle, tmp_path / "scripted"))
    for name, tensor in network.state_dict().items():
        assert torch.equal(of_ignite.tensors[f"backbone.network.{name}"], tensor)
        assert torch.equal(scripted.tensors[f"backbone.network.{name}"], tensor)


def test_configs_in_yaml_are_read(tmp_path):
    yaml = pytest.importorskip("yaml")
    bundle = write_bundle(tmp_path / "bundle", *make_configs(), network=make_network())
    path = bundle / "configs" / "inference.json"
    path.with_suffix(".yaml").write_text(yaml.safe_dump(json.loads(path.read_text())))
    path.unlink()
    assert open_checkpoint(import_monai_bundle(bundle, tmp_path / "new")).header.classes[1] == "spleen"


@pytest.mark.parametrize("trained_on", [False, True])
def test_a_bundle_that_densevit_exported_gives_its_checkpoint_with_the_weights_of_model_pt(trained_on, tmp_path):
    before = open_checkpoint(save_checkpoint(tmp_path / "run" / "weights.safetensors", spacing=[2.0, 1.5, 1.5]))
    bundle = export_monai_bundle(tmp_path / "run", tmp_path / "bundle", torchscript=False)
    tensors = dict(before.tensors)
    if trained_on:  # MONAI's training writes model.pt alone
        tensors = {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
        torch.save(tensors, bundle / "models" / "model.pt")
    after = open_checkpoint(import_monai_bundle(bundle, tmp_path / "again"))
    assert after.header == before.header
    assert tensors.keys() == after.tensors.keys()
    assert all(torch.equal(tensor, after.tensors[name]) for name, tensor in tensors.items())


CODE = "of a bundle no code is run"
BEFORE = dict(
    code=(
        ORIENTATION | dict(axcodes="$__import__('os').getcwd()"),
        "preprocessing#2#axcodes is the expression .*" + CODE,
    ),
    call=(SPACING | dict(pixdim="$[abs(1), 1, 1]"), r"is the expression '\$\[abs\(1\), 1, 1\]', and " + CODE),
    crop=(dict(_target_="CropForegroundd", keys="image"), "preprocessing#2 is CropForegroundd, and a checkpoint says"),
    function=(
        dict(_target_="Lambdad", keys="image", func="$lambda x: x"),
        "is Lambdad, and a checkpoint says Orientation",
    ),
    own=(dict(_target_="scripts.mine.Prepare"), "preprocessing#2 is Prepare, and a checkpoint says"),
    axes=(ORIENTATION | dict(axcodes="RAX"), "whose axcodes are 'RAX', and three letters such as RAS are expected"),
    mode=(SPACING | dict(mode="nearest"), "Spacingd, whose mode is 'nearest', and scans are resampled linearly here"),
    extent=(SPACING | dict(scale_extent=True), "Spacingd, whose scale_extent is True, and only False is known here"),
    range=(RANGE | dict(a_max=-300), "from -300 to -300 .* and two rising ranges are expected"),
    scale=(dict(_target_="ScaleIntensityd", keys="image", maxv=255), "whose maxv is 255, and only 1.0 or 1 is known"),
    missing=(dict(_target_="Spacingd", pixdim="@pixdim"), "pixdim refers to @pixdim, which is not in the file"),
)


@pytest.mark.parametrize("name", BEFORE)
def test_a_transform_that_no_checkpoint_says_is_named(name, tmp_path):
    transform, said = BEFORE[name]
    with pytest.raises(ValueError, match=said) as caught:
        imported(tmp_path, before=[transform])
    assert "\n" not in str(caught.value)


OTHERS = dict(
    twice=(dict(before=[RANGE, RANGE]), "ScaleIntensityRanged, and one before it changes intensities too"),
    late=(dict(before=[SPACING, ORIENTATION]), "Orientationd, which comes after Spacing"),
    sigmoid=(
        dict(after=[dict(_target_="Activationsd", keys="pred", sigmoid=True)]),
        "each channel is a mask of its own",
    ),
    threshold=(dict(after=[dict(_target_="AsDiscreted", keys="pred", threshold=0.5)]), "AsDiscreted, without argmax"),
    after=(dict(after=[dict(_target_="MeanEnsembled", keys="pred")]), "MeanEnsembled, which is not known here, after"),
    slices=(dict(inferer=dict(_target_="SliceInferer", roi_size=[8, 8])), "inferer is SliceInferer, and SlidingWindow"),
    roi=(dict(inferer=WINDOWS | dict(roi_size=[16, 16, -1])), r"whose roi_size is \[16, 16, -1\]"),
    padding=(
        dict(inferer=WINDOWS | dict(padding_mode="reflect")),
        "whose padding_mode is 'reflect', and only 'constant'",
    ),
    network=(
        dict(network_def=NETWORK | dict(_target_="UNett")),
        "network_def is the network 'UNett'; did you mean UNet",
    ),
    package=(dict(network_def=NETWORK | dict(_target_="scripts.UNet")), "UNet, of scripts, and " + CODE),
    requires=(dict(network_def=NETWORK | dict(_requires_="$print(1)")), "UNet, which has _requires_, and " + CODE),
    pictures=(
        dict(network_def=NETWORK | dict(spatial_dims=2)),
        r"of pictures \(spatial_dims=2\), and bundles of scans",
    ),
    keyword=(dict(network_def=NETWORK | dict(channel=3)), "network_def has 'channel'; did you mean channels"),
    channels=(dict(network_def=NETWORK | dict(in_channels=2)), "says 1 channels of its inputs, and the network has 2"),
    itself=(dict(roi_size="@inner", inner="@roi_size"), "refers to itself"),
)


@pytest.mark.parametrize("name", OTHERS)
def test_what_else_no_checkpoint_says_is_named(name, tmp_path):
    changes, said = OTHERS[name]
    with pytest.raises(ValueError, match=said) as caught:
        imported(tmp_path, **changes)
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_and_missing_files_are_told(tmp_path):
    with pytest.raises(
        ValueError, match=r"model.pt holds another network than network_def says: \S+ is 8x1x3x3x3, and 4x"
    ):
        imported(tmp_path / "a", network=make_network(channels=[8, 8]))
    with pytest.raises(ValueError, match=r"model.pt holds no state dict of a network"):
        imported(tmp_path / "b", state=dict(epoch=3))
    bundle = tmp_path / "a" / "bundle"
    shutil.rmtree(bundle / "models")
    with pytest.raises(FileNotFoundError, match=r"has no model.pt and no model.ts; fetch the bundle with its weights"):
        import_monai_bundle(bundle, tmp_path / "new")
    (bundle / "configs" / "metadata.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no configs/metadata.json or .yaml; give the folder of a MONAI"):
        import_monai_bundle(bundle, tmp_path / "new")
    assert not (tmp_path / "new").exists()


NEAREST = INVERT | dict(nearest_interp=True)
LARGEST = dict(_target_="KeepLargestConnectedComponentd", keys="pred")


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ((SOFTMAX, NEAREST, ARGMAX), "borders differ by less than one of its voxels"),
        ((ARGMAX,), "the bundle has no Invertd, and its masks have other voxels than its scans"),
        ((SOFTMAX, INVERT), "writes what its network gives; label maps of the most probable class are written here"),
        ((SOFTMAX, INVERT, ARGMAX, LARGEST), "KeepLargestConnectedComponentd is not kept .* --largest-component"),
    ],
    ids=["nearest", "no inverse", "no argmax", "component"],
)
def test_what_differs_is_warned_of(after, said, tmp_path, caplog):
    imported(tmp_path, after=after)
    assert len(caplog.records) == 1
    assert caplog.records[0].levelname == "WARNING"
    assert re.search(said, caplog.records[0].getMessage())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$2 * @a + 1", 7),
        ("$-@b#1 / 4", -2.0),
        ("@b::0", 4),
        ("%b", [4, 8]),
        ("$@b + [1.5, None]", [4, 8, 1.5, None]),
        ("$@c + '/models'", "here/models"),
        ("$7 // 2 % 2", 1),
        ("a@b.c", "a@b.c"),
    ],
)
def test_arithmetic_of_numbers_and_references_is_read(text, value, tmp_path):
    config = BundleConfig(dict(a=3, b=[4, "$@a + 5"], c="here"), tmp_path)
    assert config.value(text, where="text") == value


@pytest.mark.parametrize(
    "text",
    ["$print(1)", "$@a.real", "$(1).real", "$a", "$[x for x in @b]", "$2 ** 9", "$'a' * 9", "$@a if 1 else 2", "$@b[0]",
     "$1 / 0", "$import os", "$lambda: 1", "$f'{1}'", "$1 < 2", "$not True"],
)  # fmt: skip
def test_everything_else_is_code_and_refused_with_its_text(text, tmp_path):
    with pytest.raises(ValueError, match=CODE) as caught:
        BundleConfig(dict(a=3, b=[4]), tmp_path).value(text, where="entry")
    assert text.replace("'", "") in str(caught.value).replace("'", "").replace("\\", "").replace('"', "")
