// Package pipelinetest runs the whole pipeline in one process, in memory, on a clock that jumps from one due message
// to the next.
package pipelinetest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/parker"
	"github.com/mailferry/mailferry/shared/pipeline"
	"github.com/mailferry/mailferry/shared/receipt"
	"github.com/mailferry/mailferry/shared/submitter"
	"github.com/mailferry/mailferry/shared/verifier"
)

// Start is when the clock of a local pipeline begins.
var Start = time.Date(2026, 12, 1, 20, 0, 0, 0, time.UTC)

// Local is a pipeline in memory.
type Local struct {
	*pipeline.Pipeline
	Clock    *clockwork.FakeClock
	Bus      *bus.Memory
	Sources  mailboxtest.World
	Targets  mailboxtest.World
	Reports  *blob.Memory
	Receipts *blob.Memory
	Key      receipt.SigningKey
	// Deliver, when set, stands between the bus and the stages.
	Around func(l bus.Letter, deliver func() error) error
}

// New returns a pipeline in memory; change may replace what it stands on before it is put together.
func New(change func(*pipeline.Needs)) *Local {
	l := &Local{Clock: clockwork.NewFakeClockAt(Start), Sources: mailboxtest.World{}, Targets: mailboxtest.World{}, Reports: &blob.Memory{}, Receipts: &blob.Memory{}}
	var err error
	if l.Key, err = receipt.NewKey(); err != nil {
		panic(err) // the system has no randomness
	}
	l.Bus = &bus.Memory{Clock: l.Clock}
	n := pipeline.Needs{
		Sources: l.Sources, Targets: l.Targets, Ledger: ledger.NewMemory(), Manifests: &blob.Memory{}, Staging: &blob.Memory{},
		Reports: l.Reports, Receipts: l.Receipts, Key: l.Key, Release: "test", Bus: l.Bus, Clock: l.Clock, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), NewID: IDs(),
		Depth: verifier.Full, Memory: 64 << 20, Budget: 25 * time.Minute, Doubt: 90 * time.Second,
	}
	if change != nil {
		change(&n)
	}
	l.Pipeline = pipeline.New(n)
	return l
}

// IDs returns a source of IDs that are the same in every run.
func IDs() func() string {
	var mu sync.Mutex
	n := 0
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		n++
		return fmt.Sprintf("t%06d", n)
	}
}

// RandomIDs returns IDs that are never the same.
func RandomIDs() func() string {
	return func() string { return strings.ReplaceAll(uuid.NewString(), "-", "")[:12] }
}

// Add makes a mailbox on both sides and returns the source's for the caller to fill, and the target's.
func (l *Local) Add(source, target string) (s, t *exchangetest.Mailbox) {
	s = exchangetest.New(source, exchangetest.Options{Clock: l.Clock})
	t = exchangetest.New(target, exchangetest.Options{Clock: l.Clock})
	l.Sources[source], l.Targets[target] = s, t
	return s, t
}

// Submit submits mailboxes as pairs of source and target and starts the wave.
func (l *Local) Submit(ctx context.Context, b submitter.Batch) (migration.Wave, error) {
	w, err := l.Submitter.Submit(ctx, b)
	if err != nil {
		return w, err
	}
	return w, l.Starter.Start(ctx, w)
}

// maxDeliveries is the queues' maxDeliveryCount.
const maxDeliveries = 10

// Run delivers messages until none is left, moving the clock to each one's time. A message that keeps failing is parked.
// It fails when limit deliveries were not enough.
func (l *Local) Run(ctx context.Context, limit int) error {
	failures := map[string]int{}
	for range limit {
		at, more := l.Bus.Next()
		if !more {
			return ctx.Err()
		}
		if wait := at.Sub(l.Clock.Now()); wait > 0 {
			l.Clock.Advance(wait)
		}
		letter, ok := l.Bus.Take(l.Clock.Now())
		if !ok {
			return fmt.Errorf("no message is due at %s", at)
		}
		if err := l.one(ctx, letter, failures); err != nil {
			return err
		}
	}
	return fmt.Errorf("the pipeline is still busy after %d deliveries", limit)
}

func (l *Local) one(ctx context.Context, letter bus.Letter, failures map[string]int) error {
	deliver := func() error { return l.Pipeline.Deliver(ctx, letter.Queue, letter.Message.Encode()) }
	if l.Around != nil {
		inner := deliver
		deliver = func() error { return l.Around(letter, inner) }
	}
	err := deliver()
	if err == nil {
		return nil
	}
	id := letter.Message.ID(letter.Queue)
	if failures[id]++; failures[id] < maxDeliveries {
		l.Bus.Put(letter)
		return nil
	}
	return l.Parker.Park(ctx, parker.Letter{Queue: letter.Queue, ID: id, Body: letter.Message.Encode(), Deliveries: failures[id],
		Reason: "MaxDeliveryCountExceeded", Description: err.Error()})
}
