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
		ms, _ := l.all()
		n += len(ms)
	}
	return n
}

// Outstanding is how many messages are on their way to the hub that has most of them.
func Outstanding() (n int) {
	links.Lock()
	defer links.Unlock()
	for _, l := range links.by {
		ms, _ := l.all()
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
		ms, _ := l.all()
		for _, m := range ms {
			if m.curious.Load() {
				n++
			}
		}
	}
	return n
}
