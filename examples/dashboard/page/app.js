// The page: two panels that show the same messages, one per transport, and a box to send one.

import { Panel } from "./panel.js";
import { openEventSource, openWebSocket } from "./transports.js";

const longestSilence = 8_000; // milliseconds; the server says something every second
const longestText = 4096; // bytes, as at the server
const byId = (id) => document.getElementById(id);

// Receiving

const transports = [
  {
    name: "WebSocket", kind: "ws", path: "/ws", open: openWebSocket, spoken: true,
    advice: "Open this page in a second tab and send something: it arrives in both, over both transports.",
    terminal: "A terminal can send as well:",
    command: `curl -d hello ${location.origin}/send`,
  },
  {
    name: "Server-Sent Events", kind: "sse", path: "/events", open: openEventSource, spoken: false,
    advice: "The same messages arrive here, over plain HTTP.",
    terminal: "A terminal can follow this stream as well:",
    command: `curl -N ${location.origin}/events`,
  },
];

let instance = ""; // the name of the one this page is connected to

const panels = transports.map((transport) => new Panel(transport));
byId("panels").append(...panels.map((panel) => panel.root));

panels.forEach((panel, i) => {
  panel.reconnect = transports[i].open(transports[i].path, {
    state: (state, why) => {
      panel.setState(state, why);
      if (state === "live" && unreachable) {
        update(); // the link is back, and what was not sent still in the box
      }
      if (panels.every((p) => p.state !== "live")) {
        tellFacts({});
      }
    },
    data: (text) => receive(panel, text),
  });
});

function receive(panel, data) {
  panel.alive();
  const event = parse(data);
  if (event?.type !== "stats") {
    panel.count(data);
  }
  if (event?.type === "stats") {
    tellFacts(event.payload ?? {});
  } else if (event?.type === "message") {
    const { text, from, at } = event.payload ?? {};
    // Where it was sent is worth saying only if that is not where this page is connected.
    panel.show({ text: String(text), from: from === instance ? "" : String(from ?? ""), at: date(at) });
  } else {
    // Whoever shares the Redis channel may publish what he likes; it is shown as it came.
    panel.show({ text: data, at: new Date() });
  }
}

function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return undefined;
  }
}

function date(at) {
  const d = new Date(at);
  return Number.isNaN(d.getTime()) ? new Date() : d;
}

function tellFacts(facts) {
  const { connected = "–", redis = "–" } = facts;
  instance = facts.instance ?? "–";
  byId("connected").textContent = connected;
  byId("instance").textContent = byId("instance").title = instance;
  byId("redis").textContent = byId("redis").dataset.redis = redis;
}

setInterval(() => {
  for (const panel of panels) {
    panel.tick();
    if (panel.silentFor > longestSilence) {
      panel.reconnect(); // a link that broke without a word, or a computer that slept
    }
  }
  for (const i of panels[0].rates.keys()) {
    const max = Math.max(...panels.map((p) => p.rates[i].chart.max));
    panels.forEach((p) => p.rates[i].chart.draw(max));
  }
}, 1000);

addEventListener("online", () => panels.filter((p) => p.state !== "live").forEach((p) => p.reconnect()));

// Sending

const form = byId("composer");
const box = byId("text");
const button = byId("send");
// As in style.css: where there is a touch screen there is no word about keys.
const touch = matchMedia("(any-pointer: coarse)");
const describe = () => box.setAttribute("aria-describedby", touch.matches ? "problem" : "hint problem");
touch.addEventListener("change", describe);
describe();
let sending = false;
let unreachable = false; // is the problem that is shown

function update(problem = "") {
  unreachable = false;
  const size = new TextEncoder().encode(box.value.trim()).length;
  if (size > longestText) {
    problem = `${size - longestText} bytes too long.`;
  }
  button.disabled = sending || size === 0 || size > longestText;
  button.textContent = sending ? "Sending" : "Send";
  box.readOnly = sending; // not disabled, which would take the focus away
  box.setAttribute("aria-invalid", String(problem !== ""));
  byId("problem").textContent = problem;
}

async function send() {
  sending = true;
  update();
  let problem = "";
  let failed = false;
  try {
    const response = await fetch("/send", {
      method: "POST",
      headers: { "Content-Type": "text/plain; charset=utf-8" },
      body: box.value.trim(),
      signal: AbortSignal.timeout(10_000),
    });
    if (response.ok) {
      box.value = "";
    } else {
      problem = `Not sent: ${(await response.text()).trim() || response.statusText}`;
    }
  } catch (error) {
    failed = true;
    problem = error.name === "TimeoutError" ? "Not sent: no answer in time." : "Not sent: the server cannot be reached.";
  }
  sending = false;
  update(problem);
  unreachable = failed;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!button.disabled) {
    send();
  }
});
box.addEventListener("keydown", (event) => {
  // While an input method composes, Enter chooses a word.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});
box.addEventListener("input", () => update());
update();
