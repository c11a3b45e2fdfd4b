"""mmsegmentation's data sets in our configs, such as dict(type="mmseg.CityscapesDataset", data_root=..., ...).

They list the files and say what the labels mean; reading, checking and augmenting is done as for every set of ours.
"""

from dataclasses import dataclass
from typing import Any

import mmseg.datasets
from mmseg.registry.registry import DATASETS as THEIRS

from densevit.data import PictureDataset
from densevit.data.dataset import DATASETS
from densevit.labels import IGNORE
from densevit.pictures.coding import LabelCoding


@dataclass(frozen=True, kw_only=True)
class MMSegDataset:
    """A data set of mmsegmentation by the keys that it takes there; None leaves its own default.

    A `pipeline` has no place: `train_data.augment` is ours.
    """

    kind: str
    data_root: str | None = None
    data_prefix: dict | None = None
    ann_file: str | None = None
    metainfo: dict | None = None
    img_suffix: str | None = None
    seg_map_suffix: str | None = None
    reduce_zero_label: bool | None = None
    exif: str | None = None

    def open(self) -> PictureDataset:
        keys = ("data_root", "data_prefix", "ann_file", "metainfo", "img_suffix", "seg_map_suffix", "reduce_zero_label")
        options = {key: getattr(self, key) for key in keys if getattr(self, key) is not None}
        try:
            theirs = THEIRS.build(dict(type=f"mmseg.{self.kind}", serialize_data=False, **options))
        except (OSError, AssertionError, TypeError, ValueError) as error:
            raise ValueError(f"mmsegmentation cannot open {self.kind} with {options}: {error}") from error
        files = [(item["img_path"], item.get("seg_map_path")) for item in theirs.load_data_list()]
        if not files:
            raise ValueError(f"{self.kind} finds no images with {options}; check data_root, data_prefix and img_suffix")
        classes = theirs.metainfo.get("classes")
        if not classes:
            raise ValueError(f"{self.kind} names no classes; give them as metainfo=dict(classes=(...))")
        return PictureDataset(
            files, classes=classes, palette=theirs.metainfo["palette"], coding=_coding(theirs), exif=self.exif
        )


def _coding(theirs: Any) -> LabelCoding:
    """What label values mean there: the zero label is taken out first, then `label_map` applies."""
    num_classes, moved = len(theirs.metainfo["classes"]), theirs.label_map
    if moved is None:
        return LabelCoding(
            num_classes=num_classes, ignore_value=theirs.ignore_index, reduce_zero_label=theirs.reduce_zero_label
        )
    first = 1 if theirs.reduce_zero_label else 0
    label_map = {old + first: new for old, new in moved.items()} | ({0: IGNORE} if first else {})
    return LabelCoding(num_classes=num_classes, ignore_value=theirs.ignore_index, label_map=label_map)


def _names() -> list[str]:
    """Sets that list files; DSDL's need its own package and keys."""
    base, other = mmseg.datasets.BaseSegDataset, mmseg.datasets.DSDLSegDataset
    kinds = {name: kind for name, kind in THEIRS.module_dict.items() if isinstance(kind, type)}
    return [name for name, kind in kinds.items() if issubclass(kind, base) and not issubclass(kind, other)]


def _register_new() -> None:
    new = [name for name in _names() if name not in _registered]
    _registered.update(new)
    DATASETS.register({f"mmseg.{name}": dict(kind=name) for name in new})(MMSegDataset)


_registered: set[str] = set()
DATASETS.follow(_register_new)
