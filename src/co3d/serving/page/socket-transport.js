/** Sends pictures over the WebSocket /v1/live: as JPEG, or encoded by WebCodecs. */

const PER_STEP = 2; // pictures sent per network frame, so that one is close to each sampling time
const MAX_WIDTH = 640;
const MOST_BUFFERED = 256 * 1024;
const ALIVE_MS = 1000;
const KEY_EVERY = 32;
const QUALITY = 0.8;
const TRY_LATER = 1013;
const REFUSED = [1003, 1008];
const CODECS = [
  { format: "vp8", codec: "vp8" },
  { format: "h264", codec: "avc1.42001f", avc: { format: "annexb" } },
  { format: "vp9", codec: "vp09.00.10.08" },
];

export class SocketTransport {
  constructor(name) {
    this.name = name;
    this.unsentPictures = 0;
    this.isOver = false;
  }

  async start({ client, server, video, stream, onPrediction, onFault, onEnd }) {
    this.video = video;
    this.isCamera = stream !== null;
    this.periodSeconds = 1 / (server.rate_hz * PER_STEP);
    this.lastSeconds = -Infinity;
    const size = fit(video);
    this.canvas = document.createElement("canvas");
    [this.canvas.width, this.canvas.height] = size;
    this.context = this.canvas.getContext("2d", { alpha: false });
    let format = "jpeg";
    if (this.name === "webcodecs") {
      this.encoder = await makeEncoder(size, server.rate_hz * PER_STEP, {
        send: (data, seconds) => this.#send(data, seconds),
        onError: (error) => onEnd({ error }),
      });
      if (!this.encoder) throw new Error("this browser cannot encode vp8, h264 or vp9");
      format = this.encoder.format;
    }
    if (this.isOver) return;
    const socket = (this.socket = client.socket("/v1/live"));
    socket.onopen = () => socket.send(JSON.stringify({ type: "start", format }));
    socket.onmessage = (event) => {
      const message = JSON.parse(event.data);
      if (message.type === "ready") this.#begin();
      else if (message.type === "prediction") onPrediction(message);
      else {
        this.said = new Error(message.message);
        if (message.type === "notice") onFault(this.said);
      }
    };
    socket.onclose = (event) => {
      if (this.isOver) return;
      const isFinal = REFUSED.includes(event.code);
      const error = this.said || (isFinal ? new Error(event.reason || "refused") : null);
      onEnd({ error, isFinal, isFull: event.code === TRY_LATER });
    };
  }

  stop() {
    this.isOver = true;
    clearInterval(this.aliveTimer);
    if (this.socket) this.socket.close();
    if (this.encoder) this.encoder.close();
  }

  #begin() {
    this.aliveTimer = setInterval(() => this.#say({ type: "alive" }), ALIVE_MS);
    const next = () => {
      if (this.isOver) return;
      if ("requestVideoFrameCallback" in this.video) {
        this.video.requestVideoFrameCallback((now, frame) => {
          this.#look(this.isCamera ? now / 1000 : frame.mediaTime);
          next();
        });
      } else {
        requestAnimationFrame((now) => {
          this.#look(this.isCamera ? now / 1000 : this.video.currentTime);
          next();
        });
      }
    };
    next();
  }

  #look(seconds) {
    if (this.isOver || this.video.readyState < 2) return;
    if (seconds < this.lastSeconds) {
      this.#say({ type: "reset" });
      this.lastSeconds = -Infinity;
    }
    // A quarter of a period early still counts as due, because camera intervals jitter.
    if (seconds - this.lastSeconds < 0.75 * this.periodSeconds) return;
    if (this.isBusy || this.socket.bufferedAmount > MOST_BUFFERED) {
      this.unsentPictures += 1;
      return;
    }
    this.lastSeconds = seconds;
    if (this.encoder) this.encoder.encode(this.video, seconds);
    else this.#sendJpeg(seconds);
  }

  #sendJpeg(seconds) {
    this.isBusy = true;
    this.context.drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
    this.canvas.toBlob(
      async (blob) => {
        this.isBusy = false;
        if (blob && !this.isOver) this.#send(new Uint8Array(await blob.arrayBuffer()), seconds);
      },
      "image/jpeg",
      QUALITY,
    );
  }

  #send(data, seconds) {
    if (this.isOver || this.socket.readyState !== WebSocket.OPEN) return;
    const message = new Uint8Array(8 + data.byteLength);
    new DataView(message.buffer).setFloat64(0, seconds);
    message.set(data, 8);
    this.socket.send(message);
  }

  #say(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }
}

/** Width and height to send: no wider than the network needs, and even. */
function fit(video) {
  const width = video.videoWidth || MAX_WIDTH;
  const height = video.videoHeight || 360;
  const scale = Math.min(1, MAX_WIDTH / Math.max(width, height));
  return [width, height].map((side) => Math.max(2, 2 * Math.round((side * scale) / 2)));
}

/** An encoder of the first codec that the browser has; null for none. */
async function makeEncoder([width, height], framerate, { send, onError }) {
  for (const { format, codec, avc } of CODECS) {
    const settings = { codec, width, height, framerate, bitrate: 900_000, latencyMode: "realtime" };
    if (avc) settings.avc = avc;
    const found = await VideoEncoder.isConfigSupported(settings).catch(() => ({ supported: false }));
    if (!found.supported) continue;
    const encoder = new VideoEncoder({
      output: (chunk) => {
        const data = new Uint8Array(chunk.byteLength);
        chunk.copyTo(data);
        send(data, chunk.timestamp / 1e6);
      },
      error: onError,
    });
    encoder.configure(settings);
    let count = 0;
    return {
      format,
      encode(video, seconds) {
        if (encoder.state !== "configured" || encoder.encodeQueueSize > 2) return;
        const frame = new VideoFrame(video, { timestamp: Math.round(seconds * 1e6) });
        encoder.encode(frame, { keyFrame: count % KEY_EVERY === 0 });
        count += 1;
        frame.close();
      },
      close() {
        if (encoder.state !== "closed") encoder.close();
      },
    };
  }
  return null;
}
