"""Files to samples: pictures or volumes with label maps, checked when opened and when read."""

from densevit.data.dataset import DATASETS, Dataset, Sample, create_dataset
from densevit.data.label_check import LabelReport
from densevit.data.layouts import (
    ade20k,
    cityscapes,
    class_layout,
    clips,
    datalist,
    folder,
    nnunet,
    pair_table,
    volume_folder,
)
from densevit.data.layouts.guess import guess_dataset
from densevit.data.picture_set import PictureDataset
from densevit.data.volume_set import VolumeDataset
from densevit.pictures.reading import read_image, read_label
