"""One picture in, its label map out."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import densevit
from densevit.inference import InferenceOptions
from densevit.normalization import MEAN_STD, create_normalization
from densevit.predictor import Prediction, Predictor
from densevit.predictor.labels import fit_size, label_image
from densevit.predictor.pictures import LargePicture
from densevit.weights import save_weights
from tests.checkpoints import save_tiny_checkpoint
from tests.predictor.common import make_photo, save_photo


@pytest.mark.parametrize("size", [(33, 48), (64, 64), (75, 93)], ids=str)
def test_a_label_map_has_the_size_of_the_picture(predictor, size):
    prediction = predictor(make_photo(size))
    assert isinstance(prediction, Prediction)
    assert prediction.label.shape == size
    assert prediction.label.dtype == np.uint8
    assert prediction.logits.shape == (19, *size)
    assert len(np.unique(prediction.label)) > 1


def test_a_path_and_its_pixels_give_the_same_label(predictor, tmp_path):
    path = save_photo(tmp_path / "a.png")
    assert np.array_equal(predictor(path).label, predictor(make_photo()).label)
    assert np.array_equal(predictor(str(path)).label, predictor(make_photo()).label)


def test_the_label_is_what_the_model_says_of_the_normalised_picture(predictor):
    photo = make_photo()
    image = (torch.from_numpy(photo).permute(2, 0, 1) - torch.tensor(cityscapes_mean())) / torch.tensor(
        cityscapes_std()
    )
    with torch.inference_mode():
        whole = F.pad(image.float(), [n for size in (image.shape[2], image.shape[1]) for n in (0, -size % 32)])
        expected = predictor.model(whole[None])[0, :, : photo.shape[0], : photo.shape[1]].argmax(0)
    assert np.array_equal(predictor(photo).label, expected.numpy())


def cityscapes_mean():
    return np.array([123.675, 116.28, 103.53], np.float32).reshape(3, 1, 1)


def cityscapes_std():
    return np.array([58.395, 57.12, 57.375], np.float32).reshape(3, 1, 1)


def test_the_header_says_how_to_predict_and_arguments_override_it(tmp_path):
    inference = dict(mode="slide", roi_size=[32, 32], stride=[16, 16], batch_size=2)
    path = save_tiny_checkpoint(tmp_path / "weights.safetensors", inference=inference)
    expected = InferenceOptions(mode="slide", roi_size=(32, 32), stride=(16, 16), batch_size=2)
    assert Predictor(path).inference == expected
    whole = Predictor(path, mode="whole")
    assert whole.inference.mode == "whole"
    photo = make_photo((64, 64))
    assert not torch.equal(Predictor(path)(photo).logits, whole(photo).logits)


def test_one_window_as_large_as_the_picture_is_the_whole_picture(checkpoint, predictor):
    photo = make_photo((64, 64))
    slide = Predictor(checkpoint, mode="slide", roi_size=64, stride=64)
    torch.testing.assert_close(slide(photo).logits, predictor(photo).logits)


def test_flips_make_the_prediction_of_a_mirrored_picture_the_mirrored_prediction(checkpoint):
    flipping = Predictor(checkpoint, flips=(-1,))
    photo = make_photo((64, 96))
    mirrored = flipping(np.ascontiguousarray(photo[:, ::-1])).logits.flip(-1)
    torch.testing.assert_close(mirrored, flipping(photo).logits, atol=1e-4, rtol=0)


def test_a_checkpoint_is_found_in_its_folder(checkpoint, predictor):
    assert np.array_equal(Predictor(checkpoint.parent)(make_photo()).label, predictor(make_photo()).label)


def test_bf16_predicts_nearly_what_fp32_does(checkpoint, predictor):
    photo = make_photo((64, 96))
    assert np.mean(Predictor(checkpoint, amp="bf16")(photo).label == predictor(photo).label) > 0.9


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (dict(amp="half"), "amp must be one of bf16, fp16 or None"),
        (dict(device="gpu"), "no device named 'gpu'"),
        (dict(device="cuda:99"), "not on this machine"),
        (dict(mode="slide"), "needs the size of its windows"),
        (dict(mode="slide", roi_size=32, stride=64), "stride must be"),
        (dict(flips=(5,)), "flips must name spatial axes"),
        (dict(scales=(0.0,)), "scales must be positive"),
        (dict(scales=(float("inf"),)), "scales must be positive"),
        (dict(scales=1.0), "scales must be a list of numbers, got 1.0"),
        (dict(roi_size=32), "roi_size belongs to modes 'slide'"),
    ],
    ids=str,
)
def test_a_wrong_option_is_told(checkpoint, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Predictor(checkpoint, **options)


@pytest.mark.parametrize(
    "picture",
    [make_photo().astype(np.float32), make_photo()[..., 0], make_photo()[:0], torch.zeros(3, 8, 8)],
    ids=["float", "grey", "empty", "tensor"],
)
def test_a_thing_that_is_no_picture_is_told(predictor, picture):
    with pytest.raises(ValueError, match=r"expected a path, .* or a uint8 RGB array"):
        predictor(picture)


def test_a_missing_checkpoint_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        Predictor(tmp_path / "none.safetensors")


def test_weights_without_description_are_told(tmp_path):
    model = densevit.create_backbone("mit_b0")
    save_weights(model, tmp_path / "weights.safetensors", config={})
    with pytest.raises(ValueError, match="not the description of their model"):
        Predictor(tmp_path / "weights.safetensors")


def test_a_checkpoint_of_another_framework_is_told(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"model\.pth .*tools/convert_weights\.py"):
        Predictor(tmp_path / "model.pth")


def test_weights_that_do_not_fit_their_own_description_are_told(tmp_path):
    path = save_tiny_checkpoint(tmp_path / "weights.safetensors")
    state, header = densevit.weights.read_weights(path)
    header["model"]["decoder_options"] = dict(dim=8)
    save_weights(state, path, config=header)
    with pytest.raises(ValueError, match="its decoder has dim=16, the model's dim=8"):
        Predictor(path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (dict(classes=["road"]), "classes has 1 entries, for 19 outputs of the model"),
        (dict(palette=[[1, 2, 3]]), "palette has 1 entries, for 19 outputs of the model"),
        (dict(palette=[[1, 2, 300]] * 19), "not a colour"),
        (dict(classes=5), "classes must be a list of texts or None, got 5"),
        (dict(model=dict(backbone="mit_b0", decoder="all_mlp", num_classes="19")), "num_classes must be a whole"),
        (dict(model=dict(backbone="mit_b0", decoder="all_mlp", num_classes=19, depth=3)), "unknown key 'model.depth'"),
        (dict(inference=dict(window=3)), "unknown key 'inference.window'"),
        (dict(normalization=dict(std=[0, 1, 1])), "as many deviations above 0"),
        (dict(normalization=dict(avg=[0, 1, 1])), "has no .avg."),
    ],
    ids=str,
)
def test_a_description_that_cannot_be_used_is_told_with_the_file(tmp_path, changes, sentence):
    path = save_tiny_checkpoint(tmp_path / "weights.safetensors")
    state, header = densevit.weights.read_weights(path)
    save_weights(state, path, config={**header, **changes})
    with pytest.raises(ValueError, match=sentence) as caught:
        Predictor(path)
    assert "\n" not in str(caught.value)


def test_an_answer_that_is_no_number_is_told_and_not_taken_for_class_0(tmp_path):
    path = save_tiny_checkpoint(tmp_path / "weights.safetensors")
    state, header = densevit.weights.read_weights(path)
    save_weights({**state, "head.bias": torch.full_like(state["head.bias"], 3e38)}, path, config=header)
    predictor = Predictor(path)
    predictor.model.head.register_forward_hook(lambda _, __, logits: logits * 2 - logits * 3)  # infinity less infinity
    with pytest.raises(ValueError, match="not a number"):
        predictor(make_photo())


def test_a_checkpoint_of_volumes_simply_works(tmp_path):
    path = save_tiny_checkpoint(tmp_path / "weights.safetensors", num_classes=2, spatial_dims=3, in_channels=1)
    scan = torch.rand(1, 20, 24, 28, generator=torch.Generator().manual_seed(0))
    prediction = Predictor(path)(scan)
    assert prediction.label.shape == (20, 24, 28)
    assert np.array_equal(prediction.label, prediction.logits.argmax(0).numpy())
    assert np.array_equal(prediction.label, Predictor(path).label(scan[0].numpy()))


def test_a_base_size_predicts_the_picture_at_that_scale_and_answers_at_its_own(tmp_path, predictor):
    path = save_tiny_checkpoint(tmp_path / "weights.safetensors", inference=dict(mode="whole", base_size=[64, 96]))
    prediction = Predictor(path)(make_photo((40, 30)))  # 85 x 64 touches the box
    image = torch.from_numpy(create_normalization(MEAN_STD)(make_photo((40, 30)).transpose(2, 0, 1)))[None]
    enlarged = torch.nn.functional.interpolate(image, size=(85, 64), mode="bilinear")
    logits = torch.nn.functional.interpolate(predictor.logits(enlarged[0])[None], size=(40, 30), mode="bilinear")
    torch.testing.assert_close(prediction.logits, logits[0])


@pytest.mark.parametrize(
    ("size", "box", "fitted"),
    [
        ((512, 683), (512, 2048), (512, 683)),
        ((100, 50), (512, 2048), (1024, 512)),
        ((10, 4000), (512, 2048), (5, 2048)),
    ],
)
def test_the_long_side_fits_the_long_side_and_the_short_the_short(size, box, fitted):
    assert fit_size(size, box) == fitted


@pytest.mark.parametrize("mode", ["slide", "slide_gaussian", "whole"])
@pytest.mark.parametrize("options", [{}, dict(flips=(-1,))], ids=str)
def test_the_label_alone_is_that_of_the_whole_prediction(checkpoint, mode, options):
    windows = {} if mode == "whole" else dict(roi_size=(32, 48), stride=(20, 24))
    predictor, photo = Predictor(checkpoint, mode=mode, **windows, **options), make_photo((75, 133))
    assert np.array_equal(predictor.label(photo), predictor(photo).label)


def test_a_long_picture_is_predicted_in_little_memory_and_the_plan_is_said(checkpoint, caplog):
    photo = make_photo((64, 640))
    windows = dict(mode="slide", roi_size=(64, 64), stride=(64, 48))
    expected = Predictor(checkpoint, **windows).label(photo)
    with caplog.at_level("INFO", "densevit"):
        result = Predictor(checkpoint, **windows, max_memory="1GB").label(photo)
    assert np.array_equal(result, expected)
    assert "13 windows of 64 x 64 on 64 x 640, 19 classes" in caplog.text
    with pytest.raises(ValueError, match="max_memory is 10 kB, and this takes"):
        Predictor(checkpoint, **windows, max_memory="10kB").label(photo)


@pytest.mark.parametrize("options", [{}, dict(mode="slide", roi_size=32, flips=(-1,))], ids=str)
def test_memory_is_bounded_however_a_picture_is_seen(checkpoint, options):
    with pytest.raises(ValueError, match="max_memory is 10 kB, and this takes"):
        Predictor(checkpoint, **options, max_memory="10kB").label(make_photo((64, 96)))


LARGE_WAYS = [
    dict(mode="slide", roi_size=(32, 32), stride=(24, 20)),
    dict(mode="slide_gaussian", roi_size=(48, 32), flips=(-1,)),
    dict(mode="whole"),
    dict(mode="whole", base_size=(64, 96)),
]


@pytest.mark.parametrize("inference", LARGE_WAYS, ids=str)
def test_a_large_picture_gets_the_same_labels(checkpoint, monkeypatch, inference):
    """Its windows become float32 one after the other, not the picture as a whole."""
    predictor, photo = Predictor(checkpoint, **inference), make_photo((75, 93))
    usual = predictor(photo)
    monkeypatch.setattr("densevit.predictor.pictures.LARGE", 0)
    large = predictor(photo)
    assert np.array_equal(large.label, usual.label)
    assert torch.equal(large.logits, usual.logits)


def test_of_a_large_picture_a_few_rows_are_float_at_a_time(checkpoint):
    class Counted:
        rows = []

        def of(self, image):
            return self

        def __call__(self, part):
            self.rows.append(part.shape[1])
            return part.astype(np.float32)

    image = make_photo((300, 40)).transpose(2, 0, 1)
    options = InferenceOptions(mode="slide", roi_size=(32, 32), stride=(32, 32))
    model = Predictor(checkpoint).model
    got = label_image(model, LargePicture(image, Counted()), options=options)
    assert np.array_equal(got, label_image(model, torch.from_numpy(image.astype(np.float32)), options=options))
    assert sum(Counted.rows) == 300
    assert max(Counted.rows) <= 64
