package copier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/manifest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/outcome"
)

// group is the work on one group.
type group struct {
	*delivery
	items []manifest.Item
	*ledger.Group

	inStaging map[int]bool // items that this delivery put into staging

	mu    sync.Mutex // guards what follows, and Group.Items
	doubt bool       // an import's answer was lost
}

// copyGroup brings one group to the phase copied.
func (d *delivery) copyGroup(ctx context.Context, n int, items []manifest.Item) error {
	g := &group{delivery: d, items: items, Group: d.groups[n], inStaging: map[int]bool{}}
	if err := g.own(ctx, n); err != nil {
		return err
	}
	d.groups[n] = g.Group
	cause := g.copyItems(ctx)
	return g.store(ctx, cause)
}

// own makes the group this delivery's: a new one is begun, one that its worker left in order is taken on, and one that
// its worker may have left with lost answers is settled first.
func (g *group) own(ctx context.Context, n int) error {
	now := g.Clock.Now()
	if g.Group == nil {
		g.Group = &ledger.Group{Phase: ledger.Importing, Owner: g.owner, Since: now, Items: g.unsettled()}
		if err := lost(g.Ledger.BeginGroup(ctx, g.of(), n, g.Group)); err != nil {
			return err
		}
		return g.current(ctx)
	}
	if g.Damaged {
		if err := g.anew(ctx, n); err != nil {
			return err
		}
	}
	if err := g.fits(); err != nil {
		return err
	}
	was := *g.Group
	g.Owner = g.owner
	switch {
	case was.Phase == ledger.Importing:
		if err := lost(g.Ledger.TakeOver(ctx, g.Group, g.Clock, g.Doubt)); err != nil {
			return err
		}
		return outcome.Snooze(g.Since.Add(g.Doubt), "a worker left a group unfinished")
	case was.Phase == ledger.Settling && now.Before(was.Since.Add(g.Doubt)):
		return outcome.Snooze(was.Since.Add(g.Doubt), "a worker left a group unfinished")
	}
	g.Phase, g.Since = ledger.Importing, now
	if err := lost(g.Ledger.StoreGroup(ctx, g.Group)); err != nil {
		return err
	}
	if err := g.current(ctx); err != nil || was.Phase != ledger.Settling {
		return err
	}
	return g.settle(ctx)
}

// current says whether the plan still counts. It is asked after the group was marked as being imported: whoever makes a
// new plan first moves the mailbox on and then takes such groups over, so one of the two sees the other.
func (g *group) current(ctx context.Context) error {
	b, err := g.Ledger.Mailbox(ctx, g.box.Wave, g.box.ID)
	if err != nil {
		return fmt.Errorf("read mailbox from the ledger: %w", err)
	}
	if b.State != migration.Copying || b.Pass != g.message.Pass || b.Plan().ID != g.message.Plan {
		return errLost
	}
	return nil
}

// unsettled are the group's items without results.
func (g *group) unsettled() []ledger.GroupItem {
	items := make([]ledger.GroupItem, len(g.items))
	for i, it := range g.items {
		items[i].Key = it.Key
	}
	return items
}

// anew forgets what a damaged row said and reports it: like a group that its worker left unfinished, its items are looked
// up on the target before any of them is imported.
func (g *group) anew(ctx context.Context, n int) error {
	g.Group.Items = g.unsettled()
	err := g.Ledger.Report(ctx, g.box.Wave, ledger.Problem{Mailbox: g.box.ID, Pass: g.message.Pass,
		About: fmt.Sprintf("damaged-%s-%d-%d", g.message.Plan, g.message.Shard, n), Reason: "ledger row damaged",
		Detail: "what it said was forgotten; its items were looked up on the target", Seen: g.Clock.Now()})
	if err != nil {
		return fmt.Errorf("report damaged row: %w", err)
	}
	return nil
}

// fits says whether the ledger's row is about the manifest's items.
func (g *group) fits() error {
	if len(g.Group.Items) != len(g.items) {
		return outcome.Cancel(fmt.Errorf("ledger has %d items in a group of %d: %w", len(g.Group.Items), len(g.items), ledger.ErrCorrupt))
	}
	for i := range g.items {
		if g.Group.Items[i].Key != g.items[i].Key {
			return outcome.Cancel(fmt.Errorf("ledger and manifest name different items: %w", ledger.ErrCorrupt))
		}
	}
	return nil
}

