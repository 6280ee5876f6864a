"""How many frames of many live cameras an engine labels that refuses none.

python scripts/bench_cameras.py VIDEO --cameras 56 --model camera_motion --rate-hz 8

A process plays the video to each camera at its own speed, again and again, as MPEG-TS over HTTP on
the loopback interface. Printed as JSON, after a start of 30 s and for 20 s: labels per second,
those that were wanted, pictures dropped, and the cores that the labelling process took. With
--sandbox a process for each camera decodes; with --processes 2 two label half of them each, as with
`co3d watch --part`.
"""

import argparse
import asyncio
import io
import json
import multiprocessing
import os
import time
from contextlib import nullcontext
from multiprocessing.connection import Connection
from pathlib import Path

import av
import torch

from co3d.benchmark.machine import describe_hardware
from co3d.engine.camera import Camera
from co3d.engine.cameras import CameraWatch
from co3d.engine.opening import open_engine
from co3d.sandbox import read_in_sandbox

LONGEST_SECONDS = 120.0
START_SECONDS, SECONDS = 30.0, 20.0


def cut_chunks(path: Path) -> list[tuple[float, bytes]]:
    """MPEG-TS of a video that is repeated for two minutes: when to send what."""
    chunks: list[tuple[float, bytes]] = []
    written = io.BytesIO()
    with av.open(str(path)) as source, av.open(written, "w", format="mpegts") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        assert stream.duration is not None
        assert stream.time_base is not None
        offset, sent = 0, 0
        while offset * stream.time_base < LONGEST_SECONDS:
            source.seek(0)
            for packet in source.demux(stream):
                if packet.dts is None or packet.pts is None:
                    continue
                packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                due_seconds = float(packet.dts * stream.time_base)
                packet.stream = copy
                target.mux(packet)
                written.seek(sent)
                chunks.append((due_seconds, written.read()))
                sent += len(chunks[-1][1])
            offset += stream.duration
    return chunks


def serve(path: Path, port: Connection) -> None:
    """Send the chunks to all who connect; the body of a process."""
    chunks = cut_chunks(path)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")
            began_seconds = time.monotonic()
            for due_seconds, data in chunks:
                await asyncio.sleep(max(0.0, began_seconds + due_seconds - time.monotonic()))
                writer.write(data)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):  # the camera has gone
            pass
        finally:
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def label(options: argparse.Namespace, url: str, cores: list[int], told: Connection) -> None:
    """Label this process's share of the cameras on these cores, and tell what came of it."""
    os.sched_setaffinity(0, cores)
    torch.set_num_threads(len(cores))
    count = options.cameras // options.processes
    cameras = [Camera(str(number), url, rate_hz=options.rate_hz) for number in range(count)]
    with (
        read_in_sandbox() if options.sandbox else nullcontext(),
        open_engine(options.model, weights=options.weights, load_limit=None) as engine,
        CameraWatch(engine, listener=lambda _: None) as watch,
    ):
        for camera in cameras:
            watch.start(camera)
        time.sleep(START_SECONDS)
        before = {name: track.metrics() for name, track in engine.tracks.items()}
        spent, began = time.process_time(), time.monotonic()
        time.sleep(SECONDS)
        seconds, spent = time.monotonic() - began, time.process_time() - spent
        load = engine.load
        after = {name: track.metrics() for name, track in engine.tracks.items()}
    both = [(before[name], after[name]) for name in before.keys() & after.keys()]
    labels = sum(b.steps - a.steps for a, b in both) / seconds
    dropped = sum(b.dropped_frames - a.dropped_frames for a, b in both) / seconds
    told.send((len(both), labels, dropped, load, spent / seconds))


def main() -> None:
    """Serve, label and print."""
    parser = argparse.ArgumentParser(description="labels of many live cameras")
    parser.add_argument("video", type=Path)
    parser.add_argument("--cameras", type=int, default=56)
    parser.add_argument("--model", default="camera_motion")
    parser.add_argument("--weights")
    parser.add_argument("--rate-hz", type=float, default=8.0)
    parser.add_argument("--sandbox", action="store_true")
    parser.add_argument("--processes", type=int, default=1, help="each on its group of cores")
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    server = spawn.Process(target=serve, args=(options.video, there), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{here.recv()}/live"
    cores = sorted(os.sched_getaffinity(0))
    pipes = []
    for number in range(options.processes):
        group = cores[number :: options.processes]
        pipes.append(spawn.Pipe())
        spawn.Process(target=label, args=(options, url, group, pipes[-1][1])).start()
    told = [pipe.recv() for pipe, _ in pipes]
    server.kill()
    cameras, labels, dropped, _, spent = (sum(column) for column in zip(*told, strict=True))
    said = {
        "hardware": describe_hardware(),
        "model": options.model,
        "cameras": cameras,
        "wanted_per_second": cameras * options.rate_hz,
        "labels_per_second": round(labels, 1),
        "dropped_pictures_per_second": round(dropped, 1),
        "loads": [round(one[3], 3) for one in told],
        "cores": round(spent, 2),
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
