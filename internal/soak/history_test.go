package soak_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/internal/wstest"
)

// TestSoakOfHistory runs two instances with history on one Redis while the subscription is cut again and again, actors crash, scripts are
// forgotten, and Redis is emptied and killed. Travellers come and go with their cursor, on either instance, over either transport. Each is to
// have each message of its topics that a publisher was told Redis has, once and in order, from its first position on, or a reset where
// Redis has lost something.
func TestSoakOfHistory(t *testing.T) {
	long := *length
	if long <= 0 {
		long = 6 * time.Second
	}
	before := takeStock()
	t.Run("alone", func(t *testing.T) { newJourney(t, nil).run(long / 2) })
	t.Run("on Redis", func(t *testing.T) { newJourney(t, redistest.StartReal(t)).run(long) })
	for _, leak := range before.compare() {
		t.Error("left behind: ", leak)
	}
}

const (
	places30   = 30 // topics that there are
	travellers = 60
)

// journey is everything of one soak.
type journey struct {
	t      *testing.T
	redis  *redistest.Server // nil: there is one instance
	direct *redis.Client
	inns   []*inn
	srv    *httptest.Server
	client *http.Client

	moving context.Context // ends when travellers are to stay
	over   context.Context // ends when all is over

	mu       sync.Mutex
	letters  map[string]*letter
	losses   []time.Time // when Redis may have lost something
	troubles []time.Time // when Redis could not be asked, or somebody who waited was forgotten
	injected map[string]int
	gaps     atomic.Int64
	failed   atomic.Int64
}

// inn is one instance.
type inn struct {
	name  string
	hub   *wskit.Hub
	proxy *redistest.ProxyServer
	link  string
}

// letter is one message.
type letter struct {
	topic string
	begun time.Time
	taken bool // its publisher was told that Redis has it
}

func newJourney(t *testing.T, srv *redistest.Server) *journey {
	j := &journey{t: t, redis: srv, inns: make([]*inn, 1), letters: map[string]*letter{}, injected: map[string]int{}}
	if srv != nil {
		j.direct, j.inns = redistest.Client(t, srv.Addr()), make([]*inn, 2)
	}
	mux := http.NewServeMux()
	for i := range j.inns {
		n := &inn{name: fmt.Sprint("journey-", i)}
		linked := wskit.WithRedis(nil, "")
		if srv != nil {
			n.proxy = redistest.Proxy(t, srv.Addr())
			linked = wskit.WithRedis(redistest.Client(t, n.proxy.Addr()), "journey")
		}
		n.hub = wskit.NewHub(wskit.WithName(n.name), linked,
			wskit.WithHistory(wskit.History{Messages: 2000, Bytes: 4 << 20}), wskit.WithLogger(slog.New(slog.DiscardHandler)),
			wskit.WithAuthorize(func(context.Context, wskit.Subscriber, string) error { return nil }),
			wskit.WithOnError(func(op string, err error) {
				if errors.Is(err, wskit.ErrRedisGap) {
					j.gaps.Add(1)
				}
			}))
		mux.Handle(fmt.Sprintf("/%d/ws", i), n.hub.WebSocketHandler(wskit.WithSendBufSize(4096)))
		mux.Handle(fmt.Sprintf("/%d/sse", i), n.hub.SSEHandler(wskit.WithSendBufSize(4096), wskit.WithKeepAlive(50*time.Millisecond)))
		j.inns[i] = n
	}
	j.srv = httptest.NewServer(mux)
	j.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return j
}

func (j *journey) run(long time.Duration) {
	t := j.t
	ctx, stop := context.WithCancel(context.Background())
	var hubs, publishers, all, faults sync.WaitGroup
	for _, n := range j.inns {
		links := linkIDs()
		hubs.Go(func() { n.hub.Run(ctx) })
		if j.redis == nil {
			continue
		}
		hubs.Go(func() { n.hub.SubscribeToRedis(ctx) })
		if !wstest.Poll(patience, func() bool { n.link = newLink(links); return n.link != "" }) {
			t.Fatal("no link")
		}
	}
	defer func() {
		stop()
		hubs.Wait()
		j.srv.Close()
	}()
	if j.redis != nil && !wstest.Poll(patience, func() bool { return j.redis.Subscribers(t, "journey") == 2 }) {
		t.Fatal("the hubs do not subscribe")
	}
	var arrive, end context.CancelFunc
	j.moving, arrive = context.WithCancel(ctx)
	j.over, end = context.WithCancel(ctx)
	defer end()
	publishing, silence := context.WithCancel(ctx)
	for i, n := range j.inns {
		for p := range 3 {
			publishers.Go(func() { j.publish(publishing, n.hub, fmt.Sprint(i, ".", p)) })
		}
	}
	list := make([]*traveller, travellers)
	for i := range list {
		list[i] = j.newTraveller(i)
		all.Go(list[i].travel)
	}
	faults.Go(func() { j.harass(publishing, long) })
	faults.Wait()
	silence()
	publishers.Wait()
	arrive()
	since := time.Now()
	last := j.farewell()
	wstest.Poll(patience, func() bool {
		return !slices.ContainsFunc(list, func(each *traveller) bool { return !each.has(last, since) })
	})
	for _, each := range list {
		if !each.has(last, since) {
			j.fail("%s has not got the last message: %s", each.name, each.lately())
		}
	}
	end()
	all.Wait()
	j.judge(list)
}

