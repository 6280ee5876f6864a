"""Make the checkpoint and the clip that an oracle describes (see the oracles' README)."""

import json
import math
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

MODELS = {
    "i3d_8x8": "i3d_r50",
    "slow_8x8_kinetics": "slow_r50",
    "slow_8x8_charades": "slow_r50",
    "slowfast_4x16": "slowfast_r50_4x16",
    "slowfast_8x8": "slowfast_r50_8x8",
}  # where the registry has another name than the oracle


def list_oracles() -> list[str]:
    """Names of all oracles beside the checkout; without any, one that the fixtures refuse."""
    folder = Path(__file__).parents[3] / "shared" / "oracles"
    return sorted(path.stem for path in folder.glob("*.json")) or ["absent"]


def read_oracle(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / "oracles" / f"{name}.json").read_text())


def normal(seed: int, shape: list[int]) -> np.ndarray:
    generator = np.random.Generator(np.random.Philox(seed))
    return generator.standard_normal(size=shape, dtype=np.float32)


def fill(key: str, shape: list[int], kind: str) -> np.ndarray:
    """The value of one tensor, decided by its key alone."""
    if kind == "count":
        return np.zeros(shape, dtype=np.int64)
    n = normal(zlib.crc32(key.encode()), shape)
    match kind:
        case "mean":
            return np.float32(0.1) * n
        case "var":
            return np.float32(1) + np.float32(0.1) * np.abs(n)
        case "bias":
            return np.float32(0.05) * n
        case "weight":
            return n * np.float32(math.sqrt(1.25 / math.prod(shape[1:])))
        case "gamma":
            return np.float32(1) + np.float32(0.1) * n
    raise ValueError(kind)


def fill_state(oracle: dict[str, Any]) -> dict[str, torch.Tensor]:
    """All tensors of the oracle's checkpoint, their checksum verified."""
    arrays = {key: fill(key, shape, kind) for key, shape, kind in oracle["keys"]}
    checksum = 0
    for array in arrays.values():
        checksum = zlib.crc32(array.tobytes(), checksum)
    assert checksum == oracle["weights_crc32"]
    return {key: torch.from_numpy(array) for key, array in arrays.items()}


def write_checkpoint(oracle: dict[str, Any], folder: Path) -> Path:
    """The oracle's checkpoint under its published name, in its published container."""
    path = folder / oracle["file"]
    state = fill_state(oracle)
    match oracle["container"]:
        case "model_state":
            torch.save({"model_state": state, "epoch": 1, "cfg": "…"}, path)
        case "plain":
            torch.save(state, path)
        case "blobs":
            blobs = {key: tensor.numpy() for key, tensor in state.items()}
            path.write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))
        case other:
            raise ValueError(other)
    return path


def make_clip(rule: dict[str, Any]) -> torch.Tensor:
    """The input clip of a case, its checksum verified."""
    clip = normal(rule["seed"], rule["shape"]) * np.float32(rule["scale"])
    assert zlib.crc32(clip.tobytes()) == rule["crc32"]
    return torch.from_numpy(clip)


def relative_error(got: torch.Tensor, expected: list[float]) -> float:
    """Relative L2 error of a vector."""
    reference = torch.tensor(expected, dtype=torch.float64)
    return float((got.double().flatten() - reference).norm() / reference.norm())
