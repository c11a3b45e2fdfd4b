"""Prepared cases on disk: never another than the files and the options say, shared, bounded, and never in the way."""

import errno
import logging
import multiprocessing
import os
import time

import numpy as np
import pytest

from densevit.data.case_cache import LEFT_OVER_SECONDS, CaseCache, create_case_cache
from densevit.data.findings import FileHashes, Findings, code_digest, file_stamps, source_files

KEY = "a" * 64
ZSCORE = dict(normalization=dict(type="zscore"), spacing=[1.0, 1.0, 1.0], version=1)


def cube(value, n=8):
    return dict(image=np.full((1, n, n, n), value, np.float32), label=np.full((n, n, n), value, np.uint8))


def entries(folder):
    return sorted(folder.rglob("*.arrays"))


def settle():
    """Files stamped a moment ago are not remembered: they may change again within one tick of the clock."""
    time.sleep(0.03)


def old(path, seconds=10):
    """As if the file had lain there for a while."""
    past = time.time_ns() - int(seconds * 1e9)
    os.utime(path, ns=(past, past))


class Maker:
    """Counts how often a case is prepared."""

    def __init__(self, value=1, n=8):
        self.value, self.n, self.count = value, n, 0

    def __call__(self):
        self.count += 1
        return cube(self.value, self.n)


ARRAYS = {
    "image": np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype(np.float32),
    "label": np.arange(60, dtype=np.uint8).reshape(5, 4, 3),
    "affine": np.eye(4),
    "one number": np.array(3.5),
    "none": np.zeros((0, 3), np.int16),
    "turned": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "mask": np.array([True, False]),
}


def test_arrays_come_back_as_they_were(tmp_path):
    CaseCache(tmp_path).load_key(KEY, lambda: ARRAYS)
    back = CaseCache(tmp_path).load_key(KEY, Maker())
    assert back.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(back[name], array)


def test_writing_to_what_was_loaded_leaves_the_file_alone(tmp_path):
    cache = CaseCache(tmp_path)
    cache.load_key(KEY, Maker())
    cache.load_key(KEY, Maker())["image"][:] = 7
    assert cache.load_key(KEY, Maker())["image"].max() == 1


def test_a_case_is_prepared_once(tmp_path):
    make = Maker(3)
    for cache in (CaseCache(tmp_path), CaseCache(tmp_path)):
        for _ in range(2):
            np.testing.assert_array_equal(cache.load_key(KEY, make)["image"], cube(3)["image"])
    assert make.count == 1


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(b"one")
    settle()
    return path


def test_a_changed_file_is_prepared_again_even_with_its_old_size_and_time(tmp_path, scan):
    cache, before, after = CaseCache(tmp_path / "cache"), Maker(1), Maker(2)
    cache.load([scan], ZSCORE, before)
    stamp = scan.stat().st_mtime_ns
    settle()
    scan.write_bytes(b"two")
    os.utime(scan, ns=(stamp, stamp))
    assert cache.load([scan], ZSCORE, after)["image"].max() == 2
    assert (before.count, after.count) == (1, 1)


def test_a_moved_or_touched_file_is_the_same_case(tmp_path, scan):
    cache, make = CaseCache(tmp_path / "cache"), Maker()
    cache.load([scan], ZSCORE, make)
    os.utime(scan)
    cache.load([scan], ZSCORE, make)
    cache.load([scan.rename(tmp_path / "other.nii.gz")], ZSCORE, make)
    assert make.count == 1


@pytest.mark.parametrize(
    "other",
    [
        dict(ZSCORE, spacing=[1.0, 1.0, 1.5]),
        dict(ZSCORE, version=2),
        dict(ZSCORE, normalization=dict(type="window", low=0, high=1)),
    ],
    ids=str,
)
def test_another_option_is_another_case(tmp_path, scan, other):
    cache, make = CaseCache(tmp_path / "cache"), Maker()
    cache.load([scan], ZSCORE, make)
    cache.load([scan], dict(reversed(ZSCORE.items())), make)
    assert make.count == 1
    cache.load([scan], other, make)
    assert make.count == 2


def test_the_order_of_files_counts(tmp_path, scan):
    other = tmp_path / "other.nii"
    other.write_bytes(b"other")
    cache, make = CaseCache(tmp_path / "cache"), Maker()
    cache.load([scan, other], ZSCORE, make)
    cache.load([other, scan], ZSCORE, make)
    assert make.count == 2


def test_a_file_that_changes_while_it_is_read_is_not_kept(tmp_path, scan):
    cache = CaseCache(tmp_path / "cache")

    def make():
        scan.write_bytes(b"changed meanwhile")
        return cube(1)

    cache.load([scan], ZSCORE, make)
    assert entries(tmp_path / "cache") == []


