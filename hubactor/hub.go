package hubactor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

const (
	// grace is how much of the drain timeout, a quarter of it at most, is kept for cutting off what is not done by then.
	grace = 250 * time.Millisecond
	// runWithin is how soon a hub that is used is expected to run.
	runWithin = 5 * time.Second
	// flushWithin is how long the end of a hub waits for what it has logged to be handled.
	flushWithin = 100 * time.Millisecond
)

// hub is the root of the tree. It supervises, passes operations to the gate, and does nothing else.
type hub struct {
	actors.Supervisor
	cfg   Config
	link  *actors.Link
	specs []actors.Spec

	end       context.CancelCauseFunc
	failed    error         // what it is given up for; nil: it is not
	missed    *atomic.Int64 // drops that OnDrop was not called for
	idle      *time.Timer   // warns that nobody runs the hub; nil: it runs
	late      *time.Timer   // finishes a stop that takes too long
	metered   *meter        // nil: it is not
	stopping  bool
	forgotten bool
	opened    bool
	limit     time.Time        // of the drain that has begun; zero: none has
	until     time.Time        // of its spread
	spread    *time.Timer      // at that time; nil: there is none
	recalls   []*actors.Recall // asked before it opened, behind what the gate holds
}

// notRun, from a timer of the hub's: it is in use, and should have been opened by now.
type notRun struct{}

// Props makes a hub to be spawned as the child of any actor, or as a root. However it is stopped, by actors.Shutdown, by
// Stop or Poison, or with its parent, it drains first.
func Props(cfg Config) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor { return &hub{cfg: cfg.withDefaults()} })
}

// tree is the whole hub: started in this order, which is that of actors.Part, and stopped in the reverse.
func (h *hub) tree() []actors.Spec {
	specs := append(make([]actors.Spec, 0, 4), []actors.Spec{
		{
			Name: "listener", Kind: actors.Permanent, Recovery: actors.Restart,
			Budget: actors.Budget{Failures: 10, Within: 10 * time.Second},
			Props:  listenerProps(&h.cfg, h.link, h.missed),
		},
		{
			// Resumed, not restarted: its state is nothing but its children, and protoactor stops them on a restart.
			Name: "connections", Kind: actors.Permanent, Recovery: actors.Resume,
			Budget: actors.Budget{Failures: 10, Within: 10 * time.Second},
			Props:  connectionsProps(&h.cfg, h.link),
		},
		{
			Name: "registry", Kind: actors.Permanent, Recovery: actors.Restart,
			Budget: actors.Budget{Failures: 10, Within: 10 * time.Second},
			Props:  registryProps(h.link),
		},
	}...)
	if h.cfg.Redis != nil {
		specs = append(specs, h.cfg.Redis(h.link))
	}
	return specs
}

func (h *hub) Receive(ctx actor.Context) {
	defer h.recover(ctx)
	if v := reflect.ValueOf(ctx.Message()); v.Kind() == reflect.Pointer && v.IsNil() {
		h.cfg.Logger.Warn("wskit: hub ignored a nil message", "type", v.Type().String())
		return
	}
	switch m := ctx.Message().(type) {
	case *actor.Started:
		h.start(ctx)
	case *actor.Stopping, *actor.Restarting:
		h.drain(ctx)
	case *actor.Stopped:
		actors.FlushLog(h.cfg.Logger, flushWithin)
		h.late.Stop()
		h.over()
		if h.cfg.tenancy == nil { // else they are for all tenants
			h.link.Goroutines.Close()
		}
	case *actor.Terminated:
		if !h.stopping {
			h.Ended(m.Who)
		}
	case *actors.Resolve:
		if !h.stopping {
			h.Handle(ctx, m)
		}
	case *actors.Describe:
		answer(m.Reply, h.link)
	case *actors.Open:
		h.open(ctx)
	case *actors.Forget:
		h.forgotten = true
		ctx.Stop(ctx.Self())
	case notRun:
		if h.idle != nil {
			h.cfg.Logger.Warn("wskit: the hub is in use but does not run: call Run or Serve, in a goroutine of its own")
		}
	case *actors.Register:
		h.register(ctx, m)
	case *actors.Unregister:
		if actors.CheckSubscriber(m.Subscriber) == nil {
			h.submit(ctx, m)
		}
	case *actors.Join:
		h.membership(ctx, m, m.Subscriber, m.Topic, m.Reply)
	case *actors.Leave:
		h.membership(ctx, m, m.Subscriber, m.Topic, m.Reply)
	case *actors.DisconnectUser:
		ctx.Send(h.link.Registry, m)
	case *actors.Recall:
		if !h.opened {
			h.recalls = append(h.recalls, m)
			return
		}
		ctx.Send(h.link.Registry, m)
	case *actors.Topics:
		answer(m.Reply, h.link.Roll.Topics())
	case *actors.Broadcast:
		if m.Frame == nil {
			h.cfg.Logger.Warn("wskit: broadcast without a frame ignored")
			return
		}
		h.submit(ctx, m)
	case *actors.Publish:
		h.publish(ctx, m)
	case *actors.Subscribe, *actors.Unsubscribe:
		if h.link.Redis != nil {
			ctx.Send(h.link.Redis, m)
		}
	case *actors.Count:
		answer(m.Reply, h.link.Roll.Count())
	case *actors.Tree:
		h.list(ctx, m)
	case *actors.Inspect:
		h.inspect(ctx, m)
	case *actors.Unready:
		h.link.Leaving.Store(true)
	case *retire:
		ctx.Send(h.link.Connections, m)
	case *retirement:
		h.retire(ctx, m)
	case *actors.Shutdown:
		h.shutdown(ctx, m)
	case spreadOver:
		ctx.Stop(ctx.Self())
	case *actors.Crash:
		panic(m.Reason)
	case actor.SystemMessage, actor.AutoReceiveMessage:
	case *actor.DeadLetterResponse: // nobody gets its events any more
	default:
		h.cfg.Logger.Warn("wskit: hub ignored a message; messages are sent as pointers", "type", fmt.Sprintf("%T", m))
	}
}

