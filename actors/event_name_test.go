package actors_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
	"unsafe"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
)

// "The payload is JSON, an object with a non-empty string field "type" at the top level without CR, LF or NUL in it; else as SSE."
func TestAnEventIsNamedByTheTypeOfItsObjectAndOnlyThat(t *testing.T) {
	for payload, want := range map[string]string{
		`{"type":"tick"}`: "tick",
		` {"type" : "tick" , "payload":{"type":"inner"} } `:      "tick",
		"\n\t{\n\"payload\":[{\"type\":1}],\n\"type\":\"tick\"}": "tick",
		`{"a":"type","b":"x","type":"tick"}`:                     "tick",
		`{"a":"\"type\":\"x\"","type":"tick"}`:                   "tick",
		`{"a":"\\","type":"tick"}`:                               "tick",
		`{"a":"}","type":"tick"}`:                                "tick",
		`{"type":"tick","Type":"other","TYPE":"other"}`:          "tick",
		`{"type":"first","type":"last"}`:                         "last", // as JSON.parse has it
		`{"\u0074ype":"t\u0069ck"}`:                              "tick",
		`{"type":" x"}`:                                          " x", // an EventSource takes one space off
		`{"type":"a:b"}`:                                         "a:b",
		`{"type":"café"}`:                                        "café",
		`{"type":"a\tb"}`:                                        "a\tb",

		`{"type":"first","type":1}`:       "",
		`{"type":{"type":"x"}}`:           "",
		`{"type":["x"]}`:                  "",
		`{"type":1,"x":"y"}`:              "",
		`{"type":null}`:                   "",
		`{"type":""}`:                     "",
		`{"type":"a\nb"}`:                 "",
		`{"type":"a\rb"}`:                 "",
		`{"type":"a\u0000b"}`:             "",
		`{"type":"a\u000adata: x"}`:       "",
		`{"Type":"x"}`:                    "",
		`{"TYPE":"x"}`:                    "",
		`{"tYpe":"x"}`:                    "",
		`{"type ":"x"}`:                   "",
		`{"payload":{"type":"x"}}`:        "",
		`[{"type":"x"}]`:                  "",
		`"type"`:                          "",
		`{"type":"x"`:                     "",
		`{"type":"x"} {"type":"y"}`:       "",
		`{"type":"x",}`:                   "",
		"{\"type\":\"\xff\"}":             "",
		"{\"type\":\"x\",\"a\":\"\xff\"}": "",
		"\xef\xbb\xbf{\"type\":\"x\"}":    "",
		"":                                "",
		"plain":                           "",
		"{}":                              "",
		"null":                            "",
	} {
		f := actors.NewFrame([]byte(payload))
		named, plain := string(f.NamedSSE()), string(f.SSE())
		if want != "" {
			plain = "event: " + want + "\n" + plain
		}
		equal(t, payload, named, plain)
	}
}

func TestANamedEncodingIsBuiltOnceAndIsThePlainOneWhereThereIsNoName(t *testing.T) {
	named, plain := actors.NewFrame([]byte(`{"type":"tick"}`)), actors.NewFrame([]byte("tick"))
	equal(t, "shared", unsafe.SliceData(named.NamedSSE()), unsafe.SliceData(named.NamedSSE()))
	equal(t, "the plain one", unsafe.SliceData(plain.NamedSSE()), unsafe.SliceData(plain.SSE()))
	equal(t, "allocations of a second look", testing.AllocsPerRun(100, func() { named.NamedSSE() }), 0)
	equal(t, "room to spare", cap(named.NamedSSE())-len(named.NamedSSE()), 0)
}

func TestTheEventsOfABundleHaveTheirNames(t *testing.T) {
	var frames []*actors.Frame
	want := ""
	for _, payload := range []string{`{"type":"a"}`, "plain", `{"type":"b"}`} {
		frames = append(frames, actors.NewFrame([]byte(payload)))
		want += string(actors.NewFrame([]byte(payload)).NamedSSE())
	}
	bundle, _ := actors.Bundle(frames)
	equal(t, "bundle", string(bundle.NamedSSE()), want)
	equal(t, "shared", unsafe.SliceData(bundle.NamedSSE()), unsafe.SliceData(bundle.NamedSSE()))
	if strings.Contains(string(bundle.SSE()), "event:") {
		t.Error("the plain encoding has names")
	}
}

// Whatever the payload, an EventSource gets one event, with the data that it would get without a name, and the name that a map of
// the object's fields says.
func FuzzANamedEventIsOneEvent(f *testing.F) {
	for _, seed := range []string{`{"type":"tick","payload":{"type":1}}`, `{"type":"a\nb"}`, `{"\u0074ype":"x","type":[]}`, "x\ny", `{"a":"\\\"","type":"x"}`, `{"type":"","type":"id:7"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		frame := actors.NewFrame(payload)
		want := wstest.AllEvents(bytes.NewReader(frame.SSE()))
		var fields map[string]json.RawMessage
		var name any
		if utf8.Valid(payload) && json.Unmarshal(payload, &fields) == nil {
			_ = json.Unmarshal(fields["type"], &name)
		}
		if s, ok := name.(string); ok && s != "" && !strings.ContainsAny(s, "\r\n\x00") {
			data := ""
			if len(want) > 0 {
				data = want[0]
			}
			want = []string{strings.TrimSuffix("[event:"+s+"] "+data, " ")}
		}
		if got := wstest.AllEvents(bytes.NewReader(frame.NamedSSE())); strings.Join(got, "\x00") != strings.Join(want, "\x00") || len(got) > 1 {
			t.Errorf("%q: %q, want %q", payload, got, want)
		}
	})
}
