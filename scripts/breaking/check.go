package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"strings"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/receipt"
)

// place is an item's content in a folder: the folder's path, with well-known folders by their well-known name, and the
// digest of everything in the item but what a server changes by itself.
type place struct {
	path   string
	digest [32]byte
}

// name is an item's identity in a folder, whatever its content.
type name struct {
	path     string
	identity mailbox.Identity
}

// content is what a mailbox holds.
type content struct {
	places map[place]int
	names  map[name]int
	named  map[place]name // whose content it is
}

// contentOf reads a mailbox's folders and items, past every protocol.
func contentOf(m *exchangetest.Mailbox) content {
	c := content{map[place]int{}, map[name]int{}, map[place]name{}}
	root, err := m.Known("msgfolderroot")
	if err != nil {
		return c
	}
	paths := map[uint64]string{}
	for _, f := range m.Folders(root.ID, true) {
		part := f.Known
		if part == "" {
			part = strings.ToLower(f.Name)
		}
		paths[f.ID] = paths[f.Parent] + "/" + part
		for _, it := range m.Items(f.ID) {
			at, of := place{paths[f.ID], it.Summary.Digest}, name{paths[f.ID], it.Summary.Identity()}
			c.places[at]++
			c.names[of]++
			c.named[at] = of
		}
	}
	return c
}

// remember notes what the source holds now: everything it ever held may rightly be on the target.
func (p *pair) remember() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.past == nil {
		p.past, p.names = map[place]int{}, map[name]int{}
	}
	if p.at != nil {
		p.touched = p.at.Load()
	}
	now := contentOf(p.source)
	for at, n := range now.places {
		p.past[at] = max(p.past[at], n)
	}
	for at, n := range now.names {
		p.names[at] = max(p.names[at], n)
	}
}

// verdict is what is wrong after a run.
type verdict struct {
	Items       int `json:"items"`
	Lost        int `json:"lost"`
	Duplicated  int `json:"duplicated"`
	Altered     int `json:"altered"`
	Stuck       int `json:"stuck"`
	Unexplained int `json:"unexplained"`
	Skipped     int `json:"skipped"` // at the source, not on the target, with the reason in the report

	notes []string
}

func (v *verdict) bad() bool { return v.Lost+v.Duplicated+v.Altered+v.Stuck+v.Unexplained > 0 }

func (v *verdict) note(format string, a ...any) { v.notes = append(v.notes, fmt.Sprintf(format, a...)) }

// check compares both sides of every mailbox, item by item, by content. The ledger is asked only for states and for why
// items were skipped.
func (u *run) check(ctx context.Context) (verdict, error) {
	v := verdict{Stuck: u.idle}
	if u.idle > 0 {
		v.note("%d times a mailbox stood in its work without a message", u.idle)
	}
	for _, p := range u.pairs {
		id := migration.MailboxFor(p.source.Address, p.target.Address)
		box, err := u.ledger.Mailbox(ctx, u.wave, id)
		if err != nil {
			return v, fmt.Errorf("read mailbox: %w", err)
		}
		if box.State != migration.Done {
			v.Stuck++
			v.note("mailbox %s ended as %s: %s", id, box.State, box.Problem)
		}
		v.compare(p, box.Counts.Skipped)
		if last := u.verifying[id]; last > p.touched && box.State == migration.Done {
			v.compareContent(p, box.Counts.Skipped+box.Counts.Differs)
		}
		if box.State == migration.Done {
			if err := u.checkReceipt(ctx, box); err != nil {
				v.Unexplained++
				v.note("mailbox %s: receipt: %v", id, err)
			}
		}
	}
	return v, nil
}

// checkReceipt checks a mailbox's receipt, every line of it, and that it speaks of as many items as the ledger.
func (u *run) checkReceipt(ctx context.Context, box migration.Mailbox) error {
	const most = 64 << 20
	file, err := blob.ReadAll(ctx, u.blobs[3], box.Receipt+".json", most)
	if err != nil {
		return err
	}
	leaves, err := blob.ReadAll(ctx, u.blobs[3], box.Receipt+".leaves", most)
	if err != nil {
		return err
	}
	r, err := receipt.Verify(file, bytes.NewReader(leaves), []ed25519.PublicKey{u.key.Public()})
	if err == nil && r.Items != box.Counts.Match {
		err = fmt.Errorf("%d items, the ledger has %d", r.Items, box.Counts.Match)
	}
	return err
}

func (v *verdict) compare(p *pair, skips int) {
	source, target := contentOf(p.source), contentOf(p.target)
	missing := 0
	for at, want := range source.names {
		v.Items += want
		if have := target.names[at]; have < want {
			missing += want - have
		}
	}
	v.Skipped += min(missing, skips)
	if missing > skips {
		v.Lost += missing - skips
		v.note("%d items are not on the target, %d were skipped for a reason", missing, skips)
	}
	for at, have := range target.names {
		if most := p.names[at]; most == 0 {
			v.Unexplained += have
			v.note("%d items in %s were never at the source", have, at.path)
		} else if have > most {
			v.Duplicated += have - most
			v.note("%d items in %s are there %d times too often", most, at.path, have-most)
		}
	}
	for at, have := range target.places {
		if most := p.past[at]; have > most && v.Duplicated == 0 && !p.restless[target.named[at]] {
			v.Altered += have - most
			v.note("%d items in %s have a content that the source never had", have-most, at.path)
		}
	}
}

// compareContent compares contents where nothing has changed at the source since the last verification began: the target has
// each of them, but for those that the ledger says were skipped or differ.
func (v *verdict) compareContent(p *pair, excused int) {
	target := contentOf(p.target)
	missing := 0
	for at, want := range contentOf(p.source).places {
		missing += max(0, want-target.places[at])
	}
	if missing > excused {
		v.Altered += missing - excused
		v.note("%d items are not on the target as they are at the source, %d were skipped or are known to differ", missing, excused)
	}
}