// recover turns a panic in the supervisor itself into an orderly end: restarted by its parent it would lose its children.
func (h *hub) recover(ctx actor.Context) {
	if v := recover(); v != nil {
		f := actors.NewFailed(ctx.Self(), v, actors.Decision{Action: actors.ActGiveUp, Attempt: 1})
		f.Log(h.cfg.Logger)
		ctx.Send(h.link.Listener, f)
		h.fail(f.Err)
		ctx.Stop(ctx.Self())
	}
}

func (h *hub) start(ctx actor.Context) {
	system, self := ctx.ActorSystem(), ctx.Self()
	life, end := context.WithCancelCause(context.Background())
	h.end = end
	h.cfg.Logger = h.cfg.Logger.With("hub", self.Id)
	h.link = &actors.Link{
		Hub: self, System: system,
		Gate: actors.NewGate(h.cfg.RegisterBuf, h.cfg.RegisterBuf, h.cfg.BroadcastBuf,
			func(op actors.Operation) { system.Root.Send(h.link.Registry, op) }),
		Adoptions:  new(actors.Adoptions),
		Goroutines: h.goroutines(),
		Pools:      actors.NewPools(),
		Life:       life, Done: life.Done(),
		Log: h.cfg.Logger, Patience: h.cfg.ChannelTimeout, OnTimeout: h.cfg.OnTimeout, OnRefuse: h.cfg.OnRefuse, Greets: h.cfg.OnConnect != nil,
		MaxTopics: h.cfg.MaxTopics, MaxPerUser: h.cfg.MaxPerUser, Lockout: h.cfg.UserLockout, Received: h.cfg.Received,
		History: h.cfg.History, DrainSpread: h.cfg.DrainSpread, ReadyDelay: h.cfg.ReadyDelay, Hooks: h.cfg.Hooks,
		SSEHijack: h.cfg.SSEHijack, SSERefusalStatus: h.cfg.SSERefusalStatus,
	}
	h.link.Roll = actors.NewRoll(h.link, h.cfg.MaxSubscribers, ForeignBuf)
	h.link.Gate.SetRoll(h.link.Roll)
	if h.cfg.OnDrop != nil {
		h.link.OnDrop, h.missed = dropTeller(h.link)
	}
	if p := h.cfg.TracerProvider; p != nil {
		if err := actors.Fence("TracerProvider", func() { h.link.Tracer = p.Tracer("github.com/wskit/wskit") }); err != nil {
			actors.UserFailed("TracerProvider", err).Log(h.cfg.Logger)
		}
	}
	if h.cfg.Redis != nil {
		h.link.Redis = actor.NewPID(self.Address, self.Id+"/redis")
	}
	h.specs = h.tree()
	h.Supervisor = actors.Supervisor{
		Log:      h.cfg.Logger,
		Failed:   func(f *actors.Failed) { system.Root.Send(h.link.Listener, f) },
		Restarts: h.link.Counters.Restarts[:],
		Spawned: func(children []*actor.PID) {
			h.link.Listener, h.link.Connections, h.link.Registry = children[actors.PartListener], children[actors.PartConnections], children[actors.PartRegistry]
		},
		GiveUp: func(reason string) {
			err := h.fail(errors.New(reason))
			h.cfg.Logger.Error("wskit: hub ends", "reason", reason)
			system.Root.Send(h.link.Listener, &actors.Failed{Op: self.Id, Err: err, Action: actors.ActGiveUp})
			system.Root.Stop(self)
		},
	}
	if err := h.Start(ctx, h.specs); err != nil {
		panic(err)
	}
	h.metered = joinMeter(h.link, h.cfg.MeterProvider, h.cfg.TenantClass)
	if !h.cfg.Shut {
		h.open(ctx)
		h.cfg.tenancy.tell(system.Root, &tenantUp{h.cfg.tenancy, h.link})
		return
	}
	h.idle = time.AfterFunc(runWithin, func() { system.Root.Send(self, notRun{}) })
}

