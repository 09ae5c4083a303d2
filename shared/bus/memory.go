package bus

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/migration"
)

// Memory is a Bus in memory with queues to take letters from, for tests. It drops duplicates as the service does.
type Memory struct {
	Clock clockwork.Clock

	mu      sync.Mutex
	letters []Letter
	seen    map[string]time.Time
}

// duplicateWindow is how long a message ID is remembered: the queues' duplicateDetectionHistoryTimeWindow.
const duplicateWindow = 10 * time.Minute

// Send implements Bus.
func (b *Memory) Send(ctx context.Context, letters ...Letter) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.seen == nil {
		b.seen = map[string]time.Time{}
	}
	now := b.Clock.Now()
	for _, l := range letters {
		id := l.Message.ID(l.Queue)
		if at, ok := b.seen[id]; ok && now.Sub(at) < duplicateWindow {
			continue
		}
		b.seen[id] = now
		b.letters = append(b.letters, l)
	}
	return nil
}

// Take removes and returns the letter that is due first, and false when none is due by now.
func (b *Memory) Take(now time.Time) (Letter, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, l := range b.letters {
		if !l.At.After(now) {
			b.letters = slices.Delete(b.letters, i, i+1)
			return l, true
		}
	}
	return Letter{}, false
}

// Next returns when the next letter is due, and false when there is none.
func (b *Memory) Next() (time.Time, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.letters) == 0 {
		return time.Time{}, false
	}
	return slices.MinFunc(b.letters, func(a, c Letter) int { return a.At.Compare(c.At) }).At, true
}

// Put gives a letter back or adds one past duplicate detection, as a redelivery does.
func (b *Memory) Put(l Letter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.letters = append(b.letters, l)
}

// Waiting returns the letters of a queue, the earliest first.
func (b *Memory) Waiting(q migration.Queue) []Letter {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Letter
	for _, l := range b.letters {
		if l.Queue == q {
			out = append(out, l)
		}
	}
	slices.SortStableFunc(out, func(a, c Letter) int { return cmp.Compare(a.At.UnixNano(), c.At.UnixNano()) })
	return out
}
