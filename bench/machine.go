package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
)

// machine says where the figures are from.
type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

func thisMachine() machine {
	m := machine{CPU: runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version()}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(release))
	}
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return m
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	return m
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, Linux %s, %s", m.CPU, m.Cores, m.Kernel, m.Go)
}

// disturbance says how much of the machine others took while it measured.
func disturbance(all []*measurement, cpus int) string {
	var cores []float64
	for _, m := range all {
		if v, ok := m.Values[otherCores]; ok {
			cores = append(cores, v)
		}
	}
	if len(cores) == 0 {
		return "Nothing was timed."
	}
	said := fmt.Sprintf("Other processes took %s cores (median of the runs; at most %s).", figure(median(cores)), figure(slices.Max(cores)))
	if median(cores) > 0.05*float64(cpus) {
		said += " That is much: latencies mean little, and ratios are rough."
	}
	return said
}
