package actors

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Kind says what the end of a child means.
type Kind uint8

const (
	Temporary Kind = iota // it may end at any time; after a failure it is stopped
	Permanent             // it must not end while its supervisor runs; after a failure it goes on
)

// MarshalText is the name, for JSON.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

func (k Kind) String() string { return [...]string{"temporary", "permanent"}[k] }

// Recovery says how a permanent child goes on after a failure.
type Recovery uint8

const (
	Restart Recovery = iota // with fresh state and the same mailbox; protoactor stops its children
	Resume                  // with the state it had; its children do not notice
)

// Budget is how many failures a permanent child may have within a time before its supervisor gives up. Where Within is
// zero nothing counts, and it never does.
type Budget struct {
	Failures int
	Within   time.Duration
}

// Spec is one child of a supervisor, as data.
type Spec struct {
	Name     string
	Kind     Kind
	Recovery Recovery
	Budget   Budget
	Backoff  Backoff
	Props    *actor.Props
}

// Action is what a supervisor does about a failure.
type Action uint8

const (
	ActStop    Action = iota // end the child
	ActRestart               // restart it after Decision.After
	ActResume                // let it go on after Decision.After
	ActGiveUp                // a permanent child is over its budget: end the supervisor too
)

func (a Action) String() string { return [...]string{"stop", "restart", "resume", "give up"}[a] }

// Decision is the outcome of Decide.
type Decision struct {
	Action  Action
	After   time.Duration
	Attempt int // failures within the budget's time, this one included
}

// Decide says what to do about a failure that happened now. failures holds the times of all that the child had, oldest
// first, the one at hand last; random is in [0, 1). It is a pure function: the whole policy of the tree is here and in the specs.
func Decide(s Spec, failures []time.Time, now time.Time, random float64) Decision {
	n := 0
	for _, t := range failures {
		if now.Sub(t) < s.Budget.Within {
			n++
		}
	}
	d := Decision{Attempt: n}
	switch {
	case s.Kind == Temporary:
		d.Action = ActStop
	case n > s.Budget.Failures:
		d.Action = ActGiveUp
	case s.Recovery == Resume:
		d.Action, d.After = ActResume, s.Backoff.Delay(n, random)
	default:
		d.Action, d.After = ActRestart, s.Backoff.Delay(n, random)
	}
	return d
}

// Supervisor carries out decisions for the permanent children of one actor; embedded in it, it makes that actor the
// children's actor.SupervisorStrategy. Its methods run in that actor.
type Supervisor struct {
	Log    *slog.Logger
	Now    func() time.Time    // nil: time.Now
	Random func() float64      // nil: math/rand
	Failed func(*Failed)       // told of every failure
	GiveUp func(reason string) // told once that a permanent child is over its budget or ended by itself

	// Spawned is told of the children, in the order of the specs, before those whose restarts are counted have begun; nil: nobody is.
	Spawned func([]*actor.PID)

	// Restarts counts how often each child has gone on after a failure, in the order of the specs. Those that it has a place for have
	// a mailbox of which Info knows how much is in it.
	Restarts []atomic.Uint64

	children []child
}

type child struct {
	spec     *Spec
	pid      *actor.PID // nil: it has ended
	failures []time.Time
	backoff  *time.Timer    // nil before the first
	restarts *atomic.Uint64 // nil: they are not counted
	mailbox  Mailbox
}

// Resolve is what a Supervisor sends itself when a child's backoff is over; its actor hands it to Handle.
type Resolve struct {
	pid    *actor.PID
	action Action
}

// IgnoreDeadLetterLogging keeps protoactor silent about a backoff that outlasts its supervisor.
func (*Resolve) IgnoreDeadLetterLogging() {}

// Start spawns the children in the order of specs, which it keeps, each under its name.
func (s *Supervisor) Start(ctx actor.Context, specs []Spec) error {
	s.children = make([]child, len(specs))
	defer func() {
		for i := range s.children {
			s.children[i].mailbox.release()
		}
	}()
	pids := make([]*actor.PID, len(specs))
	for i := range specs {
		spec, c := &specs[i], &s.children[i]
		c.spec = spec
		if i < len(s.Restarts) {
			c.restarts, c.mailbox.held = &s.Restarts[i], true
			spec.Props.Configure(actor.WithMailbox(func() actor.Mailbox { return &c.mailbox }))
		}
		pid, err := ctx.SpawnNamed(spec.Props, spec.Name)
		if err != nil {
			return fmt.Errorf("wskit: starting %s: %w", spec.Name, err)
		}
		c.pid, pids[i] = pid, pid
	}
	if s.Spawned != nil {
		s.Spawned(pids)
	}
	return nil
}

