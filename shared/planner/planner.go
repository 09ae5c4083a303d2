package planner

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
)

// Planner plans one pass of one mailbox.
type Planner struct {
	Sources   mailbox.Sources
	Targets   mailbox.Targets
	Ledger    *ledger.Ledger
	Manifests blob.Store
	Bus       bus.Bus
	Clock     clockwork.Clock
	Log       *slog.Logger
	NewID     func() string // a new plan ID, lower-case letters and digits
	Doubt     time.Duration // how long an import whose answer was lost may still be carried out
}

// errStale says that the message belongs to a step that is over.
var errStale = errors.New("message is about a step that is over")

// Plan plans the pass that m names.
func (p *Planner) Plan(ctx context.Context, m migration.Message) error {
	err := p.try(ctx, m)
	if errors.Is(err, errStale) { // the mailbox went on meanwhile: whoever did that may not have sent what follows
		err = p.try(ctx, m)
	}
	return err
}

// try plans the pass that m names. It is errStale when the mailbox went on while it was listed.
func (p *Planner) try(ctx context.Context, m migration.Message) error {
	box, err := p.begin(ctx, m)
	switch {
	case errors.Is(err, errStale):
		p.Log.Info("plan dropped", "wave", m.Wave, "mailbox", m.Mailbox, "pass", m.Pass, "state", box.State)
		return nil
	case errors.Is(err, ledger.ErrNotFound):
		return fmt.Errorf("mailbox is not in the ledger: %w", err)
	case err != nil:
		return err
	}
	if box.State == migration.Planning {
		if box, err = p.plan(ctx, box); err != nil {
			return err
		}
	}
	return p.send(ctx, box)
}

// begin marks the mailbox as planning. A mailbox whose plan of this pass stands already is returned as it is.
func (p *Planner) begin(ctx context.Context, m migration.Message) (migration.Mailbox, error) {
	var box migration.Mailbox
	stored, err := p.Ledger.ChangeMailbox(ctx, m.Wave, m.Mailbox, func(b *migration.Mailbox) error {
		box = *b
		if b.State.Held() || b.State == migration.Done || m.Pass < b.Pass || m.Pass > b.Pass+1 {
			return errStale
		}
		if m.Pass == b.Pass {
			if b.Plan().Pass == m.Pass { // planned already
				return errStale
			}
			return nil
		}
		return advance(b, m.Pass, p.Clock)
	})
	if errors.Is(err, errStale) && m.Pass == box.Pass && box.State == migration.Copying && box.Shard == 0 || errors.Is(err, errStale) && m.Pass == box.Pass && box.State == migration.Verifying && box.Plan().Shards == 0 {
		return box, nil // the message that follows may not have been sent
	}
	if err != nil {
		return box, err
	}
	return stored, nil
}

// advance starts the next pass of a mailbox. Why it is made follows from where the mailbox stands.
func advance(b *migration.Mailbox, pass int, clock clockwork.Clock) error {
	now := clock.Now()
	switch {
	case pass == 1:
		b.Kind, b.Started = migration.FullPass, now
	case b.State == migration.Cutover:
		b.Kind = migration.CutoverPass
	case b.State == migration.Synced:
		b.Kind = migration.DeltaPass
	}
	b.Pass = pass
	return b.To(migration.Planning, now)
}

// plan lists both sides, writes the manifests and commits the plan.
func (p *Planner) plan(ctx context.Context, box migration.Mailbox) (migration.Mailbox, error) {
	if err := p.claim(ctx, box); err != nil {
		return box, err
	}
	if err := p.quiesce(ctx, box); err != nil {
		return box, err
	}
	source, target, err := p.open(ctx, box)
	if err != nil {
		return box, err
	}
	todo, err := p.compare(ctx, source, target, box)
	if err != nil {
		return box, interpret(err)
	}
	plan := migration.Plan{ID: migration.PlanID(p.NewID()), Pass: box.Pass}
	for n, shard := range cut(todo) {
		shard.Mailbox, shard.Pass, shard.Plan, shard.Shard = box.ID, box.Pass, plan.ID, n
		body, err := manifest.Encode(shard)
		if err != nil {
			return box, err
		}
		if err := p.Manifests.Put(ctx, manifest.Name(box.ID, box.Pass, plan.ID, n), bytes.NewReader(body)); err != nil {
			return box, fmt.Errorf("write manifest: %w", err)
		}
		plan.Shards, plan.Items, plan.Bytes = n+1, plan.Items+len(shard.Items), plan.Bytes+shard.Bytes
	}
	return p.commit(ctx, box, plan)
}

