package bus_test

import (
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/bus/bustest"
	"github.com/mailferry/mailferry/shared/migration"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	bustest.Bus(t, func(*testing.T) bustest.Post {
		clock := clockwork.NewFakeClock()
		b := &bus.Memory{Clock: clock}
		return bustest.Post{Bus: b, Clock: clock, Take: func(_ *testing.T, q migration.Queue) (bus.Letter, bool) {
			var others []bus.Letter // Take knows no queues
			defer func() {
				for _, l := range others {
					b.Put(l)
				}
			}()
			for {
				l, ok := b.Take(clock.Now())
				if !ok || l.Queue == q {
					l.Message.Version = migration.MessageVersion
					return l, ok
				}
				others = append(others, l)
			}
		}}
	})
}

func letter(pass int, at time.Time) bus.Letter {
	return bus.Letter{Queue: migration.PlanQueue, Message: migration.Message{Wave: "w", Mailbox: "m", Pass: pass}, At: at}
}

func TestWhatIsWaiting(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClock()
	now := clock.Now()
	b := &bus.Memory{Clock: clock}
	if _, more := b.Next(); more {
		t.Error("an empty bus has a next letter")
	}
	if err := b.Send(t.Context(), letter(1, now.Add(time.Hour)), letter(2, now.Add(time.Minute)), letter(3, time.Time{})); err != nil {
		t.Fatal(err)
	}
	if at, more := b.Next(); !more || !at.IsZero() {
		t.Errorf("next is due at %s, %t; want now", at, more)
	}
	w := b.Waiting(migration.PlanQueue)
	if len(w) != 3 || w[1].Message.Pass != 2 || w[2].Message.Pass != 1 || len(b.Waiting(migration.CopyQueue)) != 0 {
		t.Errorf("waiting %+v", w)
	}
	if l, ok := b.Take(now); !ok || l.Message.Pass != 3 {
		t.Errorf("taken %+v, %t", l, ok)
	}
	if l, ok := b.Take(now); ok {
		t.Errorf("taken %+v before its time", l)
	}
	if at, more := b.Next(); !more || !at.Equal(now.Add(time.Minute)) {
		t.Errorf("next is due at %s, %t", at, more)
	}
}

// A redelivery passes duplicate detection.
func TestALetterThatIsPutBack(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClock()
	b := &bus.Memory{Clock: clock}
	if err := b.Send(t.Context(), letter(1, time.Time{})); err != nil {
		t.Fatal(err)
	}
	l, _ := b.Take(clock.Now())
	b.Put(l)
	if again, ok := b.Take(clock.Now()); !ok || again != l {
		t.Errorf("taken %+v, %t; want %+v", again, ok, l)
	}
}
