package verifier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/manifest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/outcome"
	"github.com/mailferry/mailferry/shared/receipt"
)

// Depth is how much of an item is compared.
type Depth string

// The depths. Index compares what listings show; sample also the content of every sampled item; full of every item.
const (
	Index  Depth = "index"
	Sample Depth = "sample"
	Full   Depth = "full"
)

// sampleOf is one in how many items a sample takes, by key, so that both sides and every pass choose the same ones.
const sampleOf = 20

// Verifier compares the two sides of a mailbox.
type Verifier struct {
	Sources   mailbox.Sources
	Targets   mailbox.Targets
	Ledger    *ledger.Ledger
	Manifests blob.Store
	Bus       bus.Bus
	Clock     clockwork.Clock
	Log       *slog.Logger
	Depth     Depth
	Receipts  blob.Store
	Key       receipt.SigningKey // none: no receipts are written
	Release   string             // Mailferry's version, for receipts
	NewID     func() string      // names a receipt, or a file of what was read back
	Budget    time.Duration      // how long one delivery may compare contents; must end before the function's timeout
}

var errStale = errors.New("message is about a step that is over")

// Verify compares the mailbox that m names and decides what comes next.
func (v *Verifier) Verify(ctx context.Context, m migration.Message) error {
	box, err := v.Ledger.Mailbox(ctx, m.Wave, m.Mailbox)
	if err != nil {
		return fmt.Errorf("read mailbox from the ledger: %w", err)
	}
	if box.Pass != m.Pass || box.Plan().ID != m.Plan || box.State != migration.Verifying {
		v.Log.Info("verify dropped", "wave", m.Wave, "mailbox", m.Mailbox, "pass", m.Pass, "state", box.State)
		box.Pass, box.Plans = m.Pass, []migration.Plan{{ID: m.Plan}}
		return v.goOn(ctx, box)
	}
	wave, err := v.Ledger.Wave(ctx, box.Wave)
	if err != nil {
		return fmt.Errorf("read wave from the ledger: %w", err)
	}
	found, err := v.compare(ctx, box, wave, m.Turn)
	if err != nil {
		v.begun(context.WithoutCancel(ctx), box, found, m.Turn)
		return interpret(err)
	}
	if err := v.report(ctx, box, found); err != nil {
		return err
	}
	return v.decide(ctx, box, wave, found)
}

// goOn does what follows the verification of a pass that somebody else has finished, in case that was not done: box names
// the pass and plan.
func (v *Verifier) goOn(ctx context.Context, box migration.Mailbox) error {
	now, err := v.Ledger.Mailbox(ctx, box.Wave, box.ID)
	if err != nil {
		return fmt.Errorf("read mailbox from the ledger: %w", err)
	}
	if now.Pass != box.Pass || now.Plan().ID != box.Plan().ID {
		return nil
	}
	switch now.State {
	case migration.Planning:
		return v.sendPass(ctx, now)
	case migration.Done:
		return v.Ledger.Release(ctx, now)
	}
	return nil
}

// decide writes the counts and the state that follows from them, and sends the next pass if there is one.
func (v *Verifier) decide(ctx context.Context, box migration.Mailbox, wave migration.Wave, found *comparison) error {
	c := found.counts
	proof, err := v.prove(ctx, box, wave, found)
	if err != nil {
		return err
	}
	if err := v.askAgain(ctx, box, found); err != nil {
		return err
	}
	if err := v.remember(ctx, box, found); err != nil {
		return err
	}
	next, err := v.Ledger.ChangeMailbox(ctx, box.Wave, box.ID, func(b *migration.Mailbox) error {
		if b.State != migration.Verifying || b.Pass != box.Pass {
			return errStale
		}
		b.Counts, b.Problem = c, ""
		if err := settle(b, wave, found.arrived, v.Clock); err != nil {
			return err
		}
		if proof != "" || b.State.Over() {
			b.Receipt = proof
		}
		return nil
	})
	if errors.Is(err, errStale) {
		return v.goOn(ctx, box) // whoever moved it may not have sent what follows
	}
	if err != nil {
		return fmt.Errorf("store what was verified: %w", err)
	}
	v.Log.Info("verified", "wave", next.Wave, "mailbox", next.ID, "pass", next.Pass, "state", next.State, "source", c.Source,
		"target", c.Target, "match", c.Match, "missing", c.Missing, "extra", c.Extra, "differs", c.Differs, "skipped", c.Skipped, "unchanged", len(found.left))
	switch next.State {
	case migration.Planning:
		return v.sendPass(ctx, next)
	case migration.Done:
		return v.Ledger.Release(ctx, next)
	}
	return nil
}

// askAgain names the items whose content differs to the planner, which sees listings only. It reads the file if another
// pass follows.
func (v *Verifier) askAgain(ctx context.Context, box migration.Mailbox, found *comparison) error {
	if len(found.redo) == 0 {
		return nil
	}
	m := manifest.Manifest{Mailbox: box.ID, Pass: box.Pass, Plan: box.Plan().ID}
	at := map[mailbox.FolderID]int{}
	for _, p := range found.redo {
		i, known := at[p.folder]
		if !known {
			i = len(m.Folders)
			at[p.folder] = i
			m.Folders = append(m.Folders, manifest.Folder{Target: p.folder, Path: p.path})
		}
		m.Items = append(m.Items, manifest.Item{Key: p.source.Key, Folder: i})
	}
	body, err := manifest.Encode(m)
	if err != nil {
		return err
	}
	err = v.Manifests.Put(ctx, manifest.RedoName(box.ID, box.Pass, box.Plan().ID), bytes.NewReader(body))
	if err != nil && !errors.Is(err, blob.ErrExists) {
		return fmt.Errorf("write what is to be copied again: %w", err)
	}
	return nil
}

// settle moves a verified mailbox on. Of what is missing, arrived came after it was planned: a mailbox in use is never
// complete before its last pass.
func settle(b *migration.Mailbox, w migration.Wave, arrived int, clock clockwork.Clock) error {
	c, now := b.Counts, clock.Now()
	b.Tries++
	if c.Missing+c.Differs > 0 && b.Tries < migration.MaxTries {
		return b.To(migration.Planning, now)
	}
	b.Tries = 0
	if c.Missing > arrived || last(*b, w) && c.Missing > 0 {
		b.Problem = fmt.Sprintf("%d items are missing on the target after %d passes; the report lists them", c.Missing, migration.MaxTries)
		return b.To(migration.Failed, now)
	}
	if c.Extra+c.Differs > 0 {
		b.Problem = fmt.Sprintf("%d items are on the target in excess and %d differ; the report lists them", c.Extra, c.Differs)
	}
	if !last(*b, w) {
		return b.To(migration.Synced, now)
	}
	return b.To(migration.Done, now)
}

// last says whether no pass follows the one that a mailbox is in, but to mend it.
func last(b migration.Mailbox, w migration.Wave) bool {
	return b.Kind == migration.CutoverPass || w.Cutover.IsZero()
}

func (v *Verifier) sendPass(ctx context.Context, box migration.Mailbox) error {
	return v.Bus.Send(ctx, bus.Letter{Queue: migration.PlanQueue, Message: box.NextPass()})
}

// interpret says what happens after an error of a mailbox.
func interpret(err error) error {
	if t, ok := errors.AsType[*mailbox.Throttled](err); ok {
		return outcome.Snooze(t.Until, t.Error())
	}
	if errors.Is(err, mailbox.ErrNoMailbox) || errors.Is(err, mailbox.ErrAccess) {
		return outcome.Cancel(err)
	}
	return err
}
