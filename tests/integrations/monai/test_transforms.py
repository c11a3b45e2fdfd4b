"""Scans prepared in MONAI as densevit prepares them, labels restored to the scan's own file, losses and metrics."""

import pickle

import nibabel
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from densevit.decoders import DenseMap
from densevit.losses import create_loss
from densevit.metrics import MeasureOptions, measure, summarize
from densevit.normalization import create_normalization
from densevit.predictor import Predictor
from densevit.volumes.resample import prepare_image
from densevit.volumes.volume import open_volume
from tests.integrations.monai.common import AFFINE, SIZE, VALUES, save_checkpoint, save_scan
from tools.peers import import_peer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
ORIENTATIONS = ("RAS", "LPS", "SAR", "IRP", "ALI", "PSL")
SPACING = (3.0, 2.0, 2.0)
CT = dict(type="ct", low=-400.0, high=500.0, mean=20.0, std=40.0)


@pytest.fixture(scope="module", autouse=True)
def transforms():
    import_peer("monai")
    import_peer("monai.transforms")
    return import_peer("densevit.integrations.monai.transforms")


def load(path, keys=("image",), **options):
    """By our reader, unless monai=True."""
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged

    from densevit.integrations.monai.reader import LoadImageScand

    paths = dict(zip(keys, [path] if len(keys) == 1 else path, strict=True))
    reading = LoadImaged(keys) if options.pop("monai", False) else LoadImageScand(keys, **options)
    return Compose([reading, EnsureChannelFirstd(keys)])(paths)


@pytest.mark.parametrize("own_reader", [True, False])
@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_a_prepared_scan_is_what_densevit_prepares_whatever_the_axes_of_the_file(
    transforms, tmp_path, axes, own_reader
):
    path = save_scan(tmp_path / "scan.nii.gz", axes=axes)
    sample = load(path, monai=not own_reader)
    prepared = transforms.PrepareScand("image", normalization=CT, spacing=SPACING)(sample)["image"]
    volume = open_volume(path)
    expected = prepare_image(volume.image, volume.grid, normalize=create_normalization(CT), spacing=SPACING)
    assert prepared.shape[1:] != volume.grid.size
    assert np.array_equal(prepared.as_tensor().numpy(), expected)


def test_the_affine_of_a_prepared_scan_says_where_its_voxels_lie(transforms, tmp_path):
    """A scan that holds its own position along an axis holds it still after turning and resampling."""
    size, affine = (12, 14, 10), np.diag([2.0, 1.5, 2.5, 1.0])
    affine[:3, 3] = (-7, 3, 11)
    voxels = np.stack([*np.meshgrid(*map(np.arange, size), indexing="ij"), np.ones(size)])
    place = np.tensordot(affine, voxels, 1)[:3].astype(np.float32)
    image = nibabel.Nifti1Image(np.moveaxis(place, 0, -1), affine)
    nibabel.save(image.as_reoriented([[2, -1], [0, 1], [1, -1]]), tmp_path / "place.nii")
    plain = dict(type="ct", low=-1e6, high=1e6, mean=0.0, std=1.0)
    sample = load(tmp_path / "place.nii")
    prepared = transforms.PrepareScand("image", normalization=plain, spacing=(3.0, 2.0, 1.0))(sample)["image"]
    inside = tuple(slice(2, -2) for _ in range(3))
    where = np.stack([*np.meshgrid(*map(np.arange, prepared.shape[1:]), indexing="ij"), np.ones(prepared.shape[1:])])
    expected = np.tensordot(prepared.affine.numpy(), where, 1)[:3]
    assert_close(prepared.as_tensor()[:, *inside].double(), torch.from_numpy(expected[:, *inside]), rtol=0, atol=1e-3)


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_a_mask_by_transforms_and_inferer_is_that_of_densevit_predict_on_the_files_own_grid(transforms, tmp_path, axes):
    from monai.data import DataLoader, Dataset, decollate_batch

    from densevit.integrations.monai.inferer import ScanInferer

    checkpoint = save_checkpoint(tmp_path / "w.safetensors", spacing=SPACING, normalization=CT)
    predictor, path = Predictor(checkpoint), save_scan(tmp_path / "scan.nii.gz", axes=axes)
    prepare = transforms.PrepareScand("image", normalization=CT, spacing=SPACING)
    dataset = Dataset([load(path)], transform=prepare)
    (batch,) = DataLoader(dataset, batch_size=1)
    batch["pred"] = ScanInferer(inference=predictor.inference)(batch["image"], predictor.model)
    (sample,) = decollate_batch(batch)
    restored = transforms.RestoreLabeld("pred", label_values=VALUES)(sample)["pred"]
    volume = open_volume(path)
    expected = volume.on_own_axes(predictor.label(volume))
    assert len(np.unique(expected)) > 1
    assert restored.dtype == torch.uint8
    assert np.array_equal(restored.as_tensor().numpy(), expected[None])
    np.testing.assert_allclose(restored.affine, nibabel.load(path).affine, atol=1e-5)


