"""Two runs in one folder: the second is told who is there, and neither harms the other."""

import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from densevit.train import train
from densevit.train.folder import LOCK, only_run_in

HOLD = """
import sys, pathlib
from densevit.train.folder import only_run_in
with only_run_in(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder "run"."""
    folder = tmp_path / "run"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_run_in_a_folder_in_use_is_told_who_is_there_and_touches_nothing(holder, config, tmp_path):
    folder = tmp_path / "run"
    (folder / "scalars.jsonl").write_text("of the other\n")
    for resume in (False, True):
        with pytest.raises(ValueError, match="is in use by another run") as caught:
            train(config, work_dir=folder, resume=resume, device="cpu", progress=False)
        assert f"process {holder.pid} on {socket.gethostname()}, started 20" in str(caught.value)
        assert str(caught.value).endswith(f"--work-dir, such as {tmp_path / 'run_2'}")
    assert sorted(path.name for path in folder.iterdir()) == [LOCK, "scalars.jsonl"]
    holder.communicate("")  # which ends it
    assert not (folder / LOCK).exists()


def test_a_killed_run_holds_nobody_up(holder, tmp_path):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / LOCK).exists()
    with only_run_in(tmp_path / "run"):
        assert re.match(rf"process {os.getpid()} on ", (tmp_path / "run" / LOCK).read_text())
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_child_of_a_run_does_not_hold_its_folder(tmp_path):
    fork = multiprocessing.get_context("fork")
    stay = fork.Event()
    with only_run_in(tmp_path):
        child = fork.Process(target=stay.wait, args=(60,))
        child.start()
    try:
        with only_run_in(tmp_path):
            assert child.is_alive()
    finally:
        stay.set()
        child.join()


def test_threads_of_one_process_exclude_one_another_too(tmp_path):
    with only_run_in(tmp_path), ThreadPoolExecutor(1) as pool:
        attempt = pool.submit(only_run_in(tmp_path).__enter__)
        with pytest.raises(ValueError, match=rf"this process, {os.getpid()}"):
            attempt.result()
    with only_run_in(tmp_path):
        assert (tmp_path / LOCK).exists()