func (h *hub) open(ctx actor.Context) {
	h.link.Gate.Open()
	h.awake()
	for _, m := range h.recalls {
		ctx.Send(h.link.Registry, m)
	}
	h.opened, h.recalls = true, nil
}

// awake ends the wait for somebody who runs the hub.
func (h *hub) awake() {
	if h.idle != nil {
		h.idle.Stop()
		h.idle = nil
	}
}

func (h *hub) register(ctx actor.Context, m *actors.Register) {
	if err := cmp.Or(actors.CheckSubscriber(m.Subscriber), h.link.CheckTopics(m.Topics)); err != nil {
		h.cfg.Logger.Warn("wskit: register ignored", "error", err)
		return
	}
	h.submit(ctx, m)
}

// membership is for a Join or Leave.
func (h *hub) membership(ctx actor.Context, op actors.Operation, sub actors.Subscriber, topic string, reply chan<- error) {
	if err := cmp.Or(actors.CheckSubscriber(sub), actors.CheckTopic(topic)); err != nil {
		h.cfg.Logger.Warn("wskit: "+op.Op().String()+" ignored", "error", err)
		answer(reply, err)
		return
	}
	h.admit(ctx, op, reply)
}

func (h *hub) submit(ctx actor.Context, op actors.Operation) { h.admit(ctx, op, nil) }

func (h *hub) admit(ctx actor.Context, op actors.Operation, reply chan<- error) {
	root := ctx.ActorSystem().Root
	h.link.Gate.Submit(op, h.cfg.ChannelTimeout, func(err error) {
		if errors.Is(err, actors.ErrTimeout) {
			root.Send(h.link.Listener, &timedOut{op.Op()})
		}
		answer(reply, err)
	})
}

func (h *hub) publish(ctx actor.Context, m *actors.Publish) {
	if m.Frame != nil && h.link.Redis != nil {
		ctx.Send(h.link.Redis, m)
		return
	}
	if m.Frame != nil {
		h.submit(ctx, &actors.Broadcast{Frame: m.Frame, Topic: m.Topic, Except: m.Except, Keep: m.Keep})
	}
	answer(m.Reply, nil)
}

// answer sends a reply to whoever asked. A channel that has no room for it, against the agreement, must not block the hub.
func answer[T any](to chan<- T, v T) {
	select {
	case to <- v:
	default:
	}
}

// drain has the children finish what they accepted, last started first, so that each finds those it needs still at work.
// It blocks: the hub has nothing else to do any more. What takes too long is left behind.
func (h *hub) drain(ctx actor.Context) {
	if h.stopping || h.link == nil {
		return
	}
	h.stopping = true
	h.Halt()
	h.awake()
	actors.StopTimers(h.spread)
	h.link.Leaving.Store(true)
	limit := h.limit
	if limit.IsZero() {
		limit = time.Now().Add(h.cfg.DrainTimeout)
	}
	deadline := limit.Add(-min(grace, h.cfg.DrainTimeout/4))
	if !h.forgotten {
		h.link.Gate.Open() // what was queued before Open was accepted too
	}
	h.link.Gate.Stop()
	for _, spec := range slices.Backward(h.specs) {
		pid := actor.NewPID(ctx.Self().Address, ctx.Self().Id+"/"+spec.Name)
		if !h.Alive(pid) {
			continue
		}
		done := make(chan struct{}, 1)
		ctx.Send(pid, &actors.Drain{Deadline: deadline, Limit: limit, Done: done})
		patience := time.NewTimer(time.Until(limit))
		select {
		case <-done:
		case <-patience.C:
			h.cfg.Logger.Warn("wskit: drain timeout", "child", spec.Name)
		}
		patience.Stop()
	}
	// A child that user code blocks keeps the tree from ending; nobody shall wait for that.
	h.late = time.AfterFunc(time.Until(limit), h.over)
}

// fail notes what the hub is given up for, in the words of Err. An end that has begun stays the orderly one that it was.
func (h *hub) fail(cause error) error {
	err := fmt.Errorf("%w: %w", actors.ErrHubFailed, cause)
	if !h.stopping && h.failed == nil {
		h.failed = err
	}
	return err
}

// over tells everybody that the hub has ended.
func (h *hub) over() {
	h.metered.leave(h.link)
	h.link.Adoptions.End()
	h.end(h.failed)
	h.cfg.tenancy.tell(h.link.System.Root, &tenantOver{h.cfg.tenancy})
}

func (h *hub) list(ctx actor.Context, m *actors.Tree) {
	names := []string{ctx.Self().Id}
	for _, pid := range ctx.Children() {
		names = append(names, pid.Id)
	}
	ctx.Send(h.link.Connections, &listed{names: names, reply: m.Reply})
}

func (h *hub) inspect(ctx actor.Context, m *actors.Inspect) {
	list := []actors.ActorInfo{{Name: ctx.Self().Id, Kind: actors.Permanent}}
	for _, pid := range ctx.Children() {
		list = append(list, h.Info(pid))
	}
	ctx.Send(h.link.Connections, &inspected{actors: list, reply: m.Reply})
}
