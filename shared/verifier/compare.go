package verifier

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/receipt"
)

// finding is one item that is not simply a match.
type finding struct {
	word   string // missing, extra, differs, or why it was skipped
	detail string
	path   []string
	item   mailbox.Keyed
}

// maxFindings bounds what one verification keeps in memory and reports; the counts are complete.
const maxFindings = 10_000

// comparison is what one verification found.
type comparison struct {
	counts   migration.Counts
	arrived  int // of the missing items, those that no plan knew: they came to a folder after it was planned
	findings []finding
	deep     []pair         // matching items whose content is to be compared
	redo     []pair         // of these, the ones whose content differs
	leaves   []receipt.Leaf // matching items
	skipped  []receipt.Skip
	until    time.Time // when the budget is spent
	standing
}

// pair is one item on both sides.
type pair struct {
	path           []string
	folder         mailbox.FolderID // on the target
	source, target mailbox.Keyed
	past           record
	leaf           int // index of its leaf
}

func (c *comparison) add(f finding) {
	if len(c.findings) < maxFindings {
		c.findings = append(c.findings, f)
	}
}

// compare lists both sides and merges them, folder by folder. What it has come to when a content cannot be compared is returned with the error.
func (v *Verifier) compare(ctx context.Context, box migration.Mailbox, w migration.Wave, turn int) (*comparison, error) {
	until := v.Clock.Now().Add(v.Budget)
	source, err := v.Sources.Source(ctx, box.Source)
	if err != nil {
		return nil, fmt.Errorf("open source mailbox: %w", err)
	}
	target, err := v.Targets.Target(ctx, box.Target)
	if err != nil {
		return nil, fmt.Errorf("open target mailbox: %w", err)
	}
	from, err := source.Folders(ctx)
	if err != nil {
		return nil, fmt.Errorf("list source folders: %w", err)
	}
	to, err := target.Folders(ctx)
	if err != nil {
		return nil, fmt.Errorf("list target folders: %w", err)
	}
	c := &comparison{until: until}
	if c.standing, err = v.standing(ctx, sides{source, target}, box, w, turn); err != nil {
		return nil, err
	}
	past := sync.OnceValues(func() (history, error) { return v.history(ctx, box) }) // most deltas need none
	for _, p := range mailbox.Pairs(from, to) {
		if err := v.compareFolder(ctx, sides{source, target}, p, past, c); err != nil {
			return nil, err
		}
	}
	return c, v.compareContent(ctx, box, sides{source, target}, c)
}

type sides struct {
	source mailbox.Source
	target mailbox.Target
}

func (v *Verifier) compareFolder(ctx context.Context, s sides, p mailbox.Pair, known func() (history, error), c *comparison) error {
	now, same, err := c.look(ctx, p)
	if err != nil {
		return err
	}
	if same {
		c.leaveOut(now)
		return nil
	}
	past, err := known()
	if err != nil {
		return err
	}
	counted := c.counts
	var have []mailbox.Keyed
	if p.Target.ID != "" {
		if have, err = mailbox.List(ctx, s.target, p.Target.ID); err != nil {
			return fmt.Errorf("list target folder: %w", err)
		}
	}
	want, err := mailbox.List(ctx, s.source, p.Source.ID)
	if err != nil {
		return fmt.Errorf("list source folder: %w", err)
	}
	c.counts.Source += len(want)
	c.counts.Target += len(have)
	mailbox.Align(want, have)
	past.count(p.Target.ID, have)
	v.merge(p, want, have, past, c)
	c.note(now, counted)
	return nil
}

// merge walks two sorted lists.
func (v *Verifier) merge(p mailbox.Pair, want, have []mailbox.Keyed, past history, c *comparison) {
	for len(want) > 0 || len(have) > 0 {
		order := 0
		switch {
		case len(want) == 0:
			order = 1
		case len(have) == 0:
			order = -1
		default:
			order = want[0].Key.Compare(have[0].Key)
		}
		switch {
		case order < 0:
			v.missing(p, want[0], past, c)
			want = want[1:]
		case order > 0:
			v.surplus(p, have[0], past, c)
			have = have[1:]
		default:
			v.both(p, want[0], have[0], past, c)
			want, have = want[1:], have[1:]
		}
	}
}

func (v *Verifier) missing(p mailbox.Pair, it mailbox.Keyed, past history, c *comparison) {
	// What was gone when it was to be copied and is listed now has come back or was moved: it is missing.
	was := past.of(p.Target.ID, it)
	if was.Skip != "" && was.Skip != mailbox.Gone {
		why := was.Skip
		c.counts.Skipped++
		c.add(finding{string(why), was.Detail, p.Path, it})
		if len(c.skipped) < receipt.MaxSkipped {
			c.skipped = append(c.skipped, receipt.Skip{Folder: p.Path, Key: it.Key, Class: it.Class, Received: whole(it.Received), Size: it.Size, Reason: why})
		}
		return
	}
	c.counts.Missing++
	if was.source == "" && p.Target.ID != "" {
		c.arrived++
	}
	c.add(finding{"missing", "", p.Path, it})
}

// surplus is an item that only the target has. It is from us in excess when the folder holds more items of its identity
// than were there before and than the ledger says we imported; all else is the target's own: there before, added by its
// user, or gone from the source since.
func (v *Verifier) surplus(p mailbox.Pair, it mailbox.Keyed, past history, c *comparison) {
	k := kind{p.Target.ID, it.Key.Identity}
	if past.imported[k] == 0 || it.Key.Ordinal < past.before[k]+past.imported[k] {
		c.counts.Own++
		return
	}
	c.counts.Extra++
	c.add(finding{"extra", "", p.Path, it})
}

func (v *Verifier) both(p mailbox.Pair, s, t mailbox.Keyed, past history, c *comparison) {
	if d := mailbox.Differences(s.Item, t.Item); len(d) > 0 {
		c.counts.Differs++
		c.add(finding{"differs", strings.Join(d, ", "), p.Path, s})
		return
	}
	c.counts.Match++
	c.leaves = append(c.leaves, receipt.Leaf{Folder: p.Path, Key: s.Key, Class: t.Class, Received: whole(t.Received), Bytes: t.Size,
		Depth: receipt.Listing, Digest: receipt.ListingDigest(t.Properties)})
	was := past.of(p.Target.ID, s)
	edited := was.source != "" && was.change != s.Change // since it was planned, in what no listing shows
	if edited || v.Depth == Full || v.Depth == Sample && int(s.Key.Identity[0])%sampleOf == 0 {
		c.deep = append(c.deep, pair{p.Path, p.Target.ID, s, t, was, len(c.leaves) - 1})
	}
}

// whole is a time as receipts have it.
func whole(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// report writes a problem for every finding. What was skipped is reported when it is skipped and here again, as the same
// problem: a worker may have been killed in between.
func (v *Verifier) report(ctx context.Context, box migration.Mailbox, c *comparison) error {
	for _, f := range c.findings {
		err := v.Ledger.Report(ctx, box.Wave, ledger.Problem{
			Mailbox: box.ID, Pass: box.Pass, About: ledger.About(f.word, f.path, f.item.Key),
			Reason: f.word, Detail: f.detail, Folder: strings.Join(f.path, " / "), Class: f.item.Class,
			Received: f.item.Received, Size: f.item.Size, Seen: v.Clock.Now(),
		})
		if err != nil {
			return fmt.Errorf("report what was found: %w", err)
		}
	}
	return nil
}
