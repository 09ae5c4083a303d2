// Package bustest is the contract of bus.Bus as a test suite.
package bustest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/migration"
)

// Window is how long a queue remembers message IDs.
const Window = 10 * time.Minute

// Post is a bus with the far ends of its queues, which remember IDs for [Window].
type Post struct {
	Bus   bus.Bus
	Clock *clockwork.FakeClock // that the queues go by
	// Take takes the next letter of a queue that is due, and completes it; false when none is due. A letter's time need
	// not come back with it.
	Take func(t *testing.T, q migration.Queue) (bus.Letter, bool)
}

// Bus runs the suite against new, empty queues.
func Bus(t *testing.T, open func(t *testing.T) Post) {
	t.Run("what is sent once is delivered once, to its queue", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		var letters []bus.Letter
		for i, q := range migration.Queues {
			letters = append(letters, bus.Letter{Queue: q, Message: message(i, 3)})
		}
		p.send(t, letters...)
		for i, q := range migration.Queues {
			if got := p.all(t, q); len(got) != 1 || got[0].Message != message(i, 3) || got[0].Queue != q {
				t.Errorf("queue %s delivers %+v", q, got)
			}
		}
	})
	t.Run("nothing is sent when there is nothing", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		p.send(t)
		for _, q := range migration.Queues {
			if got := p.all(t, q); len(got) != 0 {
				t.Errorf("queue %s delivers %+v", q, got)
			}
		}
	})
	t.Run("a letter of the same ID is dropped, in one batch and later", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		one := bus.Letter{Queue: migration.PlanQueue, Message: message(1, 1)}
		p.send(t, one, one)
		p.send(t, one)
		if got := p.all(t, one.Queue); len(got) != 1 {
			t.Fatalf("%d letters, want 1", len(got))
		}
		p.Clock.Advance(Window - time.Second)
		p.send(t, one, bus.Letter{Queue: one.Queue, Message: one.Message.Again()})
		if got := p.all(t, one.Queue); len(got) != 1 || got[0].Message.Turn != 1 {
			t.Errorf("after it was taken: %+v, want the next turn alone", got)
		}
		p.Clock.Advance(2 * Window)
		p.send(t, one)
		if got := p.all(t, one.Queue); len(got) != 1 {
			t.Errorf("after the window: %d letters, want 1", len(got))
		}
	})
	t.Run("one ID in two queues is two letters", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		p.send(t, bus.Letter{Queue: migration.PlanQueue, Message: message(1, 1)}, bus.Letter{Queue: migration.VerifyQueue, Message: message(1, 1)})
		if a, b := p.all(t, migration.PlanQueue), p.all(t, migration.VerifyQueue); len(a) != 1 || len(b) != 1 {
			t.Errorf("%d and %d letters, want 1 and 1", len(a), len(b))
		}
	})
	t.Run("a letter is not delivered before its time", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		now := p.Clock.Now()
		p.send(t, bus.Letter{Queue: migration.CopyQueue, Message: message(1, 1), At: now.Add(time.Hour)},
			bus.Letter{Queue: migration.CopyQueue, Message: message(1, 2), At: now.Add(5 * time.Minute)},
			bus.Letter{Queue: migration.CopyQueue, Message: message(1, 3), At: now.Add(-time.Hour)},
			bus.Letter{Queue: migration.PlanQueue, Message: message(1, 4), At: now.Add(time.Minute).In(time.FixedZone("CET", 3600))})
		for _, step := range []struct {
			wait time.Duration
			copy []int
			plan []int
		}{{0, []int{3}, nil}, {59 * time.Second, nil, nil}, {time.Second, nil, []int{4}}, {4 * time.Minute, []int{2}, nil}, {54 * time.Minute, nil, nil}, {time.Minute, []int{1}, nil}} {
			p.Clock.Advance(step.wait)
			if got := passes(p.all(t, migration.CopyQueue)); !slices.Equal(got, step.copy) {
				t.Errorf("%s: copy delivers %v, want %v", p.Clock.Since(now), got, step.copy)
			}
			if got := passes(p.all(t, migration.PlanQueue)); !slices.Equal(got, step.plan) {
				t.Errorf("%s: plan delivers %v, want %v", p.Clock.Since(now), got, step.plan)
			}
		}
	})
	t.Run("a scheduled letter is a duplicate too", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		one := bus.Letter{Queue: migration.CopyQueue, Message: message(1, 1), At: p.Clock.Now().Add(time.Minute)}
		p.send(t, one)
		p.send(t, one, bus.Letter{Queue: one.Queue, Message: one.Message})
		if got := p.all(t, one.Queue); len(got) != 0 {
			t.Errorf("%d letters before the time", len(got))
		}
		p.Clock.Advance(time.Minute)
		if got := p.all(t, one.Queue); len(got) != 1 {
			t.Errorf("%d letters, want 1", len(got))
		}
	})
	t.Run("the letters of one mailbox come in the order in which they were sent", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		for n := 1; n <= 6; n++ {
			for box := range 3 {
				p.send(t, bus.Letter{Queue: migration.CopyQueue, Message: message(box, n)})
			}
		}
		got := map[migration.MailboxID][]int{}
		for _, l := range p.all(t, migration.CopyQueue) {
			got[l.Message.Mailbox] = append(got[l.Message.Mailbox], l.Message.Pass)
		}
		for box := range 3 {
			if id := message(box, 1).Mailbox; !slices.Equal(got[id], []int{1, 2, 3, 4, 5, 6}) {
				t.Errorf("mailbox %s: %v", id, got[id])
			}
		}
	})
	t.Run("5,000 letters are sent at once", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		letters := make([]bus.Letter, 5000)
		for i := range letters {
			letters[i] = bus.Letter{Queue: migration.PlanQueue, Message: message(i, 1)}
		}
		p.send(t, letters...)
		seen := map[migration.MailboxID]bool{}
		for _, l := range p.all(t, migration.PlanQueue) {
			seen[l.Message.Mailbox] = true
		}
		if len(seen) != 5000 {
			t.Errorf("%d mailboxes, want 5,000", len(seen))
		}
	})
	t.Run("many may send at once", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for n := 1; n <= 5; n++ {
					if err := p.Bus.Send(t.Context(), bus.Letter{Queue: migration.VerifyQueue, Message: message(i%4, n)}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if got := p.all(t, migration.VerifyQueue); len(got) != 20 {
			t.Errorf("%d letters, want 20: each was sent twice", len(got))
		}
	})
	t.Run("a letter's trace travels with it", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		want := bus.Trace{Parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", State: "a=b"}
		p.send(t, bus.Letter{Queue: migration.PlanQueue, Message: message(1, 1), Trace: want}, bus.Letter{Queue: migration.PlanQueue, Message: message(2, 1)})
		for _, l := range p.all(t, migration.PlanQueue) {
			if l.Message == message(1, 1) && l.Trace != want || l.Message == message(2, 1) && l.Trace != (bus.Trace{}) {
				t.Errorf("mailbox %s comes with trace %+v", l.Message.Mailbox, l.Trace)
			}
		}
	})
	t.Run("a cancelled context sends nothing, and sending works again", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		one := bus.Letter{Queue: migration.PlanQueue, Message: message(1, 1)}
		if err := p.Bus.Send(ctx, one); err == nil {
			t.Error("no error")
		}
		if got := p.all(t, one.Queue); len(got) != 0 {
			t.Errorf("%d letters", len(got))
		}
		p.send(t, one)
		if got := p.all(t, one.Queue); len(got) != 1 {
			t.Errorf("%d letters, want 1", len(got))
		}
	})
}

// message is one of a mailbox; pass tells the messages of a mailbox apart.
func message(mailbox, pass int) migration.Message {
	return migration.Message{Version: migration.MessageVersion, Wave: "w1", Mailbox: migration.MailboxID(fmt.Sprintf("m%019d", mailbox)), Pass: pass}
}

func (p Post) send(t *testing.T, letters ...bus.Letter) {
	t.Helper()
	if err := p.Bus.Send(t.Context(), letters...); err != nil {
		t.Fatal(err)
	}
}

// all takes what is due in a queue.
func (p Post) all(t *testing.T, q migration.Queue) []bus.Letter {
	t.Helper()
	var out []bus.Letter
	for {
		l, ok := p.Take(t, q)
		if !ok {
			return out
		}
		out = append(out, l)
	}
}

func passes(letters []bus.Letter) []int {
	var out []int
	for _, l := range letters {
		out = append(out, l.Message.Pass)
	}
	return out
}
