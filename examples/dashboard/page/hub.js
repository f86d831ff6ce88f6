// What the server says of the tenant's hub: numbers, actors, and what happened.

import { milliseconds } from "./beats.js";

const kept = 12; // lines of what happened
const byId = (id) => document.getElementById(id);
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const roles = {
  hub: "supervises the rest", listener: "runs callbacks", connections: "supervises", registry: "fans out", redis: "links instances",
};
const owners = { you: "this page", slow: "slow client", others: "another page" };

export class Hub {
  // crash is called with the name of an actor, mark with what has crashed.
  constructor(crash, mark) {
    this.crash = crash;
    this.mark = mark;
    this.rows = new Map(); // by name
    this.seen = -1; // the number of what happened last
    this.instance = "–";
  }

  // tell shows a state; null: there is none.
  tell(state) {
    const stats = state?.stats;
    const write = (id, value) => {
      byId(id).textContent = value ?? "–";
      return byId(id);
    };
    const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);
    this.instance = state?.instance ?? "–";
    write("connected", stats && sum(stats.subscribers));
    write("queued", stats && sum(stats.queued));
    write("deepest", state && Math.max(0, ...state.actors.filter((a) => a.kind === "temporary").map((a) => a.mailbox)));
    write("newest", stats && number(stats.drops.newest));
    write("oldest", stats && number(stats.drops.oldest));
    write("cutoff", stats && number(stats.disconnects.slow_consumer));
    write("lost", stats && number(stats.drops.disconnect));
    write("redis", state?.redis).dataset.redis = state?.redis ?? "";
    write("delay", state?.delay ? `${milliseconds(state.delay)} there and back` : "");
    write("instance", this.instance).title = this.instance;
    write("others", state?.others.join(", ") ?? "");
    byId("cut").hidden = !state || state.redis === "off";
    byId("running").replaceChildren(...(state?.tenants ?? []).map((name) => new Option(name)));
    if (state) {
      this.tellActors(state);
      this.tellHappened(state.happened);
    }
    for (const { button } of this.rows.values()) {
      button.disabled = !state;
    }
  }

  tellActors({ actors, more, failed }) {
    const now = performance.now();
    for (const [name, row] of this.rows) {
      if (!actors.some((a) => a.name === name)) {
        row.root.remove();
        this.rows.delete(name);
      }
    }
    // Connections stand below their supervisor, whatever the order in which the server tells of them.
    const order = actors.filter((a) => a.kind === "permanent");
    order.splice(order.findIndex((a) => a.name === "connections") + 1, 0, ...actors.filter((a) => a.kind === "temporary"));
    order.forEach((a, i) => {
      let row = this.rows.get(a.name);
      if (!row) {
        row = this.row(a);
        this.rows.set(a.name, row);
      }
      if (byId("actors").children[i] !== row.root) {
        byId("actors").insertBefore(row.root, byId("actors").children[i] ?? null);
      }
      row.queue.textContent = a.name === "hub" ? "" : a.mailbox;
      row.queue.classList.toggle("bad", a.mailbox >= 8);
      row.restarts.textContent = a.name === "hub" || a.kind === "temporary" ? "" : a.restarts;
      if (a.restarts > row.known) {
        row.healed = now;
      }
      row.known = a.restarts;
      const healed = now - row.healed < 4000;
      row.root.classList.toggle("healed", healed);
      row.role.textContent = healed ? "restarted" : row.does;
    });
    byId("more").hidden = !more && !failed;
    byId("more").textContent = failed ?? `and ${more} more connections`;
  }

  row({ name, kind, whose, restarts }) {
    const root = document.createElement("tr");
    root.className = whose ? `client ${whose}` : name === "hub" ? "root" : "part";
    root.dataset.actor = name;
    const cell = (tag, className) => {
      const e = root.appendChild(document.createElement(tag));
      e.className = className;
      return e;
    };
    const title = cell("th", "name");
    title.scope = "row";
    const role = document.createElement("span");
    role.className = "role";
    title.append(name, " ", role);
    const queue = cell("td", "queue");
    const count = cell("td", "restarts");
    const button = cell("td", "").appendChild(document.createElement("button"));
    button.type = "button";
    button.className = "quiet";
    button.textContent = "Crash";
    button.ariaLabel = `Crash ${name}`;
    button.addEventListener("click", () => this.crash(name));
    const does = roles[name] ?? owners[whose] ?? "";
    return { root, role, does, queue, restarts: count, button, known: kind === "permanent" ? restarts : 0, healed: -Infinity };
  }

  tellHappened(happened) {
    byId("quiet").hidden = happened.length > 0;
    const last = happened.at(-1)?.n ?? 0;
    if (last < this.seen) {
      this.seen = -1; // the server was restarted, and counts anew
    }
    for (const h of happened.filter((h) => h.n > this.seen)) {
      if (this.seen >= 0 && h.who) {
        this.mark(h.who);
      }
      const li = document.createElement("li");
      const time = document.createElement("time");
      time.dateTime = h.at;
      time.textContent = clock.format(new Date(h.at));
      li.append(time, h.what);
      byId("happened").prepend(li);
    }
    while (byId("happened").childElementCount > kept) {
      byId("happened").lastElementChild.remove();
    }
    this.seen = last;
  }
}

const number = (n) => (n ?? 0).toLocaleString("en");
