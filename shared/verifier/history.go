package verifier

import (
	"context"
	"errors"
	"fmt"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/manifest"
	"github.com/mailferry/mailferry/shared/migration"
)

// place is an item's key in a target folder.
type place struct {
	folder mailbox.FolderID
	key    mailbox.Key
}

// kind is an identity in a target folder.
type kind struct {
	folder   mailbox.FolderID
	identity mailbox.Identity
}

// record is what the ledger knows of one item, and of which item and state of it at the source it says that.
type record struct {
	ledger.GroupItem
	source mailbox.ItemID
	change string
}

// history is what the ledger knows of a mailbox's items from all its plans; the latest word on an item counts.
type history struct {
	items    map[place]record
	ours     map[mailbox.ItemID]bool // on the target, imported by us
	before   map[kind]int            // how many items of an identity the folder held when we first planned to import one
	imported map[kind]int            // how many items of an identity that we imported the folder still holds
}

// of is what is known of an item of the source, the zero record when nothing is: its number among equal ones may have been
// another's.
func (h history) of(f mailbox.FolderID, it mailbox.Keyed) record {
	if r := h.items[place{f, it.Key}]; r.source == it.ID {
		return r
	}
	return record{}
}

// count counts what a folder of the target holds that is ours.
func (h history) count(f mailbox.FolderID, have []mailbox.Keyed) {
	for _, it := range have {
		if h.ours[it.ID] {
			h.imported[kind{f, it.Key.Identity}]++
		}
	}
}

// history reads all manifests and groups of a mailbox.
func (v *Verifier) history(ctx context.Context, box migration.Mailbox) (history, error) {
	h := history{map[place]record{}, map[mailbox.ItemID]bool{}, map[kind]int{}, map[kind]int{}}
	for _, plan := range box.Plans {
		for n := range plan.Shards {
			of := ledger.GroupsOf{Mailbox: box.ID, Pass: plan.Pass, Plan: plan.ID, Shard: n}
			err := v.shard(ctx, box, of, h)
			if errors.Is(err, manifest.ErrDamaged) || errors.Is(err, blob.ErrNotFound) {
				err = v.forgotten(ctx, box, of, err)
			}
			if err != nil {
				return h, err
			}
		}
	}
	return h, nil
}

// forgotten reports a manifest that cannot be read. What it listed is compared all the same; only why items were skipped,
// and which of several equal items are ours, is not known any more.
func (v *Verifier) forgotten(ctx context.Context, box migration.Mailbox, of ledger.GroupsOf, why error) error {
	err := v.Ledger.Report(ctx, box.Wave, ledger.Problem{Mailbox: box.ID, Pass: of.Pass, About: fmt.Sprintf("manifest-%s-%d", of.Plan, of.Shard),
		Reason: "manifest damaged", Detail: why.Error() + "; its items were compared on both sides, without its reasons for skips", Seen: v.Clock.Now()})
	if err != nil {
		return fmt.Errorf("report damaged manifest: %w", err)
	}
	return nil
}

func (v *Verifier) shard(ctx context.Context, box migration.Mailbox, of ledger.GroupsOf, h history) error {
	r, _, err := v.Manifests.Open(ctx, manifest.Name(of.Mailbox, of.Pass, of.Plan, of.Shard), 0)
	if err != nil {
		return fmt.Errorf("open manifest: %w", err)
	}
	defer r.Close()
	m, err := manifest.Decode(r)
	if err != nil {
		return err
	}
	groups, err := v.Ledger.GroupList(ctx, of)
	if err != nil {
		return fmt.Errorf("read groups: %w", err)
	}
	results := make([]ledger.GroupItem, len(m.Items)) // empty where a group was not begun or its row is damaged
	for n, g := range groups {
		copy(results[min(n*ledger.GroupSize, len(results)):], g.Items)
	}
	for i, it := range m.Items {
		folder := m.Folders[it.Folder].Target
		r := results[i]
		h.items[place{folder, it.Key}] = record{r, it.Source, it.SourceChange}
		if r.Target != "" && (!r.Replaced || h.ours[it.Replace]) {
			h.ours[r.Target] = true
		}
		if _, known := h.before[kind{folder, it.Key.Identity}]; !known && it.Replace == "" {
			h.before[kind{folder, it.Key.Identity}] = it.Before
		}
	}
	return nil
}
