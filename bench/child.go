package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// child is a server process, seen from the load generator.
type child struct {
	cmd     *exec.Cmd
	orders  io.WriteCloser
	clients string // address for clients
	control string // address for control
}

// startChild runs this same binary in the server role, with redis as the address of a Redis if the system needs one. The
// process ends with close, with ctx, or with this process.
func startChild(ctx context.Context, sys *system, redis string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.CommandContext(ctx, self, roleServe, sys.name)}
	c.cmd.Env = append(os.Environ(), redisVar+"="+redis)
	c.cmd.Stderr = os.Stderr
	if c.orders, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		_, err = fmt.Sscan(line, &c.clients, &c.control)
	}
	if err != nil {
		c.close()
		return nil, fmt.Errorf("%s did not start: %w", sys.name, err)
	}
	return c, nil
}

// close ends the process: politely, and after three seconds by force.
func (c *child) close() {
	c.orders.Close()
	force := time.AfterFunc(3*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer force.Stop()
	_ = c.cmd.Wait()
}

func (c *child) broadcast(o order) error {
	_, err := c.orders.Write(o.encode())
	return err
}

var controlClient = &http.Client{Timeout: 30 * time.Second}

func (c *child) get(path string) ([]byte, error) {
	resp, err := controlClient.Get("http://" + c.control + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, strings.TrimSpace(string(body)))
	}
	return body, err
}

// stats asks the process about itself, after a garbage collection if gc is set.
func (c *child) stats(gc bool) (stats, error) {
	path := "/stats"
	if gc {
		path += "?gc=1"
	}
	var s stats
	body, err := c.get(path)
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	return s, err
}
