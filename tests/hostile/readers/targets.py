"""What reads files from strangers: healthy files of each kind, and the reader that takes them."""

import io
import json
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import nn

import co3d
from co3d.datasets.layouts import ALL, open_dataset
from co3d.datasets.manifest_file import read_manifest
from co3d.evaluation.feature_store import FeatureStore
from co3d.evaluation.jobs import Job
from co3d.evaluation.log import PredictionLog
from co3d.models.registry import create_model
from co3d.training.metrics_log import read_metrics
from co3d.training.recipe_file import list_recipes, parse_override, read_recipe
from co3d.training.resuming import find_resume_point
from co3d.training.run_folder import RunFolder
from co3d.weights import load_weights, read_checkpoint
from hostile.readers.exported_files import mutate_layers, mutate_onnx, mutate_program
from hostile.readers.mutations import mutate_bytes, mutate_json
from hostile.readers.openvino_graphs import draw_graph

Mutate = Callable[[bytes, Random], bytes]


@dataclass
class Target:
    """A reader, and healthy files to begin with.

    Attributes:
        make: writes healthy files into a folder, and says which of them are to be mutated.
        read: what is done with one.
        mutate: the ways to change one.
    """

    make: Callable[[Path], list[Path]]
    read: Callable[[Path], object]
    mutate: tuple[Mutate, ...] = (mutate_bytes,)
    healthy: list[tuple[Path, bytes]] = field(default_factory=list)

    def prepare(self, folder: Path) -> None:
        """Write the healthy files, and see that they are read."""
        if not self.healthy:
            paths = self.make(folder)
            self.healthy = [(path, path.read_bytes()) for path in paths]
            for path in paths:
                self.read(path)

    def draw(self, folder: Path, random: Random) -> tuple[Path, bytes]:
        """A place for a mutated file, and its content."""
        self.prepare(folder)
        path, content = random.choice(self.healthy)
        return path, random.choice(self.mutate)(content, random)


class GraphTarget(Target):
    """OpenVINO files with further layers, and so of further weights: two files."""

    def draw(self, folder: Path, random: Random) -> tuple[Path, bytes]:
        """A place for a file, whose weights are written beside it, and its content."""
        self.prepare(folder)
        ((path, graph),) = self.healthy
        path, beside = folder / "b.xml", path.with_suffix(".bin")
        content, weights = draw_graph((graph, beside.read_bytes()), random)
        path.with_suffix(".bin").write_bytes(weights)
        return path, content


STATE = {
    "model_state": {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2).half()},
    "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]},
    "epoch": 3,
}


def _write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _make_checkpoints(folder: Path) -> list[Path]:
    paths = []
    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save(STATE, buffer, _use_new_zipfile_serialization=zipped)
        paths.append(_write(folder / f"{zipped}.pth", buffer.getvalue()))
    arrays = {"blobs": {"conv1_w": np.ones((2, 3), np.float32), "n": np.float32(2)}, "cfg": "x"}
    for protocol in (2, 4):
        content = pickle.dumps(arrays, protocol=protocol)
        paths.append(_write(folder / f"{protocol}.pkl", content))
    return paths


def _load(path: Path) -> None:
    checkpoint = read_checkpoint(path)
    load_weights(nn.Linear(3, 2), checkpoint)


def _inspect(path: Path) -> None:
    for tensor in read_checkpoint(path).tensors.values():
        co3d.weights.is_finite(tensor)


def _make_safetensors(folder: Path) -> list[Path]:
    from safetensors.torch import save

    content = save({"a": torch.ones(2, 3), "b": torch.ones(4).bfloat16()}, {"labels": '["x"]'})
    return [_write(folder / "a.safetensors", content)]


def _mutate_header(content: bytes, random: Random) -> bytes:
    (size,) = struct.unpack("<Q", content[:8])
    header = json.dumps(mutate_json(json.loads(content[8 : 8 + size]), random)).encode()
    return struct.pack("<Q", len(header)) + header + content[8 + size :]


