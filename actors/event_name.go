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
		event := make([]byte, 0, len("event: \n")+len(name)+sizeSSE(f.Payload()))
		event = append(append(append(event, "event: "...), name...), '\n')
		e.named.bytes = AppendSSE(event, f.Payload())
	})
	return e.named.bytes
}

// eventName is the string that the object in payload has as "type", as a browser's JSON.parse understands it: the name must be
// exactly that, escaped or not, and of several the last one counts. "" if there is none that can be an event's name. Package
// encoding/json would take "Type" for it too, and a map of all fields would be a copy of most of the payload.
func eventName(payload []byte) string {
	if !bytes.HasPrefix(bytes.TrimLeft(payload, " \t\r\n"), []byte("{")) || !utf8.Valid(payload) || !json.Valid(payload) {
		return ""
	}
	name := ""
	depth, isKey, isType := 0, false, false
	for i := 0; i < len(payload); i++ {
		c := payload[i]
		switch {
		case c == '{' || c == '[':
			depth++
			isKey = depth == 1
		case c == '}' || c == ']':
			depth--
		case c == '"':
			text := payload[i : i+literal(payload[i:])]
			i += len(text) - 1
			switch {
			case depth > 1:
			case !isKey && isType:
				name = unquote(text)
			case isKey:
				if isType = unquote(text) == "type"; isType {
					name = ""
				}
			}
		case c == ',' && depth == 1:
			isKey = true
		case c == ':' && depth == 1:
			isKey = false
		}
	}
	if strings.ContainsAny(name, "\r\n\x00") {
		return ""
	}
	return name
}

// literal is the length of the string that valid JSON begins with, its quotes included.
func literal(p []byte) int {
	i := 1
	for p[i] != '"' {
		if p[i] == '\\' {
			i++
		}
		i++
	}
	return i + 1
}

// unquote is what a valid string of JSON says.
func unquote(text []byte) (s string) {
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text[1 : len(text)-1])
	}
	_ = json.Unmarshal(text, &s)
	return s
}
