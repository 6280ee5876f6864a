"""A written model repository on a real Triton server, called by Triton's own client."""

import numpy as np
import pytest
import torch

import co3d
from co3d.compiler import StepProgram, convert
from co3d.fleet.triton_repository import write_triton_repository
from support.networks import small_network
from support.streaming import randomise_
from support.triton_server import serve_repository

pytestmark = pytest.mark.slow

STRATEGIES = ("direct", "oldest")
PLACES, LENGTH, IDLE_SECONDS = 3, 12, 4.0


@pytest.fixture(scope="module")
def program() -> StepProgram:
    torch.manual_seed(0)
    return convert(randomise_(small_network()), (3, 4, 6, 6), edges="both")


@pytest.fixture(scope="module")
def server(program, tmp_path_factory):
    """Models of three places: two strategies, one with a short idle time, and one to be killed."""
    repository = tmp_path_factory.mktemp("models")
    for name in (*STRATEGIES, "forgetful", "mortal"):
        folder, _ = write_triton_repository(
            program,
            repository,
            sequences=PLACES,
            strategy="oldest" if name == "oldest" else "direct",
            idle_seconds=IDLE_SECONDS if name == "forgetful" else 600.0,
        )
        config = (folder / "config.pbtxt").read_text().replace('"auto"', '"torch"')
        if name == "oldest":
            config = config.replace("count: 1", "count: 2")
        (folder / "config.pbtxt").write_text(config)
        folder.rename(repository / name)
    with serve_repository(repository, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def videos() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {name: random.standard_normal((LENGTH, 3, 6, 6), np.float32) for name in "abcdefg"}


@pytest.fixture(scope="module")
def expected(program, videos):
    """The outputs, flags and flushed results of the videos in streams of their own."""
    made = {}
    for name, video in videos.items():
        with co3d.open_stream(program, backend="torch") as stream:
            results = [stream.step(torch.from_numpy(frame[None])) for frame in video]
            flushed = stream.flush()
        made[name] = [
            {
                "output": r.output.numpy(),
                "valid": r.valid.numpy()[None],
                "fresh": r.fresh.numpy()[None],
            }
            for r in results
        ]
        made[name][-1]["flushed_output"] = torch.stack([r.output for r in flushed], 1).numpy()
        made[name][-1]["flushed_valid"] = torch.stack([r.valid for r in flushed])[None].numpy()
    return made


def request(model, sequence, video, frame, **more):
    """A request for a frame; the first and the last one of a video start and end a sequence."""
    ends = {"start": frame == 0, "end": frame == LENGTH - 1}
    return {"model": model, "sequence": sequence, "video": video, "frame": frame, **ends, **more}


def is_same(answer, expected) -> bool:
    """Whether an answer equals the expected one bit for bit; nothing is flushed before the end."""
    assert not isinstance(answer, str), answer
    return all(np.array_equal(answer[name], array) for name, array in expected.items())


@pytest.mark.parametrize("transport", ["grpc", "http"])
@pytest.mark.parametrize("model", STRATEGIES)
def test_interleaved_sequences_equal_separate_streams(server, videos, expected, model, transport):
    names = {"a": 1, "b": 2**63 - 1, "c": "front door"}
    track = [
        request(model, sequence, video, frame)
        for frame in range(LENGTH)
        for video, sequence in list(names.items())[:: 1 if frame % 2 else -1]
    ]
    (answers,) = server.play(videos, track, transport=transport)
    for sent, answer in zip(track, answers, strict=True):
        assert is_same(answer, expected[sent["video"]][sent["frame"]])


@pytest.mark.parametrize("model", STRATEGIES)
def test_sequences_beyond_the_places_wait_and_get_the_same_answers(server, videos, expected, model):
    tracks = [
        [request(model, number, video, frame) for frame in range(LENGTH)]
        for number, video in enumerate(videos, 1)
    ]
    for video, answers in zip(videos, server.play(videos, *tracks), strict=True):
        assert all(map(is_same, answers, expected[video]))


@pytest.mark.parametrize("model", STRATEGIES)
def test_a_start_resets_a_dead_sequence_of_the_same_name(server, videos, expected, model):
    died = [request(model, 7, "a", frame) for frame in range(5)]
    again = [request(model, 7, "b", frame) for frame in range(LENGTH)]
    (answers,) = server.play(videos, [*died, *again])
    assert all(map(is_same, answers[len(died) :], expected["b"]))


def test_timed_out_sequences_free_their_places_and_pass_on_no_state(server, videos, expected):
    """As many sequences as there are places die; others, and one of them, then start there."""
    model = "forgetful"
    died = [request(model, n, video, frame) for n, video in enumerate("abc", 1) for frame in (0, 1)]
    late = request(model, 1, "a", 2, sleep_seconds=3 * IDLE_SECONDS)
    new = [
        request(model, n, v, t) for n, v in ((11, "d"), (12, "e"), (1, "f")) for t in range(LENGTH)
    ]
    (answers,) = server.play(videos, [*died, late, *new])
    assert "must specify the START flag" in answers[len(died)]
    for sent, answer in zip(new, answers[len(died) + 1 :], strict=True):
        assert is_same(answer, expected[sent["video"]][sent["frame"]])


def test_a_killed_model_stops_answering_while_others_go_on(server, videos, expected):
    track = [request(model, 7, "a", frame) for frame in (0, 1) for model in ("mortal", "direct")]
    more = [request(model, 7, "a", frame) for frame in (2, 3) for model in ("mortal", "direct")]
    more[-1]["end"] = True  # frees its place for other tests
    server.play(videos, track)
    server.kill_model("mortal")
    (answers,) = server.play(videos, [*more, request("mortal", 8, "b", 0)])
    dead = [answer for answer in answers[::2] if isinstance(answer, str)]
    assert [answer.endswith("is not healthy.") for answer in dead] == [True] * 3
    assert all(map(is_same, answers[1::2], expected["a"][2:4]))