def test_several_files_are_channels(tmp_path, transforms):
    paths = [save_scan(tmp_path / f"{i}.nii.gz", seed=i, axes="LPS") for i in range(2)]
    sample = load(list(map(str, paths)))
    assert sample["image"].shape[0] == 2
    prepared = transforms.PrepareScand("image")(sample)["image"]
    expected = open_volume(paths)
    assert_close(
        prepared.as_tensor().numpy(), create_normalization(dict(type="zscore"))(expected.image), rtol=0, atol=0
    )


def test_what_densevit_refuses_the_reader_refuses(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.float32), np.eye(4))
    image.set_sform(np.diag([2, 2, 2, 1]), code="scanner")
    image.set_qform(np.eye(4), code="scanner")
    nibabel.save(image, tmp_path / "twice.nii")
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        load(tmp_path / "twice.nii")
    assert "disagrees with itself" in str(caught.value.__cause__)
    assert load(tmp_path / "twice.nii", geometry="sform")["image"].affine[0, 0] == 2


@pytest.mark.parametrize("axes", ORIENTATIONS[:3])
def test_a_prepared_label_lies_on_its_prepared_scan_and_holds_class_numbers(transforms, tmp_path, axes):
    image = save_scan(tmp_path / "scan.nii.gz", axes=axes)
    label = save_scan(tmp_path / "label.nii.gz", axes="SAR", label=True)
    sample = load((image, label), keys=("image", "label"))
    sample = transforms.PrepareScand("image", spacing=SPACING)(sample)
    both = transforms.PrepareLabeld("label", label_values=VALUES, spacing=SPACING)(sample)
    assert both["label"].shape == both["image"].shape
    np.testing.assert_allclose(both["label"].affine, both["image"].affine, atol=1e-5)
    assert set(both["label"].unique().tolist()) == {0, 1, 2}
    own = transforms.PrepareLabeld("label", label_values=VALUES, resample=False)(sample)["label"]
    stored = np.asarray(nibabel.load(label).dataobj)
    assert np.array_equal(np.array(VALUES)[own.as_tensor().numpy()[0]], stored)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(affine=AFFINE + np.outer([0, 0, 3, 0], [0, 0, 0, 1])), r"lies up to 3 mm"),
        (dict(size=(24, 22, 25)), r"25 x 22 x 24 voxels and its image .* 26 x 22 x 24"),
    ],
)
def test_a_label_that_does_not_lie_on_its_scan_is_refused(transforms, tmp_path, change, said):
    image = save_scan(tmp_path / "scan.nii.gz")
    label = save_scan(tmp_path / "label.nii.gz", label=True, **change)
    sample = transforms.PrepareScand("image")(load((image, label), keys=("image", "label")))
    with pytest.raises(ValueError, match=said):
        transforms.PrepareLabeld("label", label_values=VALUES)(sample)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (5, r"label\.nii\.gz holds 5, and the labels are 0 \(0\), 2 \(2\), 7 \(7\)"),
        (0.5, "holds 0.5, and labels are whole"),
    ],
)
def test_a_label_with_other_values_is_refused(transforms, tmp_path, values, said):
    image = save_scan(tmp_path / "scan.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.full(SIZE, values, np.float32), AFFINE), tmp_path / "label.nii.gz")
    sample = load((image, tmp_path / "label.nii.gz"), keys=("image", "label"))
    sample = transforms.PrepareScand("image")(sample)
    with pytest.raises(ValueError, match=said):
        transforms.PrepareLabeld("label", label_values=VALUES)(sample)


def test_voxels_that_are_no_number_are_refused(transforms, tmp_path):
    values = np.zeros(SIZE, np.float32)
    values[0, 0, 0] = np.nan
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), tmp_path / "scan.nii.gz")
    with pytest.raises(ValueError, match=r"scan\.nii\.gz holds 1 voxels that are no finite number"):
        transforms.PrepareScand("image")(load(tmp_path / "scan.nii.gz", monai=True))


