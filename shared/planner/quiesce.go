package planner

import (
	"context"
	"errors"
	"fmt"

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
	last := box.Plan()
	if last.Shards == 0 || last.Pass == box.Pass {
		return nil
	}
	of := ledger.GroupsOf{Mailbox: box.ID, Pass: last.Pass, Plan: last.ID, Shard: min(box.Shard, last.Shards-1)}
	groups, err := p.Ledger.GroupList(ctx, of)
	if err != nil {
		return fmt.Errorf("read groups of the last plan: %w", err)
	}
	now := p.Clock.Now()
	quiet := now
	for _, g := range groups {
		if g.Phase == ledger.Importing {
			g.Phase, g.Since, g.Owner = ledger.Settling, now, "planner-"+p.NewID()
			if err := p.Ledger.StoreGroup(ctx, g); errors.Is(err, ledger.ErrConflict) {
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
