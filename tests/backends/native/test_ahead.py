"""What convolutions ask memory for before it is read or written."""

from co3d.backends.native.ahead import LEAST_BYTES, MOST_BYTES, ask_ahead
from co3d.backends.native.operation import MOST_AHEAD, Kind, Operation

MAP = 9


def make_convolution(weight: int, side: int) -> Operation:
    made = Operation(Kind.CONVOLVE, [MAP], [24])
    made.weight, made.out_height, made.out_width = weight, side, side
    return made


def find_asked(operation: Operation) -> dict[int, int]:
    count = operation.ahead_count
    return dict(zip(operation.ahead[:count], operation.ahead_bytes[:count], strict=True))


def test_a_convolution_asks_for_what_is_read_up_to_the_next_one() -> None:
    expand, project = make_convolution(0, 7), make_convolution(5, 7)
    depthwise = Operation(Kind.SUM_DEPTHWISE, [MAP, 2, 3], [24] * 3)
    depthwise.weight = 1
    gate = make_convolution(4, 1)  # of one pixel: it computes too little to ask for anything
    sizes = {0: 50_000, 1: 6_000, 2: 70_000, 3: 70_000, 4: 8_000, 5: 90_000}
    ask_ahead([expand, depthwise, gate, project], sizes, {})
    assert find_asked(expand) == {1: 6_000, 2: 70_000, 3: 70_000, 4: 8_000, 5: 90_000}
    assert [find_asked(op) for op in (depthwise, gate, project)] == [{}, {}, {}]


def test_it_asks_for_nothing_small_and_for_no_more_than_caches_hold() -> None:
    first = make_convolution(0, 7)
    sources = [1, 2, 3, *range(10, 10 + MOST_AHEAD)]
    following = Operation(Kind.SUM_DEPTHWISE, sources, [24] * len(sources))
    sizes = {1: LEAST_BYTES - 1, 2: MOST_BYTES + 1, 3: MOST_BYTES - 90_000}
    ask_ahead([first, following], sizes | dict.fromkeys(sources[3:], 10_000), {})
    asked = find_asked(first)
    assert len(asked) == MOST_AHEAD
    assert list(asked)[:2] == [3, 10]


def test_it_asks_for_where_results_go_that_outlive_the_step() -> None:
    project, expand = make_convolution(0, 7), make_convolution(1, 7)
    depthwise = Operation(Kind.SUM_DEPTHWISE, [4, 5], [24] * 2)
    project.out, expand.out, depthwise.out = 3, 4, 6
    ask_ahead([project, expand, depthwise], {0: 9_000, 1: 9_000, 5: 80_000}, {4: 80_000})
    assert find_asked(project) == {1: 9_000, 4: 80_000}
    assert find_asked(expand) == {5: 80_000}  # and not for what it makes itself


def test_it_asks_for_what_is_added_and_for_where_taps_go() -> None:
    first = make_convolution(0, 7)
    depthwise = Operation(Kind.SUM_DEPTHWISE, [1], [24])
    depthwise.added_count, depthwise.beside_count, depthwise.out = 1, 2, 5
    depthwise.added[0], depthwise.beside[0], depthwise.beside[1] = 2, 3, 4
    sizes = dict.fromkeys(range(6), 80_000)
    ask_ahead([first, depthwise], {2: sizes[2]}, {3: sizes[3], 4: sizes[4]})
    assert find_asked(first) == {2: 80_000, 3: 80_000, 4: 80_000}


def test_means_read_sums_and_no_map() -> None:
    first, mean = make_convolution(0, 7), Operation(Kind.MEAN, [], [])
    mean.source_count = 4  # of partial sums
    ask_ahead([first, mean], {0: 70_000}, {})
    assert find_asked(first) == {}


def test_lists_without_a_convolution_of_maps_ask_for_nothing() -> None:
    alone = Operation(Kind.SUM_DEPTHWISE, [1], [24])
    ask_ahead([alone], {1: 70_000}, {})
    assert find_asked(alone) == {}
