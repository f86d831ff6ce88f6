package e2e

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// historyPage listens as its query says, over an EventSource or a WebSocket that speaks the subprotocol, and keeps all that it is told.
const historyPage = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>History</title><script>
const here = new URLSearchParams(location.search), topics = here.getAll("topic");
const seen = {opened: 0, state: 0, events: [], resets: [], answers: [], problems: []};
const query = () => new URLSearchParams(topics.map((topic) => ["topic", topic])).toString();
const hear = (data, id, topic = "", user = "") => { seen.events.push({data, id, topic, user}); };
const reset = (reason, id) => { seen.resets.push({reason, id, before: seen.events.length}); };

let last = "", link;
function speak() {
  link = new WebSocket("/ws?" + query() + (last && "&last_event_id=" + encodeURIComponent(last)), "wskit.v1");
  link.binaryType = "arraybuffer";
  link.onopen = () => { seen.opened++; if (link.protocol !== "wskit.v1") seen.problems.push("it speaks " + link.protocol); };
  link.onclose = () => { setTimeout(speak, 100); };
  link.onmessage = (e) => {
    const m = typeof e.data === "string" ? JSON.parse(e.data) : unwrap(new Uint8Array(e.data));
    last = m.id ?? last;
    if ("data" in m) hear(JSON.stringify(m.data), m.id ?? "", m.topic, m.user);
    else if ("text" in m) hear(m.text, m.id ?? "", m.topic, m.user);
    else if ("reset" in m) reset(m.reset, m.id ?? "");
    else if ("ok" in m || "error" in m) seen.answers.push(m.ref + " " + (m.error ?? "ok"));
    else if (!m.id) seen.problems.push(e.data);
  };
}
function unwrap(bytes) {
  const decoder = new TextDecoder();
  let at = 1;
  const name = () => { const begin = at + 1; at = begin + bytes[at]; return decoder.decode(bytes.subarray(begin, at)); };
  if (bytes[0] !== 1) return {};
  const id = name() || undefined, kind = ["", "topic", "user"][bytes[at++]];
  return {id, [kind]: name(), text: decoder.decode(bytes.subarray(at))};
}
function listen() {
  link = new EventSource("/events?" + query());
  link.onopen = () => { seen.opened++; };
  link.onmessage = (e) => hear(e.data, e.lastEventId);
  link.addEventListener("wskit.reset", (e) => reset(e.data, e.lastEventId));
}
here.has("ws") ? speak() : listen();
</script>`

// told is what a page was told.
type told struct {
	Opened   int         `json:"opened"` // so many times
	State    int         `json:"state"`  // 1: open
	Events   []toldEvent `json:"events"`
	Resets   []toldReset `json:"resets"`
	Answers  []string    `json:"answers"`
	Problems []string    `json:"problems"`
}

type toldEvent struct {
	Data  string `json:"data"`
	ID    string `json:"id"`
	Topic string `json:"topic"`
	User  string `json:"user"`
}

type toldReset struct {
	Reason string `json:"reason"`
	ID     string `json:"id"`
	Before int    `json:"before"` // this event
}

func (v told) last() toldEvent {
	if len(v.Events) == 0 {
		return toldEvent{}
	}
	return v.Events[len(v.Events)-1]
}

// without is events without their positions, and without what an EventSource is not told.
func without(events []toldEvent, stream bool) []toldEvent {
	events = slices.Clone(events)
	for i := range events {
		if events[i].ID = ""; stream {
			events[i].Topic, events[i].User = "", ""
		}
	}
	return events
}

// position takes one apart.
func position(t *testing.T, id string) (epoch string, n uint64) {
	t.Helper()
	epoch, number, _ := strings.Cut(id, ".")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		t.Fatalf("the position %q: %v", id, err)
	}
	return epoch, n
}

// historyTab is a tab with a historyPage, behind a network.
type historyTab struct {
	*tab
	net    *network
	stream bool // an EventSource
}

// openHistory opens a page that listens to topics of the server at addr, and waits until it does.
func openHistory(t *testing.T, b *browser, o *origin, addr string, stream bool, topics ...string) *historyTab {
	t.Helper()
	net := startNetwork(t, addr)
	query := url.Values{"topic": topics}
	if !stream {
		query.Set("ws", "")
	}
	tab := &historyTab{b.open(t, &server{url: "http://" + net.listener.Addr().String() + "/?" + query.Encode()}), net, stream}
	// That it is open does not say yet that it is told anything.
	n := 0
	eventually(t, func() error {
		n++
		if err := o.hub.BroadcastEventContext(t.Context(), n); err != nil {
			return err
		}
		if v := tab.told(t); v.last().ID == "" {
			return fmt.Errorf("it is not told of anything that has a position: %+v", v)
		}
		return nil
	})
	tab.await(t, "the last", func(v told) bool { return v.last().Data == strconv.Itoa(n) })
	evaluate[chromedp.Void](t, tab.tab, `seen.events = []`)
	return tab
}

func (tab *historyTab) told(t *testing.T) told {
	t.Helper()
	return evaluate[told](t, tab.tab, `({...seen, state: link.readyState})`)
}

func (tab *historyTab) await(t *testing.T, what string, wanted func(told) bool) (v told) {
	t.Helper()
	eventually(t, func() error {
		if v = tab.told(t); !wanted(v) {
			return fmt.Errorf("waited for %s; the page was told of %d events, last of %+v, resets %+v, answers %q; opened %d times, its state is %d",
				what, len(v.Events), v.last(), v.Resets, v.Answers, v.Opened, v.State)
		}
		return nil
	})
	return v
}

// back waits until the page is open again, after the given time.
func (tab *historyTab) back(t *testing.T, after told) {
	t.Helper()
	tab.await(t, "to be back", func(v told) bool { return v.State == 1 && v.Opened > after.Opened })
}

// inOrder checks that the page has no complaint, and that positions only grow.
func (tab *historyTab) inOrder(t *testing.T, v told) {
	t.Helper()
	if len(v.Problems) > 0 {
		t.Errorf("the page says %q", v.Problems)
	}
	for i := 1; i < len(v.Events); i++ {
		epoch, n := position(t, v.Events[i].ID)
		before, m := position(t, v.Events[i-1].ID)
		reset := slices.ContainsFunc(v.Resets, func(r toldReset) bool { return r.Before == i })
		if !reset && (epoch != before || n <= m) {
			t.Errorf("the event %+v comes after %+v", v.Events[i], v.Events[i-1])
		}
	}
	tab.silent(t, "WebSocket connection to", "net::ERR_") // what the browser itself says of attempts
}
