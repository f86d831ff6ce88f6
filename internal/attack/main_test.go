package attack_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/wskit/wskit/internal/wstest"
)

func TestMain(m *testing.M) {
	wstest.Main(m, "attack: with -short the comparison of latencies and the 1000 silent peers are skipped")
}

// margin is what a bound on time may be exceeded by on a busy machine.
const margin = 2 * time.Second

func numbered(prefix string, n int) (texts []string) {
	for i := range n {
		texts = append(texts, fmt.Sprint(prefix, i))
	}
	return texts
}