func newLink(known []string) string {
	for _, id := range linkIDs() {
		if !slices.Contains(known, id) {
			return id
		}
	}
	return ""
}

func (j *journey) fail(format string, args ...any) {
	if j.failed.Add(1) < 30 {
		j.t.Errorf(format, args...)
	}
}

// publish publishes to one topic after the other. What nobody knows the outcome of is sent again with its key, every other time.
func (j *journey) publish(ctx context.Context, hub *wskit.Hub, name string) {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l := &letter{begun: time.Now()}
		audience := hub.Everyone()
		if n%8 > 0 {
			l.topic = place(rand.N(places30))
			audience = hub.Topic(l.topic).Audience
		}
		text := fmt.Sprint(name, "-", n)
		j.mu.Lock()
		j.letters[text] = l
		j.mu.Unlock()
		var opts []wskit.BroadcastOption
		if n%2 == 0 {
			opts = append(opts, wskit.WithKey(text))
		}
		err := audience.BroadcastEventContext(context.Background(), text, opts...)
		for errors.Is(err, wskit.ErrUnknownOutcome) && n%2 == 0 && ctx.Err() == nil {
			err = audience.BroadcastEventContext(context.Background(), text, opts...)
		}
		j.mu.Lock()
		l.taken = err == nil
		j.mu.Unlock()
	}
}

// farewell publishes until Redis has taken a last message.
func (j *journey) farewell() (text string) {
	for n := 0; ; n++ {
		text = fmt.Sprint("farewell-", n)
		j.mu.Lock()
		j.letters[text] = &letter{begun: time.Now()}
		j.mu.Unlock()
		if err := j.inns[0].hub.BroadcastEventContext(context.Background(), text); err == nil {
			return text
		} else if n > 20 {
			j.t.Fatal("Redis does not come back: ", err)
		}
	}
}

func place(n int) string { return fmt.Sprint("place ", n) }

// loses notes that Redis loses something, and troubles that somebody may have to start anew for want of an answer.
func (j *journey) loses(what string, harm func()) {
	j.mu.Lock()
	j.losses = append(j.losses, time.Now())
	j.injected[what]++
	j.mu.Unlock()
	harm()
}

func (j *journey) inject(what string, troubling bool, harm func()) {
	j.mu.Lock()
	if j.injected[what]++; troubling {
		j.troubles = append(j.troubles, time.Now())
	}
	j.mu.Unlock()
	harm()
}

// harass injects faults: those after which nobody may have to start anew in the first half of the time and, among all others, in the second.
func (j *journey) harass(ctx context.Context, long time.Duration) {
	end, half := time.Now().Add(long), time.Now().Add(long/2)
	var cutting sync.WaitGroup
	if j.redis == nil {
		j.harassAlone(end)
		return
	}
	cutting.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for n := 0; time.Now().Before(end); n++ {
			<-tick.C
			if n/20%3 < 2 { // 2 s each, and 2 s of rest
				j.inject("subscription cut", false, j.inns[n/20%3].proxy.CutSubscribers)
			}
		}
	})
	harmless := []func(n *inn){
		func(n *inn) { j.inject("SCRIPT FLUSH", false, func() { j.direct.ScriptFlush(ctx) }) },
		func(n *inn) { j.inject("crash of the registry", true, func() { crash(n.name + "/registry") }) },
		func(n *inn) { j.inject("crash of the redis actor", false, func() { crash(n.name + "/redis") }) },
		func(n *inn) { j.inject("crash of the subscriber", false, func() { crash(n.link + "/subscriber") }) },
		func(n *inn) { j.inject("crash of the publisher", false, func() { crash(n.link + "/publisher") }) },
		func(n *inn) { j.inject("crash of connections", false, func() { crash(n.name + "/connections") }) },
		func(n *inn) { j.inject("link cut", false, func() { n.proxy.Cut() }) },
	}
	losing := []func(n *inn){
		func(*inn) { j.loses("FLUSHALL", func() { j.direct.FlushAll(ctx) }) },
		func(*inn) {
			j.loses("kill -9, restart", func() {
				j.redis.Kill()
				<-time.After(rand.N(500 * time.Millisecond))
				j.redis.Restart()
			})
		},
	}
	pace := time.NewTicker(max(long/100, 180*time.Millisecond))
	defer pace.Stop()
	for k := 0; time.Now().Before(end); k++ {
		<-pace.C
		harmless[k%len(harmless)](j.inns[k/len(harmless)%2])
		if time.Now().After(half) && k%7 == 3 {
			losing[k/7%2](nil)
		}
	}
	cutting.Wait()
}

