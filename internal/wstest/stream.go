package wstest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Stream is an EventSource's end of a stream.
type Stream struct {
	*http.Response
	Events   chan string        // the data of each event, see ReadEvents; closed at the end of the stream
	Comments List[string]       // what stood behind the colon of each comment
	End      context.CancelFunc // has the client leave
}

// Stream asks for a stream at /sse and reads it until it ends, or the test does.
func (s *Server) Stream(t testing.TB) *Stream {
	t.Helper()
	return s.StreamAt(t, "/sse")
}

// StreamAt is Stream for another path.
func (s *Server) StreamAt(t testing.TB, path string) *Stream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
	resp, err := s.Client().Do(req)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	st := &Stream{Response: resp, Events: make(chan string, 1<<12), End: cancel}
	done := Begin(func() {
		_ = ReadEvents(resp.Body, func(data string) { st.Events <- data }, st.Comments.Add)
		close(st.Events)
	})
	t.Cleanup(func() {
		cancel()
		_ = resp.Body.Close()
		for range st.Events { // so that the reader gets to its end
		}
		<-done
	})
	return st
}

// IsHijacked reports whether the stream was written to the connection itself: net/http would have chunked it.
func (st *Stream) IsHijacked() bool {
	return st.StatusCode == http.StatusOK && st.Close && len(st.TransferEncoding) == 0
}

// Expect waits for these events.
func (st *Stream) Expect(t testing.TB, want ...string) {
	t.Helper()
	for i, w := range want {
		if got := Receive(t, fmt.Sprintf("event %d", i), st.Events); got != w {
			t.Fatalf("event %d is %.80q, want %.80q", i, got, w)
		}
	}
}

// Ends waits for the end of the stream, before which no event may come.
func (st *Stream) Ends(t testing.TB) {
	t.Helper()
	if data, more := receiveMore(t, st.Events); more {
		t.Fatalf("event %.80q, want the end of the stream", data)
	}
}

func receiveMore(t testing.TB, ch <-chan string) (data string, more bool) {
	t.Helper()
	got := Begin(func() { data, more = <-ch })
	Receive(t, "the stream ends", got)
	return data, more
}

// ReadEvents reads a stream to its end as WHATWG HTML, section 9.2.6, says that an EventSource does, and reports the data of each
// event. What is more than a plain message is reported as such: an event with a type or an id as "[event:tick id:7] data", a
// reconnection time, and a field that there is not, as "[retry:3000]". comment may be nil. The error is the reader's, io.EOF at
// the end.
func ReadEvents(r io.Reader, event, comment func(string)) error {
	br := bufio.NewReader(r)
	if bom, _ := br.Peek(3); bytes.Equal(bom, []byte("\xef\xbb\xbf")) {
		_, _ = br.Discard(3)
	}
	p := eventParser{event: event, comment: comment}
	var line []byte
	var cr bool // the last line ended in CR: an LF that follows belongs to it
	for {
		b, err := br.ReadByte()
		if err != nil {
			return err // an event without its blank line is not dispatched
		}
		switch {
		case b == '\n' && cr:
			cr = false
		case b == '\n' || b == '\r':
			p.line(string(line))
			line, cr = line[:0], b == '\r'
		default:
			line, cr = append(line, b), false
		}
	}
}

// AllEvents is what ReadEvents reports.
func AllEvents(r io.Reader) (all []string) {
	_ = ReadEvents(r, func(data string) { all = append(all, data) }, nil)
	return all
}

// eventParser is the state between two lines of a stream.
type eventParser struct {
	event, comment func(string)
	data           strings.Builder
	fields         []string // "event:tick", "id:7"
}

func (p *eventParser) line(line string) {
	name, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch {
	case line == "":
		p.dispatch()
	case name == "":
		if p.comment != nil {
			p.comment(value)
		}
	case name == "data":
		p.data.WriteString(value + "\n")
	case name == "event" || name == "id":
		p.fields = append(p.fields, name+":"+value)
	case name == "retry":
		p.event("[retry:" + value + "]")
	default: // an EventSource ignores it; nothing here sends it
		p.event("[" + name + ":" + value + "]")
	}
}

func (p *eventParser) dispatch() {
	text, fields := p.data.String(), p.fields
	p.data.Reset()
	p.fields = nil
	switch data := strings.TrimSuffix(text, "\n"); {
	case len(fields) > 0: // reported without data too: it changes what an EventSource sends when it comes back
		p.event(strings.TrimSuffix("["+strings.Join(fields, " ")+"] "+data, " "))
	case text != "":
		p.event(data)
	}
}
