package wskit

import (
	"fmt"
	"net/http"
	"strings"
)

// Kinds of refused upgrades. Each is logged once a hub: whoever tries addresses out must not fill the log, nor use up the one
// line that would have told about a proxy.
const (
	strippedUpgrade = 1 << iota // a WebSocket client's, of which a proxy has left a part out
	noUpgrade                   // no WebSocket client's
	foreignOrigin
	otherUpgrade
)

// refusedUpgrade is for an upgrade that was refused with err: the log says why, and what to do.
func (h *Hub) refusedUpgrade(r *http.Request, err error) error {
	kind, status, advice, missing := explain(r, err)
	if h.told.Or(uint32(kind))&uint32(kind) == 0 {
		h.logRefusal(r, err, status, advice, missing)
	}
	return &rejected{status: status, error: err, upgrade: true}
}

func (h *Hub) logRefusal(r *http.Request, err error, status int, advice string, missing []string) {
	attrs := []any{"status", status, "origin", clip(r.Header.Get("Origin")), "host", clip(r.Host), "advice", advice, "error", clip(err.Error())}
	if len(missing) > 0 {
		attrs = append(attrs, "missing", strings.Join(missing, ", "))
	}
	h.up().Log.Warn("wskit: upgrade refused; others of this kind will not be logged", attrs...)
}

// explain looks at a request in the order in which the WebSocket library does, which tells no more than its error.
func explain(r *http.Request, err error) (kind, status int, advice string, missing []string) {
	if !r.ProtoAtLeast(1, 1) {
		missing = append(missing, "HTTP/1.1")
	}
	for _, h := range [][2]string{{"Connection", "Upgrade"}, {"Upgrade", "websocket"}} {
		if !hasToken(r.Header[h[0]], h[1]) {
			missing = append(missing, h[0]+": "+h[1])
		}
	}
	key := r.Header.Get("Sec-Websocket-Key") != ""
	switch text := err.Error(); {
	case len(missing) > 0 && key:
		return strippedUpgrade, http.StatusUpgradeRequired, "the proxy in front must pass Upgrade and Connection on, over HTTP/1.1", missing
	case len(missing) > 0:
		return noUpgrade, http.StatusUpgradeRequired, "the request is no WebSocket client's; if it was, the proxy in front must pass Upgrade and Connection on", missing
	case r.Method != http.MethodGet:
		return otherUpgrade, http.StatusMethodNotAllowed, "the method is not GET", nil
	case !key || r.Header.Get("Sec-Websocket-Version") != "13" || strings.Contains(text, "Sec-WebSocket-Key"):
		return otherUpgrade, http.StatusBadRequest, "the client does not speak RFC 6455", nil
	case strings.Contains(text, "Hijacker"):
		return otherUpgrade, http.StatusNotImplemented, "a ResponseWriter of middleware's must implement http.Hijacker, or Unwrap", nil
	case strings.Contains(text, "hijack"):
		return otherUpgrade, http.StatusInternalServerError, "the ResponseWriter does not part with its connection", nil
	}
	return foreignOrigin, http.StatusForbidden, fmt.Sprintf("Origin %q is not of Host %q: set OriginPatterns, or have the proxy in front pass Host on",
		clip(r.Header.Get("Origin")), clip(r.Host)), nil
}

// hasToken reports whether a list of tokens (RFC 9110, section 5.6.1) holds one, in whatever case.
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// clip keeps a client from filling the log with what it sends.
func clip(s string) string { return s[:min(len(s), 300)] }
