"""Commands go on when nobody reads what they say, and end in one line when they are interrupted."""

import os
import subprocess
import sys

import pytest

from densevit.cli import main
from tests.cli.test_command import REPOSITORY, run_python
from tests.predictor.common import files_below

INTERRUPTED = """
import sys
class Finder:
    def find_spec(self, name, *rest):
        if name == {name!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
from densevit.cli import main
sys.exit(main(["predict", "weights.safetensors", "photos", "-o", "out"]))
"""


def unread():
    """A stream into a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_prediction_whose_reader_has_gone_is_made_and_exits_with_0(checkpoint, photos, tmp_path, monkeypatch, stream):
    own = unread()
    monkeypatch.setattr(sys, stream, own)
    assert main(["predict", str(checkpoint), str(photos), "-o", str(tmp_path / "out"), "--device", "cpu"]) == 0
    assert getattr(sys, stream) is own
    assert len(files_below(tmp_path / "out")) == 2
    own.close()  # nothing is left over that could not be written


def test_a_prediction_without_output_streams_is_made(checkpoint, photos, tmp_path, monkeypatch):
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, None)
    assert main(["predict", str(checkpoint), str(photos), "-o", str(tmp_path / "out"), "--device", "cpu"]) == 0
    assert len(files_below(tmp_path / "out")) == 2


def test_training_goes_on_when_its_reader_has_gone(config, tmp_path, monkeypatch, capfd):
    own = unread()
    monkeypatch.setattr(sys, "stdout", own)
    assert main(["train", str(config), "--work-dir", str(tmp_path / "run"), "--device", "cpu"]) == 0
    own.close()
    assert (tmp_path / "run" / "best" / "weights.safetensors").is_file()
    assert capfd.readouterr().err == ""


def test_words_that_cannot_be_written_for_another_reason_are_a_failure(capsys, monkeypatch):
    full = open("/dev/full", "w")  # noqa: SIM115
    monkeypatch.setattr(sys, "stdout", full)
    assert main(["models", "--filter", "mit_b0"]) == 1
    full.close()
    told = capsys.readouterr().err
    assert told == "densevit: not all of what was said could be written: no space left on device\n"


def test_a_mistake_is_still_one_when_nobody_reads_it(tmp_path, monkeypatch):
    own = unread()
    monkeypatch.setattr(sys, "stderr", own)
    assert main(["predict", str(tmp_path / "none"), str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    own.close()


@pytest.mark.parametrize("line", ["--help | true", "--help >&-", "--help >&- 2>&- <&-", "predict --help | true"])
def test_help_without_a_reader_says_nothing_else(line):
    command = f"set -o pipefail; {sys.executable} -m densevit {line}"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_closed_output_is_not_taken_by_a_file_that_is_written(tmp_path):
    code = "from densevit.cli.main import lasting_output\nimport os\nwith lasting_output():\n os.write(1, b'said')\n"
    code += f" with open({str(tmp_path / 'data')!r}, 'wb') as file:\n  os.write(1, b'said')\n  file.write(b'data')\n"
    command = ["bash", "-c", 'exec "$0" -c "$1" >&-', sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "data").read_bytes() == b"data"


def test_commands_need_no_docstrings():
    """`python -OO` takes them away."""
    done = run_python("-OO", "-m", "densevit", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\n    predict" in done.stdout


@pytest.mark.parametrize("name", ["densevit.cli.main", "densevit.cli.predict", "densevit.checkpoint"])
def test_an_interruption_during_imports_is_one_line(name):
    done = run_python("-c", INTERRUPTED.format(name=name))
    assert (done.returncode, done.stderr) == (130, "densevit: interrupted\n")
