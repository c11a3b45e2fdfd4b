import threading
import warnings

import pytest

from densevit.quiet import ignore_warnings


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
