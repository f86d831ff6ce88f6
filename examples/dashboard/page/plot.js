// A plot of the last minute on a logarithmic scale of milliseconds: for each kind a line through the medians of the seconds, with a veil up
// to their worst, and marks at what happened. It is drawn once a second and not animated.

import { element } from "./chart.js";

const height = 100;
const bottom = 0.5; // milliseconds

export class Plot {
  constructor(root, kinds, span) {
    this.root = root;
    this.span = span;
    this.root.setAttribute("role", "img");
    this.root.setAttribute("aria-label", "Latency by transport over the last minute; the table says it in numbers");
    const svg = element(root, "svg", { viewBox: `0 0 ${span - 1} ${height}`, preserveAspectRatio: "none", "aria-hidden": true });
    this.grid = element(svg, "g", { class: "grid" });
    this.marks = [];
    this.marksAt = element(svg, "g", { class: "marks" });
    this.series = new Map(kinds.map((kind) => [kind, {
      values: [],
      veil: element(svg, "path", { class: `veil ${kind}` }),
      line: element(svg, "path", { class: `line ${kind}` }),
    }]));
    this.draw();
  }

  // push adds a second: {median, worst}, or null when nothing came.
  push(kind, value) {
    const { values } = this.series.get(kind);
    values.push(value);
    values.splice(0, values.length - this.span);
    this.seconds = Math.max(this.seconds ?? 0, values.length);
  }

  mark(label) {
    this.marks.push({ label, at: performance.now() });
  }

  draw() {
    const worst = Math.max(...[...this.series.values()].flatMap((s) => s.values.map((v) => v?.worst ?? 0)));
    const top = 10 ** Math.max(2, Math.ceil(Math.log10(Math.max(worst, 1))));
    const y = (ms) => (height * (1 - Math.log(Math.max(ms, bottom) / bottom) / Math.log(top / bottom))).toFixed(2);

    if (top !== this.top) {
      this.top = top;
      this.grid.replaceChildren();
      this.root.querySelectorAll(".tick").forEach((e) => e.remove());
      for (let ms = 1; ms <= top; ms *= 10) {
        element(this.grid, "line", { x1: 0, x2: this.span - 1, y1: y(ms), y2: y(ms) });
        const label = this.label("tick", ms < 1000 ? `${ms} ms` : `${ms / 1000} s`);
        label.style.top = `${y(ms)}%`;
      }
    }
    for (const { values, veil, line } of this.series.values()) {
      const first = this.span - values.length;
      const parts = [[]]; // without the seconds in which nothing came
      values.forEach((v, i) => (v ? parts.at(-1).push([first + i, v]) : parts.push([])));
      const drawn = parts.filter((part) => part.length);
      const path = (part, of) => part.map(([x, v]) => `${x} ${y(v[of])}`).join("L");
      line.setAttribute("d", drawn.map((p) => `M${path(p, "median")}${p.length === 1 ? "l0 0" : ""}`).join(""));
      veil.setAttribute("d", drawn.map((p) => `M${path(p, "worst")}L${path([...p].reverse(), "median")}Z`).join(""));
    }
    this.drawMarks();
  }

  drawMarks() {
    const now = performance.now();
    this.marks = this.marks.filter((m) => now - m.at < this.span * 1000);
    this.marksAt.replaceChildren();
    this.root.querySelectorAll(".mark").forEach((e) => e.remove());
    let free = Infinity; // labels run to the left of their mark, the newest first, and one for which there is no room is left out
    for (const { label, at } of [...this.marks].reverse()) {
      const x = this.span - 1 - (now - at) / 1000;
      element(this.marksAt, "line", { x1: x, x2: x, y1: 0, y2: height });
      if (x < free && x > 5) {
        const text = this.label("mark", label);
        text.style.right = `${100 - (100 * x) / (this.span - 1)}%`;
        free = x - (this.span * (text.offsetWidth + 8)) / this.root.clientWidth;
      }
    }
  }

  label(kind, text) {
    const span = document.createElement("span");
    span.className = kind;
    span.textContent = text;
    span.ariaHidden = "true";
    return this.root.appendChild(span);
  }
}