def test_an_unchanged_file_is_hashed_once_by_all(tmp_path, scan):
    files = (str(scan),)
    Findings(tmp_path / "files").remember([(files, file_stamps(files), "0" * 64)], "sha256")
    assert FileHashes(tmp_path / "files").of(scan) == "0" * 64  # as it is remembered, not as it would be hashed


def test_a_file_written_a_moment_ago_is_not_trusted_to_stay(tmp_path, scan):
    scan.write_bytes(b"new")
    FileHashes(tmp_path / "files").of(scan)
    assert not (tmp_path / "files").exists()


@pytest.mark.parametrize(
    "damage", [lambda c: b"", lambda c: b"no memory", lambda c: c[:5000]], ids=("empty", "text", "cut")
)
def test_a_damaged_memory_of_a_hash_is_begun_anew(tmp_path, scan, damage):
    right = FileHashes(tmp_path / "files").of(scan)
    (remembered,) = (tmp_path / "files").iterdir()
    remembered.write_bytes(damage(remembered.read_bytes()))
    assert FileHashes(tmp_path / "files").of(scan) == right
    assert FileHashes(tmp_path / "files").of(scan) == right
    assert Findings(tmp_path / "files").recall([(str(scan),)], "sha256") == [right]


def test_a_volume_is_all_the_files_that_it_lies_in(tmp_path):
    def put(name, content=b""):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    series = [put("series/2"), put("series/1.dcm")]
    raw = put("meta/a.raw")
    detached = put("meta/a.mhd", b"NDims = 3\nElementDataFile = a.raw\n")
    nrrd = put("meta/a.nhdr", b"NRRD0004\ndata file: a.raw\n")
    listed = put("meta/b.mhd", b"ElementDataFile = LIST\n1.raw\n")
    assert source_files(tmp_path / "series") == source_files(series[0]) == sorted(series)
    assert source_files(detached) == [detached, raw]
    assert source_files(nrrd) == [nrrd, raw]
    assert source_files(listed) == sorted((tmp_path / "meta").iterdir())
    for alone in ("meta/c.nii", "meta/photo.JPG"):
        assert source_files(put(alone)) == [tmp_path / alone]
    with pytest.raises(FileNotFoundError, match=r"nowhere\.nii"):
        source_files(tmp_path / "nowhere.nii")


DAMAGE = {
    "cut": lambda content: content[:-100],
    "longer": lambda content: content + b"0",
    "empty": lambda content: b"",
    "zeros at the end": lambda content: content[:-64] + bytes(64),
    "zeros": lambda content: bytes(len(content)),
    "another format": lambda content: b"\x93NUMPY" + content,
    "a turned bit": lambda content: content[:-1000] + bytes([content[-1000] ^ 1]) + content[-999:],
    "no table": lambda content: content[:18] + b"[" + content[19:],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_entry_is_made_anew(tmp_path, damage):
    CaseCache(tmp_path).load_key(KEY, Maker(5))
    (path,) = entries(tmp_path)
    content = path.read_bytes()
    path.write_bytes(damage(content))
    make = Maker(5)
    for cache in (CaseCache(tmp_path), CaseCache(tmp_path)):
        np.testing.assert_array_equal(cache.load_key(KEY, make)["label"], cube(5)["label"])
    assert make.count == 1
    assert path.read_bytes() == content


def key_of(i):
    return f"{i:064x}"


def test_the_least_recently_used_make_room(tmp_path):
    size = sum(array.nbytes for array in cube(0).values())
    cache = CaseCache(tmp_path, max_bytes=int(3.9 * size))
    for i in range(3):
        cache.load_key(key_of(i), Maker(i))
        old(entries(tmp_path)[-1] if i == 0 else tmp_path / key_of(i)[:2] / f"{key_of(i)}.arrays", seconds=100 - i)
    cache.load_key(key_of(0), Maker())  # used again
    cache.load_key(key_of(3), Maker(3))
    assert {path.stem for path in entries(tmp_path)} == {key_of(i) for i in (0, 2, 3)}


def test_what_was_loaded_outlives_its_entry(tmp_path):
    loaded = CaseCache(tmp_path).load_key(KEY, Maker(4))
    loaded = CaseCache(tmp_path).load_key(KEY, Maker(4))
    entries(tmp_path)[0].unlink()
    np.testing.assert_array_equal(loaded["image"], cube(4)["image"])


def test_a_cache_smaller_than_the_set_says_so_once(tmp_path, caplog):
    size = sum(array.nbytes for array in cube(0).values())
    cache = CaseCache(tmp_path, max_bytes=int(2.5 * size))
    with caplog.at_level(logging.WARNING, "densevit"):
        for _ in range(2):
            for i in range(4):
                assert cache.load_key(key_of(i), Maker(i))["label"].max() == i
    assert [record.message for record in caplog.records] == [caplog.records[0].message]
    assert "raise max_bytes" in caplog.text
    assert sum(path.stat().st_size for path in entries(tmp_path)) <= 2.5 * size


def test_a_case_larger_than_the_cache_is_not_kept(tmp_path, caplog):
    cache = CaseCache(tmp_path / "cache", max_bytes=100)
    make = Maker(2)
    for _ in range(2):
        assert cache.load_key(KEY, make)["label"].max() == 2
    assert make.count == 2
    assert caplog.text.count("prepared cases are not kept") == 1


def test_half_written_files_that_nobody_writes_any_more_are_removed(tmp_path):
    cache = CaseCache(tmp_path)
    cache.load_key(KEY, Maker())
    left, busy = (tmp_path / "aa" / f".{'0' * 12}.{name}.arrays" for name in ("left", "busy"))
    left.write_bytes(b"half")
    busy.write_bytes(b"half")
    old(left, seconds=2 * LEFT_OVER_SECONDS)
    cache.load_key(key_of(1), Maker())
    assert (left.exists(), busy.exists()) == (False, True)


def test_a_full_disk_is_done_without_after_one_warning(tmp_path, monkeypatch, caplog):
    def fail(path, *_, **__):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("densevit.data.case_cache.write_tensors", fail)
    cache, make = CaseCache(tmp_path / "cache"), Maker(9)
    for i in range(3):
        assert cache.load_key(key_of(i), make)["label"].max() == 9
    assert make.count == 3
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "No space left on device" in caplog.text
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path, scan, caplog):
    (tmp_path / "file").write_text("")
    cache, make = CaseCache(tmp_path / "file" / "cache"), Maker(9)
    for _ in range(2):
        assert cache.load([scan], ZSCORE, make)["label"].max() == 9
    assert caplog.text.count("prepared cases are not kept") == 1


