"""Temporal types count the elements of a clip, for chains of windows that shrink and enlarge."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from co3d.compiler.temporal import TemporalType, join

CLIPS = range(1, 60)
Count = Callable[[int], int]
Chain = tuple[TemporalType, Count]


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    """A type, and a function that counts the elements of a clip as torch does."""
    type_, counts = TemporalType(axis=2), [lambda n: n]
    for _ in range(draw(st.integers(1, 5))):
        ratios = [r for r in (2, 3, 4) if type_.stride % r == 0]
        if ratios and draw(st.booleans()):
            ratio = draw(st.sampled_from(ratios))
            beyond = draw(st.integers(-3, 2 * ratio))
            start = draw(st.integers(0, 3))
            try:
                stretched = type_.stretch(ratio)
            except ValueError:
                continue
            # A window of start + 1 elements, of which the oldest is read by the first.
            type_ = stretched.slide(start + 1, 1, 1, start, beyond)
            counts.append(lambda n, r=ratio, b=beyond: (n - 1) * r + 1 + b if n > 0 else 0)
        else:
            kernel, stride = draw(st.integers(1, 4)), draw(st.sampled_from((1, 2, 3)))
            start, end = draw(st.integers(0, 2)), draw(st.integers(-2, 2))
            type_ = type_.slide(kernel, stride, 1, start, end)
            room = start + end - kernel
            counts.append(lambda n, r=room, s=stride: max(0, (n + r) // s + 1) if n else 0)

    def count(frames: int) -> int:
        for step in counts:
            frames = max(0, step(frames))
        return frames

    return type_, count


@settings(max_examples=600, deadline=None, derandomize=True)
@given(chains())
def test_elements_are_counted(chain: Chain) -> None:
    type_, count = chain
    for frames in CLIPS:
        if count(frames):
            assert type_.last_position(frames) == (count(frames) - 1) * type_.stride


@settings(max_examples=600, deadline=None, derandomize=True)
@given(chains())
def test_whether_an_element_exists_depends_on_its_position_alone(chain: Chain) -> None:
    type_, _ = chain
    for frames in CLIPS:
        exist = [q <= type_.horizon(frames) for q in range(0, 80, type_.stride)]
        known = [q <= frames - 1 + type_.extent_at(q) for q in range(0, 80, type_.stride)]
        assert exist == known


@settings(max_examples=600, deadline=None, derandomize=True)
@given(chains())
def test_elements_made_before_the_end_is_known_exist(chain: Chain) -> None:
    """A stream makes no element that its clip does not have."""
    type_, _ = chain
    assert 0 <= type_.overhang < type_.block
    for frames in CLIPS:
        for position in range(0, frames - type_.delay, type_.stride):
            assert position <= type_.horizon(frames)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(chains(), chains())
def test_a_join_has_as_many_elements_as_its_operands(first: Chain, second: Chain) -> None:
    (one, count_one), (other, count_other) = first, second
    if one.stride != other.stride:
        return
    joined = join([one, other])
    for frames in CLIPS:
        if count_one(frames) == count_other(frames) > 0:
            assert joined.last_position(frames) == (count_one(frames) - 1) * one.stride


def test_delays_are_minimal() -> None:
    """Two pools of two, enlarged again twice: all wait for the fourth frame of each block."""
    pooled = TemporalType(axis=2).slide(2, 2, 1, 0, 0).slide(2, 2, 1, 0, 0)
    middle = pooled.stretch(2).slide(2, 1, 1, 1, 1)
    fine = middle.stretch(2).slide(2, 1, 1, 1, 1)
    assert (pooled.delay, middle.delay, fine.delay) == (3, 3, 3)
    assert (fine.stride, fine.block, fine.overhang) == (1, 4, 3)


def test_fractions_of_frames_are_refused() -> None:
    type_ = TemporalType(axis=2)
    with pytest.raises(ValueError, match="2 frames of every frame"):
        type_.stretch(2)
    by_six = type_.slide(3, 3, 1, 0, 0).slide(2, 2, 1, 0, 0)
    by_four = by_six.stretch(3).slide(3, 1, 1, 2, 2).slide(2, 2, 1, 0, 0)
    assert (by_four.stride, by_four.block) == (4, 6)
    with pytest.raises(ValueError, match="neither is a multiple"):
        by_four.stretch(2)
