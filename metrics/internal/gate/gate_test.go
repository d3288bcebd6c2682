package gate

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		within := func(d time.Duration, f func() int) (int, bool) {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			return Call(ctx, &g, f)
		}
		if v, ok := within(time.Second, func() int { return 7 }); v != 7 || !ok {
			t.Fatalf("got %d, %v", v, ok)
		}

		release := make(chan struct{})
		if _, ok := within(time.Second, func() int { <-release; return 1 }); ok {
			t.Fatal("a call that hangs was answered")
		}
		before := time.Now()
		for range 100 {
			if _, ok := within(time.Second, func() int { t.Error("was started"); return 2 }); ok {
				t.Fatal("answered behind a call that hangs")
			}
		}
		if time.Since(before) != 0 {
			t.Errorf("later calls waited %v", time.Since(before))
		}

		close(release)
		synctest.Wait()
		if v, ok := within(time.Second, func() int { return 8 }); v != 8 || !ok {
			t.Fatalf("after the hang: %d, %v", v, ok)
		}
	})
}

func TestCallWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		order := make(chan int, 10)
		for i := range 10 {
			go Call(t.Context(), &g, func() int {
				time.Sleep(time.Second) // alone behind the gate, or the clock would not reach ten seconds
				order <- i
				return i
			})
		}
		start := time.Now()
		for range 10 {
			<-order
		}
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("ten calls of a second took %v", d)
		}
	})
}
