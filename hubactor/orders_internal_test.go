package hubactor

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
)

// Orders are kept for 10 minutes, or for their lockout, and 1024 of them at most: the oldest goes.
func TestOrdersAreKeptForAWhileAndUpToANumber(t *testing.T) {
	o := newOrders(&actors.Link{Log: slog.New(slog.DiscardHandler)})
	ids := func() (list []string) {
		for _, each := range o.kept {
			list = append(list, each.id)
		}
		return list
	}
	now := time.Now()
	o.kept = []*order{
		{id: "old", at: now.Add(-keepOrders - time.Second)}, {id: "young", at: now.Add(-keepOrders + time.Minute)},
		{id: "locked", at: now.Add(-time.Hour), lockout: 2 * time.Hour}, {id: "unlocked", at: now.Add(-3 * time.Hour), lockout: 2 * time.Hour},
	}
	o.tidy()
	if got := fmt.Sprint(ids()); got != "[young locked]" {
		t.Error(got)
	}
	for i := range maxOrders - 2 {
		o.keep(&order{id: fmt.Sprint(i), at: now})
	}
	if len(o.kept) != maxOrders || o.kept[0].id != "young" {
		t.Error(len(o.kept), o.kept[0].id)
	}
	o.keep(&order{id: "one more", at: now})
	if len(o.kept) != maxOrders || o.kept[0].id != "locked" || o.kept[maxOrders-1].id != "one more" {
		t.Error(len(o.kept), o.kept[0].id)
	}
}
