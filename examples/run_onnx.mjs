// Label pictures with an exported network: raw RGB of crop_px x crop_px on standard input.
//   co3d export camera_motion --output network.onnx --json > network.json
//   ffmpeg -i video.mp4 -vf fps=8.333,scale=64:64 -f rawvideo -pix_fmt rgb24 - |
//     node run_onnx.mjs network.onnx network.json
// Needs onnxruntime-node; not co3d, not Python. For one output, and states of floats.
import { readFileSync } from "node:fs";
import { InferenceSession, Tensor } from "onnxruntime-node";

const session = await InferenceSession.create(process.argv[2]);
const about = JSON.parse(readFileSync(process.argv[3])).description;
if (!about.card) throw "has no card: export it with --rate-hz, --mean, --std, --labels";
const { crop_px: side, mean, std, labels } = about.card;
const inputs = {};
for (const state of about.states) {
  const blank = new Float32Array(state.shape.reduce((a, b) => a * b, 1)).fill(+state.fill);
  for (const name of state.inputs) inputs[name] = new Tensor(blank, [1, ...state.shape]);
}
const clock = (n) => new Tensor("int64", [BigInt(n)], [1]);
const area = side * side;
let [age, pending] = [0, Buffer.alloc(0)];
for await (const piece of process.stdin) {
  pending = Buffer.concat([pending, piece]);
  for (; pending.length >= 3 * area; pending = pending.subarray(3 * area), age++) {
    const frame = new Float32Array(3 * area);
    for (let i = 0; i < 3 * area; i++)
      frame[(i % 3) * area + Math.floor(i / 3)] = (pending[i] / 255 - mean[i % 3]) / std[i % 3];
    Object.assign(inputs, { frame: new Tensor(frame, [1, 3, side, side]), age: clock(age), end: clock(2 ** 30) });
    const taken = Object.fromEntries(session.inputNames.map((name) => [name, inputs[name]]));
    const made = await session.run(taken);
    for (const state of about.states) {
      const names = state.inputs; // newest first: each moves one back
      for (let i = names.length - 1; i > 0; i--) inputs[names[i]] = inputs[names[i - 1]];
      inputs[names[0]] = made[state.output];
    }
    const logits = [...made.output.data];
    const best = logits.indexOf(Math.max(...logits));
    if (age >= about.first_valid_step) console.log(age, labels[best] ?? best);
  }
}
