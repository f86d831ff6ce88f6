package main

import (
	"testing"
	"time"
)

func TestReadsOfStreamsAreCounted(t *testing.T) {
	calls, took := parseReads("# Commandstats\r\ncmdstat_xrevrange:calls=3,usec=40,usec_per_call=13.33,rejected_calls=0,failed_calls=0\r\n" +
		"cmdstat_xadd:calls=9,usec=90,usec_per_call=10.00\r\ncmdstat_xrange:calls=1,usec=2,usec_per_call=2.00\r\n")
	if calls != 4 || took != 42*time.Microsecond {
		t.Error(calls, took)
	}
}