func (j *journey) harassAlone(end time.Time) {
	pace := time.NewTicker(400 * time.Millisecond)
	defer pace.Stop()
	for k := 0; time.Now().Before(end); k++ {
		<-pace.C
		who := []string{"registry", "connections", "listener"}[k%3]
		j.inject("crash of the "+who, who == "registry", func() { crash(j.inns[0].name + "/" + who) })
	}
}

// traveller is one client, which comes back with its cursor.
type traveller struct {
	j      *journey
	name   string
	topics []string
	cursor string
	where  int // the instance that it is at

	mu    sync.Mutex
	heard []heard
	begun time.Time // since it has a position
}

// heard is one thing that a traveller was told.
type heard struct {
	at       time.Time
	id, text string
	where    int
	reset    string
}

func (j *journey) newTraveller(i int) *traveller {
	t := &traveller{j: j, name: fmt.Sprint("traveller ", i)}
	for range 1 + rand.N(5) {
		t.topics = append(t.topics, place(rand.N(places30)))
	}
	return t
}

func (t *traveller) note(h heard) {
	h.at = time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	h.where = t.where
	if t.begun.IsZero() && h.id != "" {
		t.begun = h.at
	}
	if t.cursor = cmp.Or(h.id, t.cursor); h.text != "" || h.reset != "" {
		t.heard = append(t.heard, h)
	}
}

// has reports whether the traveller has that message, which was sent after since, or was told to start anew from behind it.
func (t *traveller) has(text string, since time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.heard, func(h heard) bool { return h.text == text || h.reset != "" && h.at.After(since) })
}

func (t *traveller) lately() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("%+v", t.heard[max(len(t.heard)-3, 0):])
}

// since is what the traveller was told from that message on, as far as it is short.
func (t *traveller) since(text string) (list []string) {
	i := slices.IndexFunc(t.heard, func(h heard) bool { return h.text == text })
	for _, h := range t.heard[i:min(i+12, len(t.heard))] {
		list = append(list, fmt.Sprint(h.where, h.at.Format(" 05.000 "), h.id, " ", h.text, h.reset))
	}
	return list
}

// travel stays here and there, until the end of it all.
func (t *traveller) travel() {
	for t.j.over.Err() == nil {
		stay := 50*time.Millisecond + rand.N(900*time.Millisecond)
		ctx, leave := context.WithTimeout(t.j.over, stay)
		if t.j.moving.Err() != nil {
			leave()
			ctx, leave = context.WithCancel(t.j.over)
		} else {
			unstop := context.AfterFunc(t.j.moving, leave)
			defer unstop()
		}
		where := rand.N(len(t.j.inns))
		t.mu.Lock()
		t.where = where
		query := url.Values{"topic": t.topics}
		if t.cursor != "" {
			query.Set("last_event_id", t.cursor)
		}
		t.mu.Unlock()
		if rand.N(2) == 0 {
			t.stream(ctx, fmt.Sprintf("%s/%d/sse?%s", t.j.srv.URL, where, query.Encode()))
		} else {
			t.socket(ctx, fmt.Sprintf("%s/%d/ws?%s", t.j.srv.URL, where, query.Encode()))
		}
		leave()
		away := time.NewTimer(rand.N(400 * time.Millisecond))
		select {
		case <-away.C:
		case <-t.j.over.Done():
		}
	}
}

