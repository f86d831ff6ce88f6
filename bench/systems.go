package main

import (
	"net/http"
	"strings"

	"github.com/wskit/wskit"
)

// protocol is how a system talks to its connections.
type protocol int

const (
	ws protocol = iota
	sse
)

// system is one of the things compared. The load generator and the server process both look at this table.
type system struct {
	name      string
	proto     protocol
	deflate   bool     // its clients ask for permessage-deflate
	speaks    string   // the subprotocol that its clients ask for, and have to get; "": none
	hello     string   // sent by each WebSocket client after the upgrade; "": nothing
	skips     []string // scenarios that it cannot take part in by its nature
	only      []string // scenarios that it takes part in; nil: any
	conns     []int    // numbers of connections at which it takes part, if none are asked for; nil: the scenario's
	redis     bool     // it takes a Redis in every scenario
	reference string   // the plain way that it is compared with; "": the textbook
	how       string
	open      func() server
}

// server is the running side of a system. All methods may be called from any goroutine.
type server interface {
	http.Handler
	// broadcast sends data, which the server may keep, to every connection.
	broadcast(data []byte)
	// count is the number of connections now.
	count() int
}

// topical is a server with topics, numbered from 0, and these many of them when it has topicConns connections. It says which
// connections are in which: see topicsOf.
type topical interface {
	server
	send(topic int, data []byte)
}

const (
	topics       = 10_000
	topicConns   = 1000
	topicMembers = 10 // of each topic
	perConn      = topics * topicMembers / topicConns
)

// topicsOf yields the topics that connection i is in, in the order of their coming: neighbours are in the same.
func topicsOf(i int) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for t := i % topicConns / topicMembers; t < topics; t += topicConns / topicMembers {
			if !yield(t) {
				return
			}
		}
	}
}

// Names that reports and checks refer to.
const (
	ours        = "wskit"
	oursServe   = "wskit-serve"
	oursOne     = "wskit-one"
	oursDeflate = "wskit-deflate"
	oursSSE     = "wskit-sse"
	oursHijack  = "wskit-sse-hijack"
	oursPublish = "wskit-publish"
	oursTopic   = "wskit-topic"
	oursTopics  = "wskit-topics"
	oursHistory = "wskit-history"
	oursV1      = "wskit-v1"
	oursSSELog  = "wskit-sse-history"
	oursPubLog  = "wskit-publish-history"
	oursRings   = "wskit-rings"
	oursStreams = "wskit-streams"
	topicLoop   = "gorilla-topics"
	floorName   = "floor"
	textbook    = "textbook"
	gorillaName = "gorilla"
	centrifugal = "centrifuge"
	textbookSSE = "textbook-sse"
	plainName   = "publish-each"
)

// Other ways of taking connections in take part where they may differ.
var (
	variantScenarios = []string{"idle", "single", "burst"}
	variantConns     = []int{1000, idleConns}
	logScenarios     = []string{"resume", "kept"}
)

var systems = []system{
	{name: ours, how: "Accept and two pumps", open: openWskit},
	{name: oursServe, how: "ServeWS in the handler", open: openWskitServe, only: variantScenarios, conns: variantConns},
	{name: oursOne, how: "Accept and Serve, one goroutine", open: openWskitOne, only: variantScenarios, conns: variantConns},
	{name: oursDeflate, how: "Accept with permessage-deflate, without context takeover, and two pumps", open: openWskitDeflate,
		deflate: true, only: []string{"burst-text"}},
	{name: floorName, how: "one goroutine, a ready-made frame, one write(2) per message and connection", open: openFloor,
		skips: []string{"connect", "stalled"}}, // it reads nothing, so it never sees a client leave, and has no queue
	{name: textbook, how: "coder/websocket, goroutine pair and 256-slot channel per client, Writer and Close per message", open: openTextbook},
	{name: gorillaName, how: "gorilla/websocket chat hub with PreparedMessage", open: openGorilla},
	{name: "melody", how: "olahol/melody", open: openMelody},
	{name: centrifugal, how: "centrifugal/centrifuge, JSON protocol, server-side subscription", open: openCentrifuge,
		hello: `{"id":1,"connect":{}}`},
	{name: oursSSE, proto: sse, how: "AcceptSSE", open: openWskitSSE},
	{name: oursHijack, proto: sse, how: "AcceptSSE on a hub that takes HTTP/1.1 connections over", open: openWskitSSEHijack,
		only: variantScenarios, conns: variantConns},
	{name: textbookSSE, proto: sse, how: "net/http, 256-slot channel per client, Fprintf and Flush per message", open: openTextbookSSE},
	{name: "go-sse", proto: sse, how: "tmaxmax/go-sse with its default provider", open: openGoSSE},
	{name: oursTopic, how: "Accept and two pumps, everybody in one topic, to which is broadcast", open: openWskitTopic,
		only: []string{"single", "burst"}, conns: thousand},
	{name: oursTopics, how: "Accept and two pumps, each connection in 100 topics", open: openWskitTopics,
		only: []string{"idle", "topics"}, conns: thousand},
	{name: oursHistory, how: "Accept and two pumps, on a hub WithHistory", open: openWskitHistory, only: []string{"single", "burst"}, conns: thousand},
	{name: oursV1, how: "the same, and clients that speak wskit.v1", speaks: wskit.Subprotocol, open: openWskitHistory,
		only: []string{"single", "burst"}, conns: thousand},
	{name: oursSSELog, proto: sse, how: "AcceptSSE on a hub WithHistory", open: openWskitSSEHistory, only: []string{"single", "burst"}, conns: thousand},
	{name: oursRings, how: "a hub WithHistory: its log is in memory", open: openWskitRings, only: logScenarios},
	{name: oursStreams, how: "hubs WithHistory and WithRedis: their log is in streams", redis: true, open: openWskitStreams, only: logScenarios},
	{name: topicLoop, how: "gorilla/websocket, a loop of WriteMessage over the members of a topic", open: openGorillaTopics,
		only: []string{"topics"}, conns: thousand, reference: topicLoop},
	{name: oursPublish, how: "BroadcastEvent on a hub with Redis", open: openWskitPublish,
		only: []string{"publish"}, reference: plainName},
	{name: oursPubLog, how: "BroadcastEvent on a hub with Redis and history", open: openWskitPublishHistory,
		only: []string{"publish"}, reference: plainName},
	{name: plainName, how: "go-redis, one Publish call per event", open: openPlainPublish,
		only: []string{"publish"}, reference: plainName},
}

func findSystem(name string) *system {
	for i := range systems {
		if systems[i].name == name {
			return &systems[i]
		}
	}
	return nil
}

// plainWay is the system that s is compared with: the one written first by whoever knows no better.
func (s *system) plainWay() string {
	switch {
	case s.reference != "":
		return s.reference
	case s.proto == sse:
		return textbookSSE
	}
	return textbook
}

func (s *system) isOurs() bool { return strings.HasPrefix(s.name, ours) }

// isPeerOf reports whether s is somebody else's server for the same protocol.
func (s *system) isPeerOf(other *system) bool {
	return !s.isOurs() && s.name != floorName && s.proto == other.proto
}
