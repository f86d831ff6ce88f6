// The two ways to receive. Each keeps itself connected until the page is left, and reports through `on`:
//
//   on.state(state, why)   "connecting", "live" or "reconnecting"; why is set when a connection was lost
//   on.data(text)          one message, as text
//
// Both return a function that gives the current connection up and tries a new one at once.

const firstWait = 500; // milliseconds; doubled with each failure
const longestWait = 8_000;

export function openWebSocket(path, on) {
  return keepConnected(on, (opened, data, lost) => {
    const url = new URL(path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    socket.onopen = opened;
    socket.onmessage = (event) => data(event.data);
    socket.onclose = (event) => lost(event.reason || (event.code === 1006 ? "" : `code ${event.code}`));
    return () => socket.close();
  });
}

export function openEventSource(path, on) {
  return keepConnected(on, (opened, data, lost, retrying) => {
    const source = new EventSource(path);
    source.onopen = opened;
    source.onmessage = (event) => data(event.data);
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

  on.state("connecting");
  start();
  return () => {
    failures = 0;
    on.state("reconnecting", "");
    start();
  };
}
