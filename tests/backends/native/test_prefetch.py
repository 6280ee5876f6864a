"""Which buffers convolutions prefetch before they are read or written."""

from co3d.backends.native.operation import MOST_PREFETCHES, Kind, Operation
from co3d.backends.native.prefetch import LEAST_BYTES, MOST_BYTES, plan_prefetches

MAP = 9


def make_convolution(weight: int, side: int) -> Operation:
    made = Operation(Kind.CONVOLVE, [MAP], [24])
    made.weight, made.out_height, made.out_width = weight, side, side
    return made


def find_prefetched(operation: Operation) -> dict[int, int]:
    count = operation.prefetch_count
    return dict(zip(operation.prefetch[:count], operation.prefetch_bytes[:count], strict=True))


def test_a_convolution_prefetches_the_reads_up_to_the_next_one() -> None:
    expand, project = make_convolution(0, 7), make_convolution(5, 7)
    depthwise = Operation(Kind.SUM_DEPTHWISE, [MAP, 2, 3], [24] * 3)
    depthwise.weight = 1
    gate = make_convolution(4, 1)  # one pixel: it computes too little to prefetch
    sizes = {0: 50_000, 1: 6_000, 2: 70_000, 3: 70_000, 4: 8_000, 5: 90_000}
    plan_prefetches([expand, depthwise, gate, project], sizes, {})
    assert find_prefetched(expand) == {1: 6_000, 2: 70_000, 3: 70_000, 4: 8_000, 5: 90_000}
    assert [find_prefetched(op) for op in (depthwise, gate, project)] == [{}, {}, {}]


def test_it_prefetches_nothing_small_and_no_more_than_caches_hold() -> None:
    first = make_convolution(0, 7)
    sources = [1, 2, 3, *range(10, 10 + MOST_PREFETCHES)]
    following = Operation(Kind.SUM_DEPTHWISE, sources, [24] * len(sources))
    sizes = {1: LEAST_BYTES - 1, 2: MOST_BYTES + 1, 3: MOST_BYTES - 90_000}
    plan_prefetches([first, following], sizes | dict.fromkeys(sources[3:], 10_000), {})
    prefetched = find_prefetched(first)
    assert len(prefetched) == MOST_PREFETCHES
    assert list(prefetched)[:2] == [3, 10]


def test_it_prefetches_result_buffers_that_outlive_the_step() -> None:
    project, expand = make_convolution(0, 7), make_convolution(1, 7)
    depthwise = Operation(Kind.SUM_DEPTHWISE, [4, 5], [24] * 2)
    project.out, expand.out, depthwise.out = 3, 4, 6
    plan_prefetches([project, expand, depthwise], {0: 9_000, 1: 9_000, 5: 80_000}, {4: 80_000})
    assert find_prefetched(project) == {1: 9_000, 4: 80_000}
    assert find_prefetched(expand) == {5: 80_000}  # but not its own result


def test_it_prefetches_added_maps_and_additional_outputs() -> None:
    first = make_convolution(0, 7)
    depthwise = Operation(Kind.SUM_DEPTHWISE, [1], [24])
    depthwise.added_count, depthwise.additional_count, depthwise.out = 1, 2, 5
    depthwise.added[0], depthwise.additional[0], depthwise.additional[1] = 2, 3, 4
    sizes = dict.fromkeys(range(6), 80_000)
    plan_prefetches([first, depthwise], {2: sizes[2]}, {3: sizes[3], 4: sizes[4]})
    assert find_prefetched(first) == {2: 80_000, 3: 80_000, 4: 80_000}


def test_nothing_is_prefetched_for_a_mean() -> None:
    first, mean = make_convolution(0, 7), Operation(Kind.MEAN, [], [])
    mean.source_count = 4  # of partial sums
    plan_prefetches([first, mean], {0: 70_000}, {})
    assert find_prefetched(first) == {}


def test_lists_without_a_convolution_of_maps_prefetch_nothing() -> None:
    alone = Operation(Kind.SUM_DEPTHWISE, [1], [24])
    plan_prefetches([alone], {1: 70_000}, {})
    assert find_prefetched(alone) == {}
