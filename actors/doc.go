// Package actors is the vocabulary that the rooms of wskit share: the messages they exchange, the Frame that a broadcast
// travels in, the Outbox that is the mailbox of a connection, the Gate that bounds what callers hand the hub, the reasons
// for which things stop, and how failures are supervised.
//
// It knows nothing of HTTP, WebSocket libraries or Redis. Whoever drives a hub by messages instead of function calls needs
// this package and hubactor, and nothing else.
package actors
