package broker

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/wire"
)

// model is what must hold of a session queue, whatever happens.
type model struct {
	*testing.T
	q       *Queue
	clock   *clockwork.FakeClock
	r       *rand.Rand
	sent    map[string]int // messages sent, by session
	done    map[string]int // messages completed, by session
	workers []*worker
}

// worker holds at most one session.
type worker struct {
	c       *Consumer
	session string
	got     []Delivery
	lost    bool
}

func (w *worker) sink() Sink {
	return Sink{
		Deliver: func(d Delivery) { w.got = append(w.got, d) },
		Granted: func(id string, _ time.Time) { w.session = id },
		Lost:    func(*Error) { w.lost = true },
		Drained: func(uint32) {},
	}
}

func sessionMessage(session string, n int) *wire.Message {
	b := wire.AppendComposite(nil, 0x73, fmt.Sprint(session, "/", n), nil, nil, nil, nil, nil, nil, nil, nil, nil, session)
	m, err := wire.ParseMessage(wire.Append(b, wire.Described{Descriptor: uint64(0x77), Value: int32(n)}))
	if err != nil {
		panic(err)
	}
	return m
}

func number(d Delivery) int {
	v, _ := d.Message.Value()
	return int(v.(int32))
}

// TestSessionsKeepOrder does at random what receivers and clocks do. No message may be completed before an earlier
// one of its session, and in the end every message must have been completed.
func TestSessionsKeepOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		clock := clockwork.NewFakeClock()
		m := &model{T: t, clock: clock, r: rand.New(rand.NewPCG(seed, 1)), sent: map[string]int{}, done: map[string]int{},
			q: New(Config{Name: "q", Sessions: true, Lock: time.Minute, MaxDelivery: 1 << 20}, clock)}
		for range 4 {
			m.workers = append(m.workers, &worker{})
		}
		for range 2000 {
			m.step(true)
		}
		for i := 0; m.q.Counts() != (Counts{}); i++ {
			if m.step(false); i > 100000 {
				t.Fatalf("seed %d: left over: %+v", seed, m.q.Counts())
			}
		}
		for session, n := range m.sent {
			if m.done[session] != n {
				t.Errorf("seed %d: %d of %d messages of session %s", seed, m.done[session], n, session)
			}
		}
	}
}

func (m *model) step(send bool) {
	w := m.workers[m.r.IntN(len(m.workers))]
	switch n := m.r.IntN(20); {
	case n < 4 && send:
		s := fmt.Sprint("s", m.r.IntN(6))
		if err := m.q.Send([]*wire.Message{sessionMessage(s, m.sent[s])}); err != nil {
			m.Fatal(err)
		}
		m.sent[s]++
	case n == 4:
		m.clock.Advance(time.Duration(m.r.IntN(40)) * time.Second)
	case n == 5 && w.c != nil:
		w.c.Close(m.r.IntN(2) == 0)
		*w = worker{}
	case n == 6 && w.c != nil:
		m.q.Main.LoseSession(w.session, m.r.IntN(2) == 0)
	case w.c == nil:
		c, err := m.q.Main.Accept(nil, "l", true, w.sink())
		if err != nil {
			m.Fatal(err)
		}
		w.c = c
	case w.lost:
		w.c.Close(true)
		*w = worker{}
	case len(w.got) > 0:
		m.settle(w)
	default:
		_, _ = m.q.Main.RenewSession(w.session, "l")
		count, _ := w.c.Count()
		w.c.Flow(count, uint32(1+m.r.IntN(3)), m.r.IntN(4) == 0)
	}
}

