package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	_ "net/http/pprof" // its handlers are on the default mux, which only the control port serves
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// serve is the server role: one system in a process of its own. It prints its two addresses, clients' and control, takes
// broadcasts from stdin and ends with it, so that it never outlives the load generator.
//
// Broadcasts do not come by HTTP, since a request costs as much as broadcasting to a handful of connections.
func serve(name string) {
	sys := findSystem(name)
	if sys == nil {
		fatal("serve", fmt.Errorf("no system %q", name))
	}
	srv := sys.open()
	clients, control := listen(), listen()
	go func() {
		// What a peer's handler has to say about connections cut off belongs in nobody's report.
		quiet := &http.Server{Handler: srv, ErrorLog: log.New(io.Discard, "", 0)}
		fatal("serve", quiet.Serve(clients))
	}()
	go func() { fatal("serve", http.Serve(control, controlHandler(srv))) }()
	fmt.Println(clients.Addr(), control.Addr())

	in := bufio.NewReader(os.Stdin)
	var raw [orderLen]byte
	for {
		if _, err := io.ReadFull(in, raw[:]); err != nil {
			return
		}
		o := decodeOrder(&raw)
		for number := o.first; number != o.first+o.n; number++ {
			m := newMessage(number, o.stamp, o.body)
			if o.body.topics {
				srv.(topical).send(int(number%topics), m)
			} else {
				srv.broadcast(m)
			}
		}
	}
}

func listen() net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fatal("serve", err)
	}
	return l
}

// stats is what a server process tells about itself.
type stats struct {
	CPU     time.Duration `json:"cpu_ns"`  // user and system time of the process so far
	RSS     int64         `json:"rss"`     // resident anonymous memory in bytes: heap, stacks, the runtime's own
	Mallocs uint64        `json:"mallocs"` // allocations on the heap so far
	Count   int           `json:"count"`   // connections
	Heap    int64         `json:"heap"`    // bytes of objects on the heap
}

// controlHandler answers /stats, /stats?gc=1 (collects garbage first), /profile/start and /profile/stop, which brackets a
// measurement whose length is not known beforehand, /debug/pprof/, /publish if the server is a
// publisher, and /position and /fill if it keeps a log.
func controlHandler(srv server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/debug/pprof/", http.DefaultServeMux)
	mux.HandleFunc("/stats", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("gc") != "" {
			runtime.GC() // twice: a sync.Pool survives the first
			debug.FreeOSMemory()
		}
		rss, err := residentMemory()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		_ = json.NewEncoder(w).Encode(stats{CPU: cpuTime(), RSS: rss, Mallocs: mem.Mallocs, Count: srv.count(), Heap: int64(mem.HeapAlloc)})
	})
	var profile bytes.Buffer
	mux.HandleFunc("/profile/start", func(w http.ResponseWriter, _ *http.Request) {
		profile.Reset()
		if err := pprof.StartCPUProfile(&profile); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	})
	mux.HandleFunc("/profile/stop", func(w http.ResponseWriter, _ *http.Request) {
		pprof.StopCPUProfile()
		_, _ = w.Write(profile.Bytes())
	})
	if p, ok := srv.(publisher); ok {
		mux.Handle("/publish", publishHandler(p))
	}
	if l, ok := srv.(logger); ok {
		mux.HandleFunc("/position", func(w http.ResponseWriter, r *http.Request) { respond(w)(l.position(r.Context())) })
		mux.HandleFunc("/fill", fillHandler(l))
	}
	return mux
}

// cpuTime is what this process has used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		fatal("getrusage", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// residentMemory leaves out pages of files: how much of the program's code has been paged in says nothing of a system.
func residentMemory() (int64, error) { return statusBytes("RssAnon:") }

// statusBytes is what the kernel says of this process's memory under a key.
func statusBytes(key string) (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	return parseStatus(string(status), key)
}

func parseStatus(status, key string) (int64, error) {
	_, after, found := strings.Cut(status, key)
	if !found {
		return 0, fmt.Errorf("no %s in /proc/self/status", key)
	}
	kb, _, _ := strings.Cut(strings.TrimSpace(after), " kB")
	n, err := strconv.ParseInt(kb, 10, 64)
	return n << 10, err
}

func fatal(op string, err error) {
	fmt.Fprintf(os.Stderr, "bench: %s: %v\n", op, err)
	os.Exit(1)
}
