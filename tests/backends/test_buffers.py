"""Free lists of buffers: a step takes its new elements from them and returns dropped ones."""

import weakref

import torch

from co3d.backends.buffers import BufferPool

SHAPE = (1, 3, 4, 5)


def make_pool() -> BufferPool:
    return BufferPool(torch.channels_last)


def test_buffers_are_reused_first_in_first_out() -> None:
    pool = make_pool()
    take = pool.maker(SHAPE, torch.float32, is_state=True)
    first, second = take(), take()
    assert first.is_contiguous(memory_format=torch.channels_last)
    pool.give(second)
    pool.give(first)
    again = pool.maker(torch.Size(SHAPE), torch.float32, is_state=True)
    assert again() is second
    assert take() is first
    assert pool.maker(SHAPE, torch.bfloat16, is_state=True)() is not second


def test_results_and_foreign_tensors_are_not_reused() -> None:
    pool = make_pool()
    make = pool.maker(SHAPE, torch.float32, is_state=False)
    result = make()
    pool.give(result)
    pool.give(torch.zeros(SHAPE))
    assert make() is not result
    assert pool.maker(SHAPE, torch.float32, is_state=True)() is not result


def test_buffers_are_freed_with_their_pool() -> None:
    pool = make_pool()
    take = pool.maker(SHAPE, torch.float32, is_state=True)
    free, used = take(), take()
    pool.give(free)
    gone = weakref.ref(free)
    del pool, take, free
    assert gone() is None  # without a pass of the garbage collector
    make_pool().give(used)  # its free list is gone, so it is dropped
