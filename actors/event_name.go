package actors

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// NamedSSE is SSE with the message's type, if it has one, as the name of the event: that is for a payload of JSON, an object whose
// "type" is a string that is not empty and has no CR, LF or NUL. Any other message is as in SSE.
func (f *Frame) NamedSSE() []byte {
	e := f.encodings()
	e.named.once.Do(func() {
		if f.parts != nil {
			e.named.bytes = f.join((*Frame).NamedSSE)
			return
		}
		name := eventName(f.Payload())
		if name == "" {
			e.named.bytes = f.SSE()
			return
		}
		e.named.bytes = f.event(name)
	})
	return e.named.bytes
}

// event is the message as one event of that name ("": of none), with its position as id. What is no message is an event without data, which
// changes the id that a client comes back with and nothing else, or a reset.
func (f *Frame) event(name string) []byte {
	at, payload := f.place(), f.Payload()
	if at.reset != "" {
		name, payload = ResetEvent, []byte(at.reset)
	}
	var fields string
	if name != "" {
		fields = "event: " + name + "\n"
	}
	if at.Epoch != "" {
		fields += "id: " + at.String() + "\n"
	}
	if at.mark {
		return []byte(fields + "\n")
	}
	event := append(make([]byte, 0, len(fields)+sizeSSE(payload)), fields...)
	return AppendSSE(event, payload)
}

// ResetEvent is the name of the event that says that messages are missing; its data is the reason.
const ResetEvent = "wskit.reset"

// eventName is the string that the object in payload has as "type", as a browser's JSON.parse understands it: the name must be
// exactly that, escaped or not, and of several the last one counts. "" if there is none that can be an event's name. Package
// encoding/json would take "Type" for it too, if it was told what to look for.
func eventName(payload []byte) (name string) {
	if !bytes.HasPrefix(bytes.TrimLeft(payload, " \t\r\n"), []byte("{")) || !utf8.Valid(payload) || !json.Valid(payload) {
		return ""
	}
	fields := json.NewDecoder(bytes.NewReader(payload))
	_, _ = fields.Token() // of what is valid nothing fails
	for value := (json.RawMessage)(nil); fields.More(); {
		key, _ := fields.Token()
		if _ = fields.Decode(&value); key == "type" {
			name = ""
			_ = json.Unmarshal(value, &name) // but for another type than string
		}
	}
	if strings.ContainsAny(name, "\r\n\x00") {
		return ""
	}
	return name
}
