package main

func Example() {
	demo()
	// Output:
	// # A client for each tenant
	// acme: client connected
	// globex: client connected
	// # What one tenant says, the other's client does not hear
	// acme's client hears "for acme only"
	// globex's client hears "for globex only"
	// # The hub of acme crashes
	// acme's client is disconnected: StatusGoingAway
	// acme: hub ended, starting another
	// globex's client hears "nothing happened here"
	// acme: client connected
	// acme's client hears "welcome back"
	// # The end
	// globex: client left (peer left)
	// acme's client is disconnected: StatusGoingAway
	// acme: stopped, hub drained
	// globex: stopped, hub drained
}
