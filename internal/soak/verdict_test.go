package soak_test

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
)

// verdict is what came of a soak.
type verdict struct {
	rows     []row
	failures []string
	leaks    []string
	embedded bool
	took     time.Duration

	healthy, visiting, misbehaving int // subscribers
	published, deliveries          int
	ungreeted                      int // unregistered before OnConnect was called
	lost, doubled                  int
	slowest                        time.Duration // of a message to its own instance
	gaps, missed                   int           // reported; messages missed within them, counted for each subscriber
}

type row struct {
	name                  string
	rank                  int // in the table
	injected, lost, twice int
	recovery, across      time.Duration // across: until messages of the other instance came again; 0: no fault of Redis
}

// settle ends the publishing when everything works again, lets all arrive, and stops the instances in the middle of a burst.
func (a *arena) settle() {
	since := now()
	if !wstest.Poll(a.patience()+10*time.Second, func() bool { return a.flows(since) }) {
		a.fail("at the end messages do not go from instance to instance")
	}
	a.silence()
	a.publishDone.Wait()
	<-a.watching
	for _, r := range a.rooms {
		last := r.json.at(r.json.begun())
		wstest.Poll(a.patience(), func() bool { return last.complete[1-r.index].Load() > 0 })
		if !wstest.Poll(a.patience(), func() bool { return r.hub.SubscriberCount() == r.stable }) {
			a.fail("instance %d has %d subscribers in the end, want %d", r.index, r.hub.SubscriberCount(), r.stable)
		}
	}
	a.mu.Lock()
	witnesses := slices.Clone(a.witnesses)
	a.mu.Unlock()
	if !wstest.Poll(a.patience(), func() bool {
		return !slices.ContainsFunc(witnesses, func(w *witness) bool { return w.stable && !w.complete() })
	}) {
		a.fail("not every healthy subscriber has everything within %v of the end", patience)
	}
	a.closing.Store(true)
	for _, r := range a.rooms {
		for range 50 {
			r.steady[0].publish(r.hub)
		}
		at := now()
		r.stop()
		for what, ch := range map[string]chan struct{}{"Run": r.ran, "SubscribeToRedis": r.listen} {
			if err := within(ch, what+" returns"); err != nil {
				a.fail("%v", err)
			}
		}
		if took := now() - at; took > drain+time.Second {
			a.fail("instance %d took %v to stop", r.index, took)
		}
	}
	limit := time.After(a.patience()) // for all of them together
	for _, w := range witnesses {
		select {
		case <-w.released:
		case <-limit:
			a.fail("not all healthy subscribers are let go within %v: %s", patience, w.name)
			return
		}
	}
}

// slow is the longest a message may take to the subscribers of its own instance: 5 s until a half-open link is noticed, which
// would have brought the echo, 5 s of backoff when the redis actor crashes meanwhile, and the time the machine may be busy.
const slow = 12 * time.Second

// span is when a fault was at work.
type span struct {
	row      int // -1: a report
	from, to time.Duration
}

// direction is what one instance gets of the other through Redis.
type direction struct {
	hiccups hiccups
	spans   []span
	reports []report
}

