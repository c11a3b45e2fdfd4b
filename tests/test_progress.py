import io
import os
import pty
import subprocess
import sys

import pytest

from densevit.progress import Bars

PROGRAM = """
import sys
from densevit.progress import Bars
with Bars(stream=getattr(sys, sys.argv[1])) as bars:
    bars.show("predict", 1, 3)
    print("a result", bars.watched)
    bars.show("predict", 3, 3, note="done soon")
"""


def test_without_a_terminal_nothing_is_drawn():
    stream = io.StringIO()
    with Bars(stream=stream) as bars:
        for done in range(4):
            bars.show("predict", done, 3)
        bars.hide("predict")
        bars.hide("never shown")
    assert (stream.getvalue(), bars.watched) == ("", False)


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
@pytest.mark.parametrize("stream", ["stderr", "stdout"])
def test_on_a_terminal_a_bar_is_drawn_and_a_redirected_stdout_keeps_its_lines(stream):
    ours, theirs = pty.openpty()
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: theirs}
    done = subprocess.run([sys.executable, "-c", PROGRAM, stream], **streams, check=True)
    os.close(theirs)
    drawn = os.read(ours, 2**16).decode()
    os.close(ours)
    assert all(text in drawn for text in ("predict", "3/3", "done soon"))
    said = drawn if stream == "stdout" else done.stdout.decode()
    assert "a result True" in said
