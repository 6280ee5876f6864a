/** All cameras, a tile each. */
import { h, makeLabelBar, showNote } from "/page/dom.js";
import { askForStream } from "/page/dialogs.js";

const LIST_MS = 2000;
const PICTURE_MS = 1000;
const TILE_WIDTH = 480;

export function showWall(main, { client, server, go }) {
  const wall = h("div", { class: "wall" });
  const notes = h("div", {});
  const count = h("p", { class: "quiet" });
  const add = h("button", { type: "button", hidden: !server.may_add_sources, onclick: () => askForStream(client, list) }, "Add a camera");
  main.append(h("div", { class: "head" }, h("div", { class: "grow" }, h("h1", {}, "Cameras"), count), add), notes, wall);
  const tiles = new Map();
  const visible = new Set();
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) visible.add(target.dataset.id);
      else visible.delete(target.dataset.id);
    }
  });

  async function list() {
    try {
      update(await client.listStreams());
      notes.replaceChildren();
    } catch (error) {
      notes.replaceChildren(showNote(error.status ? error.message : "The server does not answer; trying again.", { isBad: true }));
    }
  }

  function update(streams) {
    const ids = new Set(streams.map((stream) => stream.id));
    for (const [id, tile] of tiles) {
      if (ids.has(id)) continue;
      observer.unobserve(tile.element);
      visible.delete(id);
      tile.forget();
      tiles.delete(id);
    }
    for (const stream of streams) {
      if (!tiles.has(stream.id)) {
        const tile = makeTile(stream, client, go);
        tiles.set(stream.id, tile);
        wall.append(tile.element);
        observer.observe(tile.element);
      }
      tiles.get(stream.id).showState(stream);
    }
    const live = streams.filter((stream) => ["live", "reading"].includes(stream.state)).length;
    count.textContent = `${live} of ${streams.length} send pictures`;
    if (!streams.length && !wall.querySelector(".empty-wall")) {
      wall.append(h("div", { class: "card empty-wall" }, h("h2", {}, "No camera yet"), h("p", { class: "quiet" }, "Name cameras in the fleet file, or add one here.")));
    } else if (streams.length) wall.querySelector(".empty-wall")?.remove();
  }

  function refreshPictures() {
    if (document.hidden) return;
    for (const id of visible) tiles.get(id)?.refresh();
  }

  list();
  const timers = [setInterval(list, LIST_MS), setInterval(refreshPictures, PICTURE_MS)];
  const stopFeed = client.feed({
    onPrediction: (prediction) => tiles.get(prediction.stream)?.show(prediction, server.labels),
    onState: list,
  });
  return () => {
    timers.forEach(clearInterval);
    stopFeed();
    observer.disconnect();
    for (const tile of tiles.values()) tile.forget();
  };
}

function makeTile(stream, client, go) {
  const image = h("img", { alt: "", hidden: true });
  const bar = makeLabelBar();
  const waiting = h("div", { class: "empty" }, h("p", {}, "no picture"));
  const chip = h("span", { class: "chip" });
  const path = `/streams/${stream.id}`;
  const element = h(
    "a",
    { class: "card tile", href: path, "data-id": stream.id, onclick: (event) => go(path, event) },
    h("div", { class: "screen" }, image, waiting, bar.element),
    h("div", { class: "pad" }, h("strong", {}, stream.name), chip),
  );
  let url = null;
  let isBusy = false;
  let isLive = false;
  return {
    element,
    show: (prediction, colours) => isLive && bar.show(prediction, colours),
    showState({ state, cause }) {
      isLive = ["live", "reading"].includes(state);
      chip.textContent = state;
      chip.className = `chip ${state}`;
      chip.title = cause || "";
      waiting.firstChild.textContent = cause || (isLive ? "no picture yet" : state);
      if (!isLive) {
        bar.hide();
        image.hidden = true;
      }
      waiting.hidden = !image.hidden;
    },
    async refresh() {
      if (isBusy || !isLive) return;
      isBusy = true;
      const blob = await client.readPicture(stream.id, TILE_WIDTH).catch(() => null);
      isBusy = false;
      if (!blob || !isLive) return;
      const next = URL.createObjectURL(blob);
      image.src = next;
      image.hidden = false;
      waiting.hidden = true;
      if (url) URL.revokeObjectURL(url);
      url = next;
    },
    forget() {
      element.remove();
      if (url) URL.revokeObjectURL(url);
    },
  };
}
