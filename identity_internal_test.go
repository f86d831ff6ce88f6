package wskit

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unsafe"
)

func handshakeRequest() *http.Request {
	r := httptest.NewRequest("GET", "/ws", nil)
	r.RemoteAddr, r.Host = "192.168.100.200:54321", "hub.example.org:8080"
	for _, h := range [][2]string{{"Connection", "Upgrade"}, {"Upgrade", "websocket"}, {"Sec-WebSocket-Version", "13"},
		{"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}, {"Sec-WebSocket-Extensions", "permessage-deflate"}} {
		r.Header.Set(h[0], h[1])
	}
	return r
}

// What a connection without options knows of itself costs less than 150 bytes of heap, its place in the Client included.
func TestWhatAConnectionKnowsOfItselfIsSmall(t *testing.T) {
	const n = 20000
	r, kept := handshakeRequest(), make([]*identity, n)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range kept {
		kept[i] = &identity{facts: newFacts(r)}
	}
	each := float64(heap()-before)/n + float64(unsafe.Sizeof(Client{}.who))
	runtime.KeepAlive(kept)
	t.Logf("%.0f bytes", each)
	if each > 150 {
		t.Errorf("%.0f bytes", each)
	}
	if size := unsafe.Sizeof(Client{}); size > 24 {
		t.Errorf("a Client has %d bytes", size)
	}
	if allocs := testing.AllocsPerRun(100, func() { _ = newFacts(r) }); allocs > 1 {
		t.Errorf("%v allocations", allocs)
	}
}

func FuzzFactsAreReadBack(f *testing.F) {
	f.Add("GET", "/a?b=c", "example.org", "1.2.3.4:5", "Cookie", "a=b", "")
	f.Add("", "", "", "", "", "", strings.Repeat("x", 300))
	f.Fuzz(func(t *testing.T, method, path, host, addr, name, value, value2 string) {
		r := &http.Request{Method: method, Host: host, RemoteAddr: addr, Header: http.Header{name: {value, value2}, "Upgrade": {value}, "Empty": {}}}
		r.URL = httptest.NewRequest("GET", "/", nil).URL
		r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.URL.Scheme, r.URL.Opaque, r.URL.Host = path, value, value2, method, addr, host
		got := newFacts(r).request()
		delete(r.Header, "Upgrade")
		for name := range handshake {
			delete(r.Header, name)
		}
		if !reflect.DeepEqual(got, &http.Request{Method: method, Host: host, RemoteAddr: addr, Header: r.Header, URL: r.URL}) {
			t.Errorf("%+v, want %+v", got, r)
		}
	})
}
