"""Plays requests to a Triton server with tritonclient, in the environment that has it.

    python triton_client.py PLAN.json VIDEOS.npz RESULTS.npz

A plan is a list of tracks. Each has a thread and a client of its own, and sends its requests one
after the other: `{"model", "sequence", "video", "frame", "start", "end", "sleep_seconds"}`. Errors
are printed as JSON, a list for each track, with null for a request that was answered.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

OUTPUTS = ("output", "valid", "fresh", "flushed_output", "flushed_valid")
TRANSPORTS = {"grpc": tritonclient.grpc, "http": tritonclient.http}


def play(track, videos):
    """What each request of a track was answered: its outputs, or an error's text."""
    transport = TRANSPORTS[track["transport"]]
    client = transport.InferenceServerClient(track["address"])
    answers = []
    for request in track["requests"]:
        time.sleep(request.get("sleep_seconds", 0))
        frame = videos[request["video"]][request["frame"]][None]
        given = transport.InferInput("frame", frame.shape, "FP32")
        given.set_data_from_numpy(frame)
        try:
            answer = client.infer(
                request["model"],
                [given],
                sequence_id=request["sequence"],
                sequence_start=request.get("start", False),
                sequence_end=request.get("end", False),
            )
        except InferenceServerException as error:
            answers.append(error.message())
            continue
        made = {name: answer.as_numpy(name) for name in OUTPUTS}
        answers.append({name: array for name, array in made.items() if array is not None})
    return answers


def main(plan, videos, results):
    """Play all tracks at a time, save what they were answered, and print the errors."""
    tracks = json.loads(Path(plan).read_text())
    frames = dict(np.load(videos))
    with ThreadPoolExecutor(len(tracks)) as pool:
        played = list(pool.map(lambda track: play(track, frames), tracks))
    arrays = {
        f"{place}/{row}/{name}": array
        for place, answers in enumerate(played)
        for row, answer in enumerate(answers)
        if not isinstance(answer, str)
        for name, array in answer.items()
    }
    np.savez(results, **arrays)
    print(json.dumps([[a if isinstance(a, str) else None for a in answers] for answers in played]))


if __name__ == "__main__":
    main(*sys.argv[1:])
