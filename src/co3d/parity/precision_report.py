"""What a comparison of backends and precisions found, and whether they may be trusted."""

from dataclasses import dataclass

from co3d.errors import ParityError

# The honesty rule: the share of frames on which the likeliest label may differ from float32's.
MOST_CHANGED_LABELS = 0.005
# Of frames' outputs from those in float64, relative (L2): what rounding explains. Other precisions
# have no bound of their own; their rows are what says how far they go.
FLOAT32_TOLERANCE = 1e-5


@dataclass(frozen=True)
class ErrorSpread:
    """Relative errors over all frames, each the L2 norm of a difference over that of the value."""

    worst: float
    median: float


@dataclass(frozen=True)
class PrecisionRow:
    """One backend in one precision.

    Attributes:
        backend, precision: as for `open_stream`.
        description: of the backend, in words.
        frames: with a valid result, all of which were compared.
        logits: errors of the network's first output from that in float64.
        features: errors of what the classifier reads; None where the network has no classifier.
        changed_labels: frames whose likeliest label differs from the one in float32.
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
        """Whether the honesty rule is kept."""
        return self.changed_labels <= MOST_CHANGED_LABELS * self.frames

    @property
    def tolerance(self) -> float | None:
        """The largest error that the precision explains; None where no bound is stated."""
        return FLOAT32_TOLERANCE if self.precision == "float32" else None

    @property
    def within_tolerance(self) -> bool:
        """Whether all errors are."""
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
        default: backend that `open_stream` takes there when it is not told, and why.
        random_weights: the labels mean nothing, and ties between them are likelier than in a
            trained network.
        notes: what was left out, and why.
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
