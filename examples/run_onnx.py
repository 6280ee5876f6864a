"""Label a video with an exported network: `python run_onnx.py camera_motion.onnx video.mp4`.

Needs onnxruntime, numpy, av, pillow; not co3d, not torch. For one input, one output, float states.
"""

import json
import sys

import av
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
about = json.loads(session.get_modelmeta().custom_metadata_map["co3d"])
card = about["card"] or sys.exit("has no card: export it with --rate-hz, --mean, --std, --labels")
inputs = {"age": np.zeros(1, np.int64), "end": np.full(1, 1 << 30, np.int64)}
for state in about["states"]:
    for name in state["inputs"]:  # newest element first
        inputs[name] = np.full((1, *state["shape"]), float(state["fill"]), state["dtype"])
due_seconds = None
for frame in av.open(sys.argv[2]).decode(video=0):
    due_seconds = frame.time if due_seconds is None else due_seconds
    if frame.time < due_seconds - 1e-6:
        continue  # the network sees rate_hz frames a second
    due_seconds += 1 / card["rate_hz"]
    image, side = frame.to_image(), card["crop_px"]
    scale = card["short_side_px"] / min(image.size)
    height, width = card["resize_px"] or (round(size * scale) for size in image.size[::-1])
    x, y = (width - side) // 2, (height - side) // 2
    image = image.resize((width, height), 2).crop((x, y, x + side, y + side))
    pixels = (np.float32(image) / 255 - np.float32(card["mean"])) / np.float32(card["std"])
    inputs["frame"] = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
    logits, *newest = session.run(None, {v.name: inputs[v.name] for v in session.get_inputs()})
    for state, made in zip(about["states"], newest, strict=True):
        inputs.update(zip(state["inputs"][1:], [inputs[n] for n in state["inputs"]], strict=False))
        inputs[state["inputs"][0]] = made
    if inputs["age"][0] >= about["first_valid_step"]:
        print(f"{frame.time:.3f} {(card['labels'] or range(10**6))[int(logits[0].argmax())]}")
    inputs["age"] += 1
