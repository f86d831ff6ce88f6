package redisactor

import (
	"hash/maphash"
	"time"

	"github.com/wskit/wskit/actors"
)

// ledger is what one hub published and is not through with: a multiset by topic and content, in publish order. An entry is in it
// for up to two reasons: its PUBLISH is not answered yet, or its echo may still come. It has no clock and does no I/O, and
// it outlives the actor that works with it, so a crash forgets nothing.
//
// A PING on the subscription connection tells when an echo can no longer come: Redis answers in order on a connection,
// and writes a message to its subscribers before it answers the PUBLISH.
type ledger struct {
	last    uint64
	all     queue // in publish order
	callers queue // those with a caller waiting
	content map[uint64]*bucket
	seed    maphash.Seed

	own    account             // of the hub's own channel
	others map[string]*account // of its topics', as far as there is anything to keep

	pings      uint64 // the number of the last PING
	size       int    // entries in all
	calls      int    // entries with a caller waiting
	unanswered int    // those of them whose caller does not know what became of the PUBLISH
	waiting    int    // entries that local subscribers get from the echo
	notes      int    // entries whose echo is to be skipped
	maxNotes   int
}

// account is what is in the ledger of one topic.
type account struct {
	topic   string
	salt    uint64 // tells equal payloads of different topics apart, in the index
	keeping bool   // echoes can come: the subscription is wanted
	all     queue  // in publish order
}

type entry struct {
	id      uint64 // by publish order
	frame   *actors.Frame
	account *account          // of its topic; nil: it is none of a ledger's
	except  actors.Subscriber // who does not get it; nil: there is no exception
	at      time.Time
	content uint64 // its hash

	logged   *publication // it is the entry of that, and of no ledger; nil: it is not
	caller   caller       // not the ledger's business
	call     bool         // the caller waits: for the answer, or for the message to reach local subscribers
	told     bool         // the caller knows what became of the PUBLISH
	gone     bool         // no longer in the ledger
	echo     echo
	answer   answer
	answered uint64 // the number of the last PING before the answer, or before the caller was given up on
	epoch    uint64 // the connection on which the echo must come; 0: it need not

	places [kinds]place
}

// echo is what becomes of an entry's echo.
type echo uint8

const (
	echoSettled echo = iota // it came, or cannot come any more
	echoAwaited             // local subscribers get the message from it
	echoNoted               // they have it: skip the echo, should it come
)

// answer is what is known of an entry's PUBLISH.
type answer uint8

const (
	answerPending  answer = iota
	answerExecuted        // Redis said so
	answerRefused         // it never reached Redis, or Redis said no: there is no echo
	answerUnknown         // it was sent, and no answer came: Redis may have executed it, or may do so yet
)

// After the answer to a PING that was sent after the answer to the PUBLISH, an echo does not come any more. A PUBLISH of
// unknown fate may be on its way to Redis still when the first is sent: so many rounds of PINGs are waited for. A pending one
// gets its answer from the publisher in the end; the limit is for those that the publisher lost in a crash.
var roundsEnough = [...]uint64{answerPending: 20, answerUnknown: 2}

// maxNotes is how many echoes to skip one hub remembers at most; beyond it the oldest is forgotten, and its message
// reaches local subscribers twice if its echo comes all the same.
const maxNotes = 65536

// bucket holds the entries of one hash of topic and content that an echo can match.
type bucket struct {
	awaited, noted queue

	// An echo has come when this entry was the last one. Of which entry with this content it was nobody can tell, so of none
	// until here it is sure that its echo is missing.
	sure uint64
}

// bucket is that of a hash; an empty one that is not in the index if there is none.
func (l *ledger) bucket(content uint64) *bucket {
	if b := l.content[content]; b != nil {
		return b
	}
	return new(bucket)
}

func newLedger() *ledger {
	return &ledger{seed: maphash.MakeSeed(), maxNotes: maxNotes}
}

// find returns the account of a topic; nil: there is nothing in it.
func (l *ledger) find(topic string) *account {
	if topic == "" {
		return &l.own
	}
	return l.others[topic]
}

// account returns that of a topic, made on first use.
func (l *ledger) account(topic string) *account {
	a := l.find(topic)
	if a == nil {
		a = &account{topic: topic, salt: maphash.String(l.seed, topic)}
		if l.others == nil {
			l.others = make(map[string]*account)
		}
		l.others[topic] = a
	}
	return a
}

// close forgets an account in which there is nothing.
func (l *ledger) close(a *account) {
	if a == &l.own || a.keeping || a.all.first != nil {
		return
	}
	if delete(l.others, a.topic); len(l.others) == 0 {
		l.others = nil // maps keep the room of their busiest hour
	}
}

