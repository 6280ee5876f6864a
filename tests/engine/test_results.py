import threading

import pytest

from co3d.engine.results import Results, TrackEnded


class FakePrediction:
    """Stands in for a prediction: `Results` only counts them."""

    def __init__(self, number: int) -> None:
        self.number = number


@pytest.fixture(autouse=True)
def _fake(monkeypatch):
    monkeypatch.setattr("co3d.engine.results.Prediction", FakePrediction)


def test_predictions_come_in_order_and_the_end_comes_last():
    results, calls = Results(), []
    results.join(lambda: calls.append(1))
    on_room = results._on_room[0]
    for number in range(3):
        results.put([FakePrediction(number)], drops_oldest=False)
    results.end(TrackEnded("door"), on_room)
    *made, ended = list(results)
    assert [item.number for item in made] == [0, 1, 2]
    assert ended == TrackEnded("door")
    assert calls == []


def test_a_live_track_drops_the_oldest_and_counts_it():
    results = Results(capacity=2)
    on_room = lambda: None  # noqa: E731
    results.join(on_room)
    for number in range(5):
        results.put([FakePrediction(number)], drops_oldest=True)
    results.end(TrackEnded("door"), on_room)
    assert [item.number for item in list(results)[:-1]] == [3, 4]
    assert results.lost == 3


def test_all_tracks_are_told_when_a_full_queue_has_room():
    results, told = Results(capacity=2), []
    results.join(lambda: told.append("a"))
    results.join(lambda: told.append("b"))
    for number in range(2):
        results.put([FakePrediction(number)], drops_oldest=False)
    assert not results.room
    items = iter(results)
    next(items)
    assert sorted(told) == ["a", "b"]
    next(items)
    assert sorted(told) == ["a", "b"]


def test_a_consumer_waits_for_items():
    results, seen = Results(), []
    on_room = lambda: None  # noqa: E731
    results.join(on_room)
    consumer = threading.Thread(target=lambda: seen.extend(results))
    consumer.start()
    results.put([FakePrediction(7)], drops_oldest=False)
    results.end(TrackEnded("door"), on_room)
    consumer.join(10)
    assert len(seen) == 2
