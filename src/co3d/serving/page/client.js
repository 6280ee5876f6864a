/**
 * A client of co3d's server for browsers. It is what the server's own page uses.
 *
 *     import { Client } from "/page/client.js";
 *     const client = new Client();
 *     for (const stream of await client.listStreams()) console.log(stream.id, stream.label);
 *     client.feed({ onPrediction: (p) => console.log(p.stream, p.label) });
 *     client.followEvents((event) => console.log(event));
 *
 * Labelling the visitor's own video is in `live-client.js`.
 */

/** A refusal by the server: its status, its message, and when to try again. */
export class ServerError extends Error {
  constructor(status, fault, retrySeconds) {
    super(fault.message || `the server answered with ${status}`);
    this.status = status;
    this.kind = fault.error || "";
    this.retrySeconds = retrySeconds;
  }
}

const FIRST_WAIT_MS = 500;
const MOST_WAIT_MS = 5000;

export class Client {
  /** @param {string} base the server's address; the page's own by default. */
  constructor(base = location.origin) {
    this.base = base;
    this.csrf = null;
  }

  /** What the server labels and what the caller may do: see `GET /v1/server`. */
  async getServer() {
    const server = await this.#ask("GET", "/v1/server");
    this.csrf = server.csrf;
    return server;
  }

  /** Sign in with a token; the browser keeps a cookie. */
  async signIn(token) {
    const signedIn = await this.#ask("POST", "/v1/session", { token });
    this.csrf = signedIn.csrf;
    return signedIn;
  }

  /** Sign out. */
  async signOut() {
    await this.#ask("DELETE", "/v1/session");
    this.csrf = null;
  }

  /** All streams. */
  listStreams() {
    return this.#ask("GET", "/v1/streams");
  }

  /** One stream. */
  readStream(id) {
    return this.#ask("GET", `/v1/streams/${encodeURIComponent(id)}`);
  }

  /** Add a stream: `{name, source, rate_hz?, priority?, threshold?, smooth_seconds?, tls?}`. */
  addStream(stream) {
    return this.#ask("POST", "/v1/streams", stream);
  }

  /** Change a stream: `{paused?, rate_hz?, priority?, threshold?, smooth_seconds?}`. */
  changeStream(id, change) {
    return this.#ask("PATCH", `/v1/streams/${encodeURIComponent(id)}`, change);
  }

  /** End a stream and forget it. */
  removeStream(id) {
    return this.#ask("DELETE", `/v1/streams/${encodeURIComponent(id)}`);
  }

  /** Runs of one label over the last hours, oldest first. */
  readTimeline(id, hours) {
    return this.#ask("GET", `/v1/streams/${encodeURIComponent(id)}/timeline?hours=${hours}`);
  }

  /** The latest picture as a Blob; null where there is none. */
  async readPicture(id, width) {
    const path = `/v1/streams/${encodeURIComponent(id)}/picture?width=${width}`;
    const answer = await fetch(this.base + path, { credentials: "same-origin" });
    if (answer.status !== 200) return null;
    return answer.blob();
  }

  /** Events in their present state: `{stream?, rule?, since?, until?, is_open?, after?, limit?}`. */
  listEvents(filters = {}) {
    const given = Object.entries(filters).filter(([, value]) => value !== null && value !== "");
    return this.#ask("GET", `/v1/events?${new URLSearchParams(given)}`);
  }

  /** Follow events as they are recorded; after a break the browser resumes after the last one. */
  followEvents(onEvent, { stream = null } = {}) {
    const query = stream ? `?stream=${encodeURIComponent(stream)}` : "";
    const source = new EventSource(`${this.base}/v1/events/stream${query}`);
    for (const kind of ["start", "update", "media", "end"]) {
      source.addEventListener(kind, (event) => onEvent(JSON.parse(event.data)));
    }
    return () => source.close();
  }

  /** Answer to a WebRTC offer: see `live-client.js`. */
  offer(offer) {
    return this.#ask("POST", "/v1/live/offer", offer);
  }

  /**
   * Follow predictions and states; breaks of the connection are bridged.
   *
   * @param {object} options streams: ids, or all; width: of pictures, or none;
   *   onPrediction(prediction, jpegBlobOrNull), onState(state), onConnected(isConnected).
   * @returns a function that ends it.
   */
  feed({ streams = null, width = null, onPrediction, onState = () => {}, onConnected = () => {} }) {
    const query = new URLSearchParams();
    for (const id of streams || []) query.append("stream", id);
    if (width) query.set("width", width);
    return keepOpen(() => this.socket(`/v1/feed?${query}`), {
      onOpen: () => onConnected(true),
      onClose: () => onConnected(false),
      onMessage: (data) => {
        const [message, jpeg] = splitMessage(data);
        if (message.type === "prediction") onPrediction(message, jpeg);
        else onState(message);
      },
    });
  }

  /** A WebSocket of the server. */
  socket(path) {
    const socket = new WebSocket(this.base.replace(/^http/, "ws") + path);
    socket.binaryType = "arraybuffer";
    return socket;
  }

  async #ask(method, path, body) {
    const headers = {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (this.csrf) headers["X-CSRF-Token"] = this.csrf;
    const answer = await fetch(this.base + path, {
      method,
      headers,
      credentials: "same-origin",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    if (answer.status === 204) return null;
    const said = await answer.json().catch(() => ({}));
    if (!answer.ok) {
      throw new ServerError(answer.status, said, Number(answer.headers.get("Retry-After")) || null);
    }
    return said;
  }
}

/** Open a WebSocket again whenever it breaks, until the function that is returned is called. */
function keepOpen(open, { onOpen, onClose, onMessage }) {
  let socket = null;
  let timer = null;
  let isOver = false;
  let waitMs = FIRST_WAIT_MS;
  const connect = () => {
    socket = open();
    socket.onopen = () => {
      waitMs = FIRST_WAIT_MS;
      onOpen();
    };
    socket.onmessage = (event) => onMessage(event.data);
    socket.onclose = () => {
      if (isOver) return;
      onClose();
      timer = setTimeout(connect, waitMs);
      waitMs = Math.min(2 * waitMs, MOST_WAIT_MS);
    };
  };
  connect();
  return () => {
    isOver = true;
    clearTimeout(timer);
    socket.close();
  };
}

/** A message of the feed: its JSON, and the JPEG behind it if there is one. */
function splitMessage(data) {
  if (typeof data === "string") return [JSON.parse(data), null];
  const length = new DataView(data).getUint32(0);
  const text = new TextDecoder().decode(new Uint8Array(data, 4, length));
  return [JSON.parse(text), new Blob([data.slice(4 + length)], { type: "image/jpeg" })];
}
