package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// goal is a figure that wskit is to reach: a check with a heading.
type goal struct {
	what  string
	check check
}

// goals are what the comparison is for.
var goals = []goal{
	newGoal("CPU per delivery, burst of 64, 1,000 connections", "burst@1000<=0.1*gorilla"),
	newGoal("", "burst@1000<=0.2*centrifuge"),
	newGoal("", "burst@1000<=0.05*textbook"),
	newGoal("CPU per delivery, single, 1,000 connections", "single@1000<=1.25*floor"),
	newGoal("", "single@1000<=peers"),
	newGoal("p99 latency at 100 broadcasts a second, 1,000 connections", "rate@1000<=0.8*peers"),
	newGoal("CPU per delivery, burst, 10,000 connections over 100", "burst@10000<=1.5*@100"),
	newGoal("KB per idle connection, ServeWS, 9,000 connections", "wskit-serve:idle@9000<=10"),
	newGoal("", "wskit-serve:idle@9000<=0.5*peers"),
	newGoal("KB per idle connection, Accept and Serve, 9,000 connections", "wskit-one:idle@9000<=10"),
	newGoal("", "wskit-one:idle@9000<=0.5*peers"),
	newGoal("KB per idle connection, Accept and two pumps, 9,000 connections", "idle@9000<=14"),
	newGoal("KB per idle SSE stream, 9,000 streams", "wskit-sse:idle@9000<=20"),
	newGoal("KB per idle SSE stream, hijacked, 9,000 streams", "wskit-sse-hijack:idle@9000<=20"),
	newGoal("CPU per delivery, SSE, burst, 1,000 streams", "wskit-sse:burst@1000<=0.2*textbook-sse"),
	newGoal("CPU per delivery, SSE hijacked, burst, 1,000 streams", "wskit-sse-hijack:burst@1000<=0.2*textbook-sse"),
	newGoal("allocations per delivery, WebSocket, single", "single/allocs@1000<=0.05"),
	newGoal("allocations per delivery, WebSocket, burst", "burst/allocs@1000<=0.05"),
	newGoal("allocations per delivery, SSE, single", "wskit-sse:single/allocs@1000<=0.05"),
	newGoal("allocations per delivery, SSE, burst", "wskit-sse:burst/allocs@1000<=0.05"),
	newGoal("CPU per delivery, a topic of 1,000 members over the hub", "wskit-topic:single@1000<=1.05*wskit"),
	newGoal("", "wskit-topic:burst@1000<=1.05*wskit"),
	newGoal("CPU per delivery, 10,000 topics of 10 members in turn", "wskit-topics:topics@1000<=gorilla-topics"),
	newGoal("publishes per second", "wskit-publish:publish>=4*publish-each"),
	newGoal("publishes per second with history over without", "wskit-publish-history:publish>=0.6*wskit-publish"),
	newGoal("CPU per delivery with history over without, 1,000 connections", "wskit-history:single@1000<=1.15*wskit"),
	newGoal("", "wskit-history:burst@1000<=1.15*wskit"),
	newGoal("CPU per delivery with wskit.v1 over plain messages, 1,000 connections", "wskit-v1:single@1000<=1.15*wskit"),
	newGoal("", "wskit-v1:burst@1000<=1.15*wskit"),
	newGoal("CPU per delivery, SSE with history over without, 1,000 streams", "wskit-sse-history:single@1000<=1.15*wskit-sse"),
	newGoal("", "wskit-sse-history:burst@1000<=1.15*wskit-sse"),
	newGoal("bytes of heap per message of 100 B that is kept", "wskit-rings:kept<=400"),
	newGoal("bytes of heap per topic that keeps any", "wskit-rings:kept/topic_b<=400"),
	newGoal("bytes in Redis per message of 100 B that is kept", "wskit-streams:kept<=400"),
	newGoal("ms until 10,000 have what they missed, after the last came, from memory", "wskit-rings:resume/lag_ms@10000<=100"),
	newGoal("the same, from Redis", "wskit-streams:resume/lag_ms@10000<=100"),
	newGoal("reads of streams per topic when 10,000 come", "wskit-streams:resume/reads@10000<=1"),
	newGoal("ms that Redis takes for these", "wskit-streams:resume/read_ms@10000<=10"),
	newGoal("CPU per delivery, compressed, burst of 64, 1,000 connections", "wskit-deflate:burst-text@1000<=2*wskit"),
}

func newGoal(what, text string) goal {
	c, err := parseCheck(text)
	if err != nil {
		panic(err)
	}
	return goal{what, c}
}

// limit says what the goal asks for.
func (g goal) limit() string {
	sign := "<="
	if !g.check.atMost {
		sign = ">="
	}
	switch {
	case g.check.isAbsolute():
		return fmt.Sprintf("%s %.4g", sign, g.check.factor)
	case g.check.factor == 1:
		return sign + " " + g.check.otherName()
	}
	return fmt.Sprintf("%s %.4g x %s", sign, g.check.factor, g.check.otherName())
}

// outcome is how a goal came out, for the table and the JSON file.
type outcome struct {
	Goal     string `json:"goal"`
	Limit    string `json:"limit"`
	Measured string `json:"measured"`
	Holds    bool   `json:"holds"`
}

// outcomes are those of the goals that were measured.
func outcomes(rows []*row) (list []outcome) {
	what := ""
	for _, g := range goals {
		if g.what != "" {
			what = g.what
		}
		result := g.check.holds(rows)
		if result.missing {
			continue
		}
		o := outcome{Goal: what, Limit: g.limit(), Measured: result.said, Holds: result.holds}
		switch {
		case result.compared && g.check.isAbsolute():
			o.Measured = figure(result.ratio)
		case result.compared:
			o.Measured = figure(result.ratio) + " x"
		}
		list = append(list, o)
	}
	return list
}

// writeGoals prints a table of the outcomes; nothing if there are none.
func writeGoals(w io.Writer, list []outcome) error {
	if len(list) == 0 {
		return nil
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\nGoals\ngoal\tlimit\tmeasured\tholds")
	for _, o := range list {
		holds := "yes"
		if !o.Holds {
			holds = "NO"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", o.Goal, o.Limit, o.Measured, holds)
	}
	return tw.Flush()
}