// claim makes sure that no other wave has the mailbox in work. One may have taken it while this one had failed, in the
// moment in which a person took it back into work.
func (p *Planner) claim(ctx context.Context, box migration.Mailbox) error {
	err := p.Ledger.Claim(ctx, box, p.Clock.Now())
	if taken, ok := errors.AsType[*ledger.Claimed](err); ok {
		return outcome.Cancel(fmt.Errorf("%w; retry it when that is over", taken))
	}
	if err != nil {
		return fmt.Errorf("claim mailbox: %w", err)
	}
	return nil
}

func (p *Planner) commit(ctx context.Context, box migration.Mailbox, plan migration.Plan) (migration.Mailbox, error) {
	before, epoch := box.Plan().ID, box.Epoch
	box, err := p.Ledger.ChangeMailbox(ctx, box.Wave, box.ID, func(b *migration.Mailbox) error {
		// The plan that was the last one when this one began must still be: another delivery may have planned the same
		// pass meanwhile, and the mailbox may even be planning again. And if it had failed and a person took it back, another
		// wave may have had it in between: what was listed before does not count.
		if b.State != migration.Planning || b.Pass != plan.Pass || b.Plan().ID != before || b.Epoch != epoch {
			return errStale
		}
		b.Plans, b.Shard, b.Progress, b.Stalls = append(b.Plans, plan), 0, 0, 0
		if plan.Shards == 0 {
			return b.To(migration.Verifying, p.Clock.Now())
		}
		return b.To(migration.Copying, p.Clock.Now())
	})
	if err != nil {
		return box, err
	}
	p.Log.Info("planned", "wave", box.Wave, "mailbox", box.ID, "pass", box.Pass, "kind", box.Kind,
		"plan", plan.ID, "shards", plan.Shards, "items", plan.Items, "bytes", plan.Bytes)
	return box, nil
}

func (p *Planner) send(ctx context.Context, box migration.Mailbox) error {
	if err := p.Ledger.SetLastPlan(ctx, box); err != nil {
		return fmt.Errorf("remember plan: %w", err)
	}
	next := bus.Letter{Queue: migration.CopyQueue, Message: migration.Message{
		Wave: box.Wave, Mailbox: box.ID, Pass: box.Pass, Plan: box.Plan().ID}}
	if box.Plan().Shards == 0 {
		next.Queue = migration.VerifyQueue
	}
	return p.Bus.Send(ctx, next)
}

func (p *Planner) open(ctx context.Context, box migration.Mailbox) (mailbox.Source, mailbox.Target, error) {
	source, err := p.Sources.Source(ctx, box.Source)
	if err != nil {
		return nil, nil, interpret(fmt.Errorf("open source mailbox: %w", err))
	}
	target, err := p.Targets.Target(ctx, box.Target)
	if err != nil {
		return nil, nil, interpret(fmt.Errorf("open target mailbox: %w", err))
	}
	return source, target, nil
}

// interpret says what happens after an error of a mailbox.
func interpret(err error) error {
	if t, ok := errors.AsType[*mailbox.Throttled](err); ok {
		return outcome.Snooze(t.Until, t.Error())
	}
	if errors.Is(err, mailbox.ErrNoMailbox) || errors.Is(err, mailbox.ErrAccess) || errors.Is(err, mailbox.ErrQuota) {
		return outcome.Cancel(err)
	}
	return err
}
