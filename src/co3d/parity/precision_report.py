"""The result of comparing backends and precisions, and its limits."""

from dataclasses import dataclass

from co3d.errors import ParityError

# The label-agreement limit: the share of frames whose likeliest label may differ from float32's.
MOST_CHANGED_LABELS = 0.005
# The largest relative L2 error of a frame's outputs, compared with float64, that rounding to
# float32 explains. Lower precisions have no such bound; their rows state their errors.
FLOAT32_TOLERANCE = 1e-5


@dataclass(frozen=True)
class ErrorSpread:
    """Relative L2 errors over all frames: L2 norm of the difference / L2 norm of the reference."""

    worst: float
    median: float


@dataclass(frozen=True)
class PrecisionRow:
    """One backend in one precision.

    Attributes:
        backend, precision: as for `open_stream`.
        description: the backend's description.
        frames: how many frames were compared, which are all with a valid result.
        logits: errors of the network's first output, compared with float64.
        features: errors of the classifier's input; None if the network has no classifier.
        changed_labels: frames whose likeliest label differs from that in float32.
    """

    backend: str
    precision: str
    description: str
    frames: int
    logits: ErrorSpread
    features: ErrorSpread | None
    changed_labels: int

    @property
    def agreement(self) -> float:
        """Share of the frames whose likeliest label is the one in float32."""
        return 1 - self.changed_labels / self.frames

    @property
    def keeps_labels(self) -> bool:
        """Whether labels agree with float32 on enough frames (the label-agreement limit)."""
        return self.changed_labels <= MOST_CHANGED_LABELS * self.frames

    @property
    def tolerance(self) -> float | None:
        """The largest error that rounding in this precision explains; None without a bound."""
        return FLOAT32_TOLERANCE if self.precision == "float32" else None

    @property
    def within_tolerance(self) -> bool:
        """Whether all errors are within the tolerance."""
        if self.tolerance is None:
            return True
        spreads = [self.logits, self.features or self.logits]
        return all(spread.worst <= self.tolerance for spread in spreads)


@dataclass(frozen=True)
class PrecisionReport:
    """All rows of a comparison.

    Attributes:
        rows: one per backend and precision.
        streams: names of the streams that were compared.
        device: torch device that the backends ran on.
        default: the backend that "auto" means on the device, and why.
        random_weights: whether weights are random, so that labels mean nothing and ties are more
            frequent than in a trained network.
        notes: what was not compared, and why.
    """

    rows: tuple[PrecisionRow, ...]
    streams: tuple[str, ...]
    device: str
    default: tuple[str, str]
    random_weights: bool
    notes: tuple[str, ...]

    def require(self) -> None:
        """Do nothing if all rows are within their tolerance.

        Raises:
            ParityError: some are not; the message names the worst.
        """
        wrong = [row for row in self.rows if not row.within_tolerance]
        if wrong:
            row = max(wrong, key=lambda r: r.logits.worst)
            raise ParityError(
                f"{row.backend} in {row.precision} differs from float64 by {row.logits.worst:.2g} "
                f"in the outputs{_tell_features(row)}, expected at most {row.tolerance:g}, which "
                "is rounding; this is an error of co3d or of the backend: report it with the "
                "network, and use another --backend until then"
            )


def _tell_features(row: PrecisionRow) -> str:
    return "" if row.features is None else f" and by {row.features.worst:.2g} in the features"
