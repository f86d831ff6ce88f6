//go:build unix

package contract_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// distant is a client some way off: pongs that it sends while the server stands still have not all arrived when that goes on.
var distant = &websocket.DialOptions{
	HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}},
	OnPingReceived: func(context.Context, []byte) bool {
		<-time.After(20 * time.Millisecond)
		return true
	},
}

const standingStill = "WSKIT_STAND_STILL"

// A process that is stopped, and continued, finds its clients as they were.
func TestAProcessThatStoodStillKeepsItsClients(t *testing.T) {
	if os.Getenv(standingStill) != "" {
		serveUntilTold(t)
		return
	}
	const each, pause = 50, 3 * time.Second
	child := exec.Command(os.Args[0], "-test.run=^TestAProcessThatStoodStillKeepsItsClients$", "-test.v")
	child.Env = append(os.Environ(), standingStill+"=1")
	in, _ := child.StdinPipe()
	out, _ := child.StdoutPipe()
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = child.Process.Signal(syscall.SIGCONT)
		_ = in.Close()
		_ = child.Wait()
	})
	lines := bufio.NewScanner(out)
	var left atomic.Int64
	for _, kind := range wstest.Kinds {
		url, found := "", false
		for !found && lines.Scan() {
			url, found = strings.CutPrefix(lines.Text(), kind.Name+" at ")
		}
		if !found {
			t.Fatal("no address of", kind.Name)
		}
		for range each {
			b, _, err := websocket.Dial(t.Context(), url+"/ws", distant)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = b.CloseNow() })
			go func() { // it answers pings
				_, _, _ = b.Read(context.Background())
				left.Add(1)
			}()
		}
	}
	<-time.After(500 * time.Millisecond)
	_ = child.Process.Signal(syscall.SIGSTOP)
	<-time.After(pause)
	_ = child.Process.Signal(syscall.SIGCONT)
	if wstest.Poll(1500*time.Millisecond, func() bool { return left.Load() > 0 }) {
		t.Errorf("%d or more of %d clients were cut after a pause of %v", left.Load(), each*len(wstest.Kinds), pause)
	}
}

// serveUntilTold is the process that is stopped: a server for each kind, until its input ends.
func serveUntilTold(t *testing.T) {
	hub := wstest.Run(t)
	for _, kind := range wstest.Kinds {
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, Client: []wskit.ClientOption{
			wskit.WithPingInterval(100 * time.Millisecond), wskit.WithWriteWait(500 * time.Millisecond)}})
		fmt.Printf("%s at %s\n", kind.Name, srv.URL)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}
