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

// history is what the ledger knows of a mailbox's items from all its plans; the latest word on an item counts.
type history struct {
	items    map[place]ledger.GroupItem
	before   map[kind]int // how many items of an identity the folder held when we first planned to import one
	imported map[kind]int // how many items of an identity we imported
}

func (h history) of(f mailbox.FolderID, k mailbox.Key) ledger.GroupItem { return h.items[place{f, k}] }

// history reads all manifests and groups of a mailbox.
func (v *Verifier) history(ctx context.Context, box migration.Mailbox) (history, error) {
	h := history{map[place]ledger.GroupItem{}, map[kind]int{}, map[kind]int{}}
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
	for p, it := range h.items {
		if it.Target != "" && !it.Replaced {
			h.imported[kind{p.folder, p.key.Identity}]++
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
		at := place{folder, it.Key}
		if results[i].Replaced && h.items[at].Target != "" && !h.items[at].Replaced {
			results[i].Replaced = false // ours from an earlier plan all the same
		}
		h.items[at] = results[i]
		if _, known := h.before[kind{folder, it.Key.Identity}]; !known && it.Replace == "" {
			h.before[kind{folder, it.Key.Identity}] = it.Before
		}
	}
	return nil
}
