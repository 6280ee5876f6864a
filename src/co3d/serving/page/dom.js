/** Small helpers to build a page; text is always set as text, never as HTML. */

export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.includes("-")) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export function percent(probability) {
  return `${(100 * probability).toFixed(0)} %`;
}

export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  return value < 1000 ? `${value.toFixed(0)} ms` : `${(value / 1000).toFixed(1)} s`;
}

export function showNote(text, { isBad = false } = {}) {
  return h("p", { class: isBad ? "note bad" : "note", role: isBad ? "alert" : "status" }, text);
}

/** The bar over a picture: label, probability and a meter; `show(prediction, colours)`. */
export function makeLabelBar() {
  const label = h("b");
  const value = h("i");
  const fill = h("span");
  const element = h("div", { class: "bar", hidden: true }, label, value, h("div", { class: "meter" }, fill));
  return {
    element,
    show(prediction, colours) {
      element.hidden = false;
      if (prediction.label === null) {
        label.textContent = prediction.why_unlabelled || "…";
        value.textContent = "";
        fill.style.width = "0";
        return;
      }
      const probability = prediction.top[0].probability;
      label.textContent = prediction.label;
      value.textContent = percent(probability);
      fill.style.width = `${100 * probability}%`;
      fill.style.background = colours[prediction.label];
    },
    hide() {
      element.hidden = true;
    },
  };
}

/** The likeliest labels with their probabilities; `show(prediction, colours)`. */
export function makeTops() {
  const element = h("ul", { class: "plain tops" });
  return {
    element,
    show(prediction, colours) {
      element.replaceChildren(
        ...prediction.top.map(({ label, probability }) => {
          const fill = h("span");
          fill.style.width = `${100 * probability}%`;
          fill.style.background = colours[label];
          return h("li", {}, h("span", {}, label), h("span", { class: "quiet" }, percent(probability)), h("div", { class: "meter" }, fill));
        }),
      );
    },
  };
}

/** Names and values; `show({name: value})`. */
export function makeFigures() {
  const element = h("dl", { class: "figures" });
  return {
    element,
    show(figures) {
      element.replaceChildren(
        ...Object.entries(figures).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]),
      );
    },
  };
}
