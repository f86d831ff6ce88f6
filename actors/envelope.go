package actors

import (
	"bytes"
	"encoding/json"
)

// Subprotocol is the WebSocket subprotocol (RFC 6455, section 1.9) whose clients get each message in an envelope that says where in the
// hub's log it is. See docs/wskit.v1.md.
const Subprotocol = "wskit.v1"

// The first byte of a binary message in its envelope, and what the name in it is of.
const (
	envelopeV1   = 1
	addressHub   = 0
	addressTopic = 1
	addressUser  = 2
)

// NewProtocolFrame is NewFrame of a text that is the protocol's own: it has no envelope.
func NewProtocolFrame(text []byte) *Frame {
	f := newFrame(opText, text)
	f.encodings().enveloped.Store(f)
	return f
}

// Enveloped is the message in its envelope, of a bundle the messages, as one frame that all clients of the Subprotocol share: a text as a JSON
// object, what goes out as binary behind a head of bytes. What is no message, a mark or a reset, has one too.
func (f *Frame) Enveloped() *Frame {
	e := f.encodings()
	if e.enveloped.Load() == nil { // two may make one, and the first stays
		e.enveloped.CompareAndSwap(nil, f.envelop())
	}
	return e.enveloped.Load()
}

func (f *Frame) envelop() *Frame {
	switch {
	case f.parts != nil:
		bundle := &Frame{parts: make([]*Frame, len(f.parts))}
		for i, part := range f.parts {
			bundle.parts[i] = part.Enveloped()
			bundle.size += bundle.parts[i].size
		}
		return bundle
	case f.websocket != nil && f.Binary():
		return newFrame(opBinary, f.binaryEnvelope())
	}
	return newFrame(opText, f.textEnvelope())
}

// textEnvelope is one JSON object.
func (f *Frame) textEnvelope() []byte {
	at, payload := f.place(), f.Payload()
	o := object{append(make([]byte, 0, len(payload)+len(at.Topic)+96), '{')}
	if id := at.String(); id != "" {
		o.text("id", id)
	}
	switch user, own := TopicUser(at.Topic); {
	case own:
		o.text("user", user)
	case at.Topic != "":
		o.text("topic", at.Topic)
	}
	switch {
	case at.mark:
	case at.reset != "":
		o.text("reset", at.reset)
	case isValue(payload):
		o.field("data", payload)
	default:
		o.text("text", string(payload))
	}
	return append(o.json, '}')
}

// binaryEnvelope is a head and the payload.
func (f *Frame) binaryEnvelope() []byte {
	at, payload := f.place(), f.Payload()
	kind, name := byte(addressHub), at.Topic
	if name != "" {
		kind = addressTopic
	}
	if user, own := TopicUser(name); own {
		kind, name = addressUser, user
	}
	b := append(make([]byte, 0, len(payload)+len(name)+64), envelopeV1)
	b = append(appendShort(b, at.String()), kind)
	return append(appendShort(b, name), payload...)
}

// appendShort appends a byte that says how long s is, and s.
func appendShort(dst []byte, s string) []byte {
	s = s[:min(len(s), maxName)] // of a name, or a position, there is nothing to cut
	return append(append(dst, byte(len(s))), s...)
}

// maxNesting is how deep package encoding/json reads.
const maxNesting = 10000

// isValue reports whether p is JSON, and still is within an object.
func isValue(p []byte) bool {
	if !json.Valid(p) {
		return false
	}
	if bytes.Count(p, []byte("["))+bytes.Count(p, []byte("{")) < maxNesting {
		return true
	}
	return json.Valid(append(append([]byte("["), p...), ']'))
}

// object is a JSON object that is being written.
type object struct{ json []byte }

func (o *object) field(name string, value []byte) {
	if len(o.json) > 1 {
		o.json = append(o.json, ',')
	}
	o.json = append(append(append(append(o.json, '"'), name...), `":`...), value...)
}

func (o *object) text(name, s string) { o.field(name, jsonString(s)) }

// jsonString is s as JSON, in which <, > and & stand for themselves.
func jsonString(s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // of a string nothing fails
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
