"""The baseline of the commonest class at each place."""

import nibabel
import numpy as np
import pytest
import torch

from densevit.data.case import Case
from densevit.data.volume_set import VolumeDataset
from densevit.quickstart.atlas import apply_atlas, atlas_scores, body_box, make_atlas


def body(size, box, organ):
    """A bright box with an organ that fills the given shares of it: image and label (D, H, W)."""
    image, label = np.full(size, -1000, np.int16), np.zeros(size, np.uint8)
    (h0, h1), (w0, w1) = box
    image[:, h0:h1, w0:w1] = 50
    place = [slice(round(a * n), round(b * n)) for (a, b), n in zip(organ, (size[0], h1 - h0, w1 - w0), strict=True)]
    label[:, h0:h1, w0:w1][tuple(place)] = 1
    return image, label


@pytest.fixture
def dataset_of(tmp_path):
    def make(*cases):
        listed = []
        for image, label in cases:
            name = len(list(tmp_path.iterdir()))
            for kind, values in (("image", image), ("label", label)):
                nibabel.save(nibabel.Nifti1Image(values.transpose(2, 1, 0), np.eye(4)), tmp_path / f"{name}{kind}.nii")
            listed.append(Case((str(tmp_path / f"{name}image.nii"),), str(tmp_path / f"{name}label.nii")))
        return VolumeDataset(listed, classes=["background", "organ"], label_values=[0, 1])

    return make


ORGAN = ((0.25, 0.75), (0.5, 0.75), (0.25, 0.5))


def test_the_box_of_the_body_is_found_where_the_scan_is_bright():
    image, _ = body((8, 40, 60), ((10, 30), (12, 48)), ORGAN)
    depth, height, width = body_box(image[None].astype(np.float32))
    assert depth == (0.0, 1.0)
    assert np.allclose(height, (0.25, 0.75), atol=0.03)
    assert np.allclose(width, (0.2, 0.8), atol=0.03)


def test_bodies_that_differ_in_place_and_size_alone_are_known_by_their_atlas(dataset_of):
    train = dataset_of(body((16, 40, 60), ((4, 36), (4, 52)), ORGAN), body((16, 40, 60), ((8, 40), (10, 58)), ORGAN))
    val = dataset_of(body((24, 64, 64), ((0, 64), (16, 64)), ORGAN))
    scores = atlas_scores(train, val)
    assert scores.case_dice[1] > 0.9
    assert scores.dice[1] == pytest.approx(scores.case_dice[1])


def test_the_atlas_answers_what_most_bodies_have(dataset_of):
    left, right = ((0, 1), (0, 1), (0, 0.5)), ((0, 1), (0, 1), (0.5, 1))
    cases = [body((8, 20, 20), ((0, 20), (2, 18)), organ) for organ in (left, left, right)]
    label = apply_atlas(make_atlas(dataset_of(*cases)), ((0, 1), (0, 1), (0, 1)), size=(8, 20, 20))
    assert (label[:, :, 1:9] == 1).all()
    assert (label[:, :, 11:19] == 0).all()


def test_outside_the_box_is_background():
    votes = torch.zeros(2, 48, 48, 48)
    votes[1] = 1
    label = apply_atlas(votes, ((0, 1), (0.5, 1), (0, 0.25)), size=(4, 8, 8))
    assert label.sum() == 4 * 4 * 2
    assert (label[:, 4:, :2] == 1).all()


def test_an_organ_that_is_never_where_it_was_has_a_dice_of_nothing(dataset_of):
    train = dataset_of(body((8, 20, 20), ((0, 20), (2, 18)), ((0, 1), (0, 1), (0, 0.4))))
    val = dataset_of(body((8, 20, 20), ((0, 20), (2, 18)), ((0, 1), (0, 1), (0.6, 1))))
    assert atlas_scores(train, val).mCaseDice == 0
