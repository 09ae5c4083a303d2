package copier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jonboulle/clockwork"
	"golang.org/x/sync/semaphore"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/manifest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/outcome"
)

// Copier copies one shard at a time of each mailbox. It is safe for concurrent use.
type Copier struct {
	Sources   mailbox.Sources
	Targets   mailbox.Targets
	Ledger    *ledger.Ledger
	Manifests blob.Store
	Staging   blob.Store
	Bus       bus.Bus
	Clock     clockwork.Clock
	Log       *slog.Logger
	NewID     func() string       // names a delivery in the ledger
	Memory    *semaphore.Weighted // bytes of items in memory, over all mailboxes of the process
	Budget    time.Duration       // how long one delivery may work; must end before the function's timeout
	Doubt     time.Duration       // how long an import whose answer was lost may still be carried out
}

const (
	imports = 4               // Graph: concurrent requests per app and mailbox
	window  = 5 * time.Minute // Graph: uploads per app and mailbox are counted over five minutes
	// windowBytes stays below the published 150 MB, because the window may begin before our first request did.
	windowBytes = 145_000_000
	maxStalls   = 10 // deliveries in a row without progress before a person is asked
)

// errLost says that another worker has the mailbox or its group now. This worker stops and changes nothing more.
var errLost = errors.New("another worker has taken over")

// delivery is the work on one message.
type delivery struct {
	*Copier
	message  migration.Message
	box      migration.Mailbox
	shard    manifest.Manifest
	source   mailbox.Source
	target   mailbox.Target
	groups   map[int]*ledger.Group
	owner    string
	until    time.Time // when the budget ends
	uploaded int64     // bytes on the wire in this delivery
	settled  int       // items of the shard with a result
	progress bool      // some item got a result in this delivery
}

// Copy works on the shard that m names until it is done, the budget is spent or a side wants a pause.
func (c *Copier) Copy(ctx context.Context, m migration.Message) error {
	d := &delivery{Copier: c, message: m, owner: c.NewID(), until: c.Clock.Now().Add(c.Budget)}
	go_, err := d.begin(ctx)
	if errors.Is(err, manifest.ErrDamaged) {
		return d.planAnew(ctx, err)
	}
	if err != nil || !go_ {
		return err
	}
	err = d.copyShard(ctx)
	switch {
	case errors.Is(err, errLost):
		c.Log.Info("copy handed over", "wave", m.Wave, "mailbox", m.Mailbox, "pass", m.Pass, "shard", m.Shard, "turn", m.Turn)
		// Whoever it is may hold no message any more, or be dead: this one stays until it is about a step that is over.
		return outcome.Snooze(c.Clock.Now().Add(c.Doubt), errLost.Error())
	case err != nil:
		return d.pause(ctx, err)
	}
	return d.finish(ctx)
}

// begin reads where the mailbox stands. It returns false when the message is about a step that is over.
func (d *delivery) begin(ctx context.Context) (bool, error) {
	var err error
	m := d.message
	if d.box, err = d.Ledger.Mailbox(ctx, m.Wave, m.Mailbox); err != nil {
		return false, fmt.Errorf("read mailbox from the ledger: %w", err)
	}
	current := d.box.Pass == m.Pass && d.box.Plan().ID == m.Plan
	switch {
	case d.over(d.box):
		return false, d.sendNext(ctx, d.box) // the message that follows may not have been sent
	case current && d.box.State == migration.Planning:
		return false, d.sendPass(ctx, d.box) // likewise
	case !current || d.box.State != migration.Copying || m.Shard > d.box.Shard:
		d.Log.Info("copy dropped", "wave", m.Wave, "mailbox", m.Mailbox, "pass", m.Pass, "shard", m.Shard, "state", d.box.State)
		return false, nil
	}
	if err := d.read(ctx); err != nil {
		return false, err
	}
	return true, d.open(ctx)
}

// read reads the shard's manifest and groups.
func (d *delivery) read(ctx context.Context) error {
	m := d.message
	r, _, err := d.Manifests.Open(ctx, manifest.Name(m.Mailbox, m.Pass, m.Plan, m.Shard), 0)
	if err != nil {
		return fmt.Errorf("open manifest: %w", err)
	}
	defer r.Close()
	d.shard, err = manifest.Decode(r)
	if err != nil {
		return err
	}
	d.groups, err = d.Ledger.GroupList(ctx, d.of())
	if err != nil {
		return fmt.Errorf("read groups: %w", err)
	}
	return nil
}

