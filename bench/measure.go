package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// measurement is what one run of a scenario found.
type measurement struct {
	Round    int                `json:"round"`
	System   string             `json:"system"`
	Scenario string             `json:"scenario"`
	Conns    int                `json:"connections"`
	Count    int64              `json:"count"`             // deliveries, or connects
	Values   map[string]float64 `json:"values"`            // by metric key
	Invalid  string             `json:"invalid,omitempty"` // why it does not count
	Latency  []point            `json:"latency_ms,omitempty"`
}

// measure takes the CPU time of the server, the load generator and everybody else, the server's allocations, and the wall
// time, around run, which returns a count.
func (s *session) measure(ctx context.Context, run func() (int64, error)) (*measurement, error) {
	before, err := s.child.stats(true)
	if err != nil {
		return nil, err
	}
	redis, own, machine, start := s.redis.cpuTime(ctx), cpuTime(), busyTime(), time.Now()
	count, err := run()
	if err != nil {
		return nil, err
	}
	wall := time.Since(start)
	redis, own, machine = s.redis.cpuTime(ctx)-redis, cpuTime()-own, busyTime()-machine
	after, err := s.child.stats(false)
	if err != nil {
		return nil, err
	}
	per := func(d time.Duration) float64 { return d.Seconds() * 1e6 / float64(count) }
	return &measurement{Count: count, Values: map[string]float64{
		cpuPerDelivery.key:    per(after.CPU - before.CPU),
		allocsPerDelivery.key: float64(after.Mallocs-before.Mallocs) / float64(count),
		"load_cpu_us":         per(own),
		"per_s":               float64(count) / wall.Seconds(),
		otherCores:            max(0, (machine-redis-own-(after.CPU-before.CPU)).Seconds()/wall.Seconds()),
	}}, nil
}

// otherCores is the key of how many cores were taken by processes that have nothing to do with the measurement.
const otherCores = "other_cores"

// busyTime is what all processes of the machine, and its host, have taken of its CPUs so far; 0 if nobody says.
func busyTime() time.Duration {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	return parseBusy(string(stat))
}

func parseBusy(stat string) time.Duration {
	var user, nice, system, idle, iowait, irq, softirq, steal time.Duration
	if _, err := fmt.Sscanf(stat, "cpu %d %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal); err != nil {
		return 0
	}
	return (user + nice + system + steal) * (time.Second / 100) // in ticks of a hundredth, whatever the kernel's own
}

func (m *measurement) addLatency(h *histogram) {
	ms := func(q float64) float64 { return h.quantile(q).Seconds() * 1000 }
	m.Values[p50.key], m.Values[p99.key], m.Values[p999.key] = ms(0.5), ms(0.99), ms(0.999)
	m.Latency = h.curve()
}
