package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/graph/graphtest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/operator"
	"github.com/mailferry/mailferry/shared/pipeline"
)

// deltas makes one to three delta passes, a day apart. Users go on working meanwhile, and more breaks.
func (u *run) deltas(ctx context.Context, p *pipeline.Pipeline) error {
	for range 1 + u.r.IntN(3) {
		if err := u.nextDay(); err != nil {
			return err
		}
		u.clock.Advance(24 * time.Hour)
		if _, err := p.Operator.Act(ctx, operator.Delta, u.wave, ""); err != nil {
			return fmt.Errorf("send for a delta: %w", err)
		}
		if err := u.settle(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// cutOver makes the last pass when its time has come, of every mailbox.
func (u *run) cutOver(ctx context.Context, p *pipeline.Pipeline, at time.Time) error {
	if err := u.nextDay(); err != nil {
		return err
	}
	u.clock.Advance(max(0, at.Sub(u.clock.Now())))
	const ticks = 8
	for range ticks {
		if err := p.Starter.Tick(ctx); err != nil {
			return fmt.Errorf("let the timer come: %w", err)
		}
		if err := u.settle(ctx, p); err != nil {
			return err
		}
		over, err := u.over(ctx)
		if err != nil || over {
			return err
		}
		u.clock.Advance(31 * time.Minute)
	}
	return nil
}

// over says whether every mailbox is done.
func (u *run) over(ctx context.Context) (bool, error) {
	for box, err := range u.ledger.WaveMailboxes(ctx, u.wave) {
		if err != nil {
			return false, fmt.Errorf("read mailboxes: %w", err)
		}
		if box.State != migration.Done {
			return false, nil
		}
	}
	return true, nil
}

// nextDay is what happens between two passes: mail comes and goes, the two sides forget what they knew of changes, and more
// is going to break.
func (u *run) nextDay() error {
	for _, x := range u.pairs {
		for range u.r.IntN(4) {
			if err := u.work(x); err != nil {
				return err
			}
		}
		if u.r.IntN(3) == 0 {
			u.graph.ExpireDelta(x.target)
		}
		if u.r.IntN(3) == 0 {
			u.ews.ForgetStates(x.source)
		}
	}
	u.script.more(u.r, 4)
	u.breakServers()
	return nil
}

// work is one thing that a user does.
func (u *run) work(x *pair) error {
	defer x.remember()
	u.script.hit("user at work between passes")
	it, ok := x.itemOf(u.r)
	switch n := u.r.IntN(4); {
	case n == 0 && ok:
		return x.source.Delete(it)
	case n == 1 && ok:
		to, err := x.source.Known("deleteditems")
		if err != nil {
			return err
		}
		_, err = x.source.Move(it, to.ID)
		return err
	case n == 2 && ok:
		x.touch(it)
		return nil
	}
	u.drawn++
	more := u.plan
	more.Each = 1 + u.r.IntN(3)
	return more.Draw(x.source, 1000+u.drawn)
}

// listen counts what strikes by itself.
func (u *run) listen() {
	u.graph.After(graphtest.DeltaItems, func(_ *http.Request, status int) {
		if status == http.StatusGone {
			u.script.hit("410 on a delta token")
		}
	})
}