// Empty reports whether there is nothing to wait for: no caller, no answer, no echo.
func (l *ledger) Empty() bool { return l.size == 0 }

// Rest is for when it has become empty, for a while perhaps: maps keep the room of their busiest hour.
func (l *ledger) Rest() { l.content = nil }

// Enter adds a message that is about to be published. Where it is awaited local subscribers get it from its echo, else they have
// it already, or are none. With an epoch the echo must come, on that connection.
func (l *ledger) Enter(topic string, frame *actors.Frame, except actors.Subscriber, at time.Time, await bool, epoch uint64) *entry {
	l.last++
	a := l.account(topic)
	e := &entry{
		id: l.last, frame: frame, account: a, except: except, content: maphash.Bytes(l.seed, frame.Payload()) ^ a.salt,
		at: at, call: true, epoch: epoch,
	}
	l.all.add(inAll, e)
	a.all.add(inAccount, e)
	l.callers.add(inCallers, e)
	l.size++
	l.calls++
	l.unanswered++
	if await {
		l.move(e, echoAwaited)
	} else {
		l.move(e, echoNoted)
	}
	return e
}

// Answer notes what became of a PUBLISH. deliver says that its message is to be delivered locally now; tell that the caller
// has yet to be told.
func (l *ledger) Answer(e *entry, a answer) (deliver, tell bool) {
	if e.answer != answerPending {
		return false, false
	}
	e.answer, e.answered = a, l.pings
	deliver, tell = a != answerExecuted && e.echo == echoAwaited, !e.told
	l.tell(e)
	if deliver {
		l.move(e, echoNoted)
	}
	if a == answerRefused || e.echo == echoNoted && !e.account.keeping {
		l.move(e, echoSettled)
	}
	l.tidy(e)
	return deliver, tell
}

// overdue is an entry whose caller is given up on.
type overdue struct {
	*entry
	deliver, tell bool // as with Answer
}

// GiveUp ends the wait of callers whose message was entered at or before the given time.
func (l *ledger) GiveUp(before time.Time) (list []overdue) {
	for e := l.callers.first; e != nil && !e.at.After(before); e = l.callers.first {
		o := overdue{e, e.echo == echoAwaited, !e.told}
		if o.tell {
			e.answered = l.pings
		}
		l.tell(e)
		if o.deliver {
			l.move(e, echoNoted)
		}
		l.tidy(e)
		list = append(list, o)
	}
	return list
}

// Oldest is when the message was entered whose caller has waited longest.
func (l *ledger) Oldest() (at time.Time, ok bool) {
	if l.callers.first == nil {
		return time.Time{}, false
	}
	return l.callers.first.at, true
}

// Echo takes a message that Redis sent on the channel of a topic. own is this hub's entry, if it published one like it; deliver says that local
// subscribers do not have it. Of two entries with equal content it takes the one that local subscribers wait for: which of
// two equal echoes is whose nobody can tell, and it does not matter.
func (l *ledger) Echo(topic, payload string) (own *entry, deliver bool) {
	a := l.find(topic)
	if a == nil || a.all.first == nil {
		return nil, true
	}
	b := l.bucket(maphash.String(l.seed, payload) ^ a.salt)
	e, n := b.awaited.find(a, payload), b.noted.find(a, payload)
	switch {
	case e != nil && n != nil && n.id < e.id:
		// Redis sends the older one first. A note is forgotten sooner than an awaited echo, and then the second of the two
		// would be taken for somebody else's: so what is still to come is the younger one's, to be skipped.
		l.move(n, echoSettled)
		l.move(e, echoNoted)
		own, deliver = e, true
	case e != nil:
		l.move(e, echoSettled)
		own, deliver = e, true
	case n != nil:
		l.move(n, echoSettled)
		own, deliver = n, false
	default:
		return nil, true
	}
	b.sure = l.last
	return own, deliver
}

// Interrupt is for when echoes may have been missed: it returns what awaited one, in publish order, to be delivered
// locally now, and notes the echoes, which may come all the same.
func (l *ledger) Interrupt() []*entry { return l.interrupt(&l.all, inAll) }

// InterruptTopic is the same for one topic.
func (l *ledger) InterruptTopic(topic string) []*entry {
	a := l.find(topic)
	if a == nil {
		return nil
	}
	return l.interrupt(&a.all, inAccount)
}

func (l *ledger) interrupt(q *queue, k kind) (list []*entry) {
	for e := range q.entries(k) {
		e.epoch = 0
		if e.echo == echoAwaited {
			list = append(list, e)
			l.move(e, echoNoted)
		}
	}
	return list
}

