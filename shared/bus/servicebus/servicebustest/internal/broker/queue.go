package broker

import (
	"container/heap"
	"container/list"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/wire"
)

// Config is what a queue was created with. A zero duration or limit means none.
type Config struct {
	Name               string
	Sessions           bool
	Lock               time.Duration
	MaxDelivery        int
	Dedup              time.Duration
	TTL                time.Duration
	DeadLetterOnExpiry bool
	MaxMessage         int
	MaxBytes           int64
}

// Queue is a queue and its dead-letter queue.
type Queue struct {
	Config
	Main, Dead *Entity

	clock   clockwork.Clock
	mu      sync.Mutex
	next    int64 // last sequence number given
	bytes   int64
	alarms  alarmHeap
	timer   clockwork.Timer
	armed   time.Time // when timer fires, zero when it is not running
	known   map[string]bool
	history []accepted // what known holds, oldest first
	closed  bool
}

type accepted struct {
	id string
	at time.Time
}

// New makes an empty queue.
func New(c Config, clock clockwork.Clock) *Queue {
	q := &Queue{Config: c, clock: clock, known: map[string]bool{}}
	q.Main, q.Dead = newEntity(q, c.Sessions), newEntity(q, false)
	return q
}

// Close stops the queue's timer.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	if q.timer != nil {
		q.timer.Stop()
	}
}

// do runs fn with the queue locked and everything due done.
func (q *Queue) do(fn func(now time.Time)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.clock.Now()
	q.ring(now)
	fn(now)
	q.Main.pump(now)
	q.Dead.pump(now)
	q.arm(now)
}

func (q *Queue) ring(now time.Time) {
	for len(q.alarms) > 0 && !q.alarms[0].at.After(now) {
		a := heap.Pop(&q.alarms).(*alarm)
		a.ring(now)
	}
}

// arm makes the timer fire no later than the first alarm. It may fire for nothing: most locks are given up long
// before they expire, and setting the timer anew for each would cost more.
func (q *Queue) arm(now time.Time) {
	if len(q.alarms) == 0 || q.closed {
		return
	}
	at := q.alarms[0].at
	if !q.armed.IsZero() && !at.Before(q.armed) {
		return
	}
	if q.timer != nil {
		q.timer.Stop()
	}
	q.armed = at
	q.timer = q.clock.AfterFunc(at.Sub(now), q.wake)
}

func (q *Queue) wake() {
	q.mu.Lock()
	q.armed = time.Time{}
	q.mu.Unlock()
	q.do(func(time.Time) {})
}

// Send takes all messages or none.
func (q *Queue) Send(ms []*wire.Message) (err *Error) {
	q.do(func(now time.Time) { _, err = q.take(ms, now) })
	return err
}

// Schedule takes all messages or none and returns their sequence numbers, by which they can be cancelled.
func (q *Queue) Schedule(ms []*wire.Message) (seqs []int64, err *Error) {
	q.do(func(now time.Time) { seqs, err = q.take(ms, now) })
	return seqs, err
}

func (q *Queue) take(ms []*wire.Message, now time.Time) ([]int64, *Error) {
	drafts, size := make([]*message, len(ms)), int64(0)
	for i, m := range ms {
		var err *Error
		if drafts[i], err = q.draft(m); err != nil {
			return nil, err
		}
		size += int64(m.Size())
	}
	if q.full(size) {
		return nil, refuse(QuotaExceeded, quotaText)
	}
	seqs := make([]int64, len(drafts))
	for i, m := range drafts {
		q.next++
		seqs[i] = q.next
		if !q.duplicate(m, now) {
			m.seq = q.next
			q.Main.accept(m, now)
		}
	}
	return seqs, nil
}

// full tells whether there is no room for so many bytes more.
func (q *Queue) full(more int64) bool { return q.MaxBytes > 0 && q.bytes+more > q.MaxBytes }

// duplicate tells whether the message's id was accepted within the window, and remembers it. What happened to
// the earlier message does not matter; a duplicate does not prolong the window.
func (q *Queue) duplicate(m *message, now time.Time) bool {
	if q.Dedup == 0 || m.id == "" {
		return false
	}
	for len(q.history) > 0 && now.Sub(q.history[0].at) >= q.Dedup {
		delete(q.known, q.history[0].id)
		q.history = q.history[1:]
	}
	if q.known[m.id] {
		return true
	}
	q.known[m.id] = true
	q.history = append(q.history, accepted{m.id, now})
	return false
}

// Cancel removes scheduled messages that are not due yet, all of them or none.
func (q *Queue) Cancel(seqs []int64) (err *Error) {
	q.do(func(now time.Time) {
		for _, seq := range seqs {
			if m := q.Main.all.find(seq); m == nil || m.state != Scheduled {
				err = refuse(MessageNotFound, "The scheduled message with sequence number does not exist.")
				return
			}
		}
		for _, seq := range seqs {
			if m := q.Main.all.find(seq); m != nil {
				q.Main.remove(m)
			}
		}
	})
	return err
}

// Entity is the queue proper or its dead-letter queue.
type Entity struct {
	q        *Queue
	bySess   bool
	all      sequence
	ready    readyHeap
	tokens   map[[16]byte]*lock
	hungry   list.List // of *Consumer with credit and no session
	ghosts   []*message
	sessions map[string]*session
	offered  list.List // of *session that nobody holds and that have ready messages
	waiting  list.List // of *Consumer that want the next session
	counts   [4]int
}

func newEntity(q *Queue, sessions bool) *Entity {
	return &Entity{q: q, bySess: sessions, tokens: map[[16]byte]*lock{}, sessions: map[string]*session{}}
}

// Queue returns the queue e belongs to.
func (e *Entity) Queue() *Queue { return e.q }

func (e *Entity) dead() bool { return e == e.q.Dead }

// Sessions tells whether e's messages can only be received by session.
func (e *Entity) Sessions() bool { return e.bySess }
