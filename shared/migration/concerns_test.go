package migration_test

import (
	"testing"

	"github.com/mailferry/mailferry/shared/migration"
)

// A message may fail its mailbox or say why it waits only if it is about the step that the mailbox is at.
func TestWhatAMessageConcerns(t *testing.T) {
	t.Parallel()
	plans := []migration.Plan{{ID: "p1", Pass: 1, Shards: 3}, {ID: "p2", Pass: 2, Shards: 3}}
	copying := migration.Mailbox{State: migration.Copying, Pass: 2, Plans: plans, Shard: 1, Epoch: 1}
	in := func(s migration.State) migration.Mailbox { m := copying; m.State = s; return m }
	plan := func(pass, epoch int) migration.Message { return migration.Message{Pass: pass, Epoch: epoch} }
	work := func(pass int, p migration.PlanID, shard int) migration.Message {
		return migration.Message{Pass: pass, Plan: p, Shard: shard}
	}
	for _, tt := range []struct {
		name string
		box  migration.Mailbox
		msg  migration.Message
		want bool
	}{
		{"the shard being copied", copying, work(2, "p2", 1), true},
		{"a shard to come", copying, work(2, "p2", 2), true},
		{"a shard that is done", copying, work(2, "p2", 0), false},
		{"a plan before", copying, work(2, "p1", 1), false},
		{"a pass before", copying, work(1, "p2", 1), false},
		{"its verification", in(migration.Verifying), work(2, "p2", 0), true},
		{"the next pass", in(migration.Planning), plan(3, 1), true},
		{"the pass being planned", migration.Mailbox{State: migration.Planning, Pass: 2, Plans: plans[:1], Epoch: 1}, plan(2, 1), true},
		{"a pass that is planned", in(migration.Planning), plan(2, 1), false},
		{"what was asked for before a person took it back", in(migration.Planning), plan(3, 0), false},
		{"a first pass", migration.Mailbox{State: migration.Submitted}, plan(1, 0), true},
		{"it is paused", in(migration.Paused), work(2, "p2", 1), true},
		{"it is done", in(migration.Done), work(2, "p2", 1), false},
		{"it failed", in(migration.Failed), work(2, "p2", 1), false},
		{"it is cancelled", in(migration.Cancelled), plan(3, 1), false},
	} {
		if got := tt.box.Concerns(tt.msg); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}
