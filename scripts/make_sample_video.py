"""Make the sample video: a virtual camera visits all nine motions over one photograph.

python scripts/make_sample_video.py
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from co3d.datasets.generated.journeys import ease, follow
from co3d.datasets.generated.motions import ANGLE, DIRECTIONS, LOG_ZOOM, X, Y
from co3d.datasets.generated.photographs import load_photograph
from co3d.datasets.generated.virtual_camera import CameraPath, render
from co3d.files import output_file
from co3d.video import VideoWriter

# NASA's portrait of Eileen Collins: a work of the United States government, in the public domain,
# and in the test split, so that the network has never seen it.
PICTURE = "skimage/astronaut.png"
NOTICE = f"""sample.mp4 and sample.json are made by: python scripts/make_sample_video.py
Picture: {PICTURE}, as shipped by scikit-image: astronaut Eileen Collins, photographed by NASA.
Public domain (a work of the United States government). The video is dedicated to the public domain.
sample.json lists what the virtual camera does and when.
"""

WIDTH_PX, HEIGHT_PX = 320, 240
RATE_HZ = 25.0
SEGMENT_SECONDS = 3.0
EASING_SECONDS = 0.25
RENDERED_AT_ONCE = 25
START = {X: -0.3, Y: 0.4, LOG_ZOOM: 0.0, ANGLE: 0.0}
# Motion -> speed per second, in the path's units: a round trip that ends where it began.
TOUR = {
    "static": 0.0,
    "pan right": 0.24,
    "tilt up": 0.26,
    "pan left": 0.24,
    "tilt down": 0.26,
    "zoom in": 0.28,
    "roll clockwise": 0.4,
    "roll counter-clockwise": 0.4,
    "zoom out": 0.28,
}


def plan_path() -> CameraPath:
    """The tour as a path of one camera, at the video's rate."""
    frames = round(SEGMENT_SECONDS * RATE_HZ)
    velocities = torch.zeros(1, len(TOUR) * frames, 4)
    for segment, (motion, speed) in enumerate(TOUR.items()):
        if motion == "static":
            continue
        axis, sign = DIRECTIONS[motion]
        eased = ease(frames, EASING_SECONDS * RATE_HZ)
        velocities[0, segment * frames : (segment + 1) * frames, axis] = sign * speed * eased
    return follow(velocities, torch.tensor([[START[axis] for axis in range(4)]]), RATE_HZ)


def plan_truth() -> list[dict]:
    """What the camera does and when."""
    return [
        {
            "label": motion,
            "start_seconds": segment * SEGMENT_SECONDS,
            "end_seconds": (segment + 1) * SEGMENT_SECONDS,
        }
        for segment, motion in enumerate(TOUR)
    ]


def film_tour(path: CameraPath) -> np.ndarray:
    """Frames (T, HEIGHT_PX, WIDTH_PX, 3) uint8; twice as fine, then averaged against aliasing."""
    photograph = torch.from_numpy(load_photograph(PICTURE).copy()).permute(2, 0, 1)[None].float()
    frames = []
    for start in range(0, path.x.shape[1], RENDERED_AT_ONCE):
        part = path[:, start : start + RENDERED_AT_ONCE]
        points = part.view_points(2 * HEIGHT_PX, 2 * WIDTH_PX)
        fine = render(photograph, points, torch.tensor([float(WIDTH_PX)]))[0].transpose(0, 1)
        frames.append(F.avg_pool2d(fine, 2).round().to(torch.uint8))
    return torch.cat(frames).permute(0, 2, 3, 1).numpy()


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output", type=Path, default=Path("src/co3d/assets"), help="folder for the three files"
    )
    return parser.parse_args()


def main() -> None:
    """Write sample.mp4, its truth sample.json, and sample.txt, which says where it is from."""
    folder = parse_arguments().output
    with VideoWriter(folder / "sample.mp4", RATE_HZ) as video:
        for index, image in enumerate(film_tour(plan_path())):
            video.write(image, index / RATE_HZ)
    with output_file(folder / "sample.json") as temporary:
        temporary.write_text(json.dumps(plan_truth(), indent=2) + "\n")
    with output_file(folder / "sample.txt") as temporary:
        temporary.write_text(NOTICE)


if __name__ == "__main__":
    main()
