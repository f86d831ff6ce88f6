// Package contract_test checks the public contract of package wskit sentence by sentence. Each test carries its sentence as
// a comment. All of them use real sockets and real clients; none sleeps.
package contract_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/wskit/wskit/internal/wstest"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(clientsProcess); what != "" {
		if err := beTenantClients(what); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	wstest.Main(m, "contract: with -short the 10,000 connections and the default timeout of 5 s are skipped")
}
