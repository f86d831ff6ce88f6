package sseactor

import "testing"

func TestAStreamWhoseClientTakesItsTimeLeavesThePoolUntilItHasKeptUpForAWhile(t *testing.T) {
	l := new(lane)
	runs := func(want int) {
		t.Helper()
		if got := l.choose(); got != want {
			t.Errorf("it runs on %d, want %d", got, want)
		}
	}
	l.wrote(slowWrite - 1)
	runs(onStreams)
	l.wrote(slowWrite)
	runs(apart)
	for range probation - 1 {
		l.wrote(0)
	}
	runs(apart)
	l.wrote(slowWrite) // it begins anew
	for range probation - 1 {
		l.wrote(0)
	}
	runs(apart)
	l.wrote(0)
	runs(onStreams)
}

func TestAStreamOnAConnectionOfItsOwnRunsWithTheWebSockets(t *testing.T) {
	l := new(lane)
	l.direct.Store(true)
	if got := l.choose(); got != onConnections {
		t.Errorf("it runs on %d", got)
	}
}