def share(folder, start, keys, seen):
    """In a process of its own: load many cases, checking each; count those that it prepared."""
    cache = CaseCache(folder, max_bytes=20 * 5 * 8**3 * 5)
    start.wait()
    made = 0
    for i in keys:
        make = Maker(i % 200)
        loaded = cache.load_key(key_of(i), make)
        assert (loaded["label"] == i % 200).all()
        assert (loaded["image"] == i % 200).all()
        made += make.count
    seen.put(made)


def test_processes_share_the_folder_without_seeing_half_of_anything(tmp_path):
    context = multiprocessing.get_context("spawn")
    start, seen = context.Event(), context.Queue()
    orders = [np.random.default_rng(i).permutation(40).tolist() * 3 for i in range(4)]
    workers = [context.Process(target=share, args=(tmp_path, start, order, seen)) for order in orders]
    for worker in workers:
        worker.start()
    start.set()
    made = [seen.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(timeout=30)
        assert worker.exitcode == 0
    assert sum(made) < 4 * 120
    assert list(tmp_path.rglob(".*")) == []


@pytest.mark.parametrize("config", [None, False])
def test_no_cache_unless_asked_for(config):
    assert create_case_cache(config) is None


def test_the_cache_lies_in_the_users_cache_folder_unless_told_otherwise(own_cache, tmp_path):
    assert create_case_cache(True).folder == own_cache / "cases"
    cache = create_case_cache(dict(folder=str(tmp_path / "here"), max_bytes="2GB"))
    assert (cache.folder, cache.max_bytes) == (tmp_path / "here", 2 * 10**9)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (dict(max_byte=3), "unknown key 'cache.max_byte'; did you mean max_bytes"),
        (dict(max_bytes="much"), "amount of memory"),
        (dict(folder=3), "cache.folder must be text or None, got 3"),
    ],
)
def test_a_wrong_option_is_one_sentence(config, said):
    with pytest.raises(ValueError, match=said):
        create_case_cache(config)


def test_what_other_code_read_is_read_again(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "train").mkdir()
    (tmp_path / "pictures" / "coding.py").write_text("WHITE = 255\n")
    before = code_digest(tmp_path)
    code_digest.cache_clear()
    (tmp_path / "train" / "loop.py").write_text("# reads no file\n")
    assert code_digest(tmp_path) == before
    code_digest.cache_clear()
    (tmp_path / "pictures" / "coding.py").write_text("WHITE = 1\n")
    assert code_digest(tmp_path) != before


def test_a_file_put_in_the_place_of_another_is_another_file_whatever_its_times(tmp_path):
    """Some systems keep whole seconds, and no time of status change."""
    first, second = tmp_path / "first", tmp_path / "second"
    for path in (first, second):
        path.write_bytes(b"12345678")
        os.utime(path, ns=(10**18, 10**18))
    before = file_stamps((str(first),))
    os.replace(second, first)
    (number, *_), (other, *_) = *before, *file_stamps((str(first),))
    assert number != other
