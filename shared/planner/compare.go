package planner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/manifest"
	"github.com/mailferry/mailferry/shared/migration"
)

// folderItems are the items of one folder that are to be copied, sorted by key.
type folderItems struct {
	manifest.Folder
	items []manifest.Item
}

// compare lists both sides and returns what is to be copied, folder by folder.
func (p *Planner) compare(ctx context.Context, source mailbox.Source, target mailbox.Target, box migration.Mailbox) ([]folderItems, error) {
	pairs, err := p.pairs(ctx, source, target, box)
	if err != nil {
		return nil, err
	}
	redo, err := p.redo(ctx, box)
	if err != nil {
		return nil, err
	}
	before, err := p.before(ctx, box)
	if errors.Is(err, manifest.ErrDamaged) {
		p.Log.Warn("listing every folder", "wave", box.Wave, "mailbox", box.ID, "pass", box.Pass, "reason", err.Error())
	} else if err != nil {
		return nil, fmt.Errorf("read how folders stood: %w", err)
	}
	var todo []folderItems
	unchanged, from, to := 0, mailbox.Feed(source), mailbox.Feed(target)
	for _, pair := range pairs {
		was := before[manifest.Partners{Source: pair.Source.ID, Target: pair.Target.ID}]
		same, err := isUnchanged(ctx, from, to, was)
		if err != nil {
			return nil, err
		}
		if same && len(redo[pair.Target.ID]) == 0 {
			unchanged++
			continue
		}
		have, err := mailbox.List(ctx, target, pair.Target.ID)
		if err != nil {
			return nil, fmt.Errorf("list target folder: %w", err)
		}
		want, err := mailbox.List(ctx, source, pair.Source.ID)
		if err != nil {
			return nil, fmt.Errorf("list source folder: %w", err)
		}
		if items := difference(want, have, redo[pair.Target.ID]); len(items) > 0 {
			todo = append(todo, folderItems{manifest.Folder{Target: pair.Target.ID, Path: pair.Path}, items})
		}
	}
	p.Log.Info("compared", "wave", box.Wave, "mailbox", box.ID, "pass", box.Pass, "folders", len(pairs), "unchanged", unchanged)
	return todo, nil
}

