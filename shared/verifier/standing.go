package verifier

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/manifest"
	"github.com/mailferry/mailferry/shared/migration"
)

// standing is how folders stood when they were verified before, and how they stand now. Before the last pass, a folder that
// was in order and has not changed on either side since is left out: it is neither listed nor are its items read. The last
// pass lists all folders, so that nothing rests on what the sides say about changes but when an item comes.
type standing struct {
	was    map[manifest.Partners]manifest.VerifiedFolder
	now    []manifest.VerifiedFolder
	on     bool                      // another pass follows, so it is worth knowing
	leave  bool                      // folders may be left out
	left   int                       // folders left out
	feeds  [2]mailbox.Side           // of source and target
	differ map[mailbox.FolderID]bool // folders of the target with items whose content differs
}

// standing reads how the folders stood when the plan before was verified. Folders are left out only if a receipt of all of
// them is there, and was compared as deeply as this pass compares.
func (v *Verifier) standing(ctx context.Context, of sides, box migration.Mailbox, w migration.Wave) (standing, error) {
	s := standing{on: !last(box, w), differ: map[mailbox.FolderID]bool{}, feeds: [2]mailbox.Side{mailbox.Feed(of.source), mailbox.Feed(of.target)}}
	if !s.on || len(box.Plans) < 2 {
		return s, nil
	}
	was, depth, err := v.before(ctx, box.ID, box.Plans[len(box.Plans)-2])
	if errors.Is(err, manifest.ErrDamaged) {
		v.Log.Warn("listing every folder", "wave", box.Wave, "mailbox", box.ID, "pass", box.Pass, "reason", err.Error())
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("read how folders stood: %w", err)
	}
	s.was, s.leave = was, depth == v.Depth && (v.Key.IsZero() || box.Receipt != "")
	return s, nil
}

// before is how the folders stood when a plan was verified, and how deeply they were compared; nothing if it was not.
func (v *Verifier) before(ctx context.Context, m migration.MailboxID, plan migration.Plan) (map[manifest.Partners]manifest.VerifiedFolder, Depth, error) {
	r, _, err := v.Manifests.Open(ctx, manifest.VerifiedName(m, plan.Pass, plan.ID), 0)
	if errors.Is(err, blob.ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	defer r.Close()
	stood, err := manifest.DecodeVerified(r)
	if err != nil {
		return nil, "", err
	}
	was, err := stood.Of(m, plan)
	return was, Depth(stood.Depth), err
}

// look asks both sides whether a folder has changed since, and makes the states from which the next pass asks. It comes
// before the folder is listed: what changes meanwhile has changed since.
func (s *standing) look(ctx context.Context, p mailbox.Pair) (now manifest.VerifiedFolder, same bool, err error) {
	if !s.on || p.Target.ID == "" {
		return now, false, nil
	}
	now = s.was[manifest.Partners{Source: p.Source.ID, Target: p.Target.ID}]
	now.Source, now.Target = p.Source.ID, p.Target.ID
	var source, target bool
	both, ctx := errgroup.WithContext(ctx) // two servers
	both.Go(func() (err error) { source, err = now.SourceState.Advance(ctx, s.feeds[0], now.Source); return err })
	both.Go(func() (err error) { target, err = now.TargetState.Advance(ctx, s.feeds[1], now.Target); return err })
	if err := both.Wait(); err != nil {
		return now, false, fmt.Errorf("ask for changes: %w", err)
	}
	return now, s.leave && now.InOrder && source && target, nil
}

// leaveOut counts a folder as it was counted before.
func (c *comparison) leaveOut(f manifest.VerifiedFolder) {
	c.left++
	c.counts.Source += f.Counts.Source
	c.counts.Target += f.Counts.Target
	c.counts.Match += f.Counts.Match
	c.counts.Own += f.Counts.Own
	c.now = append(c.now, f)
}

// note remembers a folder that was listed, whose counts are what was added since counted.
func (c *comparison) note(f manifest.VerifiedFolder, counted migration.Counts) {
	if f.Target == "" {
		return
	}
	n := c.counts
	f.Counts = migration.Counts{Source: n.Source - counted.Source, Target: n.Target - counted.Target, Match: n.Match - counted.Match, Own: n.Own - counted.Own}
	f.InOrder = n.Missing+n.Extra+n.Differs+n.Skipped == counted.Missing+counted.Extra+counted.Differs+counted.Skipped
	c.now = append(c.now, f)
}

// remember writes how the folders stand. One that another delivery wrote meanwhile is as good: what came since has changed
// since its states.
func (v *Verifier) remember(ctx context.Context, box migration.Mailbox, c *comparison) error {
	if !c.on {
		return nil
	}
	for i := range c.now {
		c.now[i].InOrder = c.now[i].InOrder && !c.differ[c.now[i].Target]
	}
	body, err := manifest.EncodeVerified(manifest.Verified{Mailbox: box.ID, Pass: box.Pass, Plan: box.Plan().ID, Depth: string(v.Depth), Folders: c.now})
	if err != nil {
		return err
	}
	err = v.Manifests.Put(ctx, manifest.VerifiedName(box.ID, box.Pass, box.Plan().ID), bytes.NewReader(body))
	if err != nil && !errors.Is(err, blob.ErrExists) {
		return fmt.Errorf("write how folders stand: %w", err)
	}
	return nil
}
