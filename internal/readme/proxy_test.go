package readme_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// What the README has nginx do is enough for both transports, and each line that it says is needed is.
func TestTheConfigurationOfNginx(t *testing.T) {
	if _, err := exec.LookPath("nginx"); err != nil {
		t.Skip("nginx not found: what the README says about it was not tested")
	}
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?ms)^```nginx\n(.*?)^```$").FindSubmatch(text)
	if block == nil {
		t.Fatal("the README shows no nginx")
	}
	hub := wstest.Run(t, wskit.WithOnConnect(func(s wskit.Subscriber) { s.Send([]byte("hello")) }))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	for name, c := range map[string]struct {
		without string // the header whose line is left out
		status  int    // of a page's WebSocket then; 101 with all
	}{
		"as it is":        {"", http.StatusSwitchingProtocols},
		"without Upgrade": {"Upgrade", http.StatusUpgradeRequired},
		"without Host":    {"Host", http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			at := nginx(t, string(block[1]), c.without, srv.Host())
			p := at.Handshake(t, wstest.Handshake{Header: map[string]string{"Origin": at.URL}})
			if p.Answer.StatusCode != c.status {
				t.Fatalf("a page's WebSocket is answered %s, want %d", p.Answer.Status, c.status)
			}
			if c.without != "" {
				return
			}
			p.Expect(t, "hello")
			at.Open(t, func(o *websocket.DialOptions) { o.HTTPHeader = http.Header{"Origin": {at.URL}} }).Expect(t, "hello")
			at.Stream(t).Expect(t, "hello")
		})
	}
}

// nginx runs the README's configuration without one line, in front of another backend.
func nginx(t *testing.T, config, without, backend string) *wstest.Server {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr()
	_ = free.Close()
	var lines []string
	for line := range strings.Lines(strings.ReplaceAll(config, "127.0.0.1:8080", backend)) {
		if fields := strings.Fields(line); without == "" || len(fields) < 2 || fields[0] != "proxy_set_header" || fields[1] != without {
			lines = append(lines, line)
		}
	}
	outside, inside, _ := strings.Cut(strings.Join(lines, ""), "# within server {}\n")
	dir := t.TempDir()
	file := filepath.Join(dir, "nginx.conf")
	temporary := ""
	for _, of := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temporary += fmt.Sprintf("%s_temp_path %s;\n", of, filepath.Join(dir, of))
	}
	if err := os.WriteFile(file, fmt.Appendf(nil, "daemon off; worker_processes 1; pid %s; error_log stderr;\nevents {}\nhttp {\naccess_log off;\n%s%s\nserver {\nlisten %s;\n%s}\n}\n",
		filepath.Join(dir, "pid"), temporary, outside, addr, inside), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	process := exec.CommandContext(ctx, "nginx", "-c", file, "-e", "stderr")
	process.Cancel = func() error { return process.Process.Signal(os.Interrupt) } // its workers end with it
	var said strings.Builder
	process.Stderr = &said
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); _ = process.Wait() })
	if !wstest.Poll(wstest.Patience, func() bool {
		conn, err := net.Dial("tcp", addr.String())
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}) {
		stop()
		_ = process.Wait()
		t.Fatal("nginx does not start: ", said.String())
	}
	return wstest.At(t, wstest.TCP, addr)
}
