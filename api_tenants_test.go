package wskit_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/wskit/wskit"
)

// One hub for each tenant: made when it is first asked for, and stopped when nobody has been there for a while.
func ExampleNewTenants() {
	tenants := wskit.NewTenants(func(name string) []wskit.HubOption {
		return []wskit.HubOption{wskit.WithMaxSubscribers(1000)}
	}, wskit.WithIdleTimeout(5*time.Minute), wskit.WithMaxTenants(10_000))
	http.Handle("GET /{tenant}/live", tenants.Handler(func(r *http.Request) (string, error) { return r.PathValue("tenant"), nil }))

	hub, err := tenants.Hub("acme")
	if err != nil {
		fmt.Println(err)
		return
	}
	hub.Broadcast([]byte("to acme alone"))
	fmt.Println(tenants.Names())
	fmt.Println(tenants.Shutdown(context.Background()))
	// Output:
	// [acme]
	// <nil>
}
