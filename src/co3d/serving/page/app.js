/** The page: routes by its address, switches theme, signs in and out. */
import { Client } from "/page/client.js";
import { askForToken } from "/page/dialogs.js";
import { h, showNote } from "/page/dom.js";
import { showEvents } from "/page/events-view.js";
import { showLive } from "/page/live-view.js";
import { showStream } from "/page/stream-view.js";
import { showWall } from "/page/wall-view.js";

const THEME = "co3d-theme";
const RETRY_MS = 2000;
const client = new Client();
const main = document.getElementById("main");
let leave = () => {};
let server = null;

function applyTheme() {
  const chosen = localStorage.getItem(THEME);
  const isDark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
  return isDark;
}

function showTools() {
  const theme = h("button", { type: "button", onclick: switchTheme }, applyTheme() ? "Light" : "Dark");
  theme.setAttribute("aria-label", `${theme.textContent} colours`);
  function switchTheme() {
    localStorage.setItem(THEME, applyTheme() ? "light" : "dark");
    showTools();
  }
  const signed = server && server.csrf;
  const sign = h("button", { type: "button", onclick: signed ? signOut : () => askForToken(client, restart) }, signed ? `Sign out ${server.name}` : "Sign in");
  document.getElementById("tools").replaceChildren(theme, sign);
}

async function signOut() {
  await client.signOut();
  restart();
}

function showNav() {
  const pages = server.has_streams ? [["/", "Cameras"], ["/live", "Live"]] : [["/", "Live"]];
  if (server.has_events) pages.push(["/events", "Events"]);
  const here = location.pathname;
  document.getElementById("nav").replaceChildren(
    ...pages.map(([path, name]) => h("a", { href: path, "aria-current": path === here ? "page" : null, onclick: (event) => go(path, event) }, name)),
  );
}

/** Show another address of this page, without loading it anew. */
function go(path, event = null) {
  if (event && (event.metaKey || event.ctrlKey || event.shiftKey || event.button)) return;
  if (event) event.preventDefault();
  history.pushState(null, "", path);
  show();
  main.focus();
}

function show() {
  leave();
  leave = () => {};
  main.replaceChildren();
  showNav();
  if (server.role === "nobody") {
    document.title = "Sign in · co3d";
    main.append(
      h("div", { class: "card empty-wall" }, h("h1", {}, "Sign in"), h("p", { class: "quiet" }, "This server asks for a token."), h("button", { type: "button", class: "main", onclick: () => askForToken(client, restart) }, "Sign in")),
    );
    return;
  }
  const context = { client, server, go };
  const [, first, second] = location.pathname.split("/");
  if (first === "streams" && second) {
    document.title = `${decodeURIComponent(second)} · co3d`;
    leave = showStream(main, context, decodeURIComponent(second));
  } else if (first === "events" && server.has_events) {
    document.title = "Events · co3d";
    leave = showEvents(main, context);
  } else if (first === "live" || !server.has_streams) {
    document.title = "Live · co3d";
    leave = showLive(main, context);
  } else {
    document.title = "Cameras · co3d";
    leave = showWall(main, context);
  }
}

async function signInByAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  history.replaceState(null, "", location.pathname + location.search);
  await client.getServer();
  await client.signIn(token);
}

async function restart() {
  try {
    server = await client.getServer();
  } catch {
    main.replaceChildren(showNote("The server does not answer; trying again.", { isBad: true }));
    setTimeout(restart, RETRY_MS);
    return;
  }
  document.getElementById("about").textContent = `${server.network} · co3d ${server.version}`;
  showTools();
  show();
}

document.querySelector("[data-link]").addEventListener("click", (event) => go("/", event));
window.addEventListener("popstate", show);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTools);
applyTheme();
try {
  await signInByAddress();
} catch (error) {
  main.replaceChildren(showNote(error.message, { isBad: true }));
}
await restart();
