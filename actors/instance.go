package actors

import (
	"crypto/rand"
	"sync"
)

// Instance is a text that tells this process from all others, made when it is first asked for.
var Instance = sync.OnceValue(func() string { return rand.Text()[:16] })
