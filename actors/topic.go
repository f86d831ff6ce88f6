package actors

import (
	"maps"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName is how many bytes the name of a topic, or the id of a user, may have.
const maxName = 255

// userMark begins the name of a user's own topic. No name that CheckTopic lets through has it.
const userMark = "\x00"

// CheckTopic reports what is wrong with the name of a topic, or the id of a user: they are 1 to 255 bytes of UTF-8 without control
// characters. The error is ErrInvalidTopic.
func CheckTopic(name string) error {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return ErrInvalidTopic
	}
	return nil
}

// UserTopic is the name, in messages, of the topic that all connections of a user are in. It is no name that CheckTopic would let
// through.
func UserTopic(id string) string { return userMark + id }

// TopicUser is whose own topic one of that name is.
func TopicUser(topic string) (id string, ok bool) { return strings.CutPrefix(topic, userMark) }

// Topic is a part of a hub's subscribers, for as long as anybody is in it.
type Topic struct {
	name  string
	count int // by the word of callers; the Roll's lock

	// The registry's alone.
	incarnation uint64
	members     []topicMember
}

// Name is the topic's, as in messages.
func (t *Topic) Name() string { return t.name }

// own reports whether it is a user's own.
func (t *Topic) own() bool { return strings.HasPrefix(t.name, userMark) }

// topicMember is one place in a topic.
type topicMember struct {
	box  *Outbox
	seat int32 // of box's
}

// seat is one topic that an Outbox is in, by the word of callers (enrolled) or by what the registry has come to (joined). It stays
// where it is until the registry moves it.
type seat struct {
	topic            *Topic
	at               int32 // in the topic's members; the registry's alone
	enrolled, joined bool
}

// seats are the topics of one Outbox, guarded by its lock. Most are in few, and there may be very many of them: what can be counted
// is not kept.
type seats struct {
	list  []seat
	index map[*Topic]int32 // nil while the list is short
}

// maxScan is how many seats are looked through without an index.
const maxScan = 64

func (s *seats) find(t *Topic) int32 {
	if s == nil {
		return -1
	}
	if s.index != nil {
		if i, ok := s.index[t]; ok {
			return i
		}
		return -1
	}
	for i := range s.list {
		if s.list[i].topic == t {
			return int32(i)
		}
	}
	return -1
}

// add returns the seat in t, which is made if there is none.
func (s *seats) add(t *Topic) int32 {
	if i := s.find(t); i >= 0 {
		return i
	}
	s.list = append(s.list, seat{topic: t})
	i := int32(len(s.list) - 1)
	if s.index != nil {
		s.index[t] = i
	} else if len(s.list) > maxScan {
		s.index = make(map[*Topic]int32, len(s.list))
		for i := range s.list {
			s.index[s.list[i].topic] = int32(i)
		}
	}
	return i
}

// remove takes seat i out; the last takes its place. Only the registry does that.
func (s *seats) remove(i int32) {
	last := int32(len(s.list) - 1)
	if s.index != nil {
		delete(s.index, s.list[i].topic)
	}
	if i != last {
		moved := s.list[last]
		s.list[i] = moved
		if s.index != nil {
			s.index[moved.topic] = i
		}
		if moved.joined {
			moved.topic.members[moved.at].seat = i
		}
	}
	s.list[last] = seat{}
	s.list = s.list[:last]
}

// counted is how many topics an outbox is in that count, by the word of callers.
func (s *seats) counted() (n int) {
	for i := range s.list {
		if s.list[i].enrolled {
			if _, own := TopicUser(s.list[i].topic.name); !own {
				n++
			}
		}
	}
	return n
}

// full reports whether an outbox is in as many topics as it may be. Nothing is counted while it cannot be.
func (s *seats) full(limit int) bool { return s != nil && len(s.list) >= limit && s.counted() >= limit }

// addSeat returns the seat in t, which is made if there is none. The lock is held.
func (o *Outbox) addSeat(t *Topic) int32 {
	if o.seats == nil {
		o.seats = new(seats)
	}
	return o.seats.add(t)
}

// removeSeat takes seat i out. The lock is held. Only the registry does that.
func (o *Outbox) removeSeat(i int32) {
	if o.seats.remove(i); len(o.seats.list) == 0 {
		o.seats = nil
	}
}

