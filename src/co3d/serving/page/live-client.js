/**
 * Labels what a <video> element shows: over WebRTC, else encoded frames (WebCodecs) over a
 * WebSocket, else JPEG over a WebSocket.
 *
 *     const live = new LiveClient(client, server, { onPrediction, onState, onFault });
 *     await live.start(video, { stream });          // a camera's MediaStream, or a playing file
 *     live.stop();
 */
import { RtcTransport } from "/page/rtc-transport.js";
import { SocketTransport } from "/page/socket-transport.js";

const FIRST_WAIT_MS = 500;
const MOST_WAIT_MS = 5000;

export class LiveClient {
  /**
   * @param {Client} client
   * @param {object} server the answer of `client.getServer()`.
   * @param {object} listeners onPrediction(prediction), onState({state, transport}), onFault(error).
   * @param {string|null} only one transport to use ("webrtc", "webcodecs", "jpeg"); null for the best.
   */
  constructor(client, server, listeners, only = null) {
    this.client = client;
    this.server = server;
    this.listeners = listeners;
    this.transports = only ? [only] : server.transports;
    this.transport = null;
    this.isOver = true;
    this.waitMs = FIRST_WAIT_MS;
  }

  /** Begin. `stream` is a camera's MediaStream; without one, the video's pictures are sent. */
  async start(video, { stream = null } = {}) {
    this.isOver = false;
    this.video = video;
    this.stream = stream;
    this.left = this.transports.filter((name) => canUse(name, stream));
    await this.#connect();
  }

  /** Number of pictures that were not sent because the connection is slow. */
  get unsentPictures() {
    return this.transport ? this.transport.unsentPictures : 0;
  }

  /** End the session, which frees its place on the server. */
  stop() {
    this.isOver = true;
    clearTimeout(this.timer);
    if (this.transport) this.transport.stop();
    this.transport = null;
  }

  async #connect() {
    if (this.isOver) return;
    const name = this.left[0];
    if (!name) {
      this.listeners.onFault(new Error("this browser has no way to send video"));
      return;
    }
    this.listeners.onState({ state: "connecting", transport: name });
    let hasWorked = false;
    const transport = name === "webrtc" ? new RtcTransport() : new SocketTransport(name);
    this.transport = transport;
    try {
      await transport.start({
        client: this.client,
        server: this.server,
        video: this.video,
        stream: this.stream,
        onPrediction: (prediction) => {
          if (this.transport !== transport) return;
          if (!hasWorked) this.listeners.onState({ state: "live", transport: name });
          hasWorked = true;
          this.waitMs = FIRST_WAIT_MS;
          this.listeners.onPrediction(prediction);
        },
        onFault: (fault) => this.listeners.onFault(fault),
        onEnd: (end) => this.#goOn(transport, hasWorked, end),
      });
    } catch (error) {
      this.#goOn(transport, hasWorked, { error });
    }
  }

  /** After a failure: retry the same transport if it has worked, else use the next one. */
  #goOn(transport, hasWorked, { error = null, isFinal = false } = {}) {
    if (this.isOver || this.transport !== transport) return;
    transport.stop();
    this.transport = null;
    if (isFinal) {
      this.isOver = true;
      this.listeners.onState({ state: "ended", transport: null });
      if (error) this.listeners.onFault(error);
      return;
    }
    if (!hasWorked && this.left.length > 1) {
      this.left.shift();
      this.#connect();
      return;
    }
    if (error) this.listeners.onFault(error);
    this.listeners.onState({ state: "reconnecting", transport: this.left[0] });
    this.timer = setTimeout(() => this.#connect(), this.waitMs);
    this.waitMs = Math.min(2 * this.waitMs, MOST_WAIT_MS);
  }
}

function canUse(name, stream) {
  if (name === "webrtc") return stream !== null && "RTCPeerConnection" in window;
  if (name === "webcodecs") return "VideoEncoder" in window && "VideoFrame" in window;
  return true;
}
