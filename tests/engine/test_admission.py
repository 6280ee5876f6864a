import pytest

from co3d.engine.admission import Admission, SourceCost, StepCost
from co3d.errors import EngineFullError


@pytest.fixture
def cost() -> StepCost:
    cost = StepCost()
    for _ in range(100):
        cost.add(0.01, 0.01)
    return cost


def test_the_cost_of_a_step_is_its_95th_percentile():
    cost = StepCost()
    for number in range(1, 101):
        cost.add(number / 1000, number / 1000)
    assert cost.seconds == pytest.approx(0.09505)


def test_waiting_for_the_gil_counts():
    cost = StepCost()
    for _ in range(100):
        cost.add(0.01, 0.025)
    assert cost.seconds == pytest.approx(0.025)


def test_streams_join_up_to_the_limit(cost):
    admission = Admission(cost, capacity=2, load_limit=0.8)
    for number in range(20):  # 8 a second, 10 ms each: 0.04 of two workers
        admission.reserve(f"camera {number}", 8)
    assert admission.load == pytest.approx(0.8)
    with pytest.raises(EngineFullError, match="21 streams would take 84% of this machine"):
        admission.reserve("camera 20", 8)
    admission.release("camera 3")
    admission.reserve("camera 20", 8)


def test_the_cost_of_decoding_counts(cost):
    admission = Admission(cost, capacity=1, load_limit=0.8)
    admission.reserve("door", 8, SourceCost(0.09))
    assert admission.load == pytest.approx(0.8)
    with pytest.raises(EngineFullError):
        admission.reserve("yard", 1)


def test_beside_a_gpu_all_cores_decode(cost):
    admission = Admission(cost, capacity=1, load_limit=0.8, decoding_cores=4)
    admission.reserve("door", 4, SourceCost(0.1))
    assert admission.load == pytest.approx(0.1)  # of the cores; of the GPU it is 0.04
    for number in range(7):
        admission.reserve(f"yard {number}", 4, SourceCost(0.1))
    with pytest.raises(EngineFullError, match="1 steps while 4 decode"):
        admission.reserve("gate", 4, SourceCost(0.1))
    admission = Admission(cost, capacity=1, load_limit=0.8, decoding_cores=4)
    admission.reserve("fast", 80, SourceCost(0.01))
    assert admission.load == pytest.approx(0.8)  # of the GPU; of the cores it is 0.2


def test_a_refused_stream_reserves_nothing(cost):
    admission = Admission(cost, capacity=1, load_limit=0.8)
    with pytest.raises(EngineFullError):
        admission.reserve("door", 100)
    assert admission.load == 0


def test_offline_streams_reserve_nothing(cost):
    admission = Admission(cost, capacity=1, load_limit=0.8)
    admission.reserve("door", 80)
    admission.reserve("archive", 0)
    assert admission.load == pytest.approx(0.8)


def test_the_number_of_streams_may_be_limited(cost):
    admission = Admission(cost, capacity=8, load_limit=None, max_streams=2)
    admission.reserve("a", 1000)
    admission.reserve("b", 0)
    with pytest.raises(EngineFullError, match="max_streams is 2"):
        admission.reserve("c", 0)


def test_streams_that_turn_out_cheaper_make_room_for_others():
    cost = StepCost()
    for _ in range(12):
        cost.add(0.02, 0.02)  # of a trial, say
    admission = Admission(cost, capacity=1, load_limit=0.8)
    admission.reserve("door", 30)
    with pytest.raises(EngineFullError, match=r"a step costs 20\.0 ms"):
        admission.reserve("yard", 30)
    for _ in range(512):
        cost.add(0.005, 0.005)
    admission.reserve("yard", 30)
    assert admission.load == pytest.approx(0.3)


def test_if_no_stream_fits_the_cost_is_measured_again(cost):
    admission = Admission(cost, capacity=1, load_limit=0.8)
    with pytest.raises(EngineFullError, match=r"a step costs 10\.0 ms"):
        admission.reserve("door", 100)
    assert cost.seconds == 0


def test_sources_count_as_they_are_measured(cost):
    admission = Admission(cost, capacity=1, load_limit=0.8)
    door, yard = SourceCost(), SourceCost()
    admission.reserve("door", 10, door)
    assert admission.load == pytest.approx(0.1)
    for seconds in (0.05, 0.01):
        door.add(seconds)
    assert admission.load == pytest.approx(0.4)
    admission.reserve("yard", 10, yard)  # not measured: as the others
    assert admission.load == pytest.approx(0.8)
    with pytest.raises(EngineFullError, match=r"decoding its frame 30\.0 ms"):
        admission.reserve("gate", 10, SourceCost())
    yard.add(0.0)
    admission.reserve("gate", 5, SourceCost())
    assert admission.load == pytest.approx(0.5 + 5 * 0.025)
