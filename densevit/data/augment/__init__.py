"""Random changes of training samples: of pictures by albumentations, of volumes by our own and MONAI's transforms."""

from densevit.data.augment.options import create_augment
