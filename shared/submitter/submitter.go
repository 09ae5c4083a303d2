// Package submitter turns a batch into a wave.
//
//	check every line; claim every source and target, so that no mailbox is in two active waves
//	write the mailboxes, then the wave: from then on it exists
//
// Whatever is wrong, nothing of the batch is submitted.
package submitter

import (
	"context"
	"errors"
	"fmt"

	"github.com/jonboulle/clockwork"
	"golang.org/x/sync/errgroup"

	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/migration"
)

// Submitter writes batches into the ledger.
type Submitter struct {
	Ledger *ledger.Ledger
	Clock  clockwork.Clock
	NewID  func() string // a new wave ID behind its "w", lower-case letters and digits
}

// Submit makes a wave of a batch. A *BatchError says which lines are wrong.
func (s *Submitter) Submit(ctx context.Context, b Batch) (migration.Wave, error) {
	bad := &BatchError{}
	b.check("line", bad)
	if err := bad.orNil(); err != nil {
		return migration.Wave{}, err
	}
	now := s.Clock.Now().UTC()
	w := migration.Wave{ID: migration.WaveID("w" + now.Format("20060102") + "-" + s.NewID()), Name: b.Name,
		Mailboxes: len(b.Mailboxes), Submitted: now, Start: b.Start, Cutover: b.Cutover, Spread: b.Spread}
	if w.Start.IsZero() {
		w.Start = now
	}
	boxes := make([]migration.Mailbox, len(b.Mailboxes))
	for i, line := range b.Mailboxes {
		boxes[i] = migration.Mailbox{ID: migration.MailboxFor(line.Source, line.Target), Wave: w.ID, Source: line.Source,
			Target: line.Target, State: migration.Submitted, Submitted: now, Changed: now}
	}
	if err := s.write(ctx, b, w, boxes); err != nil {
		return migration.Wave{}, err
	}
	return w, nil
}

func (s *Submitter) write(ctx context.Context, b Batch, w migration.Wave, boxes []migration.Mailbox) error {
	err := s.Ledger.AddMailboxes(ctx, boxes)
	if err == nil {
		err = s.claim(ctx, b, boxes)
	}
	if err == nil {
		err = s.Ledger.AddWave(ctx, w)
	}
	if err == nil {
		return nil
	}
	// What stays behind when this fails too belongs to a wave that does not exist, and is taken over by the next claim.
	ctx = context.WithoutCancel(ctx)
	return errors.Join(err, each(boxes, func(_ int, m migration.Mailbox) error {
		return errors.Join(s.Ledger.Release(ctx, m), s.Ledger.RemoveMailbox(ctx, m))
	}))
}

// claim claims all mailboxes and reports every one that another wave has.
func (s *Submitter) claim(ctx context.Context, b Batch, boxes []migration.Mailbox) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	taken := make([]*ledger.Claimed, len(boxes))
	err := each(boxes, func(i int, m migration.Mailbox) error {
		err := ctx.Err()
		if err == nil {
			err = s.Ledger.Claim(ctx, m, s.Clock.Now())
		}
		if err == nil || errors.As(err, &taken[i]) {
			return nil
		}
		stop() // the other claims would fail as well
		return err
	})
	if err != nil {
		return fmt.Errorf("claim mailbox: %w", err)
	}
	bad := &BatchError{}
	for i, t := range taken {
		if t != nil {
			bad.add(b.Mailboxes[i].Line, t.Side, t.Error())
		}
	}
	return bad.orNil()
}

// atOnce is how many mailboxes are claimed at once: one after the other, 100,000 would take longer than Azure's front
// end waits. Table storage takes 20,000 requests a second from an account.
const atOnce = 64

// each calls f for every mailbox, and returns the first error when all calls are over.
func each(boxes []migration.Mailbox, f func(int, migration.Mailbox) error) error {
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, m := range boxes {
		g.Go(func() error { return f(i, m) })
	}
	return g.Wait()
}
