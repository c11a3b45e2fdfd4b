"""Folders of videos with folders of label maps beside them; DAVIS is one."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from densevit.data.dataset import DATASETS
from densevit.data.layouts import pairing
from densevit.data.layouts.folder import Folder
from densevit.inference import ClipOptions
from densevit.pictures.picture import IMAGE_ENDINGS
from densevit.pictures.video import frame_files, list_videos

if TYPE_CHECKING:
    from densevit.data.clip_set import ClipCase, ClipDataset


@DATASETS.register({"clips": {}})
@dataclass(frozen=True, kw_only=True)
class Clips(Folder):
    """Videos below `images`, each a file or a folder of frames; label maps of some frames or all below `labels`.

    The label maps of JPEGImages/car are Annotations/car/FRAME.png. Frames of video files are called 000000, 000001, ...
    split_file: one video a line; with val_every every n-th video is for validation.
    num_frames, frame_step: a clip is so many frames, so far apart. All else is as for "folder".
    """

    images: str = "JPEGImages"
    labels: str | None = "Annotations"
    num_frames: int = 8
    frame_step: int = 1

    @property
    def kind(self) -> "Callable[..., ClipDataset]":
        """Sets of clips; few runs have videos, so that what reads them is imported here."""
        from densevit.data.clip_set import ClipDataset

        return partial(ClipDataset, clips=ClipOptions(frames=self.num_frames, step=self.frame_step))

    def _files(self, root: Path) -> "list[ClipCase]":
        if self.image_suffix:
            raise ValueError("image_suffix is for pictures, and all pictures in a folder are frames; leave it out")
        folder = pairing.check_folder(root, self._here(self.images), key="images")
        videos: dict[str, Path] = {}
        for path in list_videos(folder, recursive=True):
            name = (path if path.is_dir() else path.with_suffix("")).relative_to(folder).as_posix()
            if videos.setdefault(name, path) != path:
                raise ValueError(f"{videos[name]} and {path} share one name; keep one of them")
        if self.split_file is not None:
            split_file = root / self._here(self.split_file)
            names = [row[0].removesuffix("/") for row in pairing.read_split_file(split_file)]
            missing = [name for name in names if name not in videos]
            if missing:
                some = ", ".join(list(videos)[:3]) or "none"
                raise ValueError(f"{split_file} names {missing[0]!r}, and the videos in {folder} are {some}")
            pairing.check_once(names, split_file=split_file)
            videos = {name: videos[name] for name in names}
        if self.val_every:
            videos = pairing.divide(videos, self.val_every, split=self.split)
        if not videos:
            raise ValueError(f"split {self.split!r} of {root} holds no videos; see {folder}")
        return [self._case(name, path, root) for name, path in videos.items()]

    def _case(self, name: str, path: Path, root: Path) -> "ClipCase":
        from densevit.data.clip_set import ClipCase

        frames = tuple(map(str, frame_files(path))) if path.is_dir() else (str(path),)
        if self.labels in (None, "none"):
            return ClipCase((str(path),), frames=frames)
        folder = root / self._here(self.labels) / name
        found = pairing.list_pictures(folder, suffix=self.label_suffix, endings=IMAGE_ENDINGS)
        if not found:
            raise ValueError(f"{path} has no label maps: {folder} holds none; set labels to the folder of such folders")
        return ClipCase((str(path),), next(iter(found.values())), tuple(found.items()), frames)
