package wskit

import "net/http"

// WebSocketHandler is ServeWS with these options as a handler: each request becomes a WebSocket of the hub's. How it is upgraded,
// WithAcceptOptions says. What ServeWS returns nobody is told: what the program has to do about it the hub's log says.
func (h *Hub) WebSocketHandler(opts ...ClientOption) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = ServeWS(w, r, h, nil, opts...) })
}

// SSEHandler is ServeSSE with these options, which are applied once, as a handler: each request becomes a stream of the hub's.
// What ServeSSE returns nobody is told.
func (h *Hub) SSEHandler(opts ...ClientOption) http.Handler {
	set := configure(opts)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = set.serveSSE("ServeSSE", w, r, h) })
}
