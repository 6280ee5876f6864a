"""The engine's predictions for each stream equal those of the network on that stream alone."""

import dataclasses
import random
import threading
from collections.abc import Iterable, Sequence
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from co3d.engine import Engine, Labeller, Prediction, Results, Track
from co3d.errors import (
    DamagedVideoError,
    EngineFullError,
    InputShapeError,
    OptionError,
    StreamError,
)
from co3d.runtime import CompiledProgram
from co3d.video import VideoFrame, read_video
from support.videos import cut_short, open_reader, write_video, write_video_with_gap

RATE_HZ = 8.0


@pytest.fixture(scope="module")
def engine(labeller: Labeller):
    with Engine(labeller.compiled, labeller.card, workers=2) as engine:
        yield engine


@pytest.fixture(scope="module", params=[(1, 1), (2, 1), (1, 4)], ids=["1x1", "2x1", "1x4"])
def any_engine(request, labeller: Labeller):
    workers, batch = request.param
    compiled, card = labeller.compiled, labeller.card
    with Engine(compiled, card, workers=workers, batch=batch) as engine:
        yield engine


def make_pictures(seed: int, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (90, 120, 3), np.uint8) for _ in range(count)]


def label_alone(
    compiled: CompiledProgram, engine: Engine, pictures: Iterable[np.ndarray], *, flush: bool
) -> list[np.ndarray]:
    """The probabilities for each picture, from a slot of its own."""
    program, made = compiled.program, []
    with compiled.open() as slot:
        frames = [engine.card.preprocess(picture) for picture in pictures]
        for frame in frames:
            made.append(compiled.step([slot], frame).output[0])
        for _ in range(slot.finish() if flush else 0):
            made.append(compiled.step([slot], torch.zeros_like(frames[0])).output[0])
    return [engine.card.probabilities(logits).numpy() for logits in made[program.delay :]]


def push_all(track: Track, pictures: Sequence[np.ndarray]) -> None:
    for number, picture in enumerate(pictures):
        track.push(picture, number / RATE_HZ)


def test_concurrent_streams_do_not_affect_each_other(any_engine):
    videos = {f"video {seed}": make_pictures(seed, 12 + seed) for seed in range(5)}
    results = Results(capacity=10)
    tracks = {name: any_engine.join(name, policy="every", results=results) for name in videos}

    def feed(name: str) -> None:
        push_all(tracks[name], videos[name])
        tracks[name].finish()

    feeders = [threading.Thread(target=feed, args=(name,)) for name in videos]
    for feeder in feeders:
        feeder.start()
    made: dict[str, list[Prediction]] = {name: [] for name in videos}
    for item in results:
        if isinstance(item, Prediction):
            made[item.track].append(item)
        else:
            assert item.error is None
    for feeder in feeders:
        feeder.join()
    for name, pictures in videos.items():
        expected = label_alone(any_engine.compiled, any_engine, pictures, flush=True)
        assert [p.frame.index for p in made[name]] == list(range(len(pictures)))
        for prediction, wanted in zip(made[name], expected, strict=True):
            np.testing.assert_array_equal(prediction.probabilities, wanted)


def test_a_followed_video_is_labelled_as_the_labeller_does(engine, labeller, tmp_path):
    path = write_video_with_gap(tmp_path / "broken.mp4", 3600)
    expected = list(labeller.label(read_video(path, rate_hz=8, gap="reset")))
    track = engine.join(policy="every")
    feeder = threading.Thread(target=track.follow, args=(read_video(path, rate_hz=8, gap="reset"),))
    feeder.start()
    made = list(track)
    feeder.join()
    assert len(made) == len(expected) == 48
    for prediction, wanted in zip(made, expected, strict=True):
        np.testing.assert_array_equal(prediction.probabilities, wanted.probabilities)
        np.testing.assert_array_equal(prediction.frame.image, wanted.frame.image)
        for name in ("valid", "from_pts_seconds", "seen_pts_seconds", "top", "gap_seconds"):
            assert getattr(prediction, name) == getattr(wanted, name)


def test_pushed_pictures_are_sampled_as_read_video_samples(engine, labeller, tmp_path):
    path = write_video(tmp_path / "video.mp4", 50, rate_hz=25)
    expected = list(labeller.label(read_video(path, rate_hz=8, gap="reset")))
    track = engine.join(policy="every")

    def feed() -> None:
        for frame in read_video(path):
            track.push(frame.image, frame.pts_seconds)
        track.finish()

    feeder = threading.Thread(target=feed)
    feeder.start()
    made = list(track)
    feeder.join()
    assert [p.frame.index for p in made] == [p.frame.index for p in expected]
    for prediction, wanted in zip(made, expected, strict=True):
        np.testing.assert_array_equal(prediction.probabilities, wanted.probabilities)


