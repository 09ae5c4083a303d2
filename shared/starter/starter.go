// Package starter begins waves when their time has come.
//
//	for each wave whose start time is past and that was not started: send a plan message per mailbox; mark it started
//	for each wave whose cutover time is past: move its synced mailboxes to cutover and send their plan messages;
//	mark it switched when no mailbox is left to move
//
//	for each wave that was not looked through for half an hour: send the message again of each mailbox that has stood
//	still for longer than any delivery or wait takes; send for a delta pass of each that was synced a day ago and waits for
//	its cutover; take the mark of the cutover back if a mailbox was synced after it, so that the next tick moves it
//
// Messages are sent before the mark is written, and have the same IDs whenever they are sent: a wave is begun by as many
// ticks as it takes, each mailbox once.
package starter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jonboulle/clockwork"
	"golang.org/x/sync/errgroup"

	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/migration"
)

// Starter starts waves.
type Starter struct {
	Ledger *ledger.Ledger
	Bus    bus.Bus
	Clock  clockwork.Clock
	Log    *slog.Logger
}

// Tick starts every wave whose time has come. A wave that fails does not keep the others from starting.
func (s *Starter) Tick(ctx context.Context) error {
	var failed []error
	for w, err := range s.Ledger.AllWaves(ctx) {
		if err != nil {
			return errors.Join(append(failed, fmt.Errorf("list waves: %w", err))...)
		}
		if err := s.Start(ctx, w); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// Start starts a wave, or its cutover, if the time has come and it was not done yet.
func (s *Starter) Start(ctx context.Context, w migration.Wave) error {
	now := s.Clock.Now()
	if !w.Started && !w.Start.After(now) {
		if err := s.begin(ctx, w); err != nil {
			return fmt.Errorf("start wave %s: %w", w.ID, err)
		}
	}
	if !w.Switched && !w.Cutover.IsZero() && !w.Cutover.After(now) {
		if err := s.cutover(ctx, w); err != nil {
			return fmt.Errorf("cut over wave %s: %w", w.ID, err)
		}
	}
	if w.Started && now.Sub(w.Looked) >= lookEvery {
		if err := s.lookThrough(ctx, w); err != nil {
			return fmt.Errorf("look through wave %s: %w", w.ID, err)
		}
	}
	return nil
}

// A delivery works for 25 minutes and a message waits for 10 at most, or 5 for an upload window; a throttled one seldom
// longer. Sending a message again is harmless, so these times are about cost, not correctness. A day between deltas lets
// each run at the hour at which the mailbox began.
const (
	lookEvery  = 30 * time.Minute
	stoodStill = 2 * time.Hour
	deltaEvery = 24 * time.Hour
)

// lookThrough nudges mailboxes that stand still: an operator's process may have been killed between the ledger and the
// bus, or a dead letter lost. A repeated message about a step that is under way or over changes nothing. And it keeps
// synced mailboxes fresh, so that the cutover has little left to copy.
func (s *Starter) lookThrough(ctx context.Context, w migration.Wave) error {
	now := s.Clock.Now()
	var nudges, deltas []bus.Letter
	late := false
	for box, err := range s.Ledger.WaveMailboxes(ctx, w.ID) {
		if err != nil {
			return err
		}
		if l, ok := step(w, box); ok && now.Sub(since(w, box)) >= stoodStill {
			nudges = append(nudges, l)
		}
		late = late || w.Switched && box.State == migration.Synced // it had failed, and a person took it back into work
		if box.State == migration.Synced && now.Sub(box.Changed) >= deltaEvery && w.Cutover.After(now) {
			deltas = append(deltas, bus.Letter{Queue: migration.PlanQueue, Message: box.NextPass()})
		}
	}
	if err := s.Bus.Send(ctx, append(nudges, deltas...)...); err != nil {
		return err
	}
	if len(nudges) > 0 {
		s.Log.Warn("mailboxes nudged", "wave", w.ID, "mailboxes", len(nudges))
	}
	if len(deltas) > 0 {
		s.Log.Info("deltas sent for", "wave", w.ID, "mailboxes", len(deltas))
	}
	_, err := s.Ledger.ChangeWave(ctx, w.ID, func(w *migration.Wave) error {
		w.Looked, w.Switched = now, w.Switched && !late
		return nil
	})
	return err
}

// since is when a mailbox came to the step that it is at, or when it was last told to wait in it. One that was not begun
// waits for its start.
func since(w migration.Wave, box migration.Mailbox) time.Time {
	at := box.Changed
	if box.Wait.Until.After(at) {
		at = box.Wait.Until
	}
	if last := spread(w, w.Mailboxes); box.State == migration.Submitted && last.After(at) {
		at = last
	}
	return at
}

// step is the message of the step that a mailbox of a wave is at.
func step(w migration.Wave, box migration.Mailbox) (bus.Letter, bool) {
	q, m, ok := box.Step()
	damaged := box.State == migration.Submitted && w.Start.IsZero() // the wave's row
	return bus.Letter{Queue: q, Message: m}, ok && !damaged
}

func (s *Starter) begin(ctx context.Context, w migration.Wave) error {
	var letters []bus.Letter
	for box, err := range s.Ledger.WaveMailboxes(ctx, w.ID) {
		if err != nil {
			return err
		}
		if box.State == migration.Submitted {
			letters = append(letters, bus.Letter{Queue: migration.PlanQueue, At: spread(w, len(letters)),
				Message: migration.Message{Wave: w.ID, Mailbox: box.ID, Pass: 1, Epoch: box.Epoch}})
		}
	}
	if err := s.Bus.Send(ctx, letters...); err != nil {
		return err
	}
	s.Log.Info("wave started", "wave", w.ID, "mailboxes", len(letters))
	_, err := s.Ledger.ChangeWave(ctx, w.ID, func(w *migration.Wave) error { w.Started = true; return nil })
	return err
}

// spread is when the n-th mailbox of a wave starts: the zero time, now, for a wave that starts at once.
func spread(w migration.Wave, n int) time.Time {
	if w.Spread == 0 || w.Mailboxes == 0 {
		return time.Time{}
	}
	return w.Start.Add(time.Duration(w.Spread) * time.Second * time.Duration(n) / time.Duration(w.Mailboxes))
}

// cutover moves the synced mailboxes of a wave to cutover and sends for their last pass.
func (s *Starter) cutover(ctx context.Context, w migration.Wave) error {
	var boxes []migration.Mailbox
	for box, err := range s.Ledger.WaveMailboxes(ctx, w.ID) {
		if err != nil {
			return err
		}
		boxes = append(boxes, box)
	}
	if err := s.toCutover(ctx, boxes); err != nil {
		return err
	}
	left := 0
	var letters []bus.Letter
	for _, box := range boxes {
		switch {
		case box.State == migration.Cutover:
			letters = append(letters, bus.Letter{Queue: migration.PlanQueue, Message: box.NextPass()})
		case !box.State.Over() && box.Kind != migration.CutoverPass:
			left++
		}
	}
	if err := s.Bus.Send(ctx, letters...); err != nil {
		return err
	}
	if left > 0 {
		return nil // the next tick moves those that are synced by then
	}
	_, err := s.Ledger.ChangeWave(ctx, w.ID, func(w *migration.Wave) error { w.Switched = true; return nil })
	return err
}

// atOnce is how many mailboxes are moved at once: one after the other, those of an evening would take minutes.
const atOnce = 64

// toCutover moves those of the mailboxes that are synced.
func (s *Starter) toCutover(ctx context.Context, boxes []migration.Mailbox) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range boxes {
		if boxes[i].State != migration.Synced {
			continue
		}
		g.Go(func() (err error) {
			boxes[i], err = s.Ledger.ChangeMailbox(ctx, boxes[i].Wave, boxes[i].ID, func(b *migration.Mailbox) error {
				if b.State != migration.Synced {
					return nil
				}
				return b.To(migration.Cutover, s.Clock.Now())
			})
			return err
		})
	}
	return g.Wait()
}
