package wskit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// A command is read as a second reader reads it, who is slower: what is taken has no field that is unknown or comes twice, and the types
// that the specification says.
func FuzzCommand(f *testing.F) {
	for _, s := range []string{`{"op":"ping"}`, ` {"op":"join","topic":"a","ref":"x"} `, `{"op":"publish","data":{"a":[1]},"key":"k","ref":-1e9}`,
		`{"op":"publish","topic":"a","text":"\ud83d\ude00"}`, `{"op":"send","data":null}`, `{"op":"leave","topic":"a"}x`, `{"op":"ping","op":"ping"}`,
		`{"ref":{},"op":"ping"}`, `[]`, `{`, ``, `{"op":"\u0070ing"}`, `{"op":"ping","ref":"\ud800"}`, `{"data":1,"text":"","op":"send"}`, "{}\n{}", `{"":0}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		given := bytes.Clone(message)
		c, err := parseCommand(message)
		if !bytes.Equal(message, given) {
			t.Fatal("the message was changed")
		}
		if c.ref != nil && (len(c.ref) > maxRef || !json.Valid(c.ref) || !bytes.Contains(message, c.ref)) {
			t.Errorf("ref %q", c.ref)
		}
		var fields map[string]json.RawMessage
		isObject := json.Unmarshal(message, &fields) == nil && fields != nil
		switch {
		case err == errNoObject && isObject:
			t.Error("it is an object")
		case err != nil:
			if err != errNoObject && err != errMalformed {
				t.Error(err)
			}
			return
		case !isObject:
			t.Fatal("it is no object")
		}
		if _, known := allowed[c.op]; !known {
			t.Errorf("op %q", c.op)
		}
		n := 0
		for name, want := range map[string]any{"op": c.op, "topic": c.topic, "key": c.key} {
			var got string
			if value, is := fields[name]; is {
				n++
				if json.Unmarshal(value, &got) != nil || got != want {
					t.Errorf("%s is %q, not %q", name, got, want)
				}
			} else if want != "" {
				t.Errorf("%s is made up: %q", name, want)
			}
		}
		if text, is := fields["text"]; is {
			n++
			var got string
			if json.Unmarshal(text, &got) != nil || got != string(c.payload) {
				t.Errorf("text is %q, not %q", got, c.payload)
			}
		}
		if data, is := fields["data"]; is {
			n++
			if !bytes.Equal(data, c.payload) {
				t.Errorf("data is %q, not %q", data, c.payload)
			}
		}
		if ref, is := fields["ref"]; is {
			n++
			if !bytes.Equal(ref, c.ref) {
				t.Errorf("ref is %q, not %q", ref, c.ref)
			}
		}
		if n != len(fields) {
			t.Errorf("%d fields of %q are known, not %d", n, message, len(fields))
		}
	})
}

// Each error of the hub's has a code of the closed set, and each code an explanation that can stand in JSON as it is.
func TestEachErrorHasACode(t *testing.T) {
	for err, want := range map[error]code{
		nil: codeOK, ErrInvalidTopic: codeInvalidTopic, ErrTooManyTopics: codeTooManyTopics, ErrTimeout: codeTimeout, ErrHubStopped: codeStopped,
		ErrNotRegistered: codeStopped, ErrUnknownOutcome: codeUnknown, ErrLocalOnly: codeLocalOnly, ErrNotTaken: codeNotTaken, errNoAnswer: codeInternal,
	} {
		if got := codeOf(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
		if got := codeOf(fmt.Errorf("%w: more", err)); err != nil && got != want {
			t.Errorf("%v, wrapped: %q, want %q", err, got, want)
		}
	}
	if len(explanation) != 10 {
		t.Error(len(explanation), "explanations")
	}
	for c, text := range explanation {
		if !json.Valid([]byte(`"`+text+`"`)) || c == codeOK || text == "" {
			t.Errorf("%q: %q", c, text)
		}
	}
}

// The specification's examples are as it says: each command is one, each answer belongs to it, and its codes are those there are.
func TestTheSpecificationKeepsToItself(t *testing.T) {
	page, err := os.ReadFile("docs/wskit.v1.md")
	if err != nil {
		t.Fatal(err)
	}
	commands, sent := 0, 0
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSuffix(line, "\n")
		if said, is := strings.CutPrefix(line, "> "); is {
			commands++
			if _, err := parseCommand([]byte(said)); err != nil {
				t.Errorf("%s: %v", said, err)
			}
		}
		if said, is := strings.CutPrefix(line, "< "); is {
			sent++
			if !json.Valid([]byte(said)) {
				t.Errorf("no JSON: %s", said)
			}
		}
	}
	if commands == 0 || sent == 0 {
		t.Error("no examples")
	}
	_, table, _ := strings.Cut(string(page), "### Answers")
	table, _, _ = strings.Cut(table, "###")
	if rows := strings.Count(table, "\n| `"); rows != len(explanation)+1 {
		t.Error(rows-1, "codes in the table")
	}
	for c := range explanation {
		if !strings.Contains(table, "\n| `"+string(c)+"` |") {
			t.Errorf("no word of %q", c)
		}
	}
	for op := range allowed {
		if !strings.Contains(string(page), "\n| `"+op+"` |") {
			t.Errorf("no word of %q", op)
		}
	}
}
