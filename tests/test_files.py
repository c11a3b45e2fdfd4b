import errno
import json
import os
import shutil
import stat
import subprocess
import sys

import pytest

from densevit.files import (
    check_writable,
    exchange,
    publish_folder,
    recover_folder,
    recover_folders,
    remove_folder,
    replacing,
    sha256,
    write_text,
)

needs_exchange = pytest.mark.skipif(sys.platform != "linux", reason="the system call is Linux's")


def make_folder(path, **contents):
    path.mkdir(parents=True)
    for name, text in contents.items():
        (path / name).write_text(text)
    return path


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def put_new(target):
    with replacing(target) as aside:
        make_folder(aside, a="new", b="new")


def test_a_text_takes_the_place_of_another_and_leaves_nothing_beside_it(tmp_path):
    for text in ("old", "new \N{LATIN SMALL LETTER U WITH DIAERESIS} \udcff"):
        write_text(tmp_path / "below" / "a.txt", text)
    assert (tmp_path / "below" / "a.txt").read_bytes() == b"new \xc3\xbc \xff"
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["a.txt"]


def fail_half_way(target, kind, error):
    with replacing(target) as aside:
        make_folder(aside, a="half") if kind == "folder" else aside.write_text("half")
        raise error


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_fails_half_way_leaves_the_former_and_nothing_else(tmp_path, kind):
    target = tmp_path / "result"
    make_folder(target, a="old") if kind == "folder" else target.write_text("old")
    for error in (KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device"), ValueError("no")):
        with pytest.raises(type(error)):
            fail_half_way(target, kind, error)
    assert (contents(target) if kind == "folder" else target.read_text()) in ({"a": "old"}, "old")
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_names_the_file_that_was_wanted_and_another_error_keeps_its_own_name(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device.*wanted"), replacing(tmp_path / "wanted"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(FileNotFoundError, match="read from"), replacing(tmp_path / "wanted"):
        (tmp_path / "read from").read_text()


def test_a_folder_takes_a_new_name_an_empty_folder_and_the_place_of_another(tmp_path):
    (tmp_path / "empty").mkdir()
    make_folder(tmp_path / "full", a="old", c="old")
    for name in ("fresh", "empty", "full"):
        put_new(tmp_path / name)
        assert contents(tmp_path / name) == {"a": "new", "b": "new"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "fresh", "full"]


def test_a_folder_does_not_take_the_place_of_a_file(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(NotADirectoryError):
        put_new(tmp_path / "notes")
    assert contents(tmp_path) == {"notes": "mine"}


# Kills itself before the n-th step that touches the disk, for every n, and tells what is then under the name.
KILLED = """
import json, os, shutil, sys
from itertools import count
from pathlib import Path
from densevit import files
root, with_exchange = Path(sys.argv[1]), sys.argv[2] == "True"
if not with_exchange:
    files.exchange = lambda first, second: False
def put(target, text):
    with files.replacing(target) as aside:
        aside.mkdir()
        for name in "ab":
            (aside / name).write_text(text)
def die_before(n):
    left = iter(range(n))
    for owner, name in [(os, x) for x in ("replace", "fsync", "unlink", "rmdir", "mkdir")] + [(files, "exchange")]:
        def step(*args, original=getattr(owner, name), **options):
            next(left, None) is None and os._exit(9)
            return original(*args, **options)
        setattr(owner, name, step)
def see(target):
    return {path.name: path.read_text() for path in sorted(target.iterdir())} if target.exists() else None
for n in count():
    target = root / str(n) / "result.zarr"
    put(target, "old")
    child = os.fork()
    if not child:
        die_before(n)
        put(target, "new")
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    at_once = see(target)
    files.recover_folder(target)
    recovered = see(target)
    put(target, "next")
    print(json.dumps([ended, at_once, recovered, see(target)]))
    if ended == 0:
        break
"""


@needs_exchange
@pytest.mark.parametrize("with_exchange", [True, False])
def test_a_crash_at_any_step_leaves_the_old_folder_or_the_new_one(tmp_path, with_exchange):
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(with_exchange)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    seen = [json.loads(line) for line in lines]
    old, new, after = ({"a": text, "b": text} for text in ("old", "new", "next"))
    assert [ended for ended, *_ in seen] == [9] * (len(seen) - 1) + [0]
    assert len(seen) > 8
    for _, at_once, recovered, then in seen:
        assert recovered in (old, new)
        assert at_once == recovered or (at_once is None and not with_exchange)
        assert then == after
    assert [recovered for _, _, recovered, _ in seen] == sorted((r for _, _, r, _ in seen), key=[old, new].index)
    assert {str(recovered) for _, _, recovered, _ in seen} == {str(old), str(new)}


@needs_exchange
def test_two_names_change_places_in_one_step(tmp_path):
    first, second = make_folder(tmp_path / "first", a="1"), make_folder(tmp_path / "second", b="2")
    assert exchange(first, second)
    assert (contents(first), contents(second)) == ({"b": "2"}, {"a": "1"})
    assert not exchange(first, tmp_path / "missing")


def test_a_folder_moved_aside_is_put_back_once_and_never_over_another(tmp_path):
    make_folder(tmp_path / ".one.former", a="old")
    make_folder(tmp_path / ".two.former", a="old")
    make_folder(tmp_path / "two", a="new")
    recover_folders(tmp_path)
    recover_folder(tmp_path / "three")
    assert contents(tmp_path / "one") == {"a": "old"}
    assert contents(tmp_path / "two") == {"a": "new"}
    publish_folder(make_folder(tmp_path / "aside", a="newer"), tmp_path / "two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_a_folder_is_removed_even_where_an_earlier_removal_was_cut_off(tmp_path):
    for _ in range(2):
        remove_folder(make_folder(tmp_path / "folder", a="1"))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_files_is_told_in_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"^the output folder .*file is a file; give a folder$"):
        check_writable(tmp_path / "file")
    with pytest.raises(PermissionError, match=r"^cannot write to the work dir .*below: not a directory; look away$"):
        check_writable(tmp_path / "file" / "below", what="work dir", advice="look away")
    check_writable(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_results_can_be_read_by_whom_the_user_lets_read(tmp_path):
    put_new(tmp_path / "made")
    (tmp_path / "plain").mkdir()
    assert stat.S_IMODE(os.stat(tmp_path / "made").st_mode) == stat.S_IMODE(os.stat(tmp_path / "plain").st_mode)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not there")
def test_a_checksum_is_that_of_sha256sum(tmp_path):
    (tmp_path / "a").write_bytes(bytes(range(256)) * 9999)
    printed = subprocess.run(["sha256sum", tmp_path / "a"], capture_output=True, text=True, check=True).stdout
    assert sha256(tmp_path / "a") == printed.split()[0]
