package verifier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"

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
	left   map[mailbox.FolderID]bool // folders of the target that were left out
	differ map[mailbox.FolderID]bool // folders of the target with items whose content differs

	source, target mailbox.Side // to be asked for changes
}

// standing reads how the folders stood when the plan before was verified. Folders are left out only if a receipt of all of
// them is there, and was compared as deeply as this pass compares. A delivery that goes on with a verification asks from where
// the one before it had come: links from which Graph tells of changes are forgotten when others were made of them.
func (v *Verifier) standing(ctx context.Context, of sides, box migration.Mailbox, w migration.Wave, turn int) (standing, error) {
	s := standing{on: !last(box, w), left: map[mailbox.FolderID]bool{}, differ: map[mailbox.FolderID]bool{},
		was:    map[manifest.Partners]manifest.VerifiedFolder{},
		source: mailbox.Feed(of.source), target: mailbox.Feed(of.target)}
	if !s.on {
		return s, nil
	}
	if n := len(box.Plans); n > 1 {
		plan := box.Plans[n-2]
		depth, err := v.before(ctx, box, plan, manifest.VerifiedName(box.ID, plan.Pass, plan.ID), s.was)
		if err != nil {
			return s, err
		}
		s.leave = depth == v.Depth && (v.Key.IsZero() || box.Receipt != "")
	}
	if turn > 0 {
		plan := box.Plan()
		_, err := v.before(ctx, box, plan, manifest.BegunName(box.ID, plan.Pass, plan.ID, turn-1), s.was)
		return s, err
	}
	return s, nil
}

// before reads how folders stood into was, and how deeply they were compared. A file that is not there or is damaged says
// nothing.
func (v *Verifier) before(ctx context.Context, box migration.Mailbox, plan migration.Plan, name string, was map[manifest.Partners]manifest.VerifiedFolder) (Depth, error) {
	r, _, err := v.Manifests.Open(ctx, name, 0)
	if errors.Is(err, blob.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read how folders stood: %w", err)
	}
	defer r.Close()
	stood, err := manifest.DecodeVerified(r)
	var folders map[manifest.Partners]manifest.VerifiedFolder
	if err == nil {
		folders, err = stood.Of(box.ID, plan)
	}
	if errors.Is(err, manifest.ErrDamaged) {
		v.Log.Warn("listing every folder", "wave", box.Wave, "mailbox", box.ID, "pass", box.Pass, "reason", err.Error())
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read how folders stood: %w", err)
	}
	maps.Copy(was, folders)
	return Depth(stood.Depth), nil
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
	both.Go(func() (err error) { source, err = now.SourceState.Advance(ctx, s.source, now.Source); return err })
	both.Go(func() (err error) { target, err = now.TargetState.Advance(ctx, s.target, now.Target); return err })
	if err := both.Wait(); err != nil {
		return now, false, fmt.Errorf("ask for changes: %w", err)
	}
	return now, s.leave && now.InOrder && source && target, nil
}

// leaveOut counts a folder as it was counted before.
func (c *comparison) leaveOut(f manifest.VerifiedFolder) {
	c.left[f.Target] = true
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
	for i := range c.now {
		c.now[i].InOrder = c.now[i].InOrder && !c.differ[c.now[i].Target]
	}
	return v.write(ctx, box, manifest.VerifiedName(box.ID, box.Pass, box.Plan().ID), c)
}

// begun writes from where the next delivery goes on.
func (v *Verifier) begun(ctx context.Context, box migration.Mailbox, c *comparison, turn int) {
	if c == nil || len(c.now) == 0 {
		return
	}
	for i := range c.now {
		c.now[i].InOrder = c.left[c.now[i].Target]
	}
	if err := v.write(ctx, box, manifest.BegunName(box.ID, box.Pass, box.Plan().ID, turn), c); err != nil {
		v.Log.Warn("states not kept", "wave", box.Wave, "mailbox", box.ID, "pass", box.Pass, "reason", err.Error())
	}
}

func (v *Verifier) write(ctx context.Context, box migration.Mailbox, name string, c *comparison) error {
	if !c.on {
		return nil
	}
	body, err := manifest.EncodeVerified(manifest.Verified{Mailbox: box.ID, Pass: box.Pass, Plan: box.Plan().ID, Depth: string(v.Depth), Folders: c.now})
	if err != nil {
		return err
	}
	err = v.Manifests.Put(ctx, name, bytes.NewReader(body))
	if err != nil && !errors.Is(err, blob.ErrExists) {
		return fmt.Errorf("write how folders stand: %w", err)
	}
	return nil
}