def test_after_a_reset_a_new_video_begins(engine):
    first, second = make_pictures(0, 9), make_pictures(1, 11)
    track = engine.join(policy="every")

    def feed() -> None:
        push_all(track, first)
        track.reset()
        push_all(track, second)
        track.finish()

    feeder = threading.Thread(target=feed)
    feeder.start()
    made = list(track)
    feeder.join()
    expected = [
        *label_alone(engine.compiled, engine, first, flush=True),
        *label_alone(engine.compiled, engine, second, flush=True),
    ]
    assert len(made) == 20
    for prediction, wanted in zip(made, expected, strict=True):
        np.testing.assert_array_equal(prediction.probabilities, wanted)
    assert [p.valid for p in made] == [False] * 7 + [True] * 2 + [False] * 7 + [True] * 4


def test_another_track_continues_from_a_snapshot(engine):
    pictures = make_pictures(3, 30)
    track = engine.join(policy="every")
    push_all(track, pictures[:20])
    delay = engine.compiled.program.delay
    items = iter(track)
    before = [next(items) for _ in range(19 - delay)]  # the newest waits for its tick to pass
    snapshot = track.snapshot()
    track.close()
    other = engine.join(policy="every", snapshot=snapshot)
    push_all(other, pictures[19:])
    other.finish()
    after = list(other)
    expected = label_alone(engine.compiled, engine, pictures, flush=True)
    assert snapshot.age == 19
    assert len(after) == 11
    for prediction, wanted in zip(
        [*before, *after], [*expected[: 19 - delay], *expected[19:]], strict=True
    ):
        np.testing.assert_array_equal(prediction.probabilities, wanted)


def test_live_streams_never_wait(labeller):
    pictures = make_pictures(0, 2)
    compiled, card = labeller.compiled, labeller.card
    with Engine(compiled, card, workers=1, load_limit=None) as engine:
        track = engine.join(rate_hz=100)
        blocked = engine.join("blocked", rate_hz=100)
        blocked._acquire_slot()  # as a step would that never ends
        for number in range(400):
            blocked.push(pictures[number % 2], number / 100)
        assert blocked.dropped_frames == 399 - 50  # the newest waits for its tick to pass
        blocked.finish()
        blocked._release_slot()
        made = list(blocked)
        # Half a second is left, after a gap of 3.5 s.
        assert [p.frame.index for p in made] == list(range(350, 400 - compiled.program.delay))
        assert made[0].gap_seconds == 0
        assert track.metrics().pictures == 0


def test_a_step_that_fails_ends_its_track_alone(engine, monkeypatch):
    good, bad = engine.join("good", policy="every"), engine.join("bad", policy="every")
    bad.slot.state.close()
    monkeypatch.setattr(bad.slot, "state", SimpleNamespace(close=lambda: None))
    push_all(bad, make_pictures(0, 3))
    push_all(good, make_pictures(1, 12))
    good.finish()
    with pytest.raises(IndexError):
        list(bad)
    expected = label_alone(engine.compiled, engine, make_pictures(1, 12), flush=True)
    for prediction, wanted in zip(good, expected, strict=True):
        np.testing.assert_array_equal(prediction.probabilities, wanted)
    with pytest.raises(StreamError, match="finished or closed"):
        push_all(bad, make_pictures(0, 20))
    assert not engine.tracks


def test_a_readers_error_comes_after_all_predictions(engine, tmp_path):
    whole = write_video(tmp_path / "whole.mkv", 64)
    damaged = cut_short(whole, tmp_path / "damaged.mkv")
    track, made = engine.join(policy="every"), []
    feeder = threading.Thread(target=track.follow, args=(open_reader(damaged),))
    feeder.start()
    with pytest.raises(DamagedVideoError):
        made.extend(track)
    feeder.join()
    assert len(made) > 8


def test_a_track_that_closes_frees_its_name_and_its_pusher(engine):
    track = engine.join("door", policy="every")
    push_all(track, make_pictures(0, 4))
    track.close()
    track.close()
    with pytest.raises(StreamError, match="finished or closed"):
        push_all(track, make_pictures(0, 60))
    with pytest.raises(StreamError, match="closed"):
        track.snapshot()
    engine.join("door").close()


def test_the_engine_is_full_when_the_machine_is(engine):
    cost_seconds = engine.step_cost_ms / 1e3
    rate_hz = 0.5 * 2 / cost_seconds  # half of two workers
    with engine.join("one", rate_hz=rate_hz):
        assert engine.load == pytest.approx(0.5, rel=0.5)  # costs are measured on
        with pytest.raises(EngineFullError, match="lower rates"):
            engine.join("two", rate_hz=2 * rate_hz)
        engine.join("archive", rate_hz=10 * rate_hz, policy="every").close()
    assert engine.load == 0


