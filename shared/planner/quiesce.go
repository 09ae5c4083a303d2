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
	groups, err := p.lastGroups(ctx, box.ID)
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

// lastGroups are the groups of the shard that was being copied for the mailbox's last plan, in whichever wave that was.
func (p *Planner) lastGroups(ctx context.Context, id migration.MailboxID) ([]*ledger.Group, error) {
	last, err := p.Ledger.LastPlan(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read the last plan: %w", err)
	}
	if last.Shards == 0 {
		return nil, nil
	}
	was, err := p.Ledger.Mailbox(ctx, last.Wave, id)
	from, to := last.Shards-1, last.Shards-1
	switch {
	case errors.Is(err, ledger.ErrCorrupt):
		from = 0 // it may have been any shard
	case err != nil:
		return nil, fmt.Errorf("read mailbox of the last plan: %w", err)
	case was.Plan().ID == last.Plan:
		from = min(was.Shard, from)
		to = from
	}
	var all []*ledger.Group
	for shard := from; shard <= to; shard++ {
		groups, err := p.Ledger.GroupList(ctx, ledger.GroupsOf{Mailbox: id, Pass: last.Pass, Plan: last.Plan, Shard: shard})
		if err != nil {
			return nil, fmt.Errorf("read groups of the last plan: %w", err)
		}
		all = slices.AppendSeq(all, maps.Values(groups))
	}
	return all, nil
}