// before is how the folders stood when the last plan was verified, nothing if it was not.
func (p *Planner) before(ctx context.Context, box migration.Mailbox) (map[manifest.Partners]manifest.VerifiedFolder, error) {
	last := box.Plan()
	r, _, err := p.Manifests.Open(ctx, manifest.VerifiedName(box.ID, last.Pass, last.ID), 0)
	if errors.Is(err, blob.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	v, err := manifest.DecodeVerified(r)
	if err != nil {
		return nil, err
	}
	return v.Of(box.ID, last)
}

// isUnchanged says whether a folder that was found in order stands as it did then, on both sides. There is nothing to do in
// it then: doing nothing neither loses nor doubles an item, and the last verification lists every folder.
func isUnchanged(ctx context.Context, source, target mailbox.Side, was manifest.VerifiedFolder) (bool, error) {
	if !was.InOrder {
		return false, nil
	}
	same, err := was.SourceState.Unchanged(ctx, source, was.Source)
	if err != nil {
		return false, fmt.Errorf("ask for changes at the source: %w", err)
	}
	if !same {
		return false, nil
	}
	if same, err = was.TargetState.Unchanged(ctx, target, was.Target); err != nil {
		return false, fmt.Errorf("ask for changes on the target: %w", err)
	}
	return same, nil
}

// redo reads which items the last verification found to differ in their content. A file that is damaged is no reason to
// stop: verification finds them again.
func (p *Planner) redo(ctx context.Context, box migration.Mailbox) (map[mailbox.FolderID]map[mailbox.Key]bool, error) {
	last := box.Plan()
	r, _, err := p.Manifests.Open(ctx, manifest.RedoName(box.ID, last.Pass, last.ID), 0)
	if errors.Is(err, blob.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open what is to be copied again: %w", err)
	}
	defer r.Close()
	m, err := manifest.Decode(r)
	if err != nil && !errors.Is(err, manifest.ErrDamaged) {
		return nil, err
	}
	again := map[mailbox.FolderID]map[mailbox.Key]bool{}
	for _, it := range m.Items {
		f := m.Folders[it.Folder].Target
		if again[f] == nil {
			again[f] = map[mailbox.Key]bool{}
		}
		again[f][it.Key] = err == nil
	}
	return again, nil
}

// difference merges two sorted lists: what only want has is to be added, what differs in have, or is to be copied again,
// is to be replaced.
func difference(want, have []mailbox.Keyed, redo map[mailbox.Key]bool) []manifest.Item {
	mailbox.Align(want, have)
	held := map[mailbox.Identity]int{}
	for _, h := range have {
		held[h.Key.Identity]++
	}
	var out []manifest.Item
	for _, w := range want {
		for len(have) > 0 && have[0].Key.Compare(w.Key) < 0 {
			have = have[1:]
		}
		it := manifest.Item{Key: w.Key, Source: w.ID, SourceChange: w.Change, Size: w.Size, Class: w.Class, Received: w.Received,
			Before: held[w.Key.Identity]}
		if mailbox.WireSize(w.Size) > mailbox.MaxWire {
			it.Skip = mailbox.TooBig
		}
		if len(have) > 0 && have[0].Key == w.Key {
			if len(mailbox.Differences(w.Item, have[0].Item)) == 0 && !redo[w.Key] {
				continue
			}
			it.Replace, it.Change = have[0].ID, have[0].Change
		}
		out = append(out, it)
	}
	return out
}

// pairs pairs the folders of both sides and makes those that the target lacks.
func (p *Planner) pairs(ctx context.Context, source mailbox.Source, target mailbox.Target, box migration.Mailbox) ([]mailbox.Pair, error) {
	from, err := source.Folders(ctx)
	if err != nil {
		return nil, fmt.Errorf("list source folders: %w", err)
	}
	to, err := target.Folders(ctx)
	if err != nil {
		return nil, fmt.Errorf("list target folders: %w", err)
	}
	pairs := mailbox.Pairs(from, to)
	at, refused := map[mailbox.FolderID]mailbox.FolderID{}, map[mailbox.FolderID]bool{}
	for i := range pairs {
		pair := &pairs[i]
		if refused[pair.Source.Parent] {
			refused[pair.Source.ID] = true
			continue
		}
		if pair.Target.ID == "" {
			pair.Target, err = p.makeFolder(ctx, target, at[pair.Source.Parent], pair)
			if errors.Is(err, mailbox.ErrFolderName) {
				refused[pair.Source.ID] = true
				if err := p.refused(ctx, box, pair); err != nil {
					return nil, err
				}
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("make target folder: %w", err)
			}
			if pair.Target.Name != pair.Source.Name {
				if err := p.renamed(ctx, box, pair); err != nil {
					return nil, err
				}
			}
		}
		at[pair.Source.ID] = pair.Target.ID
	}
	return slices.DeleteFunc(pairs, func(x mailbox.Pair) bool { return refused[x.Source.ID] }), nil
}

// refused tells people that the target takes a folder under none of its names. The rest of the mailbox is copied;
// verification finds what is missing.
func (p *Planner) refused(ctx context.Context, box migration.Mailbox, pair *mailbox.Pair) error {
	err := p.Ledger.Report(ctx, box.Wave, ledger.Problem{
		Mailbox: box.ID, Pass: box.Pass, About: "refused-" + mailbox.Fingerprint(pair.Path...),
		Reason: "folder refused", Detail: "the target takes it, and what is below it, under no name; rename it at the source, then retry the mailbox",
		Folder: strings.Join(pair.Path, " / "), Seen: p.Clock.Now(),
	})
	if err != nil {
		return fmt.Errorf("report refused folder: %w", err)
	}
	return nil
}

// makeFolder makes a source folder's partner: under its own name, or when that belongs to a folder of another kind or
// is refused, under one like it.
func (p *Planner) makeFolder(ctx context.Context, target mailbox.Target, parent mailbox.FolderID, pair *mailbox.Pair) (mailbox.Folder, error) {
	for _, name := range pair.Names {
		made, err := target.CreateFolder(ctx, mailbox.Folder{Parent: parent, Name: name, Class: pair.Source.Class})
		if errors.Is(err, mailbox.ErrFolderName) || err == nil && !mailbox.SameKind(pair.Source, made) {
			continue
		}
		return made, err
	}
	return mailbox.Folder{}, mailbox.ErrFolderName
}

// renamed tells people that a folder has another name on the target.
func (p *Planner) renamed(ctx context.Context, box migration.Mailbox, pair *mailbox.Pair) error {
	return p.Ledger.Report(ctx, box.Wave, ledger.Problem{
		Mailbox: box.ID, Pass: box.Pass, About: "folder-" + mailbox.Fingerprint(pair.Path...),
		Reason: "folder renamed", Detail: "the target has it as " + pair.Target.Name,
		Folder: strings.Join(pair.Path, " / "), Seen: p.Clock.Now(),
	})
}
