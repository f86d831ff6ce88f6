package actors

import (
	"container/list"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Every message is sent as a pointer and not changed afterwards. Time limits are the sender's to keep unless a comment says
// otherwise. Reply channels have room for the one reply, so nobody who answers ever blocks.

// Subscriber is who receives broadcasts; the facade's interface of that name.
type Subscriber interface {
	Send(data []byte) bool
	Close()
}

// Connection is a Subscriber with an Outbox, as the facade's clients are. A hub whose Outbox it is posts there; to any other
// hub it is a Subscriber like others.
type Connection interface {
	Subscriber
	Outbox() *Outbox // nil for one that was never open
}

// To the hub, from whoever drives it: the facade, or an actor that embeds it.
type (
	// Register makes Subscriber a member, and one of the Topics from its first moment. One that is no Connection of this hub gets
	// an actor that calls its Send and Close. Nothing comes back; a Connected event follows.
	Register struct {
		Subscriber Subscriber
		Topics     []string
		Cursor     Cursor // where it goes on, in a hub with History
		Reserved   bool   // a place was reserved on the Roll, which this registration takes
		entry
	}
	// Unregister takes Subscriber out and closes it. A Disconnected event follows, if it was a member.
	Unregister struct {
		Subscriber Subscriber
		entry
	}
	// Join makes a member one of Topic too, and Leave undoes that. Reply, which may be nil, gets nil or why not: ErrNotRegistered,
	// ErrInvalidTopic, ErrTooManyTopics, ErrTimeout or ErrHubStopped. To join twice is to join once.
	Join struct {
		Subscriber Subscriber
		Topic      string
		Reply      chan<- error
		entry
	}
	Leave struct {
		Subscriber Subscriber
		Topic      string
		Reply      chan<- error
		entry
	}
	// Broadcast sends a frame to every member of Topic but Except. The zero values mean everybody. In a hub with History and without
	// Redis it gets a position, and Keep says how it is kept.
	Broadcast struct {
		Frame  *Frame
		Topic  string
		Except Subscriber
		Keep   *Keeping
		audience
	}
	// Publish does that in every hub on the same Redis channel; without Redis it is Broadcast.
	// Reply, which may be nil, gets nil or the reason why it was delivered locally only, within 2 s and, if the hub takes it
	// by then, when the frame has been admitted to the hub's Gate; ErrTimeout or ErrHubStopped: nobody gets it. In a hub with History
	// it gets a position, in all hubs on the channel; ErrUnknownOutcome: nobody knows whether anybody gets it.
	Publish struct {
		Frame  *Frame
		Topic  string
		Except Subscriber
		Keep   *Keeping
		Reply  chan<- error
	}
	// Recall asks a hub with History for the last messages of Topic, Last of them at most: those that are kept, with their Placement. It is
	// answered once the hub is open.
	Recall struct {
		Topic string
		Last  int
		Reply chan<- Recalled
	}
	// DisconnectUser closes all connections of User in every hub on the same Redis channel, with Code (1000 or 3000 to 4999; 0: 1000) and
	// Text, and for Lockout (0: what the hub's Config says; negative: not at all) lets that user in nowhere. Reply, which may be nil, gets how many it closed here.
	DisconnectUser struct {
		User    string
		Code    uint16
		Text    string
		Lockout time.Duration
		Reply   chan<- UserDisconnected
	}
	// Topics asks for the names of the topics that somebody is in.
	Topics struct{ Reply chan<- []string }
	// Subscribe asks for what others publish, until the matching Unsubscribe. Without Redis it does nothing.
	Subscribe struct{}
	// Unsubscribe takes one Subscribe back.
	Unsubscribe struct{}
	// Open starts a hub that was spawned shut.
	Open struct{}
	// Forget ends a hub that was never opened and that nobody can reach any more; what it was asked for does not happen.
	Forget struct{}
	// Count asks for the number of members.
	Count struct{ Reply chan<- int }
	// Unready has the hub say that it is not ready any more, since it is to be shut down soon (Link.Ready). Nothing else changes.
	Unready struct{}
	// Shutdown drains the hub and stops it: watch its PID to learn when that is done. A Timeout shortens the hub's own, and a later
	// Shutdown may shorten it further. Stop, Poison and the end of its parent drain it too, at once, without a spread.
	Shutdown struct{ Timeout time.Duration }
	// Describe asks for the hub's Link, of which Stats may be asked at any time.
	Describe struct{ Reply chan<- *Link }
	// Tree asks for the PIDs of the hub's actors that run now, connections included; names are readable.
	Tree struct{ Reply chan<- []string }
	// Inspect asks for the same, with what is known of each: the hub first, then its permanent actors in the order in which they were
	// started, then connections.
	Inspect struct{ Reply chan<- []ActorInfo }
)

// Recalled answers Recall, oldest first. Err is ErrNoHistory, ErrHubStopped, or why Redis could not be asked.
type Recalled struct {
	Messages []*Frame
	Err      error
}

// UserDisconnected answers DisconnectUser when Redis has the order, or within 2 s. Err says why other instances may not have it:
// they get it when the link is back.
type UserDisconnected struct {
	Count int
	Err   error
}

// To any actor of the tree, from tests and operators: it panics with Reason, and its supervisor acts.
type Crash struct{ Reason any }

// IgnoreDeadLetterLogging is for a hub that was stopped before it was forgotten.
func (*Forget) IgnoreDeadLetterLogging() {}

// To tenants, from whoever drives them; see hubactor.Tenants. Shutdown drains all of them and stops them, Unready has them say before that they
// are not ready any more (TenantsLink.Leaving), Crash is for tests.
type (
	// Tenant asks for the hub of that name, which is started if it does not run; or, if Running, only for one that does: else the
	// answer is ErrHubStopped. What is sent to a hub that is idle is lost: hold its Gate meanwhile, or send ToTenant.
	Tenant struct {
		Name    string
		Running bool
		Reply   chan<- TenantHub
	}
	// ToTenant hands Message to the hub of that name, which is started if it does not run. Reply, which may be nil, gets nil when it was
	// handed over, else why not, as in TenantHub.
	ToTenant struct {
		Name    string
		Message any
		Reply   chan<- error
	}
	// StopTenant drains the hub of that name and stops it, as Shutdown does. Reply, which may be nil, gets nil when it has stopped, or did
	// not run.
	StopTenant struct {
		Name    string
		Timeout time.Duration
		Reply   chan<- error
	}
	// TenantNames asks for the names of those that run.
	TenantNames struct{ Reply chan<- []string }
	// TenantStats asks for the sum of what all their hubs are and have counted, those that have ended too.
	TenantStats struct{ Reply chan<- Stats }
	// DescribeTenants asks for their link.
	DescribeTenants struct{ Reply chan<- *TenantsLink }
)

// TenantHub answers Tenant. Err is ErrInvalidTenant, ErrTooManyTenants, ErrTimeout (16384 wait for that tenant already), ErrHubStopped, a
// *TenantFailedError, or a *PanicError of what configures the hub.
type TenantHub struct {
	Link *Link
	Err  error
}

// Keeping is how a message is kept. nil: as much of its topic as the hub says.
type Keeping struct {
	Key     string   // of several with one key, which is not empty, in KeyLifetime only the first is sent
	History *History // how much is kept of the topic; nil: as much as the hub says
	late    Position
}

// Late is for a message that Redis has taken, at that position, and that the hub's subscribers would not get from the log any more. It goes
// out without a position, to those who do not have it from there.
func Late(at Position) *Keeping { return &Keeping{late: at} }

// LateAt is that position; the zero Position: it is none.
func (k *Keeping) LateAt() Position {
	if k == nil {
		return Position{}
	}
	return k.late
}

// OnceAs is the key; "": it has none.
func (k *Keeping) OnceAs() string {
	if k == nil {
		return ""
	}
	return k.Key
}

// Of is how much is kept of the topic in a hub that keeps that much of others; defaults included.
func (k *Keeping) Of(others History) History {
	if k == nil || k.History == nil {
		return others
	}
	return k.History.WithDefaults()
}

func (*Register) Op() Op   { return OpRegister }
func (*Unregister) Op() Op { return OpUnregister }
func (*Dismiss) Op() Op    { return OpUnregister }
func (*Join) Op() Op       { return OpJoin }
func (*Leave) Op() Op      { return OpLeave }
func (*Logged) Op() Op     { return OpBroadcast }
func (*Broadcast) Op() Op  { return OpBroadcast }

// To connections.
type (
	// Adopt, from the facade or the registry: run the actor of a new connection, on its Outbox. Kind is the first part of its
	// name. The actor is made already: it is never restarted, and Props of its own would cost each connection 400 bytes.
	Adopt struct {
		Kind       string
		Subscriber Subscriber
		Outbox     *Outbox
		Actor      actor.Actor
		Refuse     func(Reason) // ends the connection if there will be no actor; called by Adoptions, and must not block

		waiting *list.Element // in Adoptions
	}
	// Members, from a registry that (re)starts: who has joined, in the order they were adopted?
	Members struct{ Reply chan<- []Member }
	// Unserved, from a connection: it was accepted, and nobody ran its pumps; it closes itself.
	Unserved struct{}
	// Caught, from the registry, to its listener too: answer when all that came before has been handled.
	Caught struct{ Reply chan<- struct{} }
)

// Member is one entry of the answer to Members.
type Member struct {
	Subscriber Subscriber
	Outbox     *Outbox
}

// To the registry, from an Outbox that was closed: its end has begun.
type Left struct{ Member }

// To the registry, from connections, by way of the Gate: begin the end of who has that Outbox. What was admitted before goes out first.
type Dismiss struct {
	Outbox *Outbox
	Reason Reason
}

// IgnoreDeadLetterLogging keeps protoactor silent about one that ends after its hub.
func (*Left) IgnoreDeadLetterLogging() {}

// To a connection, through its Outbox.
type (
	// Close, from Outbox.Close: write what is queued, tell the peer why, end. What takes longer than Deadline is cut
	// off; a zero Deadline means the connection's own write wait. Why: Code and Text, or those of Reason if Code is 0.
	Close struct {
		Reason   Reason
		Code     uint16
		Text     string
		Deadline time.Time
	}
	// Abort, from Outbox.Abort when the drain timeout is over: end now.
	Abort struct{}
)

// To connections, from a connection's actor: a message of the peer's was refused, since it has more bytes than Limit.
type Oversized struct{ Limit int64 }

// To the child that links the hub to Redis.
type (
	// Interest, from the Roll: somebody is in Topic now, or nobody is any more.
	Interest struct {
		Topic  string
		Wanted bool
	}
	// Announce, from connections: tell the other hubs on the channel. Reply, which may be nil, gets nil when Redis has it, else why
	// not, within 2 s.
	Announce struct {
		Payload []byte
		Reply   chan<- error
	}
	// Load, from the registry of a hub with History: what is kept of Topics is wanted. A Logged with them follows, when it can.
	Load struct{ Topics []string }
)

// To the registry of a hub with History, from the child that links the hub to Redis: what became of the log. It passes the Gate, in the order
// of the messages that the child delivers, which have positions.
type (
	Logged struct {
		At     Position      // where the log stands: what is delivered before has no higher position, what is delivered after has
		Clock  time.Duration // how much more the clock that messages' times are of shows than that of this process, if Topics were loaded
		Reset  string        // all positions of before are void, for that reason; "": they are not
		Down   bool          // what others publish does not come, until a Logged without it
		Topics []LoggedTopic
	}
	// LoggedTopic is what became of one topic.
	LoggedTopic struct {
		Topic    string
		Followed bool // what is published to it is delivered from now on; else it is not any more
		Loaded   bool // Messages is what is kept of it, oldest first, and Lost the position of the newest that is not; 0: there is none
		Hole     bool // who is in it has missed messages, up to At
		Messages []*Frame
		Lost     uint64
	}
)

// IgnoreDeadLetterLogging keeps protoactor silent about those who leave when their hub has stopped.
func (*Interest) IgnoreDeadLetterLogging() {}

// To connections, from the child that links the hub to Redis.
type (
	// Announced: a hub on the channel, this one perhaps, has announced something.
	Announced struct{ Payload []byte }
	// Announcing: from now on what others announce comes; what they announced before may have been missed.
	Announcing struct{}
)

// To each child of the hub, from the hub when it stops: finish what you have accepted, by Deadline at the latest; then
// send on Done. Children are asked one after the other, last started first. At Limit nobody waits for them any more.
type Drain struct {
	Deadline, Limit time.Time
	Done            chan<- struct{}
}

// Lifecycle events: to the listener, which runs the user's callbacks for them and passes them on to the hub's Events PID.
type (
	// Connected: a subscriber became a member. Its broadcasts are held back until OnConnect has returned.
	Connected struct{ Member }
	// Disconnected: a member is none any more. Code is the close code of a WebSocket's end, as the peer sent it or is told it, 1006 if it
	// was neither, and 0 of what is no WebSocket.
	Disconnected struct {
		Member
		Reason Reason
		Code   uint16
	}
	// Received: a client has sent a message, which is Data. It goes to the hub's Received PID, not to Events, from the connection.
	Received struct {
		Subscriber Subscriber
		Binary     bool
		Data       []byte
	}
	// Dropped: an episode in which a member's queue was full has ended; it cost Count messages.
	Dropped struct {
		Subscriber Subscriber
		Count      int
	}
	// RedisChanged: the link to Redis is up, for the first time or again, or it is lost: nothing comes from others, or what is published
	// here does not reach them.
	RedisChanged struct{ Up bool }
	// Subscribed: Redis has confirmed the subscription to Channel.
	Subscribed struct{ Channel string }
	// Failed: an actor or user code panicked (Err is a *PanicError), or Redis has trouble. Op says where.
	Failed struct {
		Op      string
		Err     error
		Attempt int
		Action  Action
	}
)
