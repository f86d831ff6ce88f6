package contract_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// streaming is AcceptSSE over every kind of connection, and WithSSEHijack.
func streaming(t *testing.T, test func(t *testing.T, kind wstest.Kind, opts ...wskit.HubOption)) {
	wstest.EachStream(t, func(t *testing.T, kind wstest.Kind) { test(t, kind) })
	t.Run("hijacked", func(t *testing.T) { test(t, wstest.TCP, wskit.WithSSEHijack()) })
}

// request makes one of the server's client, which keeps its connections.
func request(t testing.TB, srv *wstest.Server, method string) (resp *http.Response, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+"/sse", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err = srv.Client().Do(req); err != nil {
		t.Fatal(method, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(method, err)
	}
	return resp, string(b)
}

// HEAD is answered with the headers of a stream, and that is all: no subscriber, no place, and the connection is free for the
// next request, over every kind of connection.
func TestHEADIsAnsweredWithTheHeadersAndIsOver(t *testing.T) {
	streaming(t, func(t *testing.T, kind wstest.Kind, opts ...wskit.HubOption) {
		hub := wstest.Run(t, append(opts, wskit.WithMaxSubscribers(1), wskit.WithOnConnect(func(wskit.Subscriber) { t.Error("OnConnect") }))...)
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind})
		for range 3 {
			resp, body := request(t, srv, http.MethodHead)
			if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" || body != "" {
				t.Errorf("%s %v %q", resp.Status, resp.Header, body)
			}
			if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); err != nil {
				t.Error(err)
			}
		}
		if n, children := hub.SubscriberCount(), wstest.Children(t, hub.Hub, "sse-"); n != 0 || len(children) != 0 {
			t.Error(n, children)
		}
	})
}

// On a bare connection: nothing follows the headers but the answer to the next request.
func TestTheRequestBehindAHEADIsAnswered(t *testing.T) {
	for name, opts := range map[string][]wskit.HubOption{"net/http": nil, "hijacked": {wskit.WithSSEHijack()}} {
		t.Run(name, func(t *testing.T) {
			hub := wstest.Run(t, opts...)
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
			p := srv.Ask(t, http.MethodHead, "/sse")
			p.Put(t, []byte("OPTIONS /sse HTTP/1.1\r\nHost: x\r\n\r\nGET /sse HTTP/1.1\r\nHost: x\r\n\r\n"))
			resp, err := http.ReadResponse(p.In, nil)
			if err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
				t.Fatal(resp, err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			if resp, err = http.ReadResponse(p.In, nil); err != nil || resp.StatusCode != http.StatusOK {
				t.Fatal(resp, err)
			}
			hub.Count(t, 1)
		})
	}
}

// What no EventSource sends is answered 405 with Allow; GET and POST are for streams.
func TestOtherMethodsAreNotAllowed(t *testing.T) {
	streaming(t, func(t *testing.T, kind wstest.Kind, opts ...wskit.HubOption) {
		hub := wstest.Run(t, opts...)
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind})
		for _, method := range []string{http.MethodOptions, http.MethodPut, http.MethodPatch, http.MethodDelete, "PROPFIND", "get"} {
			resp, _ := request(t, srv, method)
			if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD, POST" {
				t.Error(method, resp.Status, resp.Header)
			}
			if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); !errors.Is(err, wskit.ErrMethodNotAllowed) {
				t.Error(method, err)
			}
		}
		if n := hub.SubscriberCount(); n != 0 {
			t.Error(n)
		}
		for i, method := range []string{http.MethodGet, http.MethodPost} {
			req, _ := http.NewRequestWithContext(t.Context(), method, srv.URL+"/sse", nil)
			resp, err := srv.Client().Do(req)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatal(method, resp, err)
			}
			defer resp.Body.Close()
			hub.Count(t, i+1)
		}
	})
}

// comeBack is a stream that ends at once and tells an EventSource when to come back.
var comeBack = regexp.MustCompile(`^retry: (\d+)\n\n$`)

// Who cannot be let in now is told to come back, by an answer that an EventSource survives, after a time of its own.
func TestAnEventSourceThatCannotBeLetInIsToldToComeBack(t *testing.T) {
	streaming(t, func(t *testing.T, kind wstest.Kind, opts ...wskit.HubOption) {
		full := wstest.Run(t, append(opts, wskit.WithMaxSubscribers(1))...)
		full.Register(&wstest.Probe{})
		draining, release := drains(t, opts...)
		defer release()
		busy := wstest.Idle(t, append(opts, wskit.WithRegisterBuf(0), wskit.WithChannelTimeout(time.Millisecond))...)
		for want, hub := range map[error]*wskit.Hub{wskit.ErrTooManySubscribers: full.Hub, wskit.ErrHubStopped: draining, wskit.ErrTimeout: busy.Hub} {
			srv := wstest.Serve(t, hub, wstest.Serving{Kind: kind})
			times := map[int]bool{}
			for range 20 {
				resp, body := request(t, srv, http.MethodGet)
				if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); !errors.Is(err, want) {
					t.Errorf("%v, want %v", err, want)
				}
				if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Cache-Control") != "no-cache" {
					t.Error(want, resp.Status, resp.Header)
				}
				m := comeBack.FindStringSubmatch(body)
				if m == nil {
					t.Fatalf("%v: %q", want, body)
				}
				ms, _ := strconv.Atoi(m[1])
				times[ms] = true
				if ms < 2000 || ms > 5000 {
					t.Errorf("%v: in %d ms", want, ms)
				}
			}
			if len(times) < 10 { // all the same would bring all back at once
				t.Error(want, slices.Collect(maps.Keys(times)))
			}
		}
		if n := full.SubscriberCount(); n != 1 {
			t.Error(n)
		}
		busy.Start(t)
	})
}

