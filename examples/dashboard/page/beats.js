// The page's own heartbeat: numbered beats, each posted when the one before was answered, which come back over both transports. They show
// how long that takes, and whether one is missing or came twice. They are no messages, and not counted among them.

import { Plot } from "./plot.js";

const every = 200; // milliseconds
const span = 60; // seconds that are remembered

export class Beats {
  // kinds are the transports, each with a row of the table; post sends a beat and says whether it was taken.
  constructor(kinds, rows, plot, post) {
    this.post = post;
    this.number = 0;
    this.sent = new Map(); // when, by number: of the last minute
    this.refused = new Set(); // numbers that nobody need wait for
    this.plot = new Plot(plot, kinds, span);
    this.heard = new Map(kinds.map((kind, i) => [kind, {
      row: rows[i], last: 0, count: 0, missing: 0, twice: 0, now: [], seconds: [],
    }]));
    setInterval(() => this.beat(), every);
  }

  async beat() {
    if (this.waiting) {
      return;
    }
    this.waiting = true;
    const n = ++this.number;
    this.sent.set(n, performance.now());
    this.sent.delete(n - span * (1000 / every));
    if (!(await this.post(n))) {
      this.refused.add(n);
      await new Promise((resolve) => setTimeout(resolve, every));
    }
    this.waiting = false;
  }

  arrived(kind, n) {
    const h = this.heard.get(kind);
    if (n <= h.last) {
      h.twice++;
      return;
    }
    for (let m = h.last + 1; h.last && m < n; m++) {
      h.missing += this.refused.has(m) ? 0 : 1;
    }
    h.last = n;
    h.count++;
    if (this.sent.has(n)) {
      h.now.push(performance.now() - this.sent.get(n));
    }
  }

  // reset: what this transport has missed it was told.
  reset(kind) {
    this.heard.get(kind).last = 0;
  }

  mark(label) {
    this.plot.mark(label);
  }

  // tick ends a second.
  tick() {
    for (const [kind, h] of this.heard) {
      const sorted = h.now.sort((a, b) => a - b);
      h.seconds.push(sorted);
      h.seconds.splice(0, h.seconds.length - span);
      h.now = [];
      this.plot.push(kind, sorted.length ? { median: quantile(sorted, 0.5), worst: sorted.at(-1) } : null);

      const all = h.seconds.flat().sort((a, b) => a - b);
      const write = (name, text) => (h.row.querySelector(`.${name}`).textContent = text);
      write("p50", all.length ? milliseconds(quantile(all, 0.5)) : "–");
      write("p99", all.length ? milliseconds(quantile(all, 0.99)) : "–");
      write("beats", h.count.toLocaleString("en"));
      write("missing", h.missing + (h.twice ? ` (${h.twice} twice)` : ""));
      h.row.querySelector(".missing").classList.toggle("bad", h.missing + h.twice > 0);
    }
    this.plot.draw();
  }
}

const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];

export function milliseconds(ms) {
  return ms < 10 ? `${ms.toFixed(1)}\u00a0ms` : ms < 1000 ? `${Math.round(ms)}\u00a0ms` : `${(ms / 1000).toFixed(1)}\u00a0s`;
}
