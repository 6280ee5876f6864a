"""Predictions as lines of text on standard output."""

import json

from co3d.engine import Prediction


class JsonLines:
    """Prints one JSON object a line."""

    def add(self, prediction: Prediction) -> None:
        """Print one prediction, at once."""
        fields = {
            "frame_index": prediction.frame.index,
            "pts_seconds": round(prediction.frame.pts_seconds, 6),
            "from_seconds": round(prediction.from_pts_seconds, 6),
            "valid": prediction.valid,
            "gap_seconds": round(prediction.gap_seconds, 6),
            "undersampled": prediction.is_undersampled,
            "top": [
                {"label": label, "probability": round(probability, 6)}
                for label, probability in prediction.top
            ],
            "latency_ms": round(prediction.latency_ms, 3),
            "dropped_frames": prediction.dropped_frames,
        }
        print(json.dumps(fields, ensure_ascii=False), flush=True)


class PlainLines:
    """Prints one readable line a prediction."""

    def add(self, prediction: Prediction) -> None:
        """Print one prediction, at once."""
        said = ", ".join(f"{label} {probability:.1%}" for label, probability in prediction.top)
        text = said if prediction.valid else "filling the window"
        seconds = prediction.frame.pts_seconds
        if prediction.gap_seconds:
            print(f"{seconds:9.3f} s  after a gap of {prediction.gap_seconds:.3f} s", flush=True)
        mark = "  undersampled" if prediction.is_undersampled else ""
        print(f"{seconds:9.3f} s  {text}{mark}  [{prediction.latency_ms:.1f} ms]", flush=True)