// enrollIn notes that a Join was admitted, or a Register with that topic. The error is ErrNotRegistered or ErrTooManyTopics.
func (o *Outbox) enrollIn(name string) (*Topic, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.enrolled {
		return nil, ErrNotRegistered
	}
	if s := o.enrolledIn(name); s != nil {
		return s.topic, nil
	}
	if _, own := TopicUser(name); !own && o.seats.full(o.link.TopicLimit()) {
		return nil, ErrTooManyTopics
	}
	t := o.link.Roll.enter(name)
	i := o.addSeat(t)
	o.seats.list[i].enrolled = true
	return t, nil
}

// strikeOffFrom notes that a Leave was admitted. A nil Topic: there was nothing to leave.
func (o *Outbox) strikeOffFrom(name string) (*Topic, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.enrolled {
		return nil, ErrNotRegistered
	}
	s := o.enrolledIn(name)
	if s == nil {
		return nil, nil
	}
	s.enrolled = false
	o.link.Roll.exit(s.topic)
	return s.topic, nil
}

// enrolledIn is the seat in the topic of that name; nil: there is none, by the word of callers. The lock is held.
func (o *Outbox) enrolledIn(name string) *seat {
	t := o.link.Roll.topic(name)
	if t == nil {
		return nil
	}
	if i := o.seats.find(t); i >= 0 && o.seats.list[i].enrolled {
		return &o.seats.list[i]
	}
	return nil
}

// strikeOffTopics is for the end, or an unregistration. The lock is held.
func (o *Outbox) strikeOffTopics() {
	if o.seats == nil {
		return
	}
	for i := range o.seats.list {
		if s := &o.seats.list[i]; s.enrolled {
			s.enrolled = false
			o.link.Roll.exit(s.topic)
		}
	}
}

// Seating is what the registry knows of topics. It is one incarnation's, and so are the members that topics have by it.
type Seating uint64

// Members yields who is in t.
func (n Seating) Members(t *Topic) func(yield func(*Outbox) bool) {
	return func(yield func(*Outbox) bool) {
		if t.incarnation != uint64(n) {
			return
		}
		for i := range t.members {
			if !yield(t.members[i].box) {
				return
			}
		}
	}
}

// Join makes o a member of t, if it is none.
func (n Seating) Join(o *Outbox, t *Topic) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := o.addSeat(t)
	if s := &o.seats.list[i]; !s.joined {
		s.joined = true
		n.place(o, i)
	}
}

// place puts o, which has taken its seat i, among the members of the topic. The lock is held.
func (n Seating) place(o *Outbox, i int32) {
	s := &o.seats.list[i]
	t := s.topic
	if t.incarnation != uint64(n) { // whoever was in it by the incarnation before comes again
		t.incarnation, t.members = uint64(n), nil
	}
	s.at = int32(len(t.members))
	t.members = append(t.members, topicMember{o, i})
}

// Leave undoes Join.
func (n Seating) Leave(o *Outbox, t *Topic) { n.displace(o, o.rise(t)) }

// rise takes o from its seat in t, which it returns.
func (o *Outbox) rise(t *Topic) (left seat) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := o.seats.find(t)
	if i < 0 {
		return seat{}
	}
	s := &o.seats.list[i]
	left = *s
	if s.joined = false; !s.enrolled {
		o.removeSeat(i)
	}
	return left
}

// LeaveAll undoes each Join of o, which is no member of the hub any more.
func (n Seating) LeaveAll(o *Outbox) {
	for _, left := range o.riseAll() {
		n.displace(o, left)
	}
}

func (o *Outbox) riseAll() (left []seat) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seats == nil {
		return nil
	}
	o.strikeOffTopics()
	left, o.seats = o.seats.list, nil
	return left
}

// displace takes o, which had that seat, from the members of its topic; the last takes the place. One that had ended when this
// incarnation began has no place by it, whatever its seat says.
func (n Seating) displace(o *Outbox, left seat) {
	t := left.topic
	if !left.joined || t.incarnation != uint64(n) || int(left.at) >= len(t.members) || t.members[left.at].box != o {
		return
	}
	last := len(t.members) - 1
	moved := t.members[last]
	t.members[last] = topicMember{}
	t.members = t.members[:last]
	if int(left.at) != last {
		t.members[left.at] = moved
		moved.box.moveSeat(moved.seat, left.at)
	}
	if c := cap(t.members); c > leastRoom && last < c/4 { // slices keep the room of their busiest hour
		t.members = append(make([]topicMember, 0, c/2), t.members...)
	}
}

