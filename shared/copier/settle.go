package copier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox"
)

// settle looks the items without a result up on the target: those whose import was carried out although its answer
// was lost get their result. It lists each folder concerned once: what a worker that dies costs is a request for every 500
// items that these folders hold, whatever the shard's size; the line of the delivery counts the requests.
//
// Items that share an identity cannot be told apart on the target, so they are counted: of the n items of an identity
// that the folder holds, some were there when the shard was planned, and some were imported by groups that know it.
// What is left over was imported without our knowing, and is given to the items in doubt in order.
func (g *group) settle(ctx context.Context) error {
	folders := map[int]bool{}
	for i, it := range g.items {
		if !g.Group.Items[i].Settled() && it.Replace == "" && it.Skip == "" {
			folders[it.Folder] = true
		}
	}
	for f := range folders {
		if err := g.settleFolder(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

func (g *group) settleFolder(ctx context.Context, folder int) error {
	listed, err := mailbox.List(ctx, g.target, g.shard.Folders[folder].Target)
	if err != nil {
		return fmt.Errorf("look up items in doubt: %w", err)
	}
	known, err := g.known(ctx, folder)
	if err != nil {
		return err
	}
	spare := map[mailbox.Identity][]mailbox.ItemID{}
	for _, it := range listed {
		if !known[it.ID] {
			spare[it.Key.Identity] = append(spare[it.Key.Identity], it.ID)
		}
	}
	found := 0
	for i, it := range g.items {
		id := it.Key.Identity
		left := len(spare[id]) - it.Before
		if it.Folder != folder || it.Replace != "" || g.Group.Items[i].Settled() || left <= 0 {
			continue
		}
		last := len(spare[id]) - 1
		target := spare[id][last]
		spare[id] = spare[id][:last]
		g.result(i, func(r *ledger.GroupItem) { r.Target, r.Found = target, true })
		found++
	}
	if err := g.unresolved(ctx, folder, spare); err != nil {
		return err
	}
	g.Log.Info("settled", "wave", g.box.Wave, "mailbox", g.box.ID, "pass", g.message.Pass, "shard", g.message.Shard,
		"folder", folder, "listed", len(listed), "found", found)
	return nil
}

// unresolved reports identities of which the folder holds more than can be explained: more than were there before, were
// imported, or were in doubt. Nothing is guessed and nothing removed; a person looks at them.
func (g *group) unresolved(ctx context.Context, folder int, spare map[mailbox.Identity][]mailbox.ItemID) error {
	for _, it := range g.items {
		over := len(spare[it.Key.Identity]) - it.Before
		if it.Folder != folder || it.Replace != "" || over <= 0 {
			continue
		}
		path := g.shard.Folders[folder].Path
		err := g.Ledger.Report(ctx, g.box.Wave, ledger.Problem{
			Mailbox: g.box.ID, Pass: g.message.Pass, About: ledger.About("unresolved", path, it.Key), Reason: "unresolved",
			Detail: fmt.Sprintf("after a lost answer the target holds %d more of this item than were imported; compare them by hand", over),
			Folder: strings.Join(path, " / "), Class: it.Class, Received: it.Received, Size: it.Size, Seen: g.Clock.Now(),
		})
		if err != nil {
			return fmt.Errorf("report unresolved item: %w", err)
		}
	}
	return nil
}

// known collects the target ids of this shard's groups, and of the shards before when a run of equal items may have begun there.
func (g *group) known(ctx context.Context, folder int) (map[mailbox.ItemID]bool, error) {
	ids := map[mailbox.ItemID]bool{}
	add := func(groups map[int]*ledger.Group) {
		for _, gr := range groups {
			for _, it := range gr.Items {
				if it.Target != "" && !it.Replaced { // what it replaced is counted as there before
					ids[it.Target] = true
				}
			}
		}
	}
	add(g.groups)
	first := g.shard.Items[0]
	if first.Folder == folder && first.Key.Ordinal > 0 {
		for n := g.message.Shard - 1; n >= 0; n-- {
			of := g.of()
			of.Shard = n
			groups, err := g.Ledger.GroupList(ctx, of)
			if err != nil {
				return nil, fmt.Errorf("read groups of shard %d: %w", n, err)
			}
			add(groups)
		}
	}
	return ids, nil
}

// isolateAfter is how many deliveries may stall before items are exported one by one, so that one that breaks the
// source's connection is found.
const isolateAfter = 3

// copyAlone exports items one by one. One that breaks off while the source otherwise answers is skipped.
func (g *group) copyAlone(ctx context.Context, at []int) error {
	for _, i := range at {
		var it *held
		err := g.source.Export(ctx, []mailbox.ItemID{g.items[i].Source}, func(_ int, r io.Reader, err error) error {
			if err == nil {
				it, err = g.hold(ctx, i, r)
			}
			return err
		})
		if it != nil {
			err = nil // the item is whole, whatever came after it
		}
		if err != nil && g.breaksOff(ctx, i, err) {
			err = &mailbox.ItemError{Reason: mailbox.Corrupt, Detail: "the source breaks off while sending it"}
		}
		if finding, ok := errors.AsType[*mailbox.ItemError](err); ok {
			g.skip(i, finding.Reason, finding.Detail)
			continue
		}
		if err != nil {
			return fmt.Errorf("export item: %w", err)
		}
		err = g.importItem(ctx, i, it)
		it.release()
		if err != nil {
			return err
		}
	}
	return nil
}

// breaksOff says whether an export failed because of its item: the source exports others, but this item does not come.
func (g *group) breaksOff(ctx context.Context, i int, err error) bool {
	if _, ok := errors.AsType[*mailbox.ItemError](err); ok || ctx.Err() != nil || !errors.Is(err, mailbox.ErrUnavailable) {
		return false
	}
	asked := 0
	for _, it := range g.shard.Items {
		if it.Source == g.items[i].Source || it.Skip != "" || it.Size > mailbox.Large {
			continue
		}
		others := g.source.Export(ctx, []mailbox.ItemID{it.Source}, func(int, io.Reader, error) error { return nil })
		if asked++; others == nil || asked == mostProbes {
			return others == nil
		}
	}
	// It is the only one, or all of a few are like it, as in a pass that has nothing left but what was skipped before.
	_, probe := g.source.Folders(ctx)
	return probe == nil && (asked == 0 || g.box.Stalls == maxStalls-1)
}

// mostProbes is how many other items of a shard are asked for, to find one that the source exports. When none of so many
// comes, it is not the item.
const mostProbes = 5

// reportSkips writes a problem for every item that was skipped.
func (g *group) reportSkips(ctx context.Context) error {
	for i, r := range g.Group.Items {
		if r.Skip == "" {
			continue
		}
		it := g.items[i]
		err := g.Ledger.Report(ctx, g.box.Wave, ledger.Problem{
			Mailbox: g.box.ID, Pass: g.message.Pass, About: ledger.About(string(r.Skip), g.shard.Folders[it.Folder].Path, it.Key), Reason: string(r.Skip), Detail: r.Detail,
			Folder: strings.Join(g.shard.Folders[it.Folder].Path, " / "), Class: it.Class, Received: it.Received,
			Size: it.Size, Seen: g.Clock.Now(),
		})
		if err != nil {
			return fmt.Errorf("report skipped item: %w", err)
		}
	}
	return nil
}
