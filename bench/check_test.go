package main

import (
	"strings"
	"testing"
)

func TestChecksCompareMediansAtEveryNumberOfConnections(t *testing.T) {
	rows := summarize([]*measurement{
		run(ours, 100, 1), run(textbook, 100, 3), run(ours, 1000, 1), run(textbook, 1000, 4), run(floorName, 1000, 1),
		run(oursSSE, 100, 1), run(textbookSSE, 100, 1), lostRun(textbookSSE, 100),
		run("melody", 1000, 3), lostRun("gorilla", 1000), run(oursOne, 1000, 2),
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
		"burst@1000<=0.25*textbook":           true,
		"burst@100<=0.25*textbook":            false,
		"burst@1000<=@100":                    true,
		"textbook:burst@1000<=1.3*@100":       false,
		"burst@1000<=@10000":                  false, // not measured
		"burst@1000<=0.334*peers":             true,  // of melody; neither floor nor wskit-one is a peer
		"burst@1000<=0.333*peers":             false,
		"wskit-sse:burst<=9*peers":            true, // an invalid run of a peer does not spoil its others
		"burst<=1":                            true,
		"burst<=0.99":                         false,
		"burst@1000>=2*0.5":                   true,
		"burst/allocs@1000<=0.05":             true,
	} {
		c, err := parseCheck(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := c.holds(rows); got.holds != want {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

func TestChecksThatMeanNothingAreRefused(t *testing.T) {
	for _, text := range []string{"burst", "burst<0.3*textbook", "burst<=x*textbook", "burst<=0.3*nobody", "nothing<=textbook", "nobody:burst<=textbook", "burst<=1.2.3*textbook", "burst<=0.3*", "burst<=1.2.3",
		"burst/nothing<=1", "burst@1000/allocs<=1", "burst@<=1", "burst<=@", "peers:burst<=1"} {
		if c, err := parseCheck(text); err == nil {
			t.Errorf("%s: %+v", text, c)
		}
	}
	if checks, err := parseChecks("burst<=textbook, single<=2*floor"); err != nil || len(checks) != 2 {
		t.Error(checks, err)
	}
	if checks, err := parseChecks("burst<=textbook,goals"); err != nil || len(checks) != 1+len(goals) {
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
