// One panel: the state of a transport, its rates, and what arrived over it.

import { Chart } from "./chart.js";

const kept = 200; // messages in a list
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const words = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting" };

export class Panel {
  constructor({ name, kind, path, spoken, advice, terminal, command }) {
    const root = document.getElementById("panel").content.cloneNode(true).firstElementChild;
    const find = (selector) => root.querySelector(selector);
    root.classList.add(kind);
    root.setAttribute("aria-labelledby", `${kind}-title`);
    find("h2").id = `${kind}-title`;
    find("h2").textContent = name;
    find(".path").textContent = path;
    find(".advice").textContent = advice;
    find(".terminal").textContent = terminal;
    find("pre code").textContent = command;

    this.stateLine = find(".state");
    this.list = find(".messages");
    this.scroll = find(".scroll");
    this.scroll.setAttribute("role", "log");
    this.scroll.setAttribute("aria-label", `Messages over ${name}`);
    // The same messages come over both transports; a screen reader says them once.
    this.scroll.setAttribute("aria-live", spoken ? "polite" : "off");
    this.scroll.setAttribute("aria-relevant", "additions");

    this.rates = ["Messages", "Bytes"].map((unit, i) => {
      const part = root.querySelectorAll(".rate")[i];
      return {
        count: 0,
        write: unit === "Bytes" ? bytes : short,
        now: part.querySelector(".now"),
        peak: part.querySelector(".peak"),
        chart: new Chart(part.querySelector(".chart"), `${unit} per second over ${name}, last minute`),
      };
    });

    this.jump = find(".jump");
    this.jump.addEventListener("click", () => this.toNewest());
    this.pinned = true;
    this.top = 0; // scrollTop, when last seen
    this.scroll.addEventListener("scroll", () => {
      const top = this.scroll.scrollTop;
      const atEnd = this.scroll.scrollHeight - top - this.scroll.clientHeight < 24;
      // Only who scrolls up leaves the newest: the end also moves away when the list shrinks or grows.
      this.pinned = atEnd || (this.pinned && top >= this.top);
      this.top = top;
      this.jump.hidden = this.jump.hidden || this.pinned;
    });
    new ResizeObserver(() => this.pinned && this.list.childElementCount > 0 && this.toNewest()).observe(this.scroll);

    this.waiting = []; // to be shown with the next frame
    this.bursts = new Map(); // by id
    this.state = "connecting";
    this.lostAt = 0;
    this.heardAt = performance.now();
    this.root = root;
  }

  setState(state, why) {
    if (state === this.state) {
      return;
    }
    const now = performance.now();
    if (this.state === "live") {
      this.lostAt = now;
      this.show({ notice: why ? `Connection lost: ${why}` : "Connection lost" });
    } else if (state === "live") {
      this.heardAt = now;
      if (this.lostAt) {
        this.show({ notice: `Back after ${seconds(now - this.lostAt)}` });
      }
    }
    this.state = state;
    this.stateLine.dataset.state = state;
    this.stateLine.textContent = words[state];
  }

  // reset is for what was missed and does not come.
  reset(why) {
    const words = { epoch: "the hub had to be made anew", expired: "it was too long ago", too_many: "it was too much" };
    this.show({ notice: `What was sent meanwhile is not here: ${words[why] ?? why}` });
  }

  // alive notes that something arrived, whatever it was.
  alive() {
    this.heardAt = performance.now();
  }

  // count notes a message. What the server says of itself, once a second, is none.
  count(bytes) {
    this.rates[0].count++;
    this.rates[1].count += bytes;
  }

  // burst shows one of many messages that were sent together: they share a row, which says how many have come, and whether one is missing.
  burst({ id, n, of }) {
    let b = this.bursts.get(id);
    if (!b) {
      b = { of, next: n, got: 0, holes: 0, since: performance.now(), row: document.createElement("li") };
      b.row.className = "burst";
      this.bursts.set(id, b);
      if (this.bursts.size > 8) {
        this.bursts.delete(this.bursts.keys().next().value);
      }
      this.show({ burst: b });
    }
    b.got++;
    b.holes += Math.abs(n - b.next);
    b.next = n + 1;
    b.took = performance.now() - b.since;
    b.drawn ||= requestAnimationFrame(() => {
      b.drawn = 0;
      b.row.textContent = `${b.got.toLocaleString("en")} of ${of.toLocaleString("en")}, ${b.holes ? `${b.holes} missing` : "in order"}, in ${seconds(b.took)}`;
    });
  }

  // silentFor is for how long a live connection has brought nothing, in milliseconds.
  get silentFor() {
    return this.state === "live" ? performance.now() - this.heardAt : 0;
  }

  // show adds {text, from, at}, {notice} or {burst} to the list, together with all that comes before the next frame. A hidden tab has
  // no frames: what waits is bounded as the list is.
  show(entry) {
    this.waiting.push(entry);
    if (this.waiting.length > kept) {
      this.waiting.shift();
    } else if (this.waiting.length === 1) {
      requestAnimationFrame(() => this.flush());
    }
  }

  flush() {
    this.list.append(...this.waiting.map(row));
    this.waiting = [];
    for (let over = this.list.childElementCount - kept; over > 0; over--) {
      this.list.firstElementChild.remove();
    }
    if (this.pinned) {
      this.toNewest();
    } else {
      this.jump.hidden = false;
    }
  }

  toNewest() {
    this.pinned = true;
    this.jump.hidden = true;
    this.scroll.scrollTop = this.scroll.scrollHeight;
    this.top = this.scroll.scrollTop;
  }

  // tick ends a second: what was counted in it goes to the charts.
  tick() {
    for (const rate of this.rates) {
      rate.chart.push(rate.count);
      rate.now.textContent = rate.write(rate.count);
      rate.peak.textContent = `Last minute, peak ${rate.write(rate.chart.max)}`;
      rate.count = 0;
    }
  }
}

// row is one entry of the list. What others wrote becomes text and nothing else.
function row(entry) {
  if (entry.burst) {
    return entry.burst.row;
  }
  const li = document.createElement("li");
  if (entry.notice) {
    li.className = "notice";
    li.textContent = `${entry.notice}.`;
    return li;
  }
  li.className = "message";
  const text = document.createElement("p");
  text.textContent = entry.text;
  const meta = document.createElement("div");
  meta.className = "meta";
  if (entry.from) {
    const from = document.createElement("span");
    from.className = "from";
    from.textContent = from.title = entry.from;
    meta.append(from);
  }
  const time = document.createElement("time");
  time.dateTime = entry.at.toISOString();
  time.textContent = clock.format(entry.at);
  meta.append(time);
  li.append(text, meta);
  return li;
}

function seconds(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

const noBreak = "\u00a0";

function short(n) {
  if (n < 1000) {
    return String(n);
  }
  return n < 1_000_000 ? `${(n / 1000).toFixed(1)}${noBreak}k` : `${(n / 1_000_000).toFixed(1)}${noBreak}M`;
}

function bytes(n) {
  return n < 1000 ? String(n) : `${short(n)}B`;
}