func (d *delivery) of() ledger.GroupsOf {
	m := d.message
	return ledger.GroupsOf{Mailbox: m.Mailbox, Pass: m.Pass, Plan: m.Plan, Shard: m.Shard}
}

func (d *delivery) open(ctx context.Context) (err error) {
	if d.source, err = d.Sources.Source(ctx, d.box.Source); err != nil {
		return d.pause(ctx, fmt.Errorf("open source mailbox: %w", err))
	}
	if d.target, err = d.Targets.Target(ctx, d.box.Target); err != nil {
		return d.pause(ctx, fmt.Errorf("open target mailbox: %w", err))
	}
	return nil
}

// copyShard works through the groups in order.
func (d *delivery) copyShard(ctx context.Context) error {
	for n := 0; n*ledger.GroupSize < len(d.shard.Items); n++ {
		items := d.shard.Items[n*ledger.GroupSize : min((n+1)*ledger.GroupSize, len(d.shard.Items))]
		g := d.groups[n]
		if g == nil || g.Phase != ledger.Copied {
			if !d.Clock.Now().Before(d.until) {
				return outcome.Snooze(d.Clock.Now(), "the delivery's time is spent")
			}
			if err := d.copyGroup(ctx, n, items); err != nil {
				return err
			}
		}
		d.settled += len(items)
	}
	return nil
}

// finish marks the shard done and sends what comes next.
func (d *delivery) finish(ctx context.Context) error {
	items, size := 0, int64(0)
	for _, g := range d.groups {
		for _, it := range g.Items {
			if it.Target != "" {
				items, size = items+1, size+it.Bytes
			}
		}
	}
	box, err := d.Ledger.ChangeMailbox(ctx, d.box.Wave, d.box.ID, func(b *migration.Mailbox) error {
		if b.State != migration.Copying || b.Pass != d.message.Pass || b.Shard != d.message.Shard {
			return errLost
		}
		b.Shard++
		b.Copied, b.Bytes, b.Progress, b.Stalls = b.Copied+items, b.Bytes+size, 0, 0
		d.used(b)
		if b.Shard == b.Plan().Shards {
			return b.To(migration.Verifying, d.Clock.Now())
		}
		b.Changed, b.Wait = d.Clock.Now(), migration.Wait{Until: b.Window.Since.Add(window), Why: "Graph takes 150 MB from an app for one mailbox in five minutes"}
		return nil
	})
	if errors.Is(err, errLost) {
		return d.moved(ctx)
	}
	if err != nil {
		return fmt.Errorf("mark shard done: %w", err)
	}
	d.Log.Info("copied", "wave", box.Wave, "mailbox", box.ID, "pass", box.Pass, "shard", d.message.Shard, "turn", d.message.Turn,
		"items", items, "bytes", size, "uploaded", d.uploaded)
	return d.sendNext(ctx, box)
}

// moved looks at a mailbox that has gone on without this delivery: whoever moved it may not have sent what follows.
func (d *delivery) moved(ctx context.Context) error {
	box, err := d.Ledger.Mailbox(ctx, d.box.Wave, d.box.ID)
	if err != nil {
		return fmt.Errorf("read mailbox from the ledger: %w", err)
	}
	if d.over(box) {
		return d.sendNext(ctx, box)
	}
	return nil
}

// over says whether the message's step is done and the mailbox is at a later step of the same plan.
func (d *delivery) over(box migration.Mailbox) bool {
	m := d.message
	return box.Pass == m.Pass && box.Plan().ID == m.Plan &&
		(box.State == migration.Copying && m.Shard < box.Shard || box.State == migration.Verifying)
}

// sendNext sends the next shard, for when the window has room for it, or the verify message.
func (d *delivery) sendNext(ctx context.Context, box migration.Mailbox) error {
	m := migration.Message{Wave: box.Wave, Mailbox: box.ID, Pass: box.Pass, Plan: box.Plan().ID, Shard: box.Shard}
	if box.State == migration.Verifying {
		m.Shard = 0
		return d.Bus.Send(ctx, bus.Letter{Queue: migration.VerifyQueue, Message: m})
	}
	return d.Bus.Send(ctx, bus.Letter{Queue: migration.CopyQueue, Message: m, At: box.Window.Since.Add(window)})
}