def test_the_first_step_of_a_track_does_not_count_as_its_cost(labeller, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # else a lone thread does not count
    first, second, third = make_pictures(0, 3)
    with Engine(labeller.compiled, labeller.card, workers=0) as engine:
        track, before_ms = engine.join(rate_hz=RATE_HZ), engine.step_cost_ms
        track.push(first, 0.0)
        track.push(second, 1 / RATE_HZ)  # so that the first one is known to be its frame
        assert engine.step()
        assert engine.step_cost_ms == before_ms
        track.push(third, 2 / RATE_HZ)
        assert engine.step()
        assert engine.step_cost_ms != before_ms


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rate_hz": 0}, "rate above 0"),
        ({"policy": "some"}, "'latest' or 'every'"),
        ({"top_k": 10}, "use --top 1 to --top 9"),
    ],
)
def test_arguments_out_of_range_are_refused(engine, options, said):
    with pytest.raises(OptionError, match=said):
        engine.join(**options)
    assert not engine.tracks


@pytest.mark.parametrize(
    "picture",
    [None, np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_other_arrays_than_pictures_are_refused(engine, picture):
    with engine.join() as track, pytest.raises(InputShapeError, match="a picture"):
        track.push(picture, 0.0)


@pytest.mark.parametrize("pts_seconds", [1.0, 0.5, float("nan"), float("inf")])
def test_times_must_increase(engine, pts_seconds):
    picture = make_pictures(0, 1)[0]
    with engine.join() as track:
        track.push(picture, 1.0)
        with pytest.raises(StreamError, match="call reset"):
            track.push(picture, pts_seconds)
        track.reset()
        track.push(picture, 0.5)


def test_predictions_may_come_without_pictures(engine):
    track = engine.join(policy="every", keeps_pictures=False)
    push_all(track, make_pictures(0, 9))
    track.finish()
    assert {p.frame.image.shape for p in track} == {(0, 0, 3)}


def test_metrics_count_what_happened(engine):
    track = engine.join(policy="every")
    push_all(track, make_pictures(0, 12))
    track.finish()
    assert len(list(track)) == 12
    counts = track.metrics()
    assert (counts.pictures, counts.steps, counts.predictions) == (12, 16, 12)
    assert counts.dropped_frames == counts.gaps == 0
    assert counts.latency.p99_ms >= counts.step.p50_ms > 0
    assert counts.rate_hz > 0


def test_closing_the_engine_ends_its_tracks_and_threads(labeller):
    before = threading.active_count()
    engine = Engine(labeller.compiled, labeller.card, workers=2)
    tracks = [engine.join() for _ in range(3)]
    engine.close()
    assert threading.active_count() == before
    assert [list(track) for track in tracks] == [[], [], []]
    with pytest.raises(StreamError, match="closed"):
        engine.join()


def test_a_network_whose_input_differs_from_its_card_is_refused(labeller):
    card = dataclasses.replace(labeller.card, crop_px=32)
    with pytest.raises(OptionError, match=r"of \(3, 64, 64\), but its card .*\(3, 32, 32\)"):
        Engine(labeller.compiled, card)


def test_random_operations_leave_every_stream_as_if_alone(any_engine):
    """Random joins, pushes, resets, snapshots to other tracks, and ends, with eight tracks."""
    random.seed(0)
    pictures = make_pictures(9, 5)
    compiled = any_engine.compiled
    running: list[tuple[Track, list[list[int]]]] = []
    ended: list[tuple[Track, list[list[int]]]] = []
    for _ in range(400):
        kind = random.choices(["join", "push", "reset", "finish"], [1, 12, 1, 1])[0]
        if kind == "join" and len(running) < 8:
            results = Results(capacity=1000)
            running.append((any_engine.join(policy="every", results=results), [[]]))
        elif running:
            track, videos = place = random.choice(running)
            if kind == "push":
                videos[-1].append(random.randrange(5))
                track.push(pictures[videos[-1][-1]], len(videos[-1]) / RATE_HZ)
            elif kind == "reset":
                videos.append([])
                track.reset()
            elif kind == "finish":
                track.finish()
                running.remove(place)
                ended.append(place)
    for track, videos in running:
        track.finish()
        ended.append((track, videos))
    described = 0
    for track, videos in ended:
        shown = [[pictures[number] for number in video] for video in videos if video]
        expected = [
            row for video in shown for row in label_alone(compiled, any_engine, video, flush=True)
        ]
        for prediction, wanted in zip(track, expected, strict=True):
            np.testing.assert_array_equal(prediction.probabilities, wanted)
            described += 1
    assert described > 200


def test_pixels_of_another_shape_end_their_track_alone(engine):
    with engine.join(policy="every") as bad, engine.join(policy="every") as good:
        frame = VideoFrame(make_pictures(0, 1)[0], 0.0, 0)
        bad.feed(frame, torch.zeros(1, 3, 8, 8))
        good.feed(frame, engine.card.preprocess(frame.image))
        bad.finish()
        good.finish()
        with pytest.raises(InputShapeError, match="cannot step"):
            list(bad)
        assert len(list(good)) == 1
