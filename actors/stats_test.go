package actors_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/wskit/wskit/actors"
)

// numbers calls fn with each number in a Stats.
func numbers(s *actors.Stats, fn func(n reflect.Value)) {
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Array {
			for i := range f.Len() {
				fn(f.Index(i))
			}
		} else {
			fn(f)
		}
	}
}

func TestPlusAddsUpEveryNumberAndChangesNeitherSide(t *testing.T) {
	var a, b, want actors.Stats
	fill := func(s *actors.Stats, times int64) {
		n := int64(0)
		numbers(s, func(v reflect.Value) {
			if n += times; v.CanInt() {
				v.SetInt(n)
			} else {
				v.SetUint(uint64(n))
			}
		})
	}
	fill(&a, 1)
	fill(&b, 10)
	fill(&want, 11)
	equal(t, "the sum", a.Plus(b), want)
	equal(t, "and zero", a.Plus(actors.Stats{}), a)
}

func TestEachPlaceOfAStatsHasANameOfItsOwn(t *testing.T) {
	var s actors.Stats
	n := 0
	numbers(&s, func(v reflect.Value) {
		n++
		if v.CanInt() {
			v.SetInt(1)
		} else {
			v.SetUint(1)
		}
	})
	text, err := json.Marshal(s)
	must(t, err)
	equal(t, "numbers in the JSON", strings.Count(string(text), ":1"), n)
}

func TestTheMailboxAndRestartsOfAChildAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(diary)
		b := hire(t, make([]atomic.Uint64, 1), actors.Spec{Name: "w", Kind: actors.Permanent, Budget: actors.Budget{Failures: 9, Within: 1}, Props: d.props()},
			actors.Spec{Name: "other", Props: new(diary).props()})
		b.tell("w", &actors.Crash{Reason: "test"})
		held := make(chan struct{})
		b.tell("w", held)
		for i := range 3 {
			b.tell("w", i)
		}
		equal(t, "the child", b.Info(b.child("w")), actors.ActorInfo{Name: b.child("w").Id, Kind: actors.Permanent, Restarts: 1, Mailbox: 3})
		equal(t, "the other", b.Info(b.child("other")), actors.ActorInfo{Name: b.child("other").Id})
		close(held)
		synctest.Wait()
		equal(t, "its mailbox then", b.Info(b.child("w")).Mailbox, 0)
	})
}
