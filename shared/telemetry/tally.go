package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
)

// Side is the source or the target.
type Side string

// The sides.
const (
	Source Side = "source"
	Target Side = "target"
)

// Counts are what one delivery asked of a side.
type Counts struct {
	Requests  int           // HTTP requests sent, sign-in included
	Throttled time.Duration // in which the side wanted no requests, as far as the delivery was told
	until     time.Time     // to where Throttled is counted
}

// Tally counts the work of one delivery. It travels in the context and is safe for concurrent use.
type Tally struct {
	clock clockwork.Clock
	mu    sync.Mutex
	sides map[Side]*Counts
	items int
	bytes int64
}

type tallyKey struct{}

// WithTally returns a context whose calls to the sides are counted.
func WithTally(ctx context.Context, clock clockwork.Clock) (context.Context, *Tally) {
	t := &Tally{clock: clock, sides: map[Side]*Counts{Source: {}, Target: {}}}
	return context.WithValue(ctx, tallyKey{}, t), t
}

// tallyOf returns the context's tally, nil when it has none.
func tallyOf(ctx context.Context) *Tally {
	t, _ := ctx.Value(tallyKey{}).(*Tally)
	return t
}

// Of returns what a side was asked.
func (t *Tally) Of(s Side) Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return *t.sides[s]
}

// Imported returns how many items the target took, and their bytes.
func (t *Tally) Imported() (items int, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.items, t.bytes
}

func (t *Tally) request(s Side) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sides[s].Requests++
}

func (t *Tally) imported(size int64) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.items++
	t.bytes += size
}

// throttled counts the time from now until a moment once, however many requests are told of it.
func (t *Tally) throttled(s Side, until time.Time) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c, from := t.sides[s], t.clock.Now()
	if c.until.After(from) {
		from = c.until
	}
	if until.After(from) {
		c.Throttled += until.Sub(from)
		c.until = until
	}
}
