/** Draws runs of labels over time on a canvas. */
import { h } from "/page/dom.js";

export class Timeline {
  /** @param {number} seconds that it spans. @param {string} name for screen readers. */
  constructor(seconds, name) {
    this.spanSeconds = seconds;
    this.runs = [];
    this.canvas = h("canvas", { class: "timeline", role: "img", "aria-label": name });
    this.element = this.canvas;
    this.name = name;
  }

  /** Add the label at a time; null for none. */
  add(seconds, label, periodSeconds) {
    const last = this.runs[this.runs.length - 1];
    if (last && seconds < last.end - 1) this.runs = [];
    if (last && last.label === label && seconds - last.end < 3 * periodSeconds) {
      last.end = seconds + periodSeconds;
    } else if (label !== null) {
      this.runs.push({ label, start: seconds, end: seconds + periodSeconds });
    }
    const oldest = seconds - this.spanSeconds - 5;
    while (this.runs.length && this.runs[0].end < oldest) this.runs.shift();
  }

  /** Draw the runs up to a time. */
  draw(nowSeconds, colours, formatTick) {
    const { canvas } = this;
    const scale = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width) return;
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
    const context = canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const barHeight = height - 20;
    context.fillStyle = style.getPropertyValue("--well");
    context.fillRect(0, 0, width, barHeight);
    const start = nowSeconds - this.spanSeconds;
    const place = (seconds) => ((seconds - start) / this.spanSeconds) * width;
    for (const run of this.runs) {
      if (run.end < start) continue;
      const left = Math.max(0, place(run.start));
      context.fillStyle = colours[run.label] || "#9aa5b1";
      context.fillRect(left, 0, Math.max(1, Math.min(width, place(run.end)) - left), barHeight);
    }
    context.fillStyle = style.getPropertyValue("--quiet");
    context.font = "12px system-ui, sans-serif";
    for (let tick = 0; tick <= 4; tick += 1) {
      context.textAlign = tick === 0 ? "left" : tick === 4 ? "right" : "center";
      const seconds = start + (tick / 4) * this.spanSeconds;
      context.fillText(formatTick(seconds, nowSeconds), (tick / 4) * width, height - 4);
    }
    const labels = [...new Set(this.runs.map((run) => run.label))];
    canvas.setAttribute("aria-label", `${this.name}: ${labels.join(", ") || "nothing yet"}`);
  }
}
