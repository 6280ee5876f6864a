"""Several sources on one engine: files, live sources over loopback, and missing ones."""

import threading

import numpy as np
import pytest

from co3d.engine import Engine, Labeller, Prediction, SourceChanged, TrackEnded
from co3d.engine.camera import Camera
from co3d.engine.cameras import CameraWatch
from co3d.errors import EngineFullError, OptionError, SourceNotFoundError, SourceUnreachableError
from co3d.video import read_video
from co3d.video.irregularities import Irregularities
from support.servers import play, send, serve
from support.videos import make_broadcast, make_transport_stream, write_video


@pytest.fixture(scope="module")
def engine(labeller: Labeller):
    compiled, card = labeller.compiled, labeller.card
    with Engine(compiled, card, workers=2) as engine:
        yield engine


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cameras")
    return [write_video(folder / f"{count}.mp4", count) for count in (20, 33, 48)]


def collect(watch: CameraWatch):
    """Predictions, states and ends, by camera."""
    predictions: dict[str, list[Prediction]] = {}
    states: dict[str, list[str]] = {}
    ends: dict[str, Exception | None] = {}
    for item in watch:
        if isinstance(item, Prediction):
            predictions.setdefault(item.track, []).append(item)
        elif isinstance(item, SourceChanged):
            states.setdefault(item.track, []).append(item.state.phase)
        else:
            assert isinstance(item, TrackEnded)
            assert item.track not in ends
            ends[item.track] = item.error
    return predictions, states, ends


def test_each_file_is_labelled_as_if_alone(engine, labeller, videos):
    with CameraWatch(engine) as watch:
        for path in videos:
            watch.start(Camera(path.stem, str(path)))
        predictions, _, ends = collect(watch)
    assert ends == {"20": None, "33": None, "48": None}
    for path in videos:
        expected = list(labeller.label(read_video(path, rate_hz=8, gap="reset")))
        made = predictions[path.stem]
        assert [p.frame.pts_seconds for p in made] == [p.frame.pts_seconds for p in expected]
        for prediction, wanted in zip(made, expected, strict=True):
            np.testing.assert_array_equal(prediction.probabilities, wanted.probabilities)
            assert prediction.frame.image.size == 0


def test_a_source_that_cannot_be_opened_ends_alone(engine, videos, tmp_path):
    with CameraWatch(engine) as watch:
        watch.start(Camera("there", str(videos[0])))
        watch.start(Camera("gone", str(tmp_path / "none.mp4")))
        watch.start(Camera("refused", "http://127.0.0.1:9/", reconnect_seconds=0))
        predictions, _, ends = collect(watch)
        statuses = watch.statuses()
    assert len(predictions["there"]) == 10
    assert isinstance(ends["gone"], SourceNotFoundError)
    assert isinstance(ends["refused"], SourceUnreachableError)
    assert statuses["gone"].has_ended
    assert statuses["gone"].error is ends["gone"]
    assert statuses["there"].metrics is not None
    assert statuses["there"].metrics.predictions == 10


@pytest.fixture(scope="module")
def live_bytes(tmp_path_factory) -> bytes:
    return make_broadcast(tmp_path_factory.mktemp("live") / "live.flv", 160)


def test_live_sources_report_their_states_and_end_when_asked(engine, live_bytes):
    over = threading.Event()

    def answer(handler, _number):
        play(handler, live_bytes, over)

    with serve(answer) as url, CameraWatch(engine) as watch:
        watch.start(Camera("door", url, reconnect_seconds=0))
        kinds, phases = [], []
        for item in watch:
            kinds.append(type(item))
            if isinstance(item, SourceChanged):
                phases.append(item.state.phase)
            if kinds.count(Prediction) == 3:
                watch.request_stop()
        over.set()
        assert phases[:2] == ["connecting", "live"]
        assert kinds[-1] is TrackEnded
        assert watch.statuses()["door"].has_ended
    assert not engine.tracks


