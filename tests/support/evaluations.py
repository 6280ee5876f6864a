"""`co3d eval` on a miniature data set."""

import json

STREAM = ("--mode", "stream", "--backend", "torch")


def evaluate(co3d, miniature, output, *options):
    """The summary that `co3d eval` leaves in a folder."""
    outcome = co3d("eval", "--data", miniature.root, "--output", output, *options)
    assert outcome.code == 0, outcome.err
    return json.loads((output / "summary.json").read_text())