def _mutate_lines(content: bytes, random: Random) -> bytes:
    lines = content.splitlines(keepends=True)
    place = random.randrange(len(lines))
    lines[place] = json.dumps(mutate_json(json.loads(lines[place]), random)).encode() + b"\n"
    return b"".join(lines)


def _mutate_whole(content: bytes, random: Random) -> bytes:
    return json.dumps(mutate_json(json.loads(content), random)).encode()


def _program() -> Any:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv3d(3, 2, (3, 1, 1)))
    return co3d.convert(network, (2, 4, 4, 4))


def _make_exports(kind: str, suffix: str) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        path = folder / f"a{suffix}"
        co3d.export_program(_program(), path, format=kind)  # type: ignore[arg-type]
        return [path]

    return make


def _step(backend: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        program = co3d.load_program(path).program
        with co3d.open_stream(program, backend=backend) as stream:
            stream.step(torch.zeros(1, *program.frame_shapes[0]))

    return read


def _make_recipes(folder: Path) -> list[Path]:
    recipe = read_recipe(list_recipes()[0])
    from co3d.training.recipe_file import format_recipe

    return [_write(folder / "recipe.yaml", format_recipe(recipe).encode())]


def _read_overrides(path: Path) -> None:
    text = path.read_bytes().decode("latin-1")
    parse_override(text)
    read_recipe(list_recipes()[0], [text])


def _make_overrides(folder: Path) -> list[Path]:
    texts = ("optimiser.learning_rate=0.1", "data.kind=videos", "search={model.dropout: 0.1..0.5}")
    return [_write(folder / f"{i}.txt", text.encode()) for i, text in enumerate(texts)]


def _make_run(folder: Path) -> list[Path]:
    from co3d.models import save_model

    save_model(create_model("camera_motion", "random"), folder)
    return [folder / "card.json", folder / "model.safetensors"]


def _make_progress(folder: Path) -> list[Path]:
    state = {
        "epoch": 1,
        "global_step": 6,
        "state_dict": {"w": torch.ones(3)},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{}]}],
        "lr_schedulers": [{"last_epoch": 3, "_last_lr": [0.1]}],
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"x": {"best_model_score": torch.tensor(0.5)}},
    }
    torch.save(state, folder / "last.ckpt")
    return [folder / "last.ckpt"]


def _make_metrics(folder: Path) -> list[Path]:
    rows = "epoch,step,loss,accuracy\n0,1,0.5,\n0,2,0.25,0.5\n1,3,1e-3,1\n"
    return [_write(folder / "metrics.csv", rows.encode())]


SETTINGS = {"model": "x3d_s", "rate_hz": 6.0, "split": None}


def _job() -> Job:
    from co3d.datasets.manifest import VideoEntry

    return Job(0, VideoEntry("v", "v.mp4", (0,)))


def _make_store(folder: Path) -> list[Path]:
    from co3d.evaluation.features import VideoFeatures

    store = FeatureStore(folder, SETTINGS)
    store.add(VideoFeatures(_job(), (0.0, 1.0), (0.5, 1.5), torch.ones(2, 3)))
    return [folder / "000000.npz", folder / "run.json"]


def _make_log(folder: Path) -> list[Path]:
    from array import array

    from co3d.evaluation.records import FrameTrace, VideoRecord

    path = folder / "log.jsonl"
    with PredictionLog(path, SETTINGS) as log:
        log.append(VideoRecord(0, "v", (0,), {"clip": array("f", [0.25, 0.75])}, frames=4))
        trace = FrameTrace(array("d", [0.0]), array("i", [1]), array("f", [0.5]), 0)
        log.append(VideoRecord(1, "w", (1,), {"clip": array("f", [0.5, 0.5])}, trace))
    return [path]


def _read_log(path: Path) -> None:
    PredictionLog(path, SETTINGS).close()