def test_jumps_back_and_changes_of_size_are_reported_and_labelling_goes_on(engine, tmp_path):
    films = make_transport_stream(tmp_path / "a.ts", 48, start_seconds=1000.0)
    films += make_transport_stream(tmp_path / "b.ts", 48, size=(160, 96))
    over = threading.Event()

    def answer(handler, _number):
        send(handler, films)
        over.wait(30)

    with serve(answer) as url, CameraWatch(engine) as watch:
        watch.start(Camera("door", url, policy="every", reconnect_seconds=0))
        made, causes = list[Prediction](), list[str | None]()
        for item in watch:
            if isinstance(item, SourceChanged):
                causes.append(item.state.cause)
            elif isinstance(item, Prediction):
                made.append(item)
                if len(made) == 30:
                    break
        over.set()
        assert watch.statuses()["door"].irregularities == Irregularities(1, 1)
    assert causes[2:] == [
        "its clock jumped back by 1002.9 s (jump 1); its pictures now have 160x96 pixels (change 1)"
    ]
    times = [prediction.frame.pts_seconds for prediction in made]
    np.testing.assert_allclose(np.diff(times), 1 / 8, atol=1e-6)
    first_valid = next(place for place, prediction in enumerate(made) if prediction.valid)
    assert first_valid < 10  # warmed up once: the network sees both films as one
    assert all(prediction.valid for prediction in made[first_valid:])


def test_unchanged_cameras_keep_running(engine, live_bytes):
    asked = []

    def answer(handler, number):
        asked.append(handler.path)
        play(handler, live_bytes, over)

    over = threading.Event()
    with serve(answer) as url, CameraWatch(engine) as watch:
        first = Camera("a", f"{url}/a", reconnect_seconds=0)
        watch.start(first)
        watch.start(Camera("b", f"{url}/b", reconnect_seconds=0))
        seen = set()
        for item in watch:
            if isinstance(item, Prediction):
                seen.add(item.track)
                if seen == {"a", "b"}:
                    watch.replace_all([first, Camera("c", f"{url}/c", reconnect_seconds=0)])
                if "c" in seen:
                    break
        assert set(watch.statuses()) == {"a", "c"}
        assert sorted(path[-1] for path in asked if path[-1] in "abc").count("a") == 1
        over.set()
    assert not engine.tracks


def test_a_second_camera_of_a_name_is_refused(engine, videos):
    with CameraWatch(engine) as watch:
        watch.start(Camera("a", str(videos[0])))
        with pytest.raises(OptionError, match="of that name"):
            watch.start(Camera("a", str(videos[1])))
        collect(watch)


@pytest.fixture
def live_url(live_bytes):
    """A live source that runs as long as the test."""
    over = threading.Event()

    def answer(handler, _number):
        play(handler, live_bytes, over)

    with serve(answer) as url:
        yield url
        over.set()


@pytest.fixture
def full_engine(labeller):
    """An engine with room for one camera."""
    compiled, card = labeller.compiled, labeller.card
    with Engine(compiled, card, workers=1, max_streams=1) as engine:
        yield engine


def test_a_camera_that_does_not_fit_is_refused(full_engine, live_url):
    with CameraWatch(full_engine) as watch:
        watch.start(Camera("door", live_url, reconnect_seconds=0))
        next(item for item in watch if isinstance(item, Prediction))
        watch.start(Camera("yard", live_url, reconnect_seconds=0))
        ended = next(item for item in watch if isinstance(item, TrackEnded))
        assert ended.track == "yard"
        assert isinstance(ended.error, EngineFullError)


def test_a_camera_that_was_refused_joins_once_there_is_room(full_engine, live_url):
    with CameraWatch(full_engine, retry_seconds=0.01) as watch:
        watch.start(Camera("door", live_url, reconnect_seconds=0))
        next(item for item in watch if isinstance(item, Prediction))
        watch.start(Camera("yard", live_url, reconnect_seconds=0))
        changes = (item for item in watch if isinstance(item, SourceChanged))
        refused = next(change for change in changes if change.state.phase == "refused")
        assert refused.track == "yard"
        assert "max_streams is 1" in (refused.state.cause or "")
        assert "tried again every 0.01 s" in (refused.state.cause or "")
        watch.stop("door")
        predictions = (item for item in watch if isinstance(item, Prediction))
        next(prediction for prediction in predictions if prediction.track == "yard")
        assert set(full_engine.tracks) == {"yard"}
