package planner

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/outcome"
)

// quiesce makes sure that nobody imports for an earlier plan any more before the target is listed: an item that arrived
// after the listing would be planned again.
//
// A worker begins a group and then reads whether its plan still counts; it asks before every import whether the group is
// still its own. So once the mailbox has gone on to this pass, taking over the groups that are there is enough, and the
// imports that were under way are waited for.
func (p *Planner) quiesce(ctx context.Context, box migration.Mailbox) error {
	groups, err := p.lastGroups(ctx, box)
	if err != nil {
		return err
	}
	now := p.Clock.Now()
	quiet := now
	for _, g := range groups {
		if g.Phase == ledger.Importing {
			g.Owner = "planner-" + p.NewID()
			if err := p.Ledger.TakeOver(ctx, g, p.Clock, p.Doubt); errors.Is(err, ledger.ErrConflict) {
				return outcome.Snooze(now.Add(p.Doubt), "a worker of the last plan is still busy")
			} else if err != nil {
				return fmt.Errorf("take over group of the last plan: %w", err)
			}
		}
		if at := g.Since.Add(p.Doubt); g.Phase == ledger.Settling && at.After(quiet) {
			quiet = at
		}
	}
	if quiet.After(now) {
		return outcome.Snooze(quiet, "an import of the last plan may still be carried out")
	}
	return nil
}

// lastGroups are the groups that may be in work: those of the shard that was being copied for the wave's own last plan, and,
// when the mailbox was copied in another wave since, for that wave's.
func (p *Planner) lastGroups(ctx context.Context, box migration.Mailbox) ([]*ledger.Group, error) {
	all, err := p.groupsOf(ctx, box.ID, box.Plan(), box.Shard, box.Shard)
	if err != nil {
		return nil, err
	}
	last, err := p.Ledger.LastPlan(ctx, box.ID)
	if errors.Is(err, ledger.ErrCorrupt) {
		return p.groupsOfAll(ctx, box.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("read the last plan: %w", err)
	}
	if last.Shards == 0 || last.Wave == box.Wave {
		return all, nil
	}
	// The other wave's row is the truth: the last plan is remembered only after the row was written.
	was, err := p.Ledger.Mailbox(ctx, last.Wave, box.ID)
	plan, from, to := was.Plan(), was.Shard, was.Shard
	if errors.Is(err, ledger.ErrCorrupt) { // it may have been any shard
		plan, from, to = migration.Plan{ID: last.Plan, Pass: last.Pass, Shards: last.Shards}, 0, last.Shards-1
	} else if err != nil {
		return nil, fmt.Errorf("read mailbox of the last plan: %w", err)
	}
	others, err := p.groupsOf(ctx, box.ID, plan, from, to)
	return append(all, others...), err
}

// groupsOfAll are the groups that may be in work in any wave, for when it is not known which was the last.
func (p *Planner) groupsOfAll(ctx context.Context, id migration.MailboxID) ([]*ledger.Group, error) {
	var all []*ledger.Group
	for w, err := range p.Ledger.AllWaves(ctx) {
		if err != nil {
			return nil, fmt.Errorf("list waves: %w", err)
		}
		was, err := p.Ledger.Mailbox(ctx, w.ID, id)
		if errors.Is(err, ledger.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read mailbox of wave %s: %w", w.ID, err)
		}
		groups, err := p.groupsOf(ctx, id, was.Plan(), was.Shard, was.Shard)
		if err != nil {
			return nil, err
		}
		all = append(all, groups...)
	}
	return all, nil
}

// groupsOf are the groups of some shards of a plan. When all shards are done, the last one counts.
func (p *Planner) groupsOf(ctx context.Context, id migration.MailboxID, plan migration.Plan, from, to int) ([]*ledger.Group, error) {
	var all []*ledger.Group
	for shard := min(from, plan.Shards-1); shard <= min(to, plan.Shards-1) && shard >= 0; shard++ {
		groups, err := p.Ledger.GroupList(ctx, ledger.GroupsOf{Mailbox: id, Pass: plan.Pass, Plan: plan.ID, Shard: shard})
		if err != nil {
			return nil, fmt.Errorf("read groups of the last plan: %w", err)
		}
		all = slices.AppendSeq(all, maps.Values(groups))
	}
	return all, nil
}
