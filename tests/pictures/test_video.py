"""Video files and folders of frames: every frame, in order, upright, or one sentence."""

import resource
import signal
import struct

import numpy as np
import pytest

from densevit.pictures.video import open_video
from densevit.pictures.video_file import writing_video


@pytest.fixture
def frames():
    """Eight frames (32, 48, 3) of one grey each, 20 apart, with a bright column at the left."""
    made = np.repeat(np.arange(40, 200, 20, dtype=np.uint8), 32 * 48 * 3).reshape(8, 32, 48, 3)
    made[:, :, :12] = 250
    return made


@pytest.fixture
def write(frames, tmp_path):
    def write(name="v.mp4"):
        with writing_video(tmp_path / name, size=(32, 48), fps=12.5) as put:
            for frame in frames:
                put(frame)
        return tmp_path / name

    return write


def turned_by_90(content):
    """The bytes of an MP4 whose matrix says that it is shown turned clockwise."""
    content = bytearray(content)
    place = content.find(b"tkhd") + 44
    matrix = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    content[place : place + 36] = struct.pack(">9i", *matrix)
    return bytes(content)


def cut_off(content, share):
    """The bytes of an MP4 whose index comes first, of which the end is missing."""
    index = content.find(b"moov") - 4
    frames, moov = content.find(b"mdat") - 4, bytearray(content[index:])
    place = moov.find(b"stco") + 8
    for i in range(struct.unpack_from(">I", moov, place)[0]):
        at = place + 4 + 4 * i
        struct.pack_into(">I", moov, at, struct.unpack_from(">I", moov, at)[0] + len(moov))
    whole = content[:frames] + bytes(moov) + content[frames:index]
    return whole[: int(len(whole) * share)]


@pytest.mark.parametrize("name", ["v.mp4", "v.webm"])
def test_a_video_file_is_an_array_of_its_frames_that_is_read_forward(write, frames, name, capfd):
    video = open_video(write(name))
    assert capfd.readouterr() == ("", "")
    assert (video.image.shape, video.fps, video.names[:2]) == ((3, 8, 32, 48), 12.5, ("000000", "000001"))
    whole = video.image[:]
    assert np.abs(whole.transpose(1, 2, 3, 0)[..., 20:, :].astype(int) - frames[..., 20:, :]).max() < 6
    assert np.array_equal(video.image[:, 2:4], whole[:, 2:4])  # back to an earlier frame
    assert np.array_equal(video.image[:, 6:, 4:9], whole[:, 6:, 4:9])


def test_a_turned_video_is_upright_unless_it_is_to_be_seen_as_stored(write):
    path = write()
    path.write_bytes(turned_by_90(path.read_bytes()))
    upright, stored = open_video(path), open_video(path, exif="ignore")
    assert (upright.image.shape, stored.image.shape) == ((3, 8, 48, 32), (3, 8, 32, 48))
    assert upright.image[:, :1, :8].min() > 200  # the bright column is the first rows
    assert stored.image[:, :1, :, :8].min() > 200


def test_a_video_that_was_cut_off_says_how_many_frames_are_missing(write, save, capfd):
    path = write()
    path.write_bytes(cut_off(path.read_bytes(), 0.8))
    with pytest.raises(ValueError, match=r"v.mp4 promises 8 frames and holds \d that can be decoded: it is damaged"):
        open_video(path)
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(ValueError, match=r"v.mp4 is no video that OpenCV reads, or its end is missing"):
        open_video(path)
    assert capfd.readouterr().err == ""  # OpenCV says nothing of its own
    with pytest.raises(FileNotFoundError):
        open_video(path.with_name("none.mp4"))
    with pytest.raises(ValueError, match=r"v.png is called like no video \(.mp4"):
        open_video(save(path.with_suffix(".png"), np.zeros((8, 8, 3), np.uint8)))


@pytest.mark.parametrize("ending", [".mp4", ".webm"])
def test_a_full_disk_is_told_when_a_video_is_written(tmp_path, ending):
    def write():
        with writing_video(tmp_path / f"v{ending}", size=(64, 64), fps=25) as put:
            for seed in range(20):
                put(np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8))

    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError, match="of 20 frames of a video could be written, as on a full disk"):
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_folder_of_frames_is_a_video_in_the_order_of_their_numbers(tmp_path, save, frames):
    for number in (10, 9, 2):
        save(tmp_path / "v" / f"f{number}.png", frames[number % 8])
    video = open_video(tmp_path / "v")
    assert (video.names, video.fps) == (("f2", "f9", "f10"), None)
    assert np.array_equal(video.image[:, 1:], frames[[1, 2]].transpose(3, 0, 1, 2))
    save(tmp_path / "v" / "f11.png", frames[0, :8])
    with pytest.raises(ValueError, match=r"f11.png has 48 x 8 pixels and f2.png 48 x 32; the frames of a video are of"):
        open_video(tmp_path / "v").image[:]
    save(tmp_path / "v" / "f11.jpg", frames[0])
    with pytest.raises(ValueError, match="two frames that are called f11"):
        open_video(tmp_path / "v")