func (t *traveller) stream(ctx context.Context, at string) {
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	resp, err := t.j.client.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	_ = wstest.ReadEvents(resp.Body, func(event string) {
		if ctx.Err() != nil { // it has left, and does not hear it
			return
		}
		head, data, named := strings.Cut(strings.TrimPrefix(event, "["), "] ")
		switch {
		case !strings.HasPrefix(event, "["):
			t.note(heard{text: plain(event)})
		case !named:
			t.note(heard{id: strings.TrimSuffix(strings.TrimPrefix(head, "id:"), "]")})
		case strings.HasPrefix(head, "event:wskit.reset id:"):
			t.note(heard{id: strings.TrimPrefix(head, "event:wskit.reset id:"), reset: data})
		default:
			t.note(heard{id: strings.TrimPrefix(head, "id:"), text: plain(data)})
		}
	}, nil)
}

// plain is the text of a JSON string.
func plain(data string) (text string) {
	_ = json.Unmarshal([]byte(data), &text)
	return text
}

func (t *traveller) socket(ctx context.Context, at string) {
	conn, _, err := websocket.Dial(ctx, at, &websocket.DialOptions{HTTPClient: t.j.client, Subprotocols: []string{wskit.Subprotocol}})
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			return
		}
		var m struct{ ID, Topic, Data, Reset string }
		if err := json.Unmarshal(data, &m); err != nil {
			t.j.fail("%s was told %s: %v", t.name, data, err)
		}
		t.note(heard{id: m.ID, text: m.Data, reset: m.Reset})
	}
}

// judge compares what each traveller heard with what was published.
func (j *journey) judge(list []*traveller) {
	resets, delivered, owed := map[string]int{}, 0, 0
	for _, t := range list {
		have, once, last := map[string]bool{}, map[string]int{}, heard{}
		var anew []time.Time
		for _, h := range t.heard {
			if h.reset != "" {
				resets[h.reset]++
				if why := j.excuse(h, last.at); why == "" {
					j.fail("%s has to start anew, %q, for no reason", t.name, h.reset)
				}
				anew, last, once = append(anew, h.at), h, map[string]int{} // the program tells it what there is, and nobody else
				continue
			}
			delivered++
			if before, _, _ := position(last.id); h.id != "" && last.id != "" {
				epoch, n, ok := position(h.id)
				if _, m, _ := position(last.id); !ok || epoch != before || n <= m {
					j.fail("%s got %s after %s", t.name, h.id, last.id)
				}
			}
			if l := j.letters[h.text]; l == nil {
				j.fail("%s got %q, which nobody has sent", t.name, h.text)
			} else if l.topic != "" && !slices.Contains(t.topics, l.topic) {
				j.fail("%s got %q, which is not for it", t.name, h.text)
			} else if once[h.text]++; once[h.text] > 1 && l.taken {
				j.fail("%s got %q again, at %s: %s", t.name, h.text, h.id, t.since(h.text))
			}
			if have[h.text] = true; h.id != "" {
				last = h
			}
		}
		for text, l := range j.letters {
			if !l.taken || l.topic != "" && !slices.Contains(t.topics, l.topic) || !l.begun.After(t.begun) {
				continue
			}
			if owed++; !have[text] && !slices.ContainsFunc(anew, l.begun.Before) {
				j.fail("%s has not got %q, which was sent to %q at %v; it began at %v", t.name, text, l.topic, l.begun.Format(time.StampMilli), t.begun.Format(time.StampMilli))
			}
		}
	}
	fmt.Fprintf(os.Stderr, "history: %d letters, %d owed to %d travellers, %d delivered; %d gaps; resets %v; injected", len(j.letters), owed, len(list), delivered, j.gaps.Load(), resets)
	for _, what := range slices.Sorted(maps.Keys(j.injected)) {
		fmt.Fprintf(os.Stderr, " %s %d,", what, j.injected[what])
	}
	fmt.Fprintln(os.Stderr)
}

// excuse is what a reset is due to: something that Redis has lost since the traveller was last told something, or that it could not be asked.
func (j *journey) excuse(h heard, before time.Time) string {
	for _, at := range j.losses {
		if at.Before(h.at) && at.After(before.Add(-5*time.Second)) {
			return "loss"
		}
	}
	for _, at := range j.troubles {
		if h.reset == "unknown" && at.Before(h.at) && at.After(h.at.Add(-5*time.Second)) {
			return "trouble"
		}
	}
	return ""
}

func position(id string) (epoch string, n uint64, ok bool) {
	epoch, number, _ := strings.Cut(id, ".")
	_, err := fmt.Sscan(number, &n)
	return epoch, n, err == nil
}
