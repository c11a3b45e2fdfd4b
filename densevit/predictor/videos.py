"""Videos found and read for a model: files, folders of frames, and arrays.

Legend: video (C, T, H, W) in the file's units, arrays (T, H, W, C).
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from torch import Tensor

from densevit.checkpoint import Header
from densevit.normalization import create_normalization
from densevit.pictures.picture import VIDEO_ENDINGS
from densevit.pictures.video import Frames, SeenVideo, Video, is_video_file, list_videos, open_video
from densevit.predictor.inputs import Input, find_paths, name_inputs


class VideoReader:
    """Videos for a checkpoint of clips, or for one of pictures that sees them frame by frame."""

    def __init__(self, header: Header):
        self.channels, self.exif = header.image_channels, header.exif
        self.normalization = header.normalization
        self.normalize = create_normalization(header.normalization)
        self.find = find_videos

    def open(self, source: str | Path | np.ndarray | Tensor) -> Video:
        """A video file, a folder of frames, an array (T, H, W, C), or a tensor (C, T, H, W)."""
        if isinstance(source, str | Path):
            how = dict(channels=self.channels, normalization=self.normalization, exif=self.exif)
            return open_video(source, **how)
        video = source.detach().cpu().numpy() if isinstance(source, Tensor) else np.moveaxis(np.asarray(source), -1, 0)
        if video.dtype.kind not in "uif" or video.shape[:1] != (self.channels,) or np.ndim(video[0]) != 3:
            raise ValueError(
                f"expected a video file, a folder of frames, an array (T, H, W, {self.channels}) or a tensor "
                f"({self.channels}, T, H, W), got {getattr(source, 'dtype', type(source).__name__)} of shape "
                f"{tuple(getattr(source, 'shape', ()))}"
            )
        frames = Frames(video.shape, lambda begin: iter(video[:, begin:].swapaxes(0, 1)))
        return Video(Path("array"), frames, tuple(f"{number:06}" for number in range(video.shape[1])))

    def prepare(self, opened: Video) -> SeenVideo:
        return SeenVideo(opened.image, self.normalize)


def are_videos(inputs: Iterable[str | Path], header: Header, *, asked: bool = False) -> bool:
    """Whether inputs are videos for the model of a header: those of clips are, and video files are for one of pictures.

    ValueError where videos are `asked` for, and it is a model of volumes.
    """
    if header.is_of_volumes:
        if asked:
            raise ValueError("video is for models of clips and of pictures, and this is a checkpoint of volumes")
        return False
    for each in inputs:
        asked = asked or Path(each).suffix.lower() in VIDEO_ENDINGS
    return asked or header.clips is not None


def find_videos(
    inputs: str | Path | Iterable[str | Path], *, recursive: bool = False, exclude: Path | None = None
) -> list[Input]:
    """The videos that files, folders and globs name, see `find_paths`, called as `name_inputs` says.

    A folder that holds pictures is one video; any other stands for the video files and such folders in it, and with
    `recursive` for those below.
    """

    def look_in(folder: Path) -> list[Path]:
        found = list_videos(folder, recursive=recursive)
        if not found:
            raise FileNotFoundError(
                f"{folder} holds no frames (pictures), no folder of frames and no file of {' '.join(VIDEO_ENDINGS)}"
                + ("" if recursive else "; add --recursive to look further down")
            )
        return found

    found = find_paths(inputs, look_in=look_in, fits=lambda path: path.is_dir() or is_video_file(path), exclude=exclude)
    places = ((path if path.is_dir() else path.with_suffix(""), root, (path,)) for path, root in found)
    return name_inputs(places, ending="/")
