/** One camera: its picture, figures and recent history. */
import { h, makeFigures, makeLabelBar, makeTops, milliseconds, showNote } from "/page/dom.js";
import { askWhether } from "/page/dialogs.js";
import { showEventList } from "/page/events-view.js";
import { Timeline } from "/page/timeline.js";

const READ_MS = 2000;
const TIMELINE_MS = 15000;
const WIDTH = 960;

export function showStream(main, { client, server, go }, id) {
  const image = h("img", { alt: "", hidden: true });
  const bar = makeLabelBar();
  const tops = makeTops();
  const figures = makeFigures();
  const waiting = h("div", { class: "empty" }, h("p", {}, "no picture yet"));
  const chip = h("span", { class: "chip", role: "status" });
  const title = h("h1", {}, id);
  const source = h("p", { class: "quiet" });
  const notes = h("div", {});
  const isOperator = ["operator", "admin"].includes(server.role);
  const pause = h("button", { type: "button", hidden: !isOperator, onclick: togglePause }, "Pause");
  const remove = h("button", { type: "button", class: "danger", hidden: !isOperator, onclick: askToRemove }, "Remove");
  const hours = h("select", { "aria-label": "Time span", onchange: readTimeline }, ...[1, 3, 12, 24].map((value) => h("option", { value }, value === 1 ? "1 hour" : `${value} hours`)));
  let timeline = new Timeline(3600, "Labels of the last hours");
  const timelineBox = h("div", {}, timeline.element);
  const events = h("div", {});
  main.append(
    h("div", { class: "head" }, h("div", { class: "grow" }, title, source), chip, pause, remove),
    notes,
    h("div", { class: "duo" }, h("div", { class: "screen card" }, image, waiting, bar.element), h("div", { class: "side" }, h("section", { class: "card pad", "aria-label": "Likeliest labels" }, tops.element), h("section", { class: "card pad", "aria-label": "Figures" }, figures.element))),
    h("section", { class: "card pad", "aria-label": "Timeline" }, h("div", { class: "head" }, h("h2", { class: "grow" }, "Timeline"), h("div", {}, hours)), timelineBox),
    events,
  );
  let info = null;
  let url = null;

  async function read() {
    try {
      info = await client.readStream(id);
    } catch (error) {
      notes.replaceChildren(showNote(error.status ? error.message : "The server does not answer; trying again.", { isBad: true }));
      return;
    }
    notes.replaceChildren();
    title.textContent = info.name;
    source.textContent = [info.source, info.cause].filter(Boolean).join(" · ");
    chip.textContent = info.state;
    chip.className = `chip ${info.state}`;
    pause.textContent = info.state === "paused" ? "Go on" : "Pause";
    const isLive = ["live", "reading"].includes(info.state);
    if (!isLive) {
      bar.hide();
      image.hidden = true;
      waiting.firstChild.textContent = info.cause || info.state;
    }
    waiting.hidden = !image.hidden;
    const counts = info.counts;
    figures.show({
      "Network frame rate": `${info.rate_hz} frames/s`,
      "Predictions a second": counts ? counts.rate_hz.toFixed(1) : "–",
      "Lag": counts ? milliseconds(counts.lag_ms) : "–",
      "Latency, 95th percentile": counts ? milliseconds(counts.latency_p95_ms) : "–",
      "Describes the moment before": milliseconds((1000 * server.delay_seconds * server.rate_hz) / info.rate_hz),
      "Dropped frames": counts ? counts.dropped_frames : "–",
      "Gaps": counts ? counts.gaps : "–",
    });
  }

  async function readTimeline() {
    const runs = await client.readTimeline(id, hours.value).catch(() => null);
    if (runs === null) return;
    timeline = new Timeline(3600 * hours.value, "Labels of the last hours");
    timelineBox.replaceChildren(timeline.element);
    timeline.runs = runs.map((run) => ({ label: run.label, start: Date.parse(run.start) / 1000, end: Date.parse(run.end) / 1000 }));
    timeline.draw(Date.now() / 1000, server.labels, formatTick);
  }

  async function togglePause() {
    try {
      await client.changeStream(id, { paused: info.state !== "paused" });
    } catch (error) {
      notes.replaceChildren(showNote(error.message, { isBad: true }));
    }
    read();
  }

  function askToRemove() {
    askWhether(`Remove ${info ? info.name : id}?`, "Remove", async () => {
      await client.removeStream(id);
      go("/");
    });
  }

  read();
  readTimeline();
  const timers = [setInterval(read, READ_MS), setInterval(readTimeline, TIMELINE_MS)];
  const stopEvents = showEventList(events, { client, server }, { stream: id });
  const stopFeed = client.feed({
    streams: [id],
    width: WIDTH,
    onPrediction(prediction, jpeg) {
      bar.show(prediction, server.labels);
      tops.show(prediction, server.labels);
      if (!jpeg) return;
      const next = URL.createObjectURL(jpeg);
      image.src = next;
      image.hidden = false;
      waiting.hidden = true;
      if (url) URL.revokeObjectURL(url);
      url = next;
    },
    onState: read,
    onConnected: (isConnected) => {
      if (!isConnected) notes.replaceChildren(showNote("The server does not answer; trying again.", { isBad: true }));
      else read();
    },
  });
  return () => {
    timers.forEach(clearInterval);
    stopFeed();
    stopEvents();
    if (url) URL.revokeObjectURL(url);
  };
}

function formatTick(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}
