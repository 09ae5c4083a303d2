// Package operator does what a person asks for: retry, pause, resume, cancel and delta, for a wave or one mailbox.
//
//	pause    the mailbox's messages are dropped as they come; what is being copied this moment ends in order
//	resume   the next pass is planned: it finds what is on the target already
//	retry    the same for a failed mailbox
//	cancel   the mailbox ends where it is; what was copied stays on the target
//	delta    a pass is planned for a mailbox that is synced, instead of tomorrow's
//
// A process may be killed between the ledger and the bus. So retry and resume, asked for again, send the message again that
// a mailbox waits for which a person took back into work. That may make a pass be planned twice, of which one counts.
package operator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

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
	Delta  Action = "delta"
)

// from lists the states in which an action does something.
var from = map[Action][]migration.State{
	Delta:  {migration.Synced},
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

// Refused lists the mailboxes of a wave that did not go on because another wave has one of their sides in work. The
// others did.
type Refused struct {
	Mailboxes []migration.MailboxID
	Because   *ledger.Claimed // of one of them
}

func (r *Refused) Error() string {
	return fmt.Sprintf("%d of the mailboxes: %v", len(r.Mailboxes), r.Because)
}

// Act does a to one mailbox, or to all mailboxes of the wave when m is "". It returns those it did something to: the
// others were in no state for it. Acting twice is harmless. One mailbox that another wave has is a *ledger.Claimed, such
// mailboxes of a whole wave are a *Refused.
func (o *Operator) Act(ctx context.Context, a Action, w migration.WaveID, m migration.MailboxID) ([]migration.MailboxID, error) {
	if m == "" {
		return o.actOnAll(ctx, a, w)
	}
	box, err := o.Ledger.Mailbox(ctx, w, m)
	if err != nil {
		return []migration.MailboxID{}, fmt.Errorf("read mailbox from the ledger: %w", err)
	}
	t := tally{changed: []migration.MailboxID{}}
	err = o.together(ctx, a, []migration.Mailbox{box}, &t)
	if t.refused.Because != nil {
		err = t.refused.Because
	}
	return t.changed, err
}

// tally is what came of the mailboxes of a wave.
type tally struct {
	changed []migration.MailboxID
	refused Refused
}

// atOnce is how many mailboxes are acted on at once: one after the other, a wave of 100,000 would take longer than
// Azure's front end waits.
const atOnce = 64

func (o *Operator) actOnAll(ctx context.Context, a Action, w migration.WaveID) ([]migration.MailboxID, error) {
	t := tally{changed: []migration.MailboxID{}}
	if _, err := o.Ledger.Wave(ctx, w); err != nil {
		return t.changed, fmt.Errorf("read wave from the ledger: %w", err)
	}
	var some []migration.Mailbox
	for box, err := range o.Ledger.WaveMailboxes(ctx, w) {
		if some = append(some, box); err == nil && len(some) == atOnce {
			err = o.together(ctx, a, some, &t)
			some = some[:0]
		}
		if err != nil {
			return t.changed, fmt.Errorf("%s wave: %w", a, err)
		}
	}
	if err := o.together(ctx, a, some, &t); err != nil {
		return t.changed, fmt.Errorf("%s wave: %w", a, err)
	}
	if len(t.refused.Mailboxes) > 0 {
		return t.changed, &t.refused
	}
	return t.changed, nil
}

// together acts on some mailboxes at once, and then sends their messages in order.
func (o *Operator) together(ctx context.Context, a Action, boxes []migration.Mailbox, t *tally) error {
	boxes = slices.DeleteFunc(boxes, func(b migration.Mailbox) bool { return !concerns(a, b) })
	states, letters, errs := make([]migration.State, len(boxes)), make([]*bus.Letter, len(boxes)), make([]error, len(boxes))
	var wg sync.WaitGroup
	for i, box := range boxes {
		wg.Go(func() { states[i], letters[i], errs[i] = o.act(ctx, a, box) })
	}
	wg.Wait()
	var send []bus.Letter
	var failed []error
	for i, box := range boxes {
		if taken, ok := errors.AsType[*ledger.Claimed](errs[i]); ok {
			t.refused.Mailboxes, t.refused.Because = append(t.refused.Mailboxes, box.ID), taken
			continue
		}
		if errs[i] != nil {
			failed = append(failed, errs[i])
			continue
		}
		if letters[i] != nil {
			send = append(send, *letters[i])
		}
		o.Log.Info("operator acted", "action", a, "wave", box.Wave, "mailbox", box.ID, "state", states[i])
		t.changed = append(t.changed, box.ID)
	}
	if len(send) > 0 {
		failed = append(failed, o.Bus.Send(ctx, send...))
	}
	return errors.Join(failed...)
}

// concerns says whether an action does something to a mailbox.
func concerns(a Action, b migration.Mailbox) bool {
	_, waits := b.PlanMessage()
	again := waits && b.Epoch > 0 && (a == Retry || a == Resume)
	return again || slices.Contains(from[a], b.State)
}

// act changes a mailbox's state. It returns the new one, and the message that the mailbox's next step needs, if it needs
// one.
func (o *Operator) act(ctx context.Context, a Action, box migration.Mailbox) (migration.State, *bus.Letter, error) {
	var err error
	switch a {
	case Delta: // its planner changes the state
		return box.State, &bus.Letter{Queue: migration.PlanQueue, Message: box.NextPass()}, nil
	case Pause:
		box, err = o.move(ctx, a, box, migration.Paused)
		return box.State, nil, err
	case Cancel:
		if box, err = o.move(ctx, a, box, migration.Cancelled); err == nil {
			err = o.Ledger.Release(ctx, box)
		}
		return box.State, nil, err
	}
	if !slices.Contains(from[a], box.State) { // asked again
		return o.begin(ctx, box)
	}
	return o.goOn(ctx, a, box)
}

func (o *Operator) move(ctx context.Context, a Action, box migration.Mailbox, to migration.State) (migration.Mailbox, error) {
	return o.Ledger.ChangeMailbox(ctx, box.Wave, box.ID, func(b *migration.Mailbox) error {
		if !slices.Contains(from[a], b.State) {
			return nil
		}
		return b.To(to, o.Clock.Now())
	})
}

// goOn plans the mailbox again: the pass that was not planned yet, else a new one. A mailbox that had not begun begins; one
// that was ready for its cutover is so again.
func (o *Operator) goOn(ctx context.Context, a Action, box migration.Mailbox) (migration.State, *bus.Letter, error) {
	if err := o.Ledger.Claim(ctx, box, o.Clock.Now()); err != nil {
		return box.State, nil, err
	}
	box, err := o.Ledger.ChangeMailbox(ctx, box.Wave, box.ID, func(b *migration.Mailbox) error {
		if !slices.Contains(from[a], b.State) {
			return nil
		}
		b.Problem, b.Tries, b.Stalls, b.Wait = "", 0, 0, migration.Wait{}
		to := migration.Planning
		if b.Was == migration.Submitted || b.Was == migration.Synced || b.Was == migration.Cutover {
			to = b.Was
		}
		b.Was = ""
		return b.Reopen(to, o.Clock.Now())
	})
	if err != nil {
		return box.State, nil, err
	}
	return o.begin(ctx, box)
}

// begin is the message that a mailbox waits for which was taken back, if it waits for one and does not begin with its wave.
func (o *Operator) begin(ctx context.Context, box migration.Mailbox) (migration.State, *bus.Letter, error) {
	m, waits := box.PlanMessage()
	if !waits { // ready, or it has gone on already
		return box.State, nil, nil
	}
	wave, err := o.Ledger.Wave(ctx, box.Wave)
	if err != nil {
		return box.State, nil, fmt.Errorf("read wave from the ledger: %w", err)
	}
	if box.State == migration.Submitted && !wave.Started {
		return box.State, nil, nil
	}
	return box.State, &bus.Letter{Queue: migration.PlanQueue, Message: m}, nil
}
