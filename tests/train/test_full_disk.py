"""A full disk ends a run once: by one sentence, whichever file or thread met it first."""

import errno
import logging
import threading

import pytest

from densevit.cli.main import explain
from densevit.environment import quiet_threads
from densevit.files import FULL
from densevit.train.folder import run_logging
from densevit.train.record import Recorder

NO_SPACE = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def full(tmp_path):
    """A folder whose log.txt and scalars.jsonl lie on a full disk."""
    for name in ("log.txt", "scalars.jsonl"):
        (tmp_path / name).symlink_to("/dev/full")
    return tmp_path


def test_scores_that_cannot_be_written_name_their_file(full):
    with pytest.raises(OSError, match="No space left on device") as caught:
        Recorder(full, active=True).add_row(dict(iter=1))
    assert explain(caught.value) == f"no space left on device: {full / 'scalars.jsonl'}"


def test_the_log_does_not_speak_of_its_own_trouble(full, capsys):
    with run_logging(full):
        logging.getLogger("densevit").info("of the run")
    shown = capsys.readouterr()
    assert "of the run" in shown.out
    assert shown.err == ""


class Board:
    """A back end whose thread met a full disk, as TensorBoard's does."""

    def add_scalar(self, *_arguments, **_options):
        raise NO_SPACE

    close = add_scalar


def test_a_back_end_that_cannot_write_is_told_once(tmp_path, caplog):
    recorder = Recorder(tmp_path, active=True, boards=[Board()])
    with pytest.raises(OSError, match="No space left on device") as caught:
        recorder.add_row(dict(iter=1, loss=0.5))
    assert caught.value.filename == str(tmp_path)
    recorder.close(quietly=True)
    assert caplog.text == ""
    recorder.close()
    assert "Board lacks the end of the run: No space left on device" in caplog.text


def test_a_thread_that_a_full_disk_ends_leaves_no_trace_and_others_do(capsys, recwarn):
    def run(error):
        def act():
            raise error

        thread = threading.Thread(target=act)
        thread.start()
        thread.join()

    seen, before = [], threading.excepthook
    threading.excepthook = seen.append
    try:
        with quiet_threads(FULL):
            run(NO_SPACE)
            assert seen == []
            run(OSError(errno.ENOENT, "gone"))
            run(ZeroDivisionError())
        assert [each.exc_type for each in seen] == [FileNotFoundError, ZeroDivisionError]
        assert threading.excepthook == seen.append
    finally:
        threading.excepthook = before
    assert capsys.readouterr().err == ""


def test_what_torchs_writer_says_becomes_a_sentence():
    def fail():
        try:
            raise NO_SPACE
        finally:
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 768 vs 662")

    with pytest.raises(RuntimeError) as caught:
        fail()
    assert explain(caught.value) == "no space left on device"
    alone = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 768 vs 662")
    assert explain(alone) == "a file could not be written to its end, as on a full disk"
    assert explain(RuntimeError("shapes cannot be multiplied")) is None