// lost turns the ledger's refusals into errLost.
func lost(err error) error {
	if errors.Is(err, ledger.ErrExists) || errors.Is(err, ledger.ErrConflict) || errors.Is(err, ledger.ErrNotFound) {
		return errLost
	}
	return err
}

// store writes what became of the group. cause is why not every item has a result, nil if all have.
func (g *group) store(ctx context.Context, cause error) error {
	if errors.Is(cause, errLost) {
		return cause
	}
	g.Since = g.Clock.Now()
	switch {
	case cause == nil:
		g.Phase = ledger.Copied
	case g.doubt:
		g.Phase = ledger.Settling
	default:
		g.Phase = ledger.Waiting
	}
	// The results are stored even when the delivery is being given up: without them every item is looked up.
	if err := lost(g.Ledger.StoreGroup(context.WithoutCancel(ctx), g.Group)); err != nil {
		return err
	}
	if err := g.reportSkips(ctx); err != nil {
		return err
	}
	g.unstage(ctx)
	if g.Phase == ledger.Settling {
		return outcome.Snooze(g.Since.Add(g.Doubt<<min(max(g.lostAnswers()-1, 0), mostLost-1)), "the answer to an import was lost")
	}
	return cause
}

// mostLost is how often the answer to an item's import may be lost. The waits in between double: with a doubt of five
// minutes they are two and a half hours together, which no passing failure of the target takes while it answers everything
// else.
const mostLost = 5

// lostAnswers is how often the answer to the import of an item that has no result yet was lost.
func (g *group) lostAnswers() int {
	most := 0
	for _, it := range g.Group.Items {
		if !it.Settled() {
			most = max(most, it.Lost)
		}
	}
	return most
}

// answers says whether the target answers.
func (g *group) answers(ctx context.Context) bool {
	_, err := g.target.Folders(ctx)
	return err == nil
}

