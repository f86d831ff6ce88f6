package main

import "testing"

func TestResidentMemoryIsReadFromStatus(t *testing.T) {
	if n, err := parseStatus("VmRSS:\t  900 kB\nRssAnon:\t     512 kB\nRssFile:\t 388 kB\n", "RssAnon:"); err != nil || n != 512<<10 {
		t.Error(n, err)
	}
	if _, err := parseStatus("VmRSS: 900 kB\n", "RssAnon:"); err == nil {
		t.Error("no RssAnon, no error")
	}
	if n, err := residentMemory(); err != nil || n <= 0 {
		t.Error(n, err)
	}
}
