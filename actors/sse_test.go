package actors_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wskit/wskit/actors"
)

// sseEvent is what an EventSource would dispatch.
type sseEvent struct{ typ, data, id string }

// parseSSE reads a whole stream as WHATWG HTML, sections 9.2.5 and 9.2.6, says; retries and comments are counted, since
// no payload may produce either.
func parseSSE(stream []byte) (events []sseEvent, others int) {
	text := string(stream)
	text = strings.TrimPrefix(text, "\ufeff")
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	var data, typ, id string
	lines := strings.Split(text, "\n")
	for _, line := range lines[:len(lines)-1] { // what no line end ends is not processed
		if line == "" {
			if data != "" {
				events = append(events, sseEvent{typ, strings.TrimSuffix(data, "\n"), id})
			}
			data, typ = "", ""
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "data":
			data += value + "\n"
		case "event":
			typ = value
		case "id":
			if !strings.Contains(value, "\x00") {
				id = value
			}
		default:
			others++ // a comment, a retry, an unknown field
		}
	}
	return events, others
}

// asData is what an EventSource should make of a payload: line ends as LF, invalid UTF-8 as U+FFFD.
func asData(payload []byte) string {
	return strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string([]rune(string(payload))))
}

func checkSSE(t *testing.T, payload []byte) {
	t.Helper()
	encoded := actors.NewFrame(payload).SSE()
	if !utf8.Valid(encoded) {
		t.Fatalf("payload %q: %q is not UTF-8", payload, encoded)
	}
	stream := slices.Concat(encoded, actors.AppendSSE(nil, []byte("next")), encoded)
	want := sseEvent{data: asData(payload)}
	events, others := parseSSE(stream)
	if others != 0 || !slices.Equal(events, []sseEvent{want, {data: "next"}, want}) {
		t.Fatalf("payload %q was read back as %q and %d other fields", payload, events, others)
	}
	lines := 1 + strings.Count(want.data, "\n")
	if want := len(want.data) + 7*lines + 1 - (lines - 1); len(encoded) != want {
		t.Fatalf("payload %q: %d bytes encoded, want %d", payload, len(encoded), want)
	}
}

var ssePayloads = map[string]string{
	"empty":                    "",
	"plain":                    "hello",
	"one LF":                   "a\nb",
	"one CR":                   "a\rb",
	"one CRLF":                 "a\r\nb",
	"LF CR is two line ends":   "a\n\rb",
	"CR CR LF":                 "a\r\r\nb",
	"LF alone":                 "\n",
	"CR alone":                 "\r",
	"CRLF alone":               "\r\n",
	"LF at the end":            "a\n",
	"CR at the end":            "a\r",
	"LF first":                 "\na",
	"blank lines":              "a\n\n\nb",
	"leading space":            " a",
	"leading spaces per line":  "  a\n   b\n ",
	"tabs":                     "\ta\n\tb",
	"a colon first":            ": not a comment",
	"colons":                   "a:b\n:c\n: d",
	"NUL":                      "a\x00b\x00",
	"invalid UTF-8":            "a\xffb\xc3\nc\xe2\x82",
	"BOM":                      "\ufeffbom\n\ufeffbom",
	"half a BOM":               "\xef\xbb\n\xbf",
	"other Unicode line ends":  "a\u2028b\u2029c\u0085d\ve\ff",
	"forged event name":        "x\nevent: admin",
	"forged id":                "x\rid: 7",
	"forged retry":             "x\r\nretry: 1",
	"forged comment":           "x\n:comment",
	"forged second event":      "x\n\ndata: y\n\n",
	"forged event across CRs":  "x\r\rdata: y\r\r",
	"forged from the start":    "\n\nevent: x\ndata: y",
	"a field without a colon":  "data",
	"looks like its own field": "data: x",
	"JSON":                     "{\n  \"a\": 1\n}",
}

func TestAPayloadArrivesAsOneEventOfItsLinesAndForgesNothing(t *testing.T) {
	for name, payload := range ssePayloads {
		t.Run(name, func(t *testing.T) { checkSSE(t, []byte(payload)) })
	}
}

func TestTheWireFormIsDataLinesAndABlankOne(t *testing.T) {
	for payload, want := range map[string]string{
		"":                   "data: \n\n",
		"a":                  "data: a\n\n",
		" a":                 "data:  a\n\n",
		"a\r\nb":             "data: a\ndata: b\n\n",
		"a\n":                "data: a\ndata: \n\n",
		":\r\rx:":            "data: :\ndata: \ndata: x:\n\n",
		"a\xff\nb\xe2\x82":   "data: a\ufffd\ndata: b\ufffd\ufffd\n\n",
		"\xed\xa0\x80\ufffd": "data: \ufffd\ufffd\ufffd\ufffd\n\n", // a surrogate is not valid; what was U+FFFD stays
	} {
		equal(t, "wire form", string(actors.AppendSSE(nil, []byte(payload))), want)
	}
}

func TestAppendSSEKeepsWhatIsThereAndUsesItsRoom(t *testing.T) {
	dst := append(make([]byte, 0, 64), "data: x\n\n"...)
	got := actors.AppendSSE(dst, []byte("y\nz"))
	equal(t, "stream", string(got), "data: x\n\ndata: y\ndata: z\n\n")
	if &got[0] != &dst[0] {
		t.Error("there was room, but it was not used")
	}
	equal(t, "allocations with room", testing.AllocsPerRun(100, func() { actors.AppendSSE(dst[:0], []byte("y\nz")) }), 0)
}

func TestAppendSSEAllocatesOnceForLFAndCRLF(t *testing.T) {
	for _, payload := range []string{"", "a", strings.Repeat("line\n", 1000), strings.Repeat("\n", 1000), strings.Repeat("x\r\n", 1000)} {
		p := []byte(payload)
		equal(t, "allocations", testing.AllocsPerRun(20, func() { actors.AppendSSE(nil, p) }), 1)
		if got := actors.AppendSSE(nil, p); cap(got) > 2*len(got)+64 {
			t.Errorf("%d bytes of room for %d", cap(got), len(got))
		}
	}
}

func FuzzSSE(f *testing.F) {
	for _, payload := range ssePayloads {
		f.Add([]byte(payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) { checkSSE(t, payload) })
}