// Info is what is known of who, a child that has not ended.
func (s *Supervisor) Info(who *actor.PID) ActorInfo {
	info := ActorInfo{Name: who.Id}
	if c := s.child(who); c != nil {
		info.Kind = c.spec.Kind
		if c.restarts != nil {
			info.Restarts, info.Mailbox = c.restarts.Load(), c.mailbox.UserMessageCount()
		}
	}
	return info
}

// child is who, if it is one that has not ended.
func (s *Supervisor) child(who *actor.PID) *child {
	for i := range s.children {
		if c := &s.children[i]; c.pid != nil && c.pid.Id == who.Id {
			return c
		}
	}
	return nil
}

// HandleFailure implements actor.SupervisorStrategy.
func (s *Supervisor) HandleFailure(system *actor.ActorSystem, sup actor.Supervisor, who *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	c := s.child(who)
	if c == nil {
		sup.StopChildren(who)
		return
	}
	now, random := s.Now, s.Random
	if now == nil {
		now = time.Now
	}
	if random == nil {
		random = rand.Float64
	}
	at := now()
	c.failures = append(c.failures, at)
	if over := len(c.failures) - c.spec.Budget.Failures - 1; over > 0 {
		c.failures = c.failures[over:]
	}
	d := Decide(*c.spec, c.failures, at, random())
	failure := NewFailed(who, reason, d)
	failure.Log(s.Log)
	if s.Failed != nil {
		s.Failed(failure)
	}
	switch d.Action {
	case ActGiveUp:
		c.pid = nil
		sup.StopChildren(who)
		s.giveUp(fmt.Sprintf("%s failed %d times within %v", c.spec.Name, d.Attempt, c.spec.Budget.Within))
	case ActStop:
		sup.StopChildren(who)
	default:
		if c.restarts != nil {
			c.restarts.Add(1)
		}
		if d.After <= 0 {
			s.carryOut(sup, who, d.Action)
			return
		}
		// Through the actor's own mailbox: by then it may be stopping, and a restart would undo that.
		self := sup.(actor.Context).Self()
		c.backoff = time.AfterFunc(d.After, func() { system.Root.Send(self, &Resolve{who, d.Action}) })
	}
}

// Halt is for when the supervisor stops: nothing is restarted any more.
func (s *Supervisor) Halt() {
	for i := range s.children {
		if c := &s.children[i]; c.backoff != nil {
			c.backoff.Stop()
		}
	}
}

// Handle lets a child go on whose backoff is over.
func (s *Supervisor) Handle(ctx actor.Context, m *Resolve) {
	if sup, ok := ctx.(actor.Supervisor); ok && s.child(m.pid) != nil {
		s.carryOut(sup, m.pid, m.action)
	}
}

func (s *Supervisor) carryOut(sup actor.Supervisor, who *actor.PID, a Action) {
	if a == ActResume {
		sup.ResumeChildren(who)
		return
	}
	sup.RestartChildren(who)
}

// Ended notes that a child has ended. If it was permanent, nobody asked for that.
func (s *Supervisor) Ended(who *actor.PID) {
	c := s.child(who)
	if c == nil {
		return
	}
	c.pid = nil
	if c.spec.Kind == Permanent {
		s.giveUp(c.spec.Name + " ended by itself")
	}
}

// Alive reports whether who is a child that has not ended.
func (s *Supervisor) Alive(who *actor.PID) bool { return s.child(who) != nil }

func (s *Supervisor) giveUp(reason string) {
	if s.GiveUp != nil {
		giveUp := s.GiveUp
		s.GiveUp = nil
		giveUp(reason)
	}
}

// NewFailed describes a failure for events and logs.
func NewFailed(who *actor.PID, reason any, d Decision) *Failed {
	return &Failed{Op: who.Id, Err: NewPanicError(who.Id, reason), Attempt: d.Attempt, Action: d.Action}
}

// UserFailed describes a panic in a callback: that call is over, and nothing else.
func UserFailed(op string, err error) *Failed {
	return &Failed{Op: op, Err: err, Attempt: 1, Action: ActResume}
}

// Log writes the failure: a panic at Error with its stack, anything else at Warn.
func (f *Failed) Log(log *slog.Logger) {
	if log == nil {
		return
	}
	if pe, ok := f.Err.(*PanicError); ok {
		log.Error("wskit: crash", "op", f.Op, "error", f.Err, "attempt", f.Attempt, "action", f.Action.String(), "stack", string(pe.Stack))
		return
	}
	log.Warn("wskit: failure", "op", f.Op, "error", f.Err)
}