// planAnew gives up a plan of which a manifest is damaged: the next pass finds by comparing both sides what is left to do.
func (d *delivery) planAnew(ctx context.Context, cause error) error {
	m, now := d.message, d.Clock.Now()
	err := d.Ledger.Report(ctx, m.Wave, ledger.Problem{Mailbox: m.Mailbox, Pass: m.Pass, About: fmt.Sprintf("manifest-%s-%d", m.Plan, m.Shard),
		Reason: "manifest damaged", Detail: cause.Error() + "; the mailbox is planned anew, unless that did not help twice", Seen: now})
	if err != nil {
		return fmt.Errorf("report damaged manifest: %w", err)
	}
	box, err := d.Ledger.ChangeMailbox(ctx, m.Wave, m.Mailbox, func(b *migration.Mailbox) error {
		if b.State != migration.Copying || b.Pass != m.Pass || b.Plan().ID != m.Plan {
			return errLost
		}
		if b.Tries++; b.Tries >= migration.MaxTries {
			return outcome.Cancel(fmt.Errorf("%w, in %d plans in a row; look at the storage account, then retry the mailbox", cause, b.Tries))
		}
		return b.To(migration.Planning, now)
	})
	if errors.Is(err, errLost) {
		return nil // the mailbox has gone on
	}
	if err != nil {
		return fmt.Errorf("plan anew: %w", err)
	}
	return d.sendPass(ctx, box)
}

// sendPass sends for the plan of the next pass.
func (d *delivery) sendPass(ctx context.Context, box migration.Mailbox) error {
	return d.Bus.Send(ctx, bus.Letter{Queue: migration.PlanQueue, Message: box.NextPass()})
}

// used adds this delivery's uploads to the mailbox's window. A window that is over is begun anew.
func (d *delivery) used(b *migration.Mailbox) {
	began := d.until.Add(-d.Budget)
	if began.Sub(b.Window.Since) >= window {
		b.Window = migration.Window{Since: began}
	}
	b.Window.Bytes += d.uploaded
}

// pause stores how far the delivery came and says when to come back, or that a person must act.
func (d *delivery) pause(ctx context.Context, cause error) error {
	now := d.Clock.Now()
	box, err := d.Ledger.ChangeMailbox(ctx, d.box.Wave, d.box.ID, func(b *migration.Mailbox) error {
		if b.State != migration.Copying || b.Pass != d.message.Pass || b.Shard != d.message.Shard {
			return errLost
		}
		d.used(b)
		b.Progress, b.Changed = d.settled, now
		if b.Stalls++; d.progress || !stalled(cause) {
			b.Stalls = 0
		}
		if stalled(cause) {
			b.Problem = cause.Error()
		}
		return nil
	})
	if errors.Is(err, errLost) {
		return d.moved(ctx)
	}
	if err != nil {
		return fmt.Errorf("store progress: %w", errors.Join(err, cause))
	}
	return d.comeBack(box, cause)
}

// comeBack turns the cause of a pause into what happens next.
func (d *delivery) comeBack(box migration.Mailbox, cause error) error {
	now := d.Clock.Now()
	if t, ok := errors.AsType[*mailbox.Throttled](cause); ok {
		return outcome.Snooze(t.Until, t.Error())
	}
	if _, ok := outcome.Snoozed(cause); ok || outcome.Cancelled(cause) {
		return cause
	}
	for _, final := range []error{mailbox.ErrNoMailbox, mailbox.ErrAccess, mailbox.ErrQuota} {
		if errors.Is(cause, final) {
			return outcome.Cancel(cause)
		}
	}
	if errors.Is(cause, mailbox.ErrNoFolder) {
		return outcome.Cancel(fmt.Errorf("%w: it was deleted meanwhile; retry the mailbox to plan it anew", cause))
	}
	if box.Stalls >= maxStalls {
		return outcome.Cancel(fmt.Errorf("no progress in %d deliveries: %w", box.Stalls, cause))
	}
	wait := min(5*time.Second<<box.Stalls, 10*time.Minute)
	return outcome.Snooze(now.Add(wait), cause.Error())
}

// stalled says whether a pause is neither throttling nor a spent budget.
func stalled(cause error) bool {
	_, throttled := errors.AsType[*mailbox.Throttled](cause)
	_, snoozed := outcome.Snoozed(cause)
	return !throttled && !snoozed
}
