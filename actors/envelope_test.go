package actors_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/wskit/wskit/actors"
)

// envelope is what a client has when it has taken one apart.
type envelope struct {
	id, address, name string // address: "hub", "topic", "user"
	payload           string
	reset             string
	binary            bool
}

// open takes an envelope apart as the specification says, and is strict about it.
func open(f *actors.Frame) (e envelope, err error) {
	if f.Binary() {
		return openBinary(f.Payload())
	}
	if !utf8.Valid(f.Payload()) {
		return e, errors.New("not UTF-8")
	}
	var o struct {
		ID, Topic, User, Text, Reset *string
		Data                         json.RawMessage
	}
	d := json.NewDecoder(bytes.NewReader(f.Payload()))
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		return e, err
	}
	if _, err := d.Token(); err != io.EOF {
		return e, errors.New("more than an object")
	}
	value := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	e = envelope{id: value(o.ID), address: "hub", reset: value(o.Reset), payload: string(o.Data)}
	if o.Topic != nil {
		e.address, e.name = "topic", *o.Topic
	}
	if o.User != nil {
		e.address, e.name = "user", *o.User
	}
	if o.Text != nil {
		e.payload = *o.Text
	}
	return e, nil
}

func openBinary(b []byte) (e envelope, err error) {
	short := func() (s string) {
		if len(b) == 0 || len(b) <= int(b[0]) {
			err = io.ErrUnexpectedEOF
			return ""
		}
		s, b = string(b[1:1+int(b[0])]), b[1+int(b[0]):]
		return s
	}
	if len(b) == 0 || b[0] != 1 {
		return e, errors.New("not version 1")
	}
	b = b[1:]
	e.binary, e.id = true, short()
	if err != nil || len(b) == 0 || int(b[0]) > 2 {
		return e, errors.New("no address")
	}
	e.address = [...]string{"hub", "topic", "user"}[b[0]]
	b = b[1:]
	e.name = short()
	e.payload = string(b)
	return e, err
}

func at(topic string) actors.Placement {
	return actors.Placement{Position: actors.Position{Epoch: "abc", N: 7}, Topic: topic}
}

// Text in, JSON out: the fields in their order, payloads of JSON as they are, and nothing escaped that need not be.
func TestATextIsEnvelopedAsAJSONObject(t *testing.T) {
	position := actors.Position{Epoch: "abc", N: 7}
	for _, c := range []struct {
		frame *actors.Frame
		want  string
	}{
		{actors.NewFrame([]byte(`{"a": [1, 2]}`)).Placed(at("room")), `{"id":"abc.7","topic":"room","data":{"a": [1, 2]}}`},
		{actors.NewFrame([]byte("hello")).Placed(at("room")), `{"id":"abc.7","topic":"room","text":"hello"}`},
		{actors.NewFrame([]byte("")).Placed(at("")), `{"id":"abc.7","text":""}`},
		{actors.NewFrame([]byte(" 1.50 ")), `{"data": 1.50 }`},
		{actors.NewFrame([]byte("null")), `{"data":null}`},
		{actors.NewFrame([]byte("nul")), `{"text":"nul"}`},
		{actors.NewFrame([]byte(`1,"topic":"x"`)), `{"text":"1,\"topic\":\"x\""}`},
		{actors.NewFrame([]byte("<a href=\"x\">&\n")), `{"text":"<a href=\"x\">&\n"}`},
		{actors.NewFrame([]byte(`"<&>"`)).Placed(at("<&>\"")), `{"id":"abc.7","topic":"<&>\"","data":"<&>"}`},
		{actors.NewFrame([]byte("1")).Placed(at(actors.UserTopic("ann"))), `{"id":"abc.7","user":"ann","data":1}`},
		{actors.NewFrame([]byte("1")).Placed(actors.Placement{Topic: "room"}), `{"topic":"room","data":1}`},
		{actors.NewReset(position, actors.ResetExpired), `{"id":"abc.7","reset":"expired"}`},
		{actors.NewReset(actors.Position{}, actors.ResetUnknown), `{"reset":"unknown"}`},
		{actors.NewMark(position), `{"id":"abc.7"}`},
		{actors.NewProtocolFrame([]byte(`{"ok":true}`)), `{"ok":true}`},
	} {
		e := c.frame.Enveloped()
		if got := string(e.Payload()); got != c.want || e.Binary() || e != c.frame.Enveloped() {
			t.Errorf("%q becomes %q, want %q", c.frame.Payload(), got, c.want)
		}
	}
}

