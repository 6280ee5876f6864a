"""What a benchmark measures for each model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from co3d.benchmark.peers.select import PEERS
from co3d.compiler.program import Rate
from co3d.runtime.choice import check_names

What = Literal["clip", "step"]
EAGER = ("torch", "float32")


@dataclass(frozen=True)
class Variant:
    """One way to run a network.

    Attributes:
        what: "clip", a whole clip per prediction; "step", a frame at a time.
        peer: name of the library that runs it; None for co3d.
        backend: of co3d's step; "torch" for everything that torch runs eagerly.
        precision: of weights, frames and state.
        batch: videos at once.
    """

    what: What
    peer: str | None
    backend: str
    precision: str
    batch: int


@dataclass(frozen=True)
class Selection:
    """What to measure of each model.

    Attributes:
        engines: (backend, precision) pairs.
        batches: numbers of videos at once.
        rate: "dense" or "native".
        peers: names of other libraries, of `PEERS`.
        steps: the least number of timed steps.
        size_px: side of the square frames; None for the model's own.
        clips: whether to time the clip network on each engine, in addition to eagerly.
        memory: whether to run each variant once more, in a process of its own, for its peak memory.
        energy: whether to measure the energy of each variant.
        device: torch device that all of it runs on.
    """

    engines: tuple[tuple[str, str], ...]
    batches: tuple[int, ...] = (1,)
    rate: Rate = "dense"
    peers: tuple[str, ...] = ()
    steps: int = 100
    size_px: int | None = None
    clips: bool = False
    memory: bool = False
    energy: bool = False
    device: str = "cpu"

    def variants(self, peers: Sequence[str]) -> Iterator[Variant]:
        """All variants, the clip network first; only with the given peers."""
        for batch in self.batches:
            yield Variant("clip", None, *EAGER, batch)
            for backend, precision in self.engines:
                if self.clips and self._has_clip(backend, precision):
                    yield Variant("clip", None, backend, precision, batch)
                yield Variant("step", None, backend, precision, batch)
            for peer in peers:
                yield Variant(PEERS[peer].what, peer, "torch", "float32", batch)

    def _has_clip(self, backend: str, precision: str) -> bool:
        """Whether an engine runs a clip network other than the eager one, which is always timed."""
        if backend == "torch":
            # On the CPU, pools over clips lack other precisions.
            return precision != "float32" and self.device != "cpu"
        return precision != "int8"  # int8 is calibrated for steps


def select_peers(names: Sequence[str]) -> tuple[str, ...]:
    """The peers of these names, after checking that all can be imported.

    Raises:
        OptionError: an unknown name. MissingPackageError: a peer is not installed.
    """
    check_names("peer", names, PEERS)
    for name in names:
        PEERS[name].require()
    return tuple(names)
