/** Events that rules made from labels: a list with filters, or one camera's latest. */
import { h, percent, showNote } from "/page/dom.js";

const PAGE = 50;
const FEW = 10;

export function showEvents(main, context) {
  const { client } = context;
  const list = h("div", {});
  const stream = h("select", { onchange: restart }, h("option", { value: "" }, "all"));
  const rule = h("input", { onchange: restart, autocomplete: "off", placeholder: "any" });
  const since = h("input", { type: "datetime-local", onchange: restart });
  const state = h("select", { onchange: restart }, h("option", { value: "" }, "all"), h("option", { value: "true" }, "going on"), h("option", { value: "false" }, "over"));
  main.append(
    h("div", { class: "head" }, h("h1", { class: "grow" }, "Events")),
    h("form", { class: "card pad filters", onsubmit: (event) => event.preventDefault() }, h("label", {}, "Camera", stream), h("label", {}, "Rule", rule), h("label", {}, "Since", since), h("label", {}, "State", state)),
    list,
  );
  client.listStreams().then((streams) => stream.append(...streams.map(({ id, name }) => h("option", { value: id }, name)))).catch(() => {});
  let stop = () => {};
  function restart() {
    stop();
    list.replaceChildren();
    stop = fill(list, context, {
      stream: stream.value,
      rule: rule.value.trim(),
      since: since.value ? new Date(since.value).toISOString() : "",
      is_open: state.value,
      limit: PAGE,
    });
  }
  restart();
  return () => stop();
}

/** The latest events of one camera, under its picture. */
export function showEventList(place, context, { stream }) {
  if (!context.server.has_events) return () => {};
  place.append(h("div", { class: "head" }, h("h2", { class: "grow" }, "Latest events")));
  const list = h("div", {});
  place.append(list);
  return fill(list, context, { stream, limit: FEW });
}

/** List events, and refresh the list when new ones arrive. */
function fill(place, { client, server }, filters) {
  const list = h("div", { class: "events", role: "feed", "aria-label": "Events" });
  const notes = h("div", {});
  const more = h("button", { type: "button", hidden: true, onclick: () => load(true) }, "Earlier ones");
  place.replaceChildren(notes, list, more);
  const rows = new Map();
  let lastId = null;
  let timer = null;

  async function load(isMore) {
    let events;
    try {
      events = await client.listEvents({ ...filters, after: isMore ? lastId : null });
    } catch (error) {
      notes.replaceChildren(showNote(error.status ? error.message : "The server does not answer.", { isBad: true }));
      return;
    }
    notes.replaceChildren();
    if (!isMore) {
      list.replaceChildren();
      rows.clear();
    }
    for (const event of events) {
      rows.set(event.id, makeRow(event, server));
      list.append(rows.get(event.id));
    }
    if (events.length) lastId = events[events.length - 1].id;
    more.hidden = filters.limit !== PAGE || events.length < PAGE;
    if (!rows.size) notes.replaceChildren(showNote("No events yet."));
  }

  load(false);
  const stop = client.followEvents(
    () => {
      // Many events may arrive at once; a single reload covers them all.
      clearTimeout(timer);
      timer = setTimeout(() => load(false), 300);
    },
    { stream: filters.stream || null },
  );
  return () => {
    clearTimeout(timer);
    stop();
  };
}

function makeRow(event, server) {
  const dot = h("span", { class: "dot", "aria-hidden": "true" });
  dot.style.background = server.labels[event.label] || "#9aa5b1";
  const picture = event.picture ? h("img", { class: "shot", src: event.picture, alt: `${event.label} at ${event.camera}`, loading: "lazy" }) : h("div", { class: "shot" });
  const clip = event.clip ? h("a", { href: event.clip, download: `${event.camera}-${event.id}.mkv` }, "Clip") : null;
  return h(
    "article",
    { class: "card event" },
    picture,
    h(
      "div",
      {},
      h("h2", {}, dot, event.label),
      h("div", { class: "facts" }, h("span", {}, event.camera), h("span", {}, event.rule), h("span", {}, describeTime(event)), h("span", {}, `up to ${percent(event.peak)}`), event.cause ? null : h("span", { class: "chip live" }, "going on"), clip),
    ),
  );
}

function describeTime(event) {
  const seconds = event.latest_pts_seconds - event.start_pts_seconds;
  const length = seconds < 90 ? `${seconds.toFixed(1)} s` : `${(seconds / 60).toFixed(1)} min`;
  if (!event.started_at) return `${event.start_pts_seconds.toFixed(1)} s into the file, for ${length}`;
  return `${new Date(event.started_at).toLocaleString()}, for ${length}`;
}