def test_steps_that_are_missing_are_named(transforms, tmp_path):
    from densevit.integrations.monai.inferer import ScanInferer

    with pytest.raises(ValueError, match=r"expected 'image' to be a MetaTensor .* put LoadImaged"):
        transforms.PrepareScand("image")(dict(image=torch.zeros(1, 4, 4, 4)))
    sample = load(save_scan(tmp_path / "scan.nii.gz"))
    with pytest.raises(ValueError, match="'image' is no scan that PrepareScand prepared"):
        transforms.RestoreLabeld("pred")(dict(image=sample["image"], pred=sample["image"]))
    with pytest.raises(ValueError, match="the images are no scans that PrepareScand prepared"):
        ScanInferer()(sample["image"][None], lambda x: x)
    prepared = transforms.PrepareScand("image", spacing=SPACING)(sample)
    with pytest.raises(ValueError, match=r"'pred' has .* voxels on the axes of its scan.*ScanInferer"):
        transforms.RestoreLabeld("pred")(dict(image=prepared["image"], pred=prepared["image"]))


def test_scans_of_two_sizes_are_not_one_batch(transforms, tmp_path):
    from monai.data import DataLoader, Dataset

    from densevit.integrations.monai.inferer import ScanInferer

    paths = [
        save_scan(tmp_path / f"{n}.nii.gz", size=(n, 8, 8), affine=np.diag([24 / n, 2.0, 3.0, 1.0])) for n in (8, 12)
    ]
    data = [load(path) for path in paths]
    (batch,) = DataLoader(Dataset(data, transforms.PrepareScand("image", spacing=SPACING)), batch_size=2)
    with pytest.raises(ValueError, match=r"\(8, 8, 8\) and \(8, 8, 12\) voxels of their own.*set batch_size=1"):
        ScanInferer()(batch["image"], lambda x: x)


def test_scans_of_one_size_are_one_batch_and_a_scan_with_uncollated_meta_is_too(transforms, tmp_path):
    from monai.data import DataLoader, Dataset

    from densevit.integrations.monai.inferer import ScanInferer

    predictor = Predictor(save_checkpoint(tmp_path / "w.safetensors"))
    paths = [save_scan(tmp_path / f"{i}.nii.gz", axes=axes, seed=i) for i, axes in enumerate(("RAS", "LPS"))]
    prepare = transforms.PrepareScand("image", normalization=predictor.header.normalization)
    samples = [prepare(load(path)) for path in paths]
    (batch,) = DataLoader(Dataset(samples), batch_size=2)
    inferer = ScanInferer(inference=predictor.inference)
    together = inferer(batch["image"], predictor.model)
    alone = [inferer(sample["image"][None], predictor.model) for sample in samples]
    assert torch.equal(together.as_tensor(), torch.cat([x.as_tensor() for x in alone]))
    values = np.array(VALUES)
    for path, label in zip(paths, together.as_tensor().numpy(), strict=True):
        assert np.array_equal(values[label[0]], predictor.label(path))


