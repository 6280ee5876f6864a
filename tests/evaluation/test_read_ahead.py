import threading

import pytest

from co3d.errors import EmptyVideoError
from co3d.evaluation.read_ahead import read_ahead

NAME = "co3d reads ahead"


def count_to(number, closed=None, error=None):
    try:
        yield from range(number)
        if error:
            raise error
    finally:
        if closed is not None:
            closed.append(threading.current_thread().name)


def is_reading():
    return any(thread.name == NAME for thread in threading.enumerate())


def test_everything_comes_in_order_out_of_a_thread():
    closed = []
    assert list(read_ahead(count_to(100, closed), 3)) == list(range(100))
    assert closed == [NAME]
    assert not is_reading()


def test_an_error_comes_in_its_place():
    items = read_ahead(count_to(5, error=EmptyVideoError("nothing")), 2)
    assert [next(items) for _ in range(5)] == list(range(5))
    with pytest.raises(EmptyVideoError):
        next(items)
    assert not is_reading()


def test_what_nobody_takes_any_more_is_closed():
    closed = []
    items = read_ahead(count_to(1000, closed), 2)
    assert next(items) == 0
    items.close()
    assert closed == [NAME]
    assert not is_reading()
