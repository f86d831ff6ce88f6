package redisactor

// Links is how many links there are in the process.
func Links() int {
	links.Lock()
	defer links.Unlock()
	return len(links.by)
}

// Members is how many subscriptions all links have.
func Members() (n int) {
	links.Lock()
	defer links.Unlock()
	for _, l := range links.by {
		ms := l.all()
		n += len(ms)
	}
	return n
}

// Outstanding is how many messages are on their way to the hub that has most of them.
func Outstanding() (n int) {
	links.Lock()
	defer links.Unlock()
	for _, l := range links.by {
		ms := l.all()
		for _, m := range ms {
			m.mu.Lock()
			n = max(n, m.credits)
			m.mu.Unlock()
		}
	}
	return n
}

// Remembering is how many subscribed hubs remember messages of theirs whose echo may still come.
func Remembering() (n int) {
	links.Lock()
	defer links.Unlock()
	for _, l := range links.by {
		ms := l.all()
		for _, m := range ms {
			if m.curious.Load() {
				n++
			}
		}
	}
	return n
}

// MaxBacklog is how many messages may wait for one hub.
const MaxBacklog = maxBacklog

// Waiting is how many messages wait for the hub for which most do.
func Waiting() (n int) {
	links.Lock()
	defer links.Unlock()
	for _, l := range links.by {
		ms := l.all()
		for _, m := range ms {
			m.mu.Lock()
			n = max(n, m.waiting)
			m.mu.Unlock()
		}
	}
	return n
}

// Window is how many messages are before the gate at a time, MaxBehind how many of the hub's own may wait behind them.
const (
	Window    = window
	MaxBehind = maxBehind
)