def _make_manifest(folder: Path) -> list[Path]:
    lines = [
        {"format": "co3d manifest", "version": 1, "class_names": ["a", "b"], "multi_label": False},
        {"video_id": "v", "path": "x/v.mp4", "labels": [0], "start_seconds": 1, "end_seconds": 2.5},
        {
            **{"video_id": "w", "path": "w.mp4", "labels": [], "rate_hz": 25, "split": "val"},
            "segments": [{"label": 1, "start_seconds": 0, "end_seconds": 2}],
        },
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines)
    return [_write(folder / "m.jsonl", content.encode())]


LISTS = {
    "kinetics/train.csv": "label,youtube_id,time_start,time_end,split\n"
    "a b,abcdefghijk,1,11,train\n",
    "lists/train.txt": "a/v.mp4 0\nb/w.mp4 1\n",
    "ucf/ucfTrainTestlist/trainlist01.txt": "a/v_a_g01_c01.avi 1\nb/v_b_g01_c01.avi 2\n",
    "ucf/ucfTrainTestlist/classInd.txt": "1 a\n2 b\n",
    "something/something-something-v2-train.json": '[{"id": "1", "label": "a", "template": "a"}]',
    "diving/Diving48_V2_train.json": '[{"vid_name": "x_1", "label": 0, "start_frame": 0}]',
    "charades/Charades_v1_train.csv": "id,subject,length,actions\nABCDE,x,10.5,c001 1.0 5.0\n",
}


def _make_annotations(folder: Path) -> list[Path]:
    paths = [_write(folder / name, content.encode()) for name, content in LISTS.items()]
    for root in {name.partition("/")[0] for name in LISTS}:
        for video in ("a/v.mp4", "b/w.mp4", "a/v_a_g01_c01.avi", "1.webm", "x_1.mp4", "ABCDE.mp4"):
            _write(folder / root / video, b"")
        _write(folder / root / "a b" / "abcdefghijk_000001_000011.mp4", b"")
    return paths


def _open_annotations(path: Path) -> None:
    root = path.parent.parent if path.parent.name == "ucfTrainTestlist" else path.parent
    for place in (root, path):
        try:
            open_dataset(place, split=ALL)
        except co3d.errors.DataError:
            continue


TARGETS = {
    "checkpoint": Target(_make_checkpoints, _inspect),
    "safetensors": Target(_make_safetensors, _inspect, (mutate_bytes, _mutate_header)),
    "exported": Target(
        _make_exports("torch", ".safetensors"), _step("torch"), (mutate_bytes, mutate_program)
    ),
    "onnx": Target(
        _make_exports("onnx", ".onnx"), _step("onnxruntime"), (mutate_bytes, mutate_onnx)
    ),
    "openvino": Target(
        _make_exports("openvino", ".xml"), _step("openvino"), (mutate_bytes, mutate_layers)
    ),
    "openvino_graph": GraphTarget(_make_exports("openvino", ".xml"), _step("openvino")),
    "recipe": Target(_make_recipes, lambda path: read_recipe(path)),
    "override": Target(_make_overrides, _read_overrides),
    "run_folder": Target(
        _make_run,
        lambda path: create_model(str(path.parent)),
        (mutate_bytes, lambda c, r: (_mutate_header if c[8:9] == b"{" else _mutate_whole)(c, r)),
    ),
    "progress": Target(_make_progress, lambda path: find_resume_point(RunFolder(path.parent))),
    "metrics": Target(_make_metrics, read_metrics),
    "feature_store": Target(
        _make_store, lambda path: FeatureStore(path.parent, SETTINGS).find(_job())
    ),
    "log": Target(_make_log, _read_log, (mutate_bytes, _mutate_lines)),
    "manifest": Target(_make_manifest, read_manifest, (mutate_bytes, _mutate_lines)),
    "annotations": Target(_make_annotations, _open_annotations),
}
"""Name -> a reader of files that strangers write."""
