// The page of one tenant: two panels that show the same messages, one per transport; latency, numbers and actors of its hub, with buttons to
// break what they show; and a box to send a message.

import { Beats } from "./beats.js";
import { Hub } from "./hub.js";
import { Panel } from "./panel.js";
import { openEventSource, openWebSocket } from "./transports.js";

const longestSilence = 8_000; // milliseconds; a beat comes every fifth of a second
const longestText = 4096; // bytes, as at the server
const byId = (id) => document.getElementById(id);

const tenant = location.pathname.split("/")[2];
const base = `/t/${tenant}`;
// The name of this page, which both its connections have in common, and nobody else knows.
const page = [...crypto.getRandomValues(new Uint8Array(12))].map((b) => b.toString(16).padStart(2, "0")).join("");
byId("tenant").textContent = tenant;
document.title = `${tenant} · wskit dashboard`;

// post asks for an action; its answer is {ok, problem, failed, said}. failed: the server was not reached.
async function post(action, query = {}, body = undefined) {
  try {
    const response = await fetch(`${base}/${action}?${new URLSearchParams({ page, ...query })}`, {
      method: "POST",
      body,
      signal: AbortSignal.timeout(25_000),
    });
    if (!response.ok) {
      return { problem: (await response.text()).trim() || response.statusText };
    }
    return { ok: true, said: response.status === 204 ? null : await response.json() };
  } catch (error) {
    return { failed: true, problem: error.name === "TimeoutError" ? "no answer in time." : "the server cannot be reached." };
  }
}

// Receiving

const transports = [
  {
    name: "WebSocket", kind: "ws", path: `${base}/ws`, open: openWebSocket, spoken: true,
    advice: "Open this page in a second tab and send something: it arrives in both, over both transports.",
    terminal: "A terminal can send as well:",
    command: `curl -d hello ${location.origin}${base}/send`,
  },
  {
    name: "Server-Sent Events", kind: "sse", path: `${base}/events`, open: openEventSource, spoken: false,
    advice: "The same messages arrive here, over plain HTTP.",
    terminal: "A terminal can follow this stream as well:",
    command: `curl -N ${location.origin}${base}/events`,
  },
];

const panels = transports.map((transport) => new Panel(transport));
byId("main").append(...panels.map((panel) => panel.root));

const hub = new Hub(crash, (label) => beats.mark(label));
const beats = new Beats(
  transports.map(({ kind }) => kind),
  transports.map(({ kind }) => document.querySelector(`.timing tr.${kind}`)),
  byId("plot"),
  async (n) => panels.some((p) => p.state === "live") && (await post("beat", { n })).ok,
);

panels.forEach((panel, i) => {
  const { kind, path, open } = transports[i];
  panel.reconnect = open(`${path}?page=${page}`, {
    state: (state, why) => {
      panel.setState(state, why);
      if (state === "live") {
        linkIsBack();
      }
    },
    data: (data, size) => receive(panel, kind, data, size),
    reset: (why) => {
      panel.reset(why);
      beats.reset(kind);
    },
  });
});

function receive(panel, kind, event, size) {
  panel.alive();
  if (event?.type === "beat") {
    beats.arrived(kind, Number(event.payload));
    return;
  }
  panel.count(size);
  if (event?.type === "message") {
    const { text, from, at } = event.payload ?? {};
    // Where it was sent is worth saying only if that is not where this page is connected.
    panel.show({ text: String(text), from: from === hub.instance ? "" : String(from ?? ""), at: date(at) });
  } else if (event?.type === "burst") {
    panel.burst(event.payload);
  } else {
    // Whoever shares the Redis channel may publish what he likes; it is shown as it came.
    panel.show({ text: typeof event === "string" ? event : JSON.stringify(event), at: new Date() });
  }
}

function date(at) {
  const d = new Date(at);
  return Number.isNaN(d.getTime()) ? new Date() : d;
}