// Bytes in, a head and the bytes out, also when they would pass for text.
func TestBytesAreEnvelopedBehindAHead(t *testing.T) {
	for _, c := range []struct {
		frame *actors.Frame
		want  string
	}{
		{actors.NewFrame([]byte("\xff\x00")).Placed(at("room")), "\x01\x05abc.7\x01\x04room\xff\x00"},
		{actors.NewBinaryFrame([]byte("{}")).Placed(at(actors.UserTopic("ann"))), "\x01\x05abc.7\x02\x03ann{}"},
		{actors.NewBinaryFrame(nil), "\x01\x00\x00\x00"},
	} {
		if e := c.frame.Enveloped(); string(e.Payload()) != c.want || !e.Binary() {
			t.Errorf("%q becomes %q, want %q", c.frame.Payload(), e.Payload(), c.want)
		}
	}
}

// "Raw JSON is embedded verbatim", but not where it would be nested deeper than encoding/json reads.
func TestAnEnvelopeIsNotNestedTooDeep(t *testing.T) {
	for depth, want := range map[int]string{9999: "data", 10000: "text", 10001: "text"} {
		payload := strings.Repeat("[", depth) + strings.Repeat("]", depth)
		f := actors.NewFrame([]byte(payload)).Enveloped()
		if e, err := open(f); err != nil || e.payload != payload || !bytes.HasPrefix(f.Payload(), []byte(`{"`+want)) {
			t.Errorf("depth %d: %.20q, %v", depth, f.Payload(), err)
		}
	}
}

// An enveloped bundle is the bundle of what is enveloped, and each is made once, whoever asks first.
func TestABundleIsEnvelopedMessageByMessage(t *testing.T) {
	long := strings.Repeat("long ", 200)
	var messages []*actors.Frame
	for _, payload := range []string{"1", long, "\xff"} {
		messages = append(messages, actors.NewFrame([]byte(payload)).Placed(at("room")))
	}
	bundle, rest := actors.Bundle(append(messages, actors.NewMark(actors.Position{Epoch: "abc", N: 9})))
	if rest = append(rest, bundle); len(rest) != 1 {
		t.Fatal("not one bundle")
	}
	var group sync.WaitGroup
	made := make([]*actors.Frame, 8)
	for i := range made {
		group.Go(func() { made[i] = bundle.Enveloped() })
	}
	group.Wait()
	var plain, deflated []byte
	size := 0
	for _, m := range append(messages, actors.NewMark(actors.Position{Epoch: "abc", N: 9})) {
		plain = append(plain, m.Enveloped().WebSocket()...)
		deflated = append(deflated, m.Enveloped().Deflated(100)...)
		size += m.Enveloped().Len()
	}
	for _, e := range made {
		if e != made[0] {
			t.Error("made twice")
		}
	}
	e := made[0]
	if !bytes.Equal(e.WebSocket(), plain) || !bytes.Equal(e.Deflated(100), deflated) || e.Count() != 4 || e.Len() != size {
		t.Errorf("%d messages, %d bytes", e.Count(), e.Len())
	}
	if len(deflated) >= len(plain) {
		t.Error("nothing was compressed")
	}
}

func FuzzEnvelope(f *testing.F) {
	for _, payload := range []string{"", "hello", "{}", ` {"a":1} `, `{"a":1}x`, "\xff", "\x00", "\u2028", `"\ud800"`, "1e999", "]", "<>&"} {
		f.Add([]byte(payload), "room", uint64(1), uint8(0))
		f.Add([]byte(payload), "ann", uint64(0), uint8(7))
	}
	f.Fuzz(func(t *testing.T, payload []byte, name string, n uint64, how uint8) {
		want := envelope{address: "hub", payload: string(payload)}
		place := actors.Placement{}
		if how&1 != 0 && actors.CheckTopic(name) == nil {
			want.address, want.name, place.Topic = "topic", name, name
			if how&2 != 0 {
				want.address, place.Topic = "user", actors.UserTopic(name)
			}
		}
		if how&4 != 0 {
			place.Position = actors.Position{Epoch: actors.NewEpoch(), N: n}
			want.id = place.String()
		}
		frame := actors.NewFrame(payload)
		if how&8 != 0 {
			frame = actors.NewBinaryFrame(payload)
		}
		want.binary = frame.Binary()
		enveloped := frame.Placed(place).Enveloped()
		got, err := open(enveloped)
		if !want.binary && json.Valid(payload) {
			if !bytes.Contains(enveloped.Payload(), append([]byte(`"data":`), payload...)) && !strings.Contains(string(enveloped.Payload()), `"text":`) {
				t.Errorf("%q is not in %q as it is", payload, enveloped.Payload())
			}
			want.payload = strings.Trim(want.payload, " \t\r\n") // which a decoder leaves out
			got.payload = strings.Trim(got.payload, " \t\r\n")
		}
		if got != want || err != nil {
			t.Errorf("%+v (%v), want %+v, from %q", got, err, want, enveloped.Payload())
		}
	})
}
