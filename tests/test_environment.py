"""What belongs to the whole process: a command sets it, and a library call leaves it as it was."""

import json
import os
import subprocess
import sys

import pytest

from densevit.environment import SPINS, WAITING, environment_variable, keep_freed_memory
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
    "densevit": "sys.argv = ['densevit', 'models']\nrunpy.run_module('densevit', run_name='__main__')",
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
    code = "import torch\nfrom densevit.cli import main\nmain(['models'])\n"
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
