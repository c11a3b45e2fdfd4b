"""What belongs to the whole process: a command sets it, and a library call leaves it as it was."""

import json
import os
import subprocess
import sys
import threading
import warnings

import pytest

from densevit.environment import SPINS, WAITING, environment_variable, ignore_warnings, keep_freed_memory
from tests.conftest import REPOSITORY


def run_python(code, **variables):
    environment = {key: value for key, value in os.environ.items() if key not in WAITING} | variables
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


POLICY = """
import atexit, os, runpy, sys
atexit.register(lambda: print(os.environ.get("OMP_WAIT_POLICY", os.environ.get("GOMP_SPINCOUNT"))))
"""
COMMANDS = {
    "densevit": "sys.argv = ['', 'models', '--filter', 'mit_b0']\nrunpy.run_module('densevit', run_name='__main__')",
    "tools/predict.py": "sys.argv = ['predict.py', '--help']\nrunpy.run_path('tools/predict.py', run_name='__main__')",
    "tools/train.py": "sys.argv = ['train.py', '--help']\nrunpy.run_path('tools/train.py', run_name='__main__')",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_lets_waiting_threads_sleep_unless_the_user_says_how_they_wait(command):
    code = POLICY + COMMANDS[command]
    assert run_python(code) == str(SPINS)
    assert run_python(code, OMP_WAIT_POLICY="ACTIVE") == "ACTIVE"
    assert run_python(code, GOMP_SPINCOUNT="100") == "100"


def test_no_import_of_the_library_decides_how_threads_wait():
    code = "import densevit.inference, densevit.predictor, densevit.train, densevit.cli\n"
    assert run_python(POLICY + code) == "None"


def test_a_command_that_is_called_where_torch_runs_already_leaves_the_environment_alone():
    code = "import torch\nfrom densevit.cli import main\nmain(['models', '--filter', 'mit_b0'])\n"
    assert run_python(POLICY + code) == "None"


def test_a_variable_of_the_environment_lasts_as_long_as_its_block(monkeypatch):
    monkeypatch.setenv("THERE", "theirs")
    with environment_variable("THERE", "ours"), environment_variable("NOT_THERE", "ours"):
        assert (os.environ["THERE"], os.environ["NOT_THERE"]) == ("theirs", "ours")
    assert os.environ["THERE"] == "theirs"
    assert "NOT_THERE" not in os.environ


FAULTS = """
import json, resource, torch
from contextlib import nullcontext
from densevit.environment import keep_freed_memory
from densevit.inference.memory import resident_bytes

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    before = faults()
    for _ in range(20):
        torch.zeros(10_000_000)  # 40 MB: a map of its own
    return faults() - before

work()
counts = [work()]
with keep_freed_memory():
    with keep_freed_memory():
        work()
    counts.append(work())
    held = resident_bytes()
released = held - resident_bytes()
print(json.dumps(dict(counts=counts, released=released)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted by Linux")
def test_freed_memory_is_kept_within_the_block_and_given_back_at_its_end():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout)
    plain, kept = measured["counts"]
    assert kept < plain / 10  # page faults, not seconds
    assert measured["released"] > 30e6


def test_an_error_ends_the_block():
    with pytest.raises(KeyError), keep_freed_memory():
        raise KeyError
    with keep_freed_memory():
        pass


def filters_now():
    return list(warnings.filters)


def test_warnings_of_the_message_are_left_out_and_others_are_not():
    before = filters_now()
    with ignore_warnings("of no use"):
        warnings.warn("Of no use at all", stacklevel=1)
        with pytest.warns(UserWarning, match="of use"):
            warnings.warn("of use", stacklevel=1)
    assert filters_now() == before
    with pytest.warns(UserWarning, match="no use"):
        warnings.warn("of no use", stacklevel=1)


def test_warnings_of_a_module_are_left_out_by_its_name():
    with ignore_warnings(module="theirs"):
        warnings.warn_explicit("left out", UserWarning, "theirs.py", 1, module="theirs.part")
        with pytest.warns(UserWarning, match="kept"):
            warnings.warn_explicit("kept", UserWarning, "others.py", 1, module="others")


def test_another_thread_still_hears_its_warnings():
    heard = []

    def warn():
        try:
            warnings.warn("heard", stacklevel=1)
        except UserWarning as error:
            heard.append(str(error))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with ignore_warnings():
            warnings.warn("left out", stacklevel=1)
            thread = threading.Thread(target=warn)
            thread.start()
            thread.join()
    assert heard == ["heard"]


def test_blocks_that_overlap_in_two_threads_leave_the_filters_as_they_were():
    before, entered, left = filters_now(), threading.Event(), threading.Event()

    def overlap():
        with ignore_warnings():
            entered.set()
            left.wait()

    thread = threading.Thread(target=overlap)
    with ignore_warnings():
        thread.start()
        entered.wait()
    left.set()
    thread.join()
    assert filters_now() == before


def test_a_block_that_ends_while_another_thread_has_filters_of_its_own_means_nothing_more():
    with warnings.catch_warnings():
        block = ignore_warnings()
        block.__enter__()
        with warnings.catch_warnings():  # puts the filters back that it saw
            block.__exit__(None, None, None)
        with pytest.warns(UserWarning, match="heard"):
            warnings.warn("heard", stacklevel=1)
