"""Small healthy sets of pictures and of scans, whose arrays a test changes before they are written."""

import json
from dataclasses import dataclass, field

import nibabel
import numpy as np
from PIL import Image

CLASSES = ("ground", "house", "tree")
SIZES = {2: (40, 60), 3: (20, 24, 28)}


def make_sample(rank, seed):
    """An image (*S) whose classes have their own brightness, and its label."""
    rng = np.random.default_rng(seed)
    size, blocks = SIZES[rank], rng.integers(0, 3, [n // 4 for n in SIZES[rank]])
    label = np.kron(blocks, np.ones([4] * rank, int))[tuple(slice(n) for n in size)].astype(np.uint8)
    return 60 + 60 * label + rng.normal(0, 4, size), label


@dataclass
class MadeSet:
    """Arrays by split; `affines` of labels, by index of the training part, are of scans alone."""

    rank: int
    folder: object
    images: dict = field(default_factory=dict)
    labels: dict = field(default_factory=dict)
    affines: dict = field(default_factory=dict)
    spacings: dict = field(default_factory=dict)
    classes: tuple = CLASSES
    extra: dict = field(default_factory=dict)
    stems: dict = field(default_factory=dict)  # of files that are not called t00, v00, ...

    def __post_init__(self):
        for split, count, start in (("train", 12, 0), ("val", 4, 100)):
            pairs = [make_sample(self.rank, start + index) for index in range(count)]
            self.images[split], self.labels[split] = map(list, zip(*pairs, strict=True))

    def write(self):
        """The configs of both splits."""
        self.folder.mkdir(exist_ok=True)
        listed = {split: self._write(split) for split in self.images}
        if self.rank == 2:
            (self.folder / "classes.txt").write_text("\n".join(self.classes))
            common = dict(type="folder", root=str(self.folder))
        else:
            content = dict(labels={str(i): n for i, n in enumerate(self.classes)}, modality={"0": "MRI"})
            lists = dict(training=listed["train"], validation=listed["val"])
            (self.folder / "dataset.json").write_text(json.dumps(content | lists))
            common = dict(type="msd", root=str(self.folder))
        return {split: dict(common, split=split, **self.extra) for split in self.images}

    def _write(self, split):
        entries = []
        for index, (image, label) in enumerate(zip(self.images[split], self.labels[split], strict=True)):
            first, second = (self._save(kind, split, index, a) for kind, a in (("images", image), ("labels", label)))
            entries.append(dict(image=first, label=second))
        return entries

    def _save(self, kind, split, index, array):
        stem = self.stems.get((split, index), f"{split[0]}{index:02}")
        name = f"{kind}/{split}/{stem}.{'png' if self.rank == 2 else 'nii.gz'}"
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.rank == 2:
            pixels = np.asarray(array).clip(0, 255).astype(np.uint8)
            if kind == "images" and pixels.ndim == 2:
                pixels = np.stack([pixels, pixels // 2 + 40, 255 - pixels], -1)
            Image.fromarray(pixels).save(path)
        else:
            spacing = np.diag([*self.spacings.get((split, index), (1.0, 1.0, 1.0)), 1.0])
            affine = self.affines.get(index, spacing) if kind == "labels" and split == "train" else spacing
            kind_of = np.uint8 if kind == "labels" else np.float32
            nibabel.save(nibabel.Nifti1Image(np.asarray(array).astype(kind_of).T, affine), path)
        return name