def test_transforms_go_to_the_workers_of_a_loader(transforms, tmp_path):
    from densevit.integrations.monai.inferer import ScanInferer
    from densevit.integrations.monai.reader import LoadImageScand

    sample = load(save_scan(tmp_path / "scan.nii.gz"))
    prepare = transforms.PrepareScand("image", normalization=CT, spacing=SPACING)
    again = pickle.loads(pickle.dumps(prepare))
    assert torch.equal(again(sample)["image"].as_tensor(), prepare(sample)["image"].as_tensor())
    for other in (
        transforms.PrepareLabeld("label", label_values=VALUES),
        transforms.RestoreLabeld("pred"),
        ScanInferer(),
        LoadImageScand("image"),
    ):
        assert type(pickle.loads(pickle.dumps(other))) is type(other)


def test_the_loss_is_the_sum_of_ours_on_labels_with_a_channel():
    from densevit.integrations.monai.losses import SegmentationLoss

    logits, label = torch.randn(2, 3, 6, 7, 8, requires_grad=True), torch.randint(0, 3, (2, 1, 6, 7, 8)).float()
    label[0, 0, 0] = 255
    config = [dict(type="cross_entropy", weight=0.5), dict(type="dice")]
    loss = SegmentationLoss(config)(logits, label)
    expected = sum(create_loss(config)(DenseMap(logits), label[:, 0].long()).values())
    assert_close(loss, expected)
    loss.backward()
    assert logits.grad.abs().sum() > 0
    with pytest.raises(ValueError, match=r"expected a label \(B, 1, \*S\) of class numbers"):
        SegmentationLoss()(logits, torch.zeros(2, 3, 6, 7, 8))


def test_the_metric_is_our_dice_of_each_case_and_agrees_with_monais():
    from monai.metrics import DiceMetric

    from densevit.integrations.monai.metrics import CaseDiceMetric

    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 3, (3, 1, 5, 6, 7), generator=generator)
    label[2] = label[2].clamp(max=1)  # a case without class 2
    logits = torch.randn(3, 4, 5, 6, 7, generator=generator)
    logits[:, 3] = -9  # a class that is nowhere
    ours, theirs = CaseDiceMetric(4, reduction="classes"), DiceMetric(include_background=False, reduction="none")
    one_hot = torch.nn.functional.one_hot
    prediction = logits.argmax(1, keepdim=True)
    ours(logits, label)
    ours(list(prediction[:1]), list(label[:1]))
    theirs(*(one_hot(x[:, 0], 4).movedim(-1, 1) for x in (prediction, label)))
    rows = theirs.aggregate()
    pairs = zip([*prediction, prediction[0]], [*label, label[0]], strict=True)
    cases = (measure(*pair, "abcd", None, MeasureOptions(metrics=()), case=str(i)) for i, pair in enumerate(pairs))
    exact = summarize([record for case in cases for record in case])
    expected = torch.tensor([exact.row("dice", name).mean for name in "bcd"])
    assert_close(ours.aggregate().float(), expected, rtol=0, atol=1e-6, equal_nan=True)
    mine = CaseDiceMetric(4, reduction="classes")(logits, label)
    known = ~rows.isnan()  # MONAI leaves out a class without truth, ours counts it as 0 where it was predicted
    assert_close(mine[known], rows[known], rtol=0, atol=1e-6)
    assert mine[2, 1] == 0
    assert mine[:, 2].isnan().all()
    assert CaseDiceMetric(4)(prediction, label).shape == (3, 3)


def test_the_metric_takes_all_cases_until_it_is_reset():
    from densevit.integrations.monai.metrics import CaseDiceMetric

    metric, label = CaseDiceMetric(2), torch.tensor([[[[0, 1, 1, 255]]]])
    metric(torch.tensor([[[[0, 1, 1, 0]]]]), label)
    metric(torch.tensor([[[[1, 1, 0, 0]]]]), label)
    assert_close(metric.aggregate(), torch.tensor(0.75, dtype=torch.float64))
    metric.reset()
    metric(torch.tensor([[[[0, 1, 1, 0]]]]), label)
    assert metric.aggregate() == 1
