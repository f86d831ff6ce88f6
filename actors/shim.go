package actors

// Until the connection's part is merged, which has these two in frame.go and errors.go.

// NewBinaryFrame is NewFrame of a message that goes out as a binary one.
func NewBinaryFrame(payload []byte) *Frame {
	f := NewFrame(payload)
	f.websocket[0] = opBinary
	return f
}

// CloseError is what a handler of messages returns to have its connection closed with a code and a text.
type CloseError struct {
	Code uint16
	Text string
}

func (e *CloseError) Error() string { return "wskit: close: " + e.Text }
