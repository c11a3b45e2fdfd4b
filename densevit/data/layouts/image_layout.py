"""What sets of whole images share: where they lie, how a set that is not split is divided, how images are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from densevit.data.case import Case
from densevit.data.case_cache import create_case_cache
from densevit.data.dataset import Dataset
from densevit.data.layouts.pairing import check_root
from densevit.data.picture_set import PictureDataset
from densevit.data.volume_set import VolumeDataset
from densevit.options import read_options
from densevit.pictures.coding import LabelCoding
from densevit.volumes.paths import FILE_ENDINGS
from densevit.volumes.volume import ReadOptions

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class ImageLayout:
    """The keys that all kinds have; images are pictures, or scans where they are .nii.gz, .nrrd, .mha and the like.

    split: "train", "val" or "test". val_every: for sets that are not split: every n-th image belongs to "val", the
        others to "train"; of a `group` of several images (`densevit.data.layouts.subjects`) all or none.
    in_channels, exif, normalization: see `PictureDataset` and `VolumeDataset`. spacing, read, cache: of scans.
    """

    root: str
    split: str = "train"
    val_every: int = 0
    group: str | dict | None = None
    in_channels: int | None = None
    exif: str | None = None
    normalization: dict | None = None
    spacing: list | tuple | None = None
    read: dict | None = None
    cache: bool | dict | None = None

    def check_root(self) -> Path:
        """The folder of the set; ValueError where there is none, and for a split that no set has."""
        if self.split not in SPLITS:
            raise ValueError(f"split must be 'train', 'val' or 'test', got {self.split!r}")
        return check_root(self.root)

    def check_val_every(self) -> None:
        """ValueError where nothing can be divided so."""
        if self.val_every < 2 or self.split == "test":
            raise ValueError(f"val_every must be 2 or more and has no split 'test', got {self.val_every}, {self.split}")

    def images_of(self, root: Path, paths: Sequence[str]) -> Dataset:
        """The set of these images, paths below root, without labels; ValueError for scans beside pictures."""
        scans = [path for path in paths if is_scan(path)]
        if scans and len(scans) < len(paths):
            other = next(path for path in paths if path not in scans)
            raise ValueError(f"{root} holds scans, such as {scans[0]}, and pictures, such as {other}; divide them")
        files, normal = [str(root / path) for path in paths], {}
        if self.normalization is not None:
            normal = dict(normalization=self.normalization)
        if not scans:
            for key in ("spacing", "read", "cache"):
                if getattr(self, key) is not None:
                    raise ValueError(f"{key} is of scans, and {root} holds pictures; leave it out")
            return PictureDataset(
                [(path, None) for path in files],
                classes=("image",),
                coding=LabelCoding(num_classes=1),
                exif=self.exif or "apply",
                in_channels=self.in_channels or 3,
                **normal,
            )
        count = self.in_channels or 1
        return VolumeDataset(
            [Case((path,)) for path in files],
            classes=("image",),
            label_values=[0],
            channels=["image"] if count == 1 else [f"channel {i}" for i in range(count)],
            spacing=self.spacing,
            read=read_options(ReadOptions, self.read or {}, where="read"),
            cache=create_case_cache(self.cache),
            **normal,
        )


def is_scan(path: str) -> bool:
    """Whether it is a volume by its ending."""
    return path.lower().endswith(FILE_ENDINGS)
