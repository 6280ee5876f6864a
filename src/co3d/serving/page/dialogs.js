/** Dialogs: a token, another camera, a question. */
import { h, showNote } from "/page/dom.js";

function open(title, fields, action, submit) {
  const notes = h("div", {});
  const heading = `dialog-${Math.random().toString(36).slice(2)}`;
  const dialog = h(
    "dialog",
    { "aria-labelledby": heading, onclose: () => dialog.remove() },
    h(
      "form",
      {
        method: "dialog",
        onsubmit: async (event) => {
          event.preventDefault();
          try {
            await submit();
            dialog.close();
          } catch (error) {
            notes.replaceChildren(showNote(error.message, { isBad: true }));
          }
        },
      },
      h("h2", { id: heading }, title),
      fields,
      notes,
      h("div", { class: "row" }, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), h("button", { type: "submit", class: "main" }, action)),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
}

export function askForToken(client, done) {
  const token = h("input", { type: "password", name: "token", required: true, autocomplete: "off", spellcheck: false });
  open("Sign in", [h("label", {}, "Token", token)], "Sign in", async () => {
    await client.signIn(token.value.trim());
    done();
  });
}

export function askForStream(client, done) {
  const name = h("input", { name: "name", required: true, pattern: "[A-Za-z0-9][A-Za-z0-9_.\\-]{0,63}", autocomplete: "off", placeholder: "gate" });
  const source = h("input", { name: "source", required: true, autocomplete: "off", spellcheck: false, placeholder: "rtsp://user:password@10.0.0.9/stream" });
  open("Add a camera", [h("label", {}, "Name", name), h("label", {}, "Address", source)], "Add", async () => {
    await client.addStream({ name: name.value.trim(), source: source.value.trim() });
    done();
  });
}

export function askWhether(question, action, submit) {
  open(question, [], action, submit);
}