// settle decides about the first message a worker has; if it gives it back, then all that came after it as well.
func (m *model) settle(w *worker) {
	if m.r.IntN(5) == 0 {
		count, _ := w.c.Count()
		w.c.Flow(count, 0, false)
		for i := len(w.got) - 1; i >= 0; i-- {
			_ = m.q.Main.Settle(w.got[i].Token, Outcome{Verb: Abandon})
		}
		w.got = nil
		return
	}
	d := w.got[0]
	w.got = w.got[1:]
	if err := m.q.Main.Settle(d.Token, Outcome{Verb: Complete}); err != nil {
		w.lost, w.got = true, nil
		return
	}
	s := *d.Message.Properties.GroupID
	if n := number(d); n != m.done[s] {
		m.Fatalf("session %s: message %d completed after %d", s, n, m.done[s])
	}
	m.done[s]++
}

// TestCountsAgree does everything at random to a queue without sessions, and compares what is counted with what
// is there.
func TestCountsAgree(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClock()
	r := rand.New(rand.NewPCG(7, 7))
	q := New(Config{Name: "q", Lock: time.Minute, MaxDelivery: 4, TTL: time.Hour, DeadLetterOnExpiry: true, Dedup: time.Minute}, clock)
	w := &worker{}
	w.c = q.Main.Subscribe("l", true, w.sink())
	for i := range 5000 {
		switch n := r.IntN(12); {
		case n < 4:
			m := sessionMessage("s", i)
			if n == 0 {
				m.Annotations = wire.Map{{Key: wire.Symbol(ScheduledTime), Value: wire.Timestamp(clock.Now().Add(time.Minute).UnixMilli())}}
			}
			if err := q.Send([]*wire.Message{m}); err != nil {
				t.Fatal(err)
			}
		case n < 7:
			count, _ := w.c.Count()
			w.c.Flow(count, 1, true)
		case n == 7:
			clock.Advance(time.Duration(r.IntN(9)) * time.Second)
		case n == 8:
			q.Main.DeliverTwice(fmt.Sprint("s/", r.IntN(i+1)))
		case len(w.got) > 0:
			k := r.IntN(len(w.got))
			_ = q.Main.Settle(w.got[k].Token, Outcome{Verb: Verb(r.IntN(5))})
			w.got = append(w.got[:k], w.got[k+1:]...)
		}
	}
	var want Counts
	for _, d := range q.Main.Look() {
		*map[State]*int{Active: &want.Active, Deferred: &want.Deferred, Scheduled: &want.Scheduled, Locked: &want.Locked}[d.State]++
	}
	want.DeadLettered = len(q.Dead.Look())
	if got := q.Counts(); got != want {
		t.Errorf("counted %+v, there are %+v", got, want)
	}
	bytes := int64(0)
	for _, e := range []*Entity{q.Main, q.Dead} {
		for _, d := range e.Look() {
			bytes += int64(d.Message.Size())
		}
		if len(e.tokens) != want.Locked && e == q.Main && want.Locked == 0 {
			t.Errorf("%d locks of %d messages", len(e.tokens), want.Locked)
		}
	}
	if q.bytes != bytes {
		t.Errorf("%d bytes counted, %d there", q.bytes, bytes)
	}
	if want.DeadLettered == 0 || want.Deferred == 0 {
		t.Errorf("too little happened: %+v", want)
	}
}

func TestALongQueueIsNotScanned(t *testing.T) {
	t.Parallel()
	q := New(Config{Name: "q", Lock: time.Minute, MaxDelivery: 10}, clockwork.NewFakeClock())
	w := &worker{}
	w.c = q.Main.Subscribe("l", true, w.sink())
	const n = 50000
	for i := range n {
		if err := q.Send([]*wire.Message{sessionMessage("s", i)}); err != nil {
			t.Fatal(err)
		}
	}
	w.c.Flow(0, n, false)
	for i, d := range w.got {
		if number(d) != i {
			t.Fatalf("message %d at place %d", number(d), i)
		}
		if err := q.Main.Settle(d.Token, Outcome{Verb: Complete}); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.got) != n || len(q.Main.all.slots) > 200 || len(q.alarms) != 0 || len(q.Main.tokens) != 0 {
		t.Errorf("%d delivered, %d slots, %d alarms, %d locks left", len(w.got), len(q.Main.all.slots), len(q.alarms), len(q.Main.tokens))
	}
}
