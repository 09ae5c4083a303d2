// Package operator does what a person asks for: retry, pause, resume and cancel, for a wave or one mailbox.
//
//	pause    the mailbox's messages are dropped as they come; what is being copied this moment ends in order
//	resume   the next pass is planned: it finds what is on the target already
//	retry    the same for a failed mailbox
//	cancel   the mailbox ends where it is; what was copied stays on the target
package operator

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/migration"
)

// Action is what a person asks for.
type Action string

// The actions.
const (
	Retry  Action = "retry"
	Pause  Action = "pause"
	Resume Action = "resume"
	Cancel Action = "cancel"
)

// from lists the states in which an action does something.
var from = map[Action][]migration.State{
	Retry:  {migration.Failed},
	Resume: {migration.Paused},
	Pause: {migration.Submitted, migration.Planning, migration.Copying, migration.Verifying, migration.Synced,
		migration.Cutover},
	Cancel: {migration.Submitted, migration.Planning, migration.Copying, migration.Verifying, migration.Synced,
		migration.Cutover, migration.Paused, migration.Failed},
}

// Known says whether a is an action.
func Known(a Action) bool { return from[a] != nil }

// Operator acts for people.
type Operator struct {
	Ledger *ledger.Ledger
	Bus    bus.Bus
	Clock  clockwork.Clock
	Log    *slog.Logger
}

// Act does a to one mailbox, or to all mailboxes of the wave when m is "". It returns those it did something to: the
// others were in no state for it. Acting twice is harmless.
func (o *Operator) Act(ctx context.Context, a Action, w migration.WaveID, m migration.MailboxID) ([]migration.MailboxID, error) {
	changed := []migration.MailboxID{}
	if m != "" {
		box, err := o.Ledger.Mailbox(ctx, w, m)
		if err != nil {
			return changed, fmt.Errorf("read mailbox from the ledger: %w", err)
		}
		return o.act(ctx, a, box, changed)
	}
	if _, err := o.Ledger.Wave(ctx, w); err != nil {
		return changed, fmt.Errorf("read wave from the ledger: %w", err)
	}
	for box, err := range o.Ledger.WaveMailboxes(ctx, w) {
		if err == nil {
			changed, err = o.act(ctx, a, box, changed)
		}
		if err != nil {
			return changed, fmt.Errorf("%s wave: %w", a, err)
		}
	}
	return changed, nil
}

func (o *Operator) act(ctx context.Context, a Action, box migration.Mailbox, changed []migration.MailboxID) ([]migration.MailboxID, error) {
	if !slices.Contains(from[a], box.State) {
		return changed, nil
	}
	var err error
	switch a {
	case Retry, Resume:
		err = o.goOn(ctx, a, box)
	case Pause:
		err = o.move(ctx, a, box, migration.Paused)
	case Cancel:
		if err = o.move(ctx, a, box, migration.Cancelled); err == nil {
			err = o.Ledger.Release(ctx, box)
		}
	}
	if err != nil {
		return changed, err
	}
	o.Log.Info("operator acted", "action", a, "wave", box.Wave, "mailbox", box.ID, "state", box.State)
	return append(changed, box.ID), nil
}

func (o *Operator) move(ctx context.Context, a Action, box migration.Mailbox, to migration.State) error {
	_, err := o.Ledger.ChangeMailbox(ctx, box.Wave, box.ID, func(b *migration.Mailbox) error {
		if !slices.Contains(from[a], b.State) {
			return nil
		}
		return b.To(to, o.Clock.Now())
	})
	return err
}

// goOn plans a new pass. A mailbox that had not begun begins; one that was ready for its cutover is so again.
func (o *Operator) goOn(ctx context.Context, a Action, box migration.Mailbox) error {
	if err := o.Ledger.Claim(ctx, box); err != nil {
		return err
	}
	next, err := o.Ledger.ChangeMailbox(ctx, box.Wave, box.ID, func(b *migration.Mailbox) error {
		if !slices.Contains(from[a], b.State) {
			return nil
		}
		b.Problem, b.Tries, b.Stalls = "", 0, 0
		to := migration.Planning
		if b.Was == migration.Submitted || b.Was == migration.Synced || b.Was == migration.Cutover {
			to = b.Was
		}
		b.Was = ""
		return b.Reopen(to, o.Clock.Now())
	})
	if err != nil || next.State == migration.Synced {
		return err
	}
	wave, err := o.Ledger.Wave(ctx, box.Wave)
	if err != nil {
		return fmt.Errorf("read wave from the ledger: %w", err)
	}
	if next.State == migration.Submitted && !wave.Started {
		return nil // it begins with its wave
	}
	return o.Bus.Send(ctx, bus.Letter{Queue: migration.PlanQueue,
		Message: migration.Message{Wave: next.Wave, Mailbox: next.ID, Pass: next.Pass + 1, Epoch: next.Epoch}})
}
