// The two ways to receive. Each keeps itself connected until the page is left, comes back with the position of the last message that it
// had, so that what was sent meanwhile is not missed, and reports through `on`:
//
//   on.state(state, why)   "connecting", "live" or "reconnecting"; why is set when a connection was lost
//   on.data(data, size)    one message: a value, or a text that is no JSON; and its bytes
//   on.reset(why)          messages were missed, and will not come
//
// Both return a function that gives the current connection up and tries a new one at once.

const firstWait = 500; // milliseconds; doubled with each failure
const longestWait = 8_000;
const size = (text) => new TextEncoder().encode(text).length;

export function openWebSocket(path, on) {
  let last = "";
  return keepConnected(on, (opened, data, lost) => {
    const url = at(path, last);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url, ["wskit.v1"]);
    socket.onopen = opened;
    socket.onmessage = (event) => {
      const envelope = JSON.parse(event.data); // see docs/wskit.v1.md
      last = envelope.id ?? last;
      if (envelope.reset) {
        on.reset(envelope.reset);
      } else if ("data" in envelope || "text" in envelope) {
        data(envelope.data ?? envelope.text, size(event.data));
      }
    };
    socket.onclose = (event) => lost(event.reason || (event.code === 1006 ? "" : `code ${event.code}`));
    return () => socket.close();
  });
}

export function openEventSource(path, on) {
  let last = "";
  return keepConnected(on, (opened, data, lost, retrying) => {
    const source = new EventSource(at(path, last));
    source.onopen = opened;
    source.onmessage = (event) => {
      last = event.lastEventId;
      data(parse(event.data), size(event.data));
    };
    source.addEventListener("wskit.reset", (event) => {
      last = event.lastEventId;
      on.reset(event.data);
    });
    source.onerror = () => {
      // An EventSource comes back by itself after a break, but gives up for good when it gets an answer that is no stream.
      if (source.readyState === EventSource.CLOSED) {
        lost("");
      } else {
        retrying();
      }
    };
    return () => source.close();
  });
}

function at(path, last) {
  const url = new URL(path, location.href);
  if (last) {
    url.searchParams.set("last_event_id", last);
  }
  return url;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

// keepConnected calls connect, and again with growing waits when the connection is lost.
function keepConnected(on, connect) {
  let close = () => {};
  let failures = 0;
  let timer = 0;
  let attempt = 0;

  function start() {
    clearTimeout(timer);
    close();
    // A connection that was given up may still report; only the newest is listened to.
    const current = ++attempt;
    const ifCurrent = (fn) => (...args) => current === attempt && fn(...args);
    close = connect(
      ifCurrent(() => {
        failures = 0;
        on.state("live");
      }),
      ifCurrent(on.data),
      ifCurrent((why) => {
        attempt++;
        close();
        on.state("reconnecting", why);
        const wait = Math.min(longestWait, firstWait * 2 ** failures++);
        timer = setTimeout(start, wait * (0.5 + Math.random() / 2)); // spread: others lost theirs at the same moment
      }),
      ifCurrent(() => on.state("reconnecting", "")),
    );
  }

  // Browsers may keep a page that was left, connections and all, in case one goes back to it.
  addEventListener("pagehide", () => {
    attempt++;
    clearTimeout(timer);
    close();
  });
  addEventListener("pageshow", (event) => event.persisted && start());

  on.state("connecting");
  start();
  return () => {
    failures = 0;
    on.state("reconnecting", "");
    start();
  };
}