// drains is a hub that has stopped taking anybody in, and goes on to drain until release is called.
func drains(t *testing.T, opts ...wskit.HubOption) (hub *wskit.Hub, release func()) {
	t.Helper()
	held, leaving := make(chan struct{}), make(chan struct{})
	h := wstest.Run(t, append(opts, wskit.WithDrainTimeout(wstest.Patience), wskit.WithOnDisconnect(func(wskit.Subscriber) {
		close(leaving)
		<-held
	}))...)
	h.Register(&wstest.Probe{})
	h.Count(t, 1)
	h.Stop()
	wstest.Receive(t, "the hub drains", leaving)
	return h.Hub, func() { close(held) }
}

// WithSSERefusalStatus: by 503 then.
func TestWithSSERefusalStatusWhoCannotBeLetInIsAnswered503(t *testing.T) {
	streaming(t, func(t *testing.T, kind wstest.Kind, opts ...wskit.HubOption) {
		opts = append(opts, wskit.WithSSERefusalStatus())
		full := wstest.Run(t, append(opts, wskit.WithMaxSubscribers(1))...)
		full.Register(&wstest.Probe{})
		draining, release := drains(t, opts...)
		defer release()
		for want, hub := range map[error]*wskit.Hub{wskit.ErrTooManySubscribers: full.Hub, wskit.ErrHubStopped: draining} {
			srv := wstest.Serve(t, hub, wstest.Serving{Kind: kind})
			resp, _ := request(t, srv, http.MethodGet)
			if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); !errors.Is(err, want) || resp.StatusCode != http.StatusServiceUnavailable {
				t.Error(err, resp.Status)
			}
			if wait := resp.Header.Get("Retry-After"); (wait != "") != (want == wskit.ErrTooManySubscribers) {
				t.Error(want, wait)
			}
		}
	})
}

// A hub that has stopped for good will not have anybody back: GET and HEAD are told so.
func TestAHubThatHasStoppedSaysSoByItsStatus(t *testing.T) {
	streaming(t, func(t *testing.T, kind wstest.Kind, opts ...wskit.HubOption) {
		hub := wstest.Run(t, opts...)
		hub.Count(t, 0)
		hub.Halt(t)
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind})
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			resp, _ := request(t, srv, method)
			if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); !errors.Is(err, wskit.ErrHubStopped) || resp.StatusCode != http.StatusServiceUnavailable {
				t.Error(method, err, resp.Status)
			}
		}
	})
}

// A first byte comes with the headers, before any event and any silence.
func TestAStreamBeginsWithAByteAtOnce(t *testing.T) {
	streaming(t, func(t *testing.T, kind wstest.Kind, opts ...wskit.HubOption) {
		hub := wstest.Run(t, opts...)
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind})
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/sse", nil)
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		first := make([]byte, len(":\n\n"))
		if took := wstest.Took(t, "the first bytes", func() { _, err = io.ReadFull(resp.Body, first) }); err != nil || string(first) != ":\n\n" || took > 5*time.Second {
			t.Errorf("%q, %v after %v", first, err, took)
		}
	})
}

// A program's tests record what a handler answers and compare it with what was sent.
func TestARecordedStreamIsItsEvents(t *testing.T) {
	hub := wstest.Run(t)
	recorder, done := httptest.NewRecorder(), make(chan error, 1)
	go func() { done <- wskit.AcceptSSE(recorder, httptest.NewRequest(http.MethodGet, "/", nil), hub.Hub) }()
	hub.Count(t, 1)
	hub.Broadcast([]byte("1"))
	hub.Halt(t)
	if err := wstest.Receive(t, "AcceptSSE returns", done); err != nil || recorder.Body.String() != "data: 1\n\n" {
		t.Errorf("%v, %q", err, recorder.Body)
	}
}

// What the caller has set of a stream's headers stands, as far as an EventSource takes it for a stream.
func TestHeadersThatTheCallerHasSetStand(t *testing.T) {
	streaming(t, func(t *testing.T, kind wstest.Kind, opts ...wskit.HubOption) {
		const cache, buffering, plain = "no-store, no-transform", "yes", "text/event-stream"
		for given, want := range map[string]string{
			"text/event-stream; charset=utf-8": "text/event-stream; charset=utf-8",
			"Text/Event-Stream;charset=UTF-8":  "Text/Event-Stream;charset=UTF-8",
			"text/html":                        plain,
			"text/event-stream-not":            plain,
			"text/event-stream; =":             plain,
			"":                                 plain,
		} {
			hub := wstest.Run(t, opts...)
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, Wrap: func(w http.ResponseWriter) http.ResponseWriter {
				w.Header().Set("Content-Type", given)
				w.Header().Set("Cache-Control", cache)
				w.Header().Set("X-Accel-Buffering", buffering)
				return w
			}})
			st := srv.Stream(t)
			got := [][]string{st.Header["Content-Type"], st.Header["Cache-Control"], st.Header["X-Accel-Buffering"]}
			if want := [][]string{{want}, {cache}, {buffering}}; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("given %q: %q, want %q", given, got, want)
			}
			if _, streaming := opts, st.IsHijacked(); streaming != (len(opts) > 0) {
				t.Error("hijacked:", streaming)
			}
			head, _ := request(t, srv, http.MethodHead)
			if got := head.Header["Content-Type"]; fmt.Sprint(got) != fmt.Sprint([]string{want}) {
				t.Errorf("HEAD, given %q: %q", given, got)
			}
		}
	})
}
