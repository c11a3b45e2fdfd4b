"""Files to `dict(image, label, meta)`: photos or volumes with label maps, checked when opened and when read."""

from densevit.datasets.base import DATASETS, SegmentationDataset
from densevit.datasets.create import create_dataset
from densevit.datasets.label_check import LabelReport, check_labels
from densevit.datasets.layouts import ade20k, cityscapes, folder, monai_datalist, msd, nnunet, volume_folder
from densevit.datasets.layouts.guess import guess_dataset
from densevit.datasets.reading import read_image, read_label
from densevit.datasets.volumes import VolumeDataset
