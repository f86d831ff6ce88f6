package main

import (
	"strings"
	"testing"
)

func TestChecksCompareMediansAtEveryNumberOfConnections(t *testing.T) {
	rows := summarize([]*measurement{
		run(ours, 100, 1), run(textbook, 100, 3), run(ours, 1000, 1), run(textbook, 1000, 4), run(floorName, 1000, 1),
		run(oursSSE, 100, 1), run(textbookSSE, 100, 1), lostRun(textbookSSE, 100),
	})
	for text, want := range map[string]bool{
		"burst<=0.334*textbook":               true,
		" burst <= 0.334 * textbook ":         true,
		"burst<=0.333*textbook":               false, // at 100 connections
		"wskit:burst<=textbook":               true,
		"textbook:burst>=3*wskit":             true,
		"textbook:burst>=3.1*wskit":           false,
		"burst<=2*floor":                      false, // floor was not measured at 100
		"single<=textbook":                    false, // nothing was
		"wskit-sse:burst<=9*textbook-sse":     false, // invalid run
		"burst<=.5*textbook":                  true,
		"wskit:burst<=0.00001*textbook":       false,
		"melody:burst<=1000000000*centrifuge": false,
	} {
		c, err := parseCheck(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, said := c.holds(rows); got != want {
			t.Errorf("%s: %v (%s)", text, got, said)
		}
	}
}

func TestChecksThatMeanNothingAreRefused(t *testing.T) {
	for _, text := range []string{"burst", "burst<0.3*textbook", "burst<=x*textbook", "burst<=0.3*nobody", "nothing<=textbook", "nobody:burst<=textbook", "burst<=1.2.3*textbook", "burst<=0.3*"} {
		if c, err := parseCheck(text); err == nil {
			t.Errorf("%s: %+v", text, c)
		}
	}
	if checks, err := parseChecks("burst<=textbook, single<=2*floor"); err != nil || len(checks) != 2 {
		t.Error(checks, err)
	}
}

func TestVerifyNamesWhatFailed(t *testing.T) {
	checks, err := parseChecks("burst<=0.5*textbook,burst<=0.1*textbook")
	if err != nil {
		t.Fatal(err)
	}
	err = verify(checks, summarize([]*measurement{run(ours, 100, 1), run(textbook, 100, 4)}))
	if err == nil || !strings.Contains(err.Error(), "burst<=0.1*textbook: 1.00 against 0.400 at 100 connections") || strings.Contains(err.Error(), "0.5*") {
		t.Error(err)
	}
}