// copyItems exports the items without a result and imports them.
func (g *group) copyItems(ctx context.Context) error {
	var single, large []int
	for i, it := range g.items {
		g.source.Expect(it.Source, it.Size)
		switch {
		case g.Group.Items[i].Settled():
		case it.Skip != "":
			g.skip(i, it.Skip, "")
		case g.Group.Items[i].Lost >= mostLost && g.answers(ctx): // and it is not on the target: it was looked up
			g.skip(i, mailbox.Refused, "its import was never answered")
		case it.Size > mailbox.Large:
			large = append(large, i)
		default:
			single = append(single, i)
		}
	}
	if err := g.copyTogether(ctx, single); err != nil {
		return err
	}
	for _, i := range large {
		if err := g.copyLarge(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// copyTogether exports items in one go; while the source is still sending, what has arrived is imported.
func (g *group) copyTogether(ctx context.Context, at []int) error {
	if len(at) == 0 {
		return nil
	}
	if g.box.Stalls >= isolateAfter {
		return g.copyAlone(ctx, at)
	}
	ids := make([]mailbox.ItemID, len(at))
	for n, i := range at {
		ids[n] = g.items[i].Source
	}
	work := &crew{free: make(chan struct{}, imports)}
	err := g.source.Export(ctx, ids, func(n int, r io.Reader, err error) error {
		return g.receive(ctx, work, at[n], r, err)
	})
	// An import's error matters more than the export's that it caused.
	if failed := work.wait(); failed != nil {
		return failed
	}
	if err != nil {
		return fmt.Errorf("export items: %w", err)
	}
	return nil
}

// crew imports a few items at a time. When one import fails, the others still end in order: an import that is broken
// off leaves its item in doubt.
type crew struct {
	free   chan struct{}
	busy   sync.WaitGroup
	mu     sync.Mutex
	failed error // the first error
}

// run does one import in the background as soon as a place is free, or returns the error of an earlier one.
func (c *crew) run(f func() error) error {
	c.free <- struct{}{}
	if err := c.err(); err != nil {
		<-c.free
		return err
	}
	c.busy.Go(func() {
		defer func() { <-c.free }()
		if err := f(); err != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.failed = cmp.Or(c.failed, err)
		}
	})
	return nil
}

func (c *crew) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

func (c *crew) wait() error {
	c.busy.Wait()
	return c.err()
}

// receive takes one exported item: reads it, and hands it to the crew.
func (g *group) receive(ctx context.Context, work *crew, i int, r io.Reader, err error) error {
	var it *held
	if err == nil {
		it, err = g.hold(ctx, i, r)
	}
	if finding, ok := errors.AsType[*mailbox.ItemError](err); ok {
		g.skip(i, finding.Reason, finding.Detail)
		return nil
	}
	if err != nil {
		return err
	}
	err = work.run(func() error {
		defer it.release()
		return g.importItem(ctx, i, it)
	})
	if err != nil {
		it.release()
	}
	return err
}

// importItem imports one item if the group is still ours and the window has room.
func (g *group) importItem(ctx context.Context, i int, it *held) error {
	wire := mailbox.WireSize(it.stream.Size)
	if wire > mailbox.MaxWire {
		g.skip(i, mailbox.TooBig, "")
		return nil
	}
	if err := g.room(wire); err != nil {
		return err
	}
	id, err := g.put(ctx, i, g.leased(it.stream))
	if finding, ok := errors.AsType[*mailbox.ItemError](err); ok {
		g.skip(i, finding.Reason, finding.Detail)
		return nil
	}
	if err != nil {
		g.doubtful(i, err)
		return fmt.Errorf("import item: %w", err)
	}
	g.result(i, func(r *ledger.GroupItem) {
		r.Replaced = g.items[i].Replace != ""
		r.Target, r.Bytes, r.Digest = id, it.stream.Size, it.digest
		r.Recipients, r.Attachments = it.recipients, it.attachments
	})
	return nil
}

// certain are the errors of an import that say that nothing was carried out.
var certain = []error{mailbox.ErrUnavailable, mailbox.ErrAccess, mailbox.ErrNoMailbox, mailbox.ErrNoFolder, mailbox.ErrQuota, errLost}

// doubtful remembers that an import may have been carried out although it failed.
func (g *group) doubtful(i int, err error) {
	if _, ok := errors.AsType[*mailbox.Throttled](err); ok {
		return
	}
	for _, c := range certain {
		if errors.Is(err, c) {
			return
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.doubt = true
	if errors.Is(err, mailbox.ErrUnknown) {
		g.Group.Items[i].Lost++
	}
}

// put adds the item to its folder, or overwrites the one that stands for it there.
func (g *group) put(ctx context.Context, i int, s mailbox.Stream) (mailbox.ItemID, error) {
	it := g.items[i]
	folder := g.shard.Folders[it.Folder].Target
	if it.Replace == "" {
		return g.target.Import(ctx, folder, s)
	}
	id, err := g.target.Replace(ctx, folder, mailbox.Item{ID: it.Replace, Change: it.Change}, s)
	if errors.Is(err, mailbox.ErrChanged) || errors.Is(err, mailbox.ErrUnknown) {
		return it.Replace, nil // somebody, perhaps we, changed it since it was listed; verification looks again
	}
	return id, err
}

// room reserves bytes of the mailbox's upload window, or says when there are some.
func (g *group) room(wire int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	used, free := g.uploaded, g.until.Add(window-g.Budget)
	if over := g.box.Window.Since.Add(window); g.Clock.Now().Before(over) {
		used, free = used+g.box.Window.Bytes, over
	}
	if used > 0 && used+wire > windowBytes {
		return outcome.Snooze(free, "the mailbox's upload window is used up")
	}
	g.uploaded += wire
	return nil
}

func (g *group) result(i int, set func(*ledger.GroupItem)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	set(&g.Group.Items[i])
	g.progress = true
}

func (g *group) skip(i int, why mailbox.Reason, detail string) {
	g.result(i, func(r *ledger.GroupItem) { r.Skip, r.Detail = why, detail })
}
