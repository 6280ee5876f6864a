/** The visitor's own camera, a file of theirs, or the sample, labelled live. */
import { h, makeFigures, makeLabelBar, makeTops, milliseconds, showNote } from "/page/dom.js";
import { LiveClient } from "/page/live-client.js";
import { Timeline } from "/page/timeline.js";

const SPAN_SECONDS = 60;
const NAMES = { webrtc: "WebRTC", webcodecs: "WebCodecs", jpeg: "JPEG" };

export function showLive(main, { client, server }) {
  const only = new URLSearchParams(location.search).get("transport");
  const video = h("video", { muted: true, playsInline: true, autoplay: true, "aria-label": "Your video" });
  const bar = makeLabelBar();
  const tops = makeTops();
  const figures = makeFigures();
  const timeline = new Timeline(SPAN_SECONDS, "Labels of the last minute");
  const status = h("span", { class: "chip", role: "status" }, "off");
  const notes = h("div", {});
  const fileInput = h("input", { type: "file", accept: "video/*", class: "visually-hidden", tabIndex: -1, "aria-label": "Video file", onchange: () => openFile(fileInput.files[0]) });
  const stopButton = h("button", { type: "button", hidden: true, onclick: stop }, "Stop");
  const choices = h(
    "div",
    { class: "empty" },
    h(
      "div",
      {},
      h("p", {}, "See what the network sees. Video goes to this server alone, and is not kept."),
      h(
        "div",
        { class: "choices" },
        h("button", { type: "button", class: "main", onclick: openCamera }, "Use my camera"),
        h("button", { type: "button", onclick: () => fileInput.click() }, "Open a video"),
        h("button", { type: "button", onclick: openSample }, "Play the sample"),
      ),
      h("p", {}, "or drop a video here"),
    ),
  );
  const screen = h("div", { class: "screen roomy card" }, video, choices, bar.element, fileInput);
  main.append(
    h("div", { class: "head" }, h("div", { class: "grow" }, h("h1", {}, "Live"), h("p", { class: "quiet" }, `${server.network}: ${server.summary}`)), status, stopButton),
    notes,
    h(
      "div",
      { class: "duo" },
      screen,
      h("div", { class: "side" }, h("section", { class: "card pad", "aria-label": "Likeliest labels" }, tops.element), h("section", { class: "card pad", "aria-label": "Figures" }, figures.element)),
    ),
    h("section", { class: "card pad", "aria-label": "Timeline" }, timeline.element),
  );
  tops.element.append(h("li", { class: "quiet" }, "no label yet"));

  let live = null;
  let stream = null;
  let objectUrl = null;
  let opening = 0;
  let isCamera = false;
  let times = [];
  let newest = null;
  let transport = null;
  let startedAt = 0;
  let firstLabelMs = null;
  let isGone = false;

  for (const name of ["dragenter", "dragover"]) {
    screen.addEventListener(name, (event) => {
      event.preventDefault();
      screen.classList.add("over");
    });
  }
  for (const name of ["dragleave", "drop"]) {
    screen.addEventListener(name, (event) => {
      event.preventDefault();
      screen.classList.remove("over");
    });
  }
  screen.addEventListener("drop", (event) => openFile(event.dataTransfer.files[0]));

  async function openCamera() {
    stop();
    const mine = (opening += 1);
    if (!navigator.mediaDevices) {
      complain("Browsers give cameras to pages of HTTPS or of this machine only.");
      return;
    }
    try {
      const found = await navigator.mediaDevices.getUserMedia({
        video: { width: { ideal: 640 }, height: { ideal: 360 }, frameRate: { ideal: 30 } },
      });
      if (mine !== opening || isGone) {
        for (const track of found.getTracks()) track.stop();
        return;
      }
      stream = found;
    } catch (error) {
      complain(error.name === "NotAllowedError" ? "The browser was not allowed to use the camera." : `There is no camera to use (${error.name}).`);
      return;
    }
    isCamera = true;
    video.srcObject = stream;
    await begin();
  }

  function openFile(file) {
    if (!file) return;
    stop();
    objectUrl = URL.createObjectURL(file);
    play(objectUrl);
  }

  function openSample() {
    stop();
    play("/sample.mp4");
  }

  async function play(url) {
    opening += 1;
    isCamera = false;
    video.loop = true;
    video.src = url;
    await begin();
  }

  async function begin() {
    const mine = opening;
    startedAt = performance.now();
    choices.hidden = true;
    stopButton.hidden = false;
    status.textContent = "opening";
    try {
      await video.play();
    } catch {
      if (mine === opening) {
        stop();
        complain("This browser cannot play that video.");
      }
      return;
    }
    if (mine !== opening || isGone) return;
    live = new LiveClient(client, server, { onPrediction, onState, onFault: (fault) => complain(fault.message) }, only);
    await live.start(video, { stream });
  }

  function stop() {
    opening += 1;
    if (live) live.stop();
    live = null;
    if (stream) for (const track of stream.getTracks()) track.stop();
    stream = null;
    video.pause();
    video.removeAttribute("src");
    video.srcObject = null;
    if (objectUrl) URL.revokeObjectURL(objectUrl);
    objectUrl = null;
    bar.hide();
    choices.hidden = false;
    stopButton.hidden = true;
    notes.replaceChildren();
    status.className = "chip";
    status.textContent = "off";
    times = [];
    newest = null;
    firstLabelMs = null;
    timeline.runs = [];
  }

  function complain(text) {
    notes.replaceChildren(showNote(text, { isBad: true }));
  }

  function onState(state) {
    transport = state.transport || transport;
    status.className = `chip ${state.state}`;
    status.textContent = state.state === "live" ? `live · ${NAMES[transport]}` : state.state;
    if (state.state === "live") notes.replaceChildren();
    else bar.hide();
    if (state.state === "ended") {
      stop();
    }
  }

  function onPrediction(prediction) {
    const now = performance.now();
    newest = prediction;
    times.push(now);
    while (times.length > 1 && times[0] < now - 5000) times.shift();
    if (firstLabelMs === null && prediction.label !== null) {
      firstLabelMs = now - startedAt;
      main.dataset.firstLabelMs = firstLabelMs.toFixed(0);
      main.dataset.transport = transport;
    }
    timeline.add(now / 1000, prediction.label, 1 / server.rate_hz);
    bar.show(prediction, server.labels);
    tops.show(prediction, server.labels);
    showFigures(now);
  }

  function showFigures(now) {
    // Divide by a second at least: predictions that arrive together after a break are no rate.
    const rate = (times.length - 1) / Math.max(1, (now - times[0]) / 1000);
    const isClockShared = isCamera && transport !== "webrtc";
    const answer = isClockShared ? now - 1000 * newest.seen_seconds : newest.lag_ms;
    figures.show({
      "Predictions a second": rate.toFixed(1),
      "Network frame rate": `${server.rate_hz} frames/s`,
      [isClockShared ? "Picture to prediction" : "Server: picture to prediction"]: milliseconds(answer),
      "Prediction describes": `${milliseconds(1000 * server.delay_seconds)} earlier`,
      "Step": milliseconds(newest.latency_ms),
      "Dropped by the server": newest.dropped_frames,
      "Not sent (slow connection)": live ? live.unsentPictures : 0,
      "First label after": firstLabelMs === null ? "–" : milliseconds(firstLabelMs),
    });
  }

  const redraw = setInterval(() => {
    timeline.draw(performance.now() / 1000, server.labels, (at, now) => {
      const before = Math.round(now - at);
      return before === 0 ? "now" : `−${before} s`;
    });
  }, 125);
  window.addEventListener("pagehide", stop);

  return () => {
    isGone = true;
    clearInterval(redraw);
    window.removeEventListener("pagehide", stop);
    stop();
  };
}