setInterval(() => {
  beats.tick();
  for (const panel of panels) {
    panel.tick();
    if (panel.silentFor > longestSilence && !document.hidden) {
      panel.reconnect(); // a link that broke without a word, or a computer that slept
    }
  }
  for (const i of panels[0].rates.keys()) {
    const max = Math.max(...panels.map((p) => p.rates[i].chart.max));
    panels.forEach((p) => p.rates[i].chart.draw(max));
  }
}, 1000);

addEventListener("online", () => panels.filter((p) => p.state !== "live").forEach((p) => p.reconnect()));
// Timers of a hidden tab hardly run, and with them the beats.
addEventListener("visibilitychange", () => panels.forEach((p) => p.alive()));

// The state of the hub

let asked = 0;

// ask has the server tell how things stand, and again after a while.
async function ask() {
  const current = ++asked;
  let state = null;
  try {
    const response = await fetch(`${base}/state?page=${page}`, { signal: AbortSignal.timeout(5_000) });
    state = response.ok ? await response.json() : null;
  } catch {
    // The panels say it.
  }
  if (current !== asked) {
    return; // it was asked for anew meanwhile
  }
  hub.tell(state);
  byId("slow").textContent = state?.slow ? "Stop" : "Start";
  byId("slow").dataset.runs = state?.slow ?? "";
  byId("policy").disabled = Boolean(state?.slow);
  if (state?.slow) {
    byId("policy").value = state.slow;
  }
  setTimeout(() => current === asked && ask(), ["joining", "unreachable"].includes(state?.redis) || state?.failed ? 300 : 1000);
}
ask();

// Breaking things

let outcomeIsOver = 0;
let outcomeFailed = false; // since the server was not reached

// say tells what came of a button, for a while; that the server was not reached, until it is.
function say(text, { bad = false, failed = false } = {}) {
  clearTimeout(outcomeIsOver);
  byId("outcome").textContent = text;
  byId("outcome").classList.toggle("bad", bad);
  outcomeFailed = failed;
  if (text && !failed) {
    outcomeIsOver = setTimeout(say, 8_000, "");
  }
}

// press does what a button says, and tells what came of it.
async function press(button, what, done) {
  if (button) {
    button.disabled = true;
  }
  const answer = await what();
  if (button) {
    button.disabled = false;
  }
  if (answer.ok) {
    say(done(answer.said));
  } else {
    say(`Not done: ${answer.problem}`, { bad: true, failed: answer.failed });
  }
  ask();
}

function crash(name) {
  press(null, () => post("crash", { actor: name }), () => `${name === "hub" ? "The hub" : name} was made to crash.`);
}

byId("burst").addEventListener("click", () => press(
  byId("burst"), () => post("burst"), ({ sent, ms }) => `${sent.toLocaleString("en")} sent in ${ms} ms.`,
));
byId("slow").addEventListener("click", () => {
  const policy = byId("slow").dataset.runs ? "" : byId("policy").value;
  press(byId("slow"), () => post("slow", { policy }), () => policy ? "It takes 128 bytes a second; 16 messages may wait for it." : "The slow client is gone.");
});
byId("cut").addEventListener("click", () => press(byId("cut"), () => post("cut"), () => "All connections to Redis were cut."));

byId("tenants").addEventListener("submit", (event) => {
  event.preventDefault();
  location.assign(`/t/${byId("other").value}`);
});

// Sending

const form = byId("composer");
const box = byId("text");
const button = byId("send");
// As in style.css: where there is a touch screen there is no word about keys.
const touch = matchMedia("(hover: none) and (pointer: coarse)");
const describe = () => box.setAttribute("aria-describedby", touch.matches ? "problem" : "hint problem");
touch.addEventListener("change", describe);
describe();
let sending = false;
let unreachable = false; // is the problem that is shown

// linkIsBack takes away what was said about a server that could not be reached. What was not sent is still in the box.
function linkIsBack() {
  if (unreachable) {
    update();
  }
  if (outcomeFailed) {
    say("");
  }
}

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
  const answer = await post("send", {}, box.value.trim());
  if (answer.ok) {
    box.value = "";
  }
  sending = false;
  update(answer.ok ? "" : `Not sent: ${answer.problem}`);
  unreachable = Boolean(answer.failed);
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