func (a *arena) judge() *verdict {
	v := &verdict{embedded: !a.redis.Real(), misbehaving: int(a.peers.Load()) + len(a.strangers), failures: a.failures}
	index := map[*fault]int{}
	for k, f := range a.faults {
		index[f] = k
		v.rows = append(v.rows, row{name: f.name})
		if f.outage {
			v.rows[k].rank = 1
		}
	}
	var spans []span
	for _, i := range a.injections {
		r := &v.rows[index[i.fault]]
		r.injected++
		r.lost += i.lost
		r.twice += i.double
		v.lost, v.doubled = v.lost+i.lost, v.doubled+i.double
		until := i.at
		for k, room := range a.rooms {
			m := room.probe.at(i.probes[k])
			done := time.Duration(m.complete[k].Load())
			if done == 0 {
				v.fail("%s, number %d: the next message of instance %d did not reach all", i.fault.name, i.n, k)
			}
			until = max(until, done)
		}
		r.recovery = max(r.recovery, until-i.at)
		spans = append(spans, span{index[i.fault], i.at, until})
	}
	ways := [2]direction{a.way(v, 0, index), a.way(v, 1, index)}
	for _, w := range ways {
		spans = append(spans, w.spans...)
	}
	blame := func(at time.Duration, lost, twice int) (names string) {
		v.lost, v.doubled = v.lost+lost, v.doubled+twice
		for _, s := range spans {
			if s.row >= 0 && s.from-500*time.Millisecond <= at && at <= s.to+500*time.Millisecond {
				if !strings.Contains(names, v.rows[s.row].name) {
					v.rows[s.row].lost += lost
					v.rows[s.row].twice += twice
				}
				names += fmt.Sprintf(" [%s at %.3fs]", v.rows[s.row].name, s.from.Seconds())
			}
		}
		return names
	}
	for _, s := range a.streams {
		v.published += s.begun()
		for k, m := range s.all {
			v.slowest = max(v.slowest, time.Duration(m.complete[s.home].Load())-m.begun)
			if took := time.Duration(m.complete[s.home].Load()) - m.begun; took > slow {
				v.fail("message %d of publisher %d, published at %.3fs, took %v to reach all of its own instance:%s", k+1, s.id, m.begun.Seconds(), took, blame(m.begun, 0, 0))
			}
		}
	}
	for _, w := range a.witnesses {
		a.weigh(v, w, &ways, blame)
	}
	a.pairs(v)
	for _, f := range a.faults {
		if n := v.rows[index[f]].injected; a.plan.faults && n < a.least(f) {
			v.fail("%s happened %d times, not %d", f.name, n, a.least(f))
		}
	}
	return v
}

func (v *verdict) fail(format string, args ...any) {
	if len(v.failures) < 80 {
		v.failures = append(v.failures, fmt.Sprintf(format, args...))
	}
}

// way works out when an instance may have missed messages of the other.
func (a *arena) way(v *verdict, to int, index map[*fault]int) (d direction) {
	s := a.rooms[1-to].json
	d.hiccups = a.hiccups
	for _, r := range a.rooms {
		d.reports = append(d.reports, r.reports...)
		if r.index == to {
			v.gaps += r.gaps
		}
	}
	slices.SortFunc(a.outages, func(a, b outage) int { return cmp.Compare(a.from, b.from) })
	for _, o := range a.outages {
		// Both links are on the way: the publisher's and the subscriber's.
		end, arrived := o.lifted, time.Duration(0)
		for _, m := range s.all {
			if done := time.Duration(m.complete[to].Load()); m.begun >= o.lifted && done > 0 {
				end, arrived = m.begun, done
				break
			}
		}
		k := index[o.injection.fault]
		if !slices.ContainsFunc(d.spans, func(s span) bool { return s.from < o.from && o.from < s.to }) { // of what was hurt already
			v.rows[k].across = max(v.rows[k].across, arrived-o.from)
		}
		d.spans = append(d.spans, span{k, o.from, end})
	}
	// A crashed actor breaks the subscription only when its restart's backoff is over: then the gap begins, with its report.
	for _, p := range d.reports {
		g := span{-1, p.at - transit, p.at}
		for _, m := range s.all {
			if m.begun >= p.at && m.complete[to].Load() > 0 {
				g.to = m.begun
				break
			}
		}
		d.spans = append(d.spans, g)
	}
	return d
}

// transit is how long a message may be on its way, from when Redis has it to when all have it, while the machine is not busy
// with something else.
const transit = 250 * time.Millisecond

// excuse reports whether a message may have been missed on the way: it was on it during an outage, and that was reported.
//
// A call returns after 2 s though the message still waits for a crashed actor's restart: then that its own instance has it shows
// that it has been on its way, and Redis is given another 2 s to answer.
func (d *direction) excuse(m *message, home int) (outage, reported bool) {
	sent, got := m.begun, time.Duration(m.returned.Load())
	if got-sent >= actors.PublishTimeout {
		got = max(got, time.Duration(m.complete[home].Load())+actors.PublishTimeout)
	}
	got = d.hiccups.after(got, transit)
	for _, s := range d.spans {
		if got < s.from || sent > s.to {
			continue
		}
		outage = true
		for _, r := range d.reports {
			reported = reported || r.at >= s.from-time.Second && r.at <= s.to+2*time.Second
		}
	}
	return outage, reported
}