// moveSeat notes the new place among a topic's members of who has seat i.
func (o *Outbox) moveSeat(i, at int32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seats.list[i].at = at
}

// leastRoom is for how many members a topic, and for how many topics a Roll keeps room, once it had them.
const leastRoom = 64

// Resume takes the seats again that o had by the incarnation before.
func (n Seating) Resume(o *Outbox) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seats == nil {
		return
	}
	for i := range o.seats.list {
		if o.seats.list[i].joined {
			n.place(o, int32(i))
		}
	}
}

// IsIn reports whether o has a seat in t, as far as the registry has come.
func (o *Outbox) IsIn(t *Topic) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := o.seats.find(t)
	return i >= 0 && o.seats.list[i].joined
}

// Enter takes the seats of o that it has by the word of callers, and did not have by the incarnation before, since it waited.
func (n Seating) Enter(o *Outbox) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seats == nil {
		return
	}
	for i := range o.seats.list {
		if s := &o.seats.list[i]; s.enrolled && !s.joined {
			s.joined = true
			n.place(o, int32(i))
		}
	}
}

// topic is the one of that name that somebody is in; nil: nobody is.
func (r *Roll) topic(name string) *Topic {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.topics[name]
}

// Topic is the one of that name that somebody is in; else it is one that nobody is in.
func (r *Roll) Topic(name string) *Topic {
	if t := r.topic(name); t != nil {
		return t
	}
	return &Topic{name: name}
}

// enter counts one more in the topic of that name.
func (r *Roll) enter(name string) *Topic {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.topics[name]
	if t == nil {
		t = &Topic{name: name}
		r.topics[name] = t
		r.interest(name, true)
		if t.own() {
			r.owned++
		}
	}
	t.count++
	if !t.own() {
		r.memberships++
	}
	r.busiest = max(r.busiest, len(r.topics))
	return t
}

// exit counts one less.
func (r *Roll) exit(t *Topic) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.count--
	if !t.own() {
		r.memberships--
	}
	if t.count > 0 {
		return
	}
	if delete(r.topics, t.name); t.own() {
		r.owned--
	}
	if n := len(r.topics); r.busiest > leastRoom && n < r.busiest/4 { // maps keep the room of their busiest hour
		rest := make(map[string]*Topic, n)
		maps.Copy(rest, r.topics)
		r.topics, r.busiest = rest, n
	}
	r.interest(t.name, false)
}

// interest tells the link to Redis what to be subscribed to. The lock is held: it hears of it in order.
func (r *Roll) interest(topic string, wanted bool) {
	if r.link.Redis != nil {
		r.link.System.Root.Send(r.link.Redis, &Interest{Topic: topic, Wanted: wanted})
	}
}

// CountIn is how many subscribers are in the topic of that name.
func (r *Roll) CountIn(topic string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.topics[topic]; t != nil {
		return t.count
	}
	return 0
}

// Topics are the names of the topics that somebody is in, but for users' own, in no particular order.
func (r *Roll) Topics() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := make([]string, 0, len(r.topics))
	for name := range r.topics {
		if _, own := TopicUser(name); !own {
			names = append(names, name)
		}
	}
	return names
}

// TopicSize is how many subscribers are in a topic.
type TopicSize struct {
	Name        string `json:"name"`
	Subscribers int    `json:"subscribers"`
}

// Sizes are the topics that somebody is in, but for users' own, in no particular order.
func (r *Roll) Sizes() []TopicSize {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]TopicSize, 0, len(r.topics)-r.owned)
	for name, t := range r.topics {
		if !t.own() {
			list = append(list, TopicSize{name, t.count})
		}
	}
	return list
}

// TopicsOf are the names of the topics that a subscriber's Outbox is in, but for its user's own, in no particular order.
func (o *Outbox) TopicsOf() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seats == nil {
		return nil
	}
	var names []string
	for _, s := range o.seats.list {
		if _, own := TopicUser(s.topic.name); s.enrolled && !own {
			names = append(names, s.topic.name)
		}
	}
	return names
}
