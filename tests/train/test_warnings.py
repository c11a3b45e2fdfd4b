"""What is found out before a run has a folder is told in its log too."""

import logging

import pytest

from densevit.train.folder import LOG, held_warnings, run_logging

logger = logging.getLogger("densevit")


def test_what_is_warned_of_before_a_run_comes_first_in_its_log_with_its_level(tmp_path, capsys):
    with held_warnings() as held:
        logger.warning("1 of 3 classes is in no label")
    with run_logging(tmp_path, held=held):
        logger.info("3.7 M parameters")
    lines = [line.split(maxsplit=1)[1] for line in (tmp_path / LOG).read_text().splitlines()]
    assert lines == ["WARNING 1 of 3 classes is in no label", "INFO    3.7 M parameters"]
    assert [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()] == lines


def test_a_run_that_does_not_begin_warns_all_the_same(capsys, monkeypatch):
    monkeypatch.setattr(logger, "propagate", False)  # pytest listens at the root

    def begin():
        with held_warnings():
            logger.warning("1 of 3 classes is in no label")
            raise ValueError("no such data")

    with pytest.raises(ValueError, match="no such data"):
        begin()
    assert "1 of 3 classes is in no label" in capsys.readouterr().err
    assert logger.handlers == []