// weigh looks at what one healthy subscriber heard.
func (a *arena) weigh(v *verdict, w *witness, ways *[2]direction, blame func(time.Duration, int, int) string) {
	if w.stable {
		v.healthy++
		if w.code != int(websocket.StatusGoingAway) && strings.Contains(w.kind, "ws") {
			v.fail("%s was closed with %d (%v), want 1001", w.name, w.code, w.end)
		}
	} else {
		v.visiting++
	}
	v.deliveries += w.heard
	for _, f := range w.faults {
		v.fail("%s: %s", w.name, f)
	}
	// One that was unregistered while OnConnect waited behind a callback that blocks can be sent no greeting any more.
	_, refused := w.room.ungreeted.Load(w.client)
	if refused = refused && w.leaving; w.room.greets && !refused && (w.hellos != 1 || w.early > 0) {
		v.fail("%s was greeted %d times, and got %d messages before", w.name, w.hellos, w.early)
	} else if refused {
		v.ungreeted++
	}
	for _, d := range w.doubles {
		m := a.streams[d.stream].at(d.n)
		v.fail("%s got message %d of publisher %d twice, published at %.3fs:%s", w.name, d.n, d.stream, m.begun.Seconds(), blame(m.begun, 0, 1))
	}
	for id, s := range a.streams {
		if s.home != w.room.index && !s.json {
			continue
		}
		for _, n := range w.missing(id) {
			m := s.at(n)
			if s.home != w.room.index {
				outage, reported := ways[w.room.index].excuse(m, s.home)
				if outage && reported {
					v.missed++
					continue
				}
				if outage {
					v.fail("a gap that nobody reported:")
				}
			}
			v.fail("%s (it heard %d, and ended with %d, %v) missed message %d of publisher %d (instance %d, JSON %v), published at %.3fs, returned at %.3fs:%s", w.name, w.heard, w.code, w.end, n, id, s.home, s.json,
				m.begun.Seconds(), time.Duration(m.returned.Load()).Seconds(), blame(m.begun, 1, 0))
			if v.lost == 1 {
				a.tell(v, s, n, w.room.index)
			}
		}
	}
}

// tell writes down what happened around a message that was lost.
func (a *arena) tell(v *verdict, s *stream, n, room int) {
	at := s.at(n).begun
	near := func(t time.Duration) bool { return at-4*time.Second < t && t < at+6*time.Second }
	var lines []string
	add := func(t time.Duration, format string, args ...any) {
		if near(t) {
			lines = append(lines, fmt.Sprintf("    %9.3fs ", t.Seconds())+fmt.Sprintf(format, args...))
		}
	}
	for _, i := range a.injections {
		add(i.at, "%s, instance %d", i.fault.name, i.room.index)
	}
	for _, o := range a.outages {
		add(o.lifted, "lifted: %s, instances %v, of %.3fs", o.injection.fault.name, o.who, o.from.Seconds())
	}
	for _, h := range a.hiccups {
		add(h.from, "the process stood still for %v", h.length)
	}
	for _, r := range a.rooms {
		for _, p := range r.reports {
			add(p.at, "instance %d reports, gap %v", r.index, p.gap)
		}
	}
	for k := max(1, n-30); s.at(k) != nil; k++ {
		m := s.at(k)
		add(m.begun, "message %d, returned after %v, heard by %d, by all after %v", k, time.Duration(m.returned.Load())-m.begun, m.heard[room].Load(), time.Duration(m.complete[room].Load())-m.begun)
	}
	slices.Sort(lines)
	v.failures = append(v.failures, "around the first loss:\n"+strings.Join(lines, "\n"))
}