// Doubtful is the first entry that Redis has executed and whose echo local subscribers still wait for; 0: there is none.
func (l *ledger) Doubtful() (id uint64) {
	if l.waiting == 0 {
		return 0
	}
	for e := range l.all.entries(inAll) {
		if e.echo == echoAwaited && e.answer == answerExecuted {
			return e.id
		}
	}
	return 0
}

// Keep says whether echoes can come at all on the channel of a topic. While they cannot, only what is still unanswered of it stays
// in the ledger.
func (l *ledger) Keep(topic string, on bool) {
	a := l.account(topic)
	if a.keeping = on; !on {
		l.drop(&a.all, inAccount, func(e *entry) bool { return e.answer != answerPending })
		l.close(a)
	}
}

// Subscribing is for right before what comes on a new subscription to the channel of a topic: what Redis had executed before the
// SUBSCRIBE, which has the number n, it will not send there.
func (l *ledger) Subscribing(topic string, n uint64) {
	if a := l.find(topic); a != nil {
		l.drop(&a.all, inAccount, func(e *entry) bool { return e.answer == answerExecuted && e.answered < n })
	}
}

// Pinged is for right before PING number n is sent, or a SUBSCRIBE of that number.
func (l *ledger) Pinged(n uint64) { l.pings = max(l.pings, n) }

// Ponged is for when its answer has come on the connection of that epoch, after whatever Redis sent before it. An answer to a
// PING that Pinged was not called for says nothing. It returns what is to be delivered locally now, since its echo cannot
// come. apart says that an echo that had to come on this connection has not.
func (l *ledger) Ponged(n, epoch uint64) (list []*entry, apart bool) {
	if n > l.pings {
		return nil, false
	}
	for e := range l.all.entries(inAll) {
		switch {
		case e.answer != answerExecuted || n <= e.answered || e.epoch != epoch || e.id <= l.bucket(e.content).sure:
		case e.echo == echoAwaited:
			list, apart = append(list, e), true
			e.epoch, e.answered = 0, n // for one more PING, should it have a long way
			l.move(e, echoNoted)
		case e.echo == echoNoted:
			apart = true
		}
	}
	l.drop(&l.all, inAll, func(e *entry) bool {
		if e.answer == answerExecuted {
			return n > e.answered
		}
		return !e.call && n>>roundBits >= e.answered>>roundBits+roundsEnough[e.answer]
	})
	return list, apart
}

// drop forgets those entries of q for which which says so; never one that local subscribers wait for.
func (l *ledger) drop(q *queue, k kind, which func(*entry) bool) {
	if l.size == l.waiting {
		return
	}
	for e := range q.entries(k) {
		if e.echo != echoAwaited && which(e) {
			l.forget(e)
		}
	}
}

// forget takes out an entry whose message local subscribers have.
func (l *ledger) forget(e *entry) {
	if e.answer == answerPending && !e.call {
		e.answer = answerUnknown // nobody will ask
	}
	l.move(e, echoSettled)
	l.tidy(e)
}

// tell notes that the caller of e knows what became of the PUBLISH.
func (l *ledger) tell(e *entry) {
	if !e.told {
		e.told = true
		l.unanswered--
	}
}

// move changes what becomes of e's echo and keeps the index and the counts in step.
func (l *ledger) move(e *entry, to echo) {
	if e.echo == to {
		return
	}
	b := l.bucket(e.content)
	switch e.echo {
	case echoAwaited:
		l.waiting--
		b.awaited.remove(inBucket, e)
	case echoNoted:
		l.notes--
		b.noted.remove(inBucket, e)
	}
	e.echo = to
	switch to {
	case echoAwaited:
		l.waiting++
		b.awaited.add(inBucket, e)
	case echoNoted:
		l.notes++
		b.noted.add(inBucket, e)
	}
	if b.awaited == (queue{}) && b.noted == (queue{}) {
		delete(l.content, e.content)
	} else {
		if l.content == nil {
			l.content = map[uint64]*bucket{}
		}
		l.content[e.content] = b
	}
	l.tidy(e)
	if l.notes > l.maxNotes {
		l.forgetOldest()
	}
}

func (l *ledger) forgetOldest() {
	for e := range l.all.entries(inAll) {
		if e.echo == echoNoted {
			l.forget(e)
			return
		}
	}
}

// tidy ends the call of e when it has what it waits for, and takes e out when it has neither caller, nor answer, nor echo to
// come.
func (l *ledger) tidy(e *entry) {
	if e.call && e.told && e.echo != echoAwaited {
		e.call = false
		l.callers.remove(inCallers, e)
		l.calls--
	}
	if e.gone || e.call || e.answer == answerPending || e.echo != echoSettled {
		return
	}
	e.gone = true
	l.all.remove(inAll, e)
	e.account.all.remove(inAccount, e)
	l.size--
	l.close(e.account)
}
