package wskit

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

// command is what a client that speaks the subprotocol says in a text message.
type command struct {
	op      string
	ref     json.RawMessage // as it stands in the message; nil: it has none, or none that could be answered
	topic   string
	payload []byte // data, or text
	key     string
	has     fields
}

// fields is a set of what a command may consist of.
type fields uint8

const (
	hasOp fields = 1 << iota
	hasRef
	hasTopic
	hasData
	hasText
	hasKey
)

var fieldOf = map[string]fields{"op": hasOp, "ref": hasRef, "topic": hasTopic, "data": hasData, "text": hasText, "key": hasKey}

// allowed is what a command may have besides op and ref.
var allowed = map[string]fields{
	"join":    hasTopic,
	"leave":   hasTopic,
	"publish": hasTopic | hasData | hasText | hasKey,
	"send":    hasData | hasText,
	"ping":    0,
}

// Bounds of a command's fields, in bytes: of a ref as it stands in the message, of a key as it is meant.
const (
	maxRef = 64
	maxKey = 255
)

var (
	errNoObject  = errors.New("wskit: not a JSON object")
	errMalformed = errors.New("wskit: malformed command")
)

// parseCommand is strict: what it does not know, or knows twice, is errMalformed, and so is what stands behind the object. With that error
// the command has its ref, if one can be read, and nothing else counts. What is no JSON object is errNoObject.
func parseCommand(message []byte) (c command, err error) {
	var object json.RawMessage
	d := json.NewDecoder(bytes.NewReader(message))
	if d.Decode(&object) != nil || object[0] != '{' {
		return c, errNoObject
	}
	if len(bytes.Trim(message[d.InputOffset():], " \t\r\n")) > 0 {
		err = errMalformed
	}
	d = json.NewDecoder(bytes.NewReader(object))
	_, _ = d.Token() // of what is valid nothing fails
	for d.More() {
		name, _ := d.Token()
		var value json.RawMessage
		_ = d.Decode(&value)
		field := fieldOf[name.(string)]
		switch {
		case field == 0 || c.has&field != 0:
			err = errMalformed
			if field == hasRef {
				c.ref = nil // there are two
			}
		case !c.set(field, value):
			err = errMalformed
		}
		c.has |= field
	}
	if err == nil && !c.complete() {
		err = errMalformed
	}
	return c, err
}

// set takes a field's value, and reports whether it can be one.
func (c *command) set(field fields, value json.RawMessage) (ok bool) {
	switch field {
	case hasRef:
		if ok = len(value) <= maxRef && strings.IndexByte(`"-0123456789`, value[0]) >= 0; ok {
			c.ref = value
		}
		return ok
	case hasData:
		c.payload = value
		return true
	}
	var text string
	if value[0] != '"' || json.Unmarshal(value, &text) != nil {
		return false
	}
	switch field {
	case hasOp:
		c.op = text
	case hasTopic:
		c.topic = text
	case hasText:
		c.payload = []byte(text)
	case hasKey:
		c.key = text
		return text != "" && len(text) <= maxKey
	}
	return true
}

// complete reports whether c has what its op needs, and nothing else.
func (c *command) complete() bool {
	may, known := allowed[c.op]
	if !known || c.has&^(may|hasOp|hasRef) != 0 {
		return false
	}
	body := c.has & (hasData | hasText)
	switch {
	case may&hasData != 0:
		return body == hasData || body == hasText
	case may&hasTopic != 0:
		return c.has&hasTopic != 0
	}
	return true
}