// pairs checks that what comes in pairs did.
func (a *arena) pairs(v *verdict) {
	for _, r := range a.rooms {
		if in, out := r.connects.Load(), r.disconnects.Load(); in != out {
			v.fail("instance %d: OnConnect was called %d times, OnDisconnect %d times", r.index, in, out)
		}
	}
	for _, x := range a.strangers {
		in, out, closes := x.connects.Load(), x.disconnects.Load(), x.closes.Load()
		if in != out || in != closes || in > 1 || x.late.Load() > 0 {
			v.fail("a foreign subscriber saw OnConnect %d, OnDisconnect %d, Close %d times, and %d messages after Close", in, out, closes, x.late.Load())
		}
	}
}

// finish ends what is left, and waits for it.
func (a *arena) finish(v *verdict) {
	v.took = now()
	a.close()
	done := make(chan struct{})
	go func() { a.pumps.Wait(); a.work.Wait(); close(done) }()
	if err := within(done, "every pump and every goroutine of the soak ends"); err != nil {
		v.fail("%v", err)
	}
}

// close is the way out of every end.
func (a *arena) close() {
	a.closing.Store(true)
	a.mercy()
	a.silence()
	for _, r := range a.rooms {
		if r != nil {
			r.stop()
		}
	}
	_ = a.http.Close()
	a.client.CloseIdleConnections()
}

func (v *verdict) table() [][]string {
	rows := [][]string{{"fault", "injected", "lost", "duplicated", "slowest recovery"}}
	sorted := slices.Clone(v.rows)
	slices.SortStableFunc(sorted, func(a, b row) int { return cmp.Compare(a.rank, b.rank) }) // Redis last
	injected := 0
	for _, r := range sorted {
		recovery := short(r.recovery)
		if r.across > 0 {
			recovery += "; from the other instance " + short(r.across)
		}
		injected += r.injected
		rows = append(rows, []string{r.name, fmt.Sprint(r.injected), fmt.Sprint(r.lost), fmt.Sprint(r.twice), recovery})
	}
	return append(rows, []string{"total", fmt.Sprint(injected), fmt.Sprint(v.lost), fmt.Sprint(v.doubled), ""})
}

func short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func (v *verdict) totals() []string {
	redis := "Redis was a redis-server process."
	if v.embedded {
		redis = "No redis-server was found: Redis was the embedded one, and was not killed but closed."
	}
	return []string{
		fmt.Sprintf("%v on %d CPUs, %s, race detector %s. %s", v.took.Round(time.Second), runtime.GOMAXPROCS(0), runtime.Version(), map[bool]string{true: "on", false: "off"}[raceDetector], redis),
		fmt.Sprintf("%d healthy subscribers stayed, %d came and went (%d of them before OnConnect was called), %d subscribers and connections misbehaved.", v.healthy, v.visiting, v.ungreeted, v.misbehaving),
		fmt.Sprintf("%d messages published, %d deliveries checked: %d lost, %d duplicated. Left behind: %d goroutines, actors or more than %d MB of heap.", v.published, v.deliveries, v.lost, v.doubled, len(v.leaks), heapSlack>>20),
		fmt.Sprintf("The slowest message took %s to all subscribers of its own instance (through Redis: a half-open link has to be noticed, a crashed actor's restart waited for).", short(v.slowest)),
		"Faults overlap: what one took to recover from includes others that struck meanwhile.",
		fmt.Sprintf("%d gaps reported as ErrRedisGap; %d deliveries from the other instance missed, all within them.", v.gaps, v.missed),
	}
}

func (v *verdict) markdown() string {
	var b strings.Builder
	for k, r := range v.table() {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(r, " | "))
		if k == 0 {
			b.WriteString("|---|---:|---:|---:|---:|\n")
		}
	}
	b.WriteString("\n- " + strings.Join(v.totals(), "\n- ") + "\n")
	return b.String()
}

func (v *verdict) print(out io.Writer) {
	fmt.Fprintln(out)
	for _, r := range v.table() {
		fmt.Fprintf(out, "%-42s %9s %6s %11s   %s\n", r[0], r[1], r[2], r[3], r[4])
	}
	fmt.Fprintf(out, "\n%s\n\n", strings.Join(v.totals(), "\n"))
}
