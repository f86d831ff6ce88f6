package main

import "net/http"

// protocol is how a system talks to its connections.
type protocol int

const (
	ws protocol = iota
	sse
)

// system is one of the things compared. The load generator and the server process both look at this table.
type system struct {
	name  string
	proto protocol
	hello string   // sent by each WebSocket client after the upgrade; "": nothing
	skips []string // scenarios that it cannot take part in by its nature
	how   string
	open  func() server
}

// server is the running side of a system. All methods may be called from any goroutine.
type server interface {
	http.Handler
	// broadcast sends data, which the server may keep, to every connection.
	broadcast(data []byte)
	// count is the number of connections now.
	count() int
}

// Names that reports and checks refer to.
const (
	ours        = "wskit"
	oursSSE     = "wskit-sse"
	floorName   = "floor"
	textbook    = "textbook"
	textbookSSE = "textbook-sse"
)

var systems = []system{
	{name: ours, how: "Accept and two pumps", open: openWskit},
	{name: floorName, how: "one goroutine, a ready-made frame, one write(2) per message and connection", open: openFloor,
		skips: []string{"connect", "stalled"}}, // it reads nothing, so it never sees a client leave, and has no queue
	{name: textbook, how: "coder/websocket, goroutine pair and 256-slot channel per client, Writer and Close per message", open: openTextbook},
	{name: "gorilla", how: "gorilla/websocket chat hub with PreparedMessage", open: openGorilla},
	{name: "melody", how: "olahol/melody", open: openMelody},
	{name: "centrifuge", how: "centrifugal/centrifuge, JSON protocol, server-side subscription", open: openCentrifuge,
		hello: `{"id":1,"connect":{}}`},
	{name: oursSSE, proto: sse, how: "AcceptSSE", open: openWskitSSE},
	{name: textbookSSE, proto: sse, how: "net/http, 256-slot channel per client, Fprintf and Flush per message", open: openTextbookSSE},
	{name: "go-sse", proto: sse, how: "tmaxmax/go-sse with its default provider", open: openGoSSE},
}

func findSystem(name string) *system {
	for i := range systems {
		if systems[i].name == name {
			return &systems[i]
		}
	}
	return nil
}

// reference is the textbook system that speaks the same protocol as s.
func (s *system) reference() string {
	if s.proto == sse {
		return textbookSSE
	}
	return textbook
}
