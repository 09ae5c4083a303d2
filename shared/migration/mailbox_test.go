package migration_test

import (
	"slices"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/migration"
)

var now = time.Date(2026, 12, 1, 20, 0, 0, 0, time.UTC)

// moves is the state diagram of the package comment.
var moves = map[migration.State][]migration.State{
	migration.Submitted: {migration.Planning, migration.Paused, migration.Failed, migration.Cancelled},
	migration.Planning:  {migration.Planning, migration.Copying, migration.Verifying, migration.Paused, migration.Failed, migration.Cancelled},
	migration.Copying:   {migration.Planning, migration.Verifying, migration.Paused, migration.Failed, migration.Cancelled},
	migration.Verifying: {migration.Planning, migration.Synced, migration.Done, migration.Paused, migration.Failed, migration.Cancelled},
	migration.Synced:    {migration.Planning, migration.Cutover, migration.Paused, migration.Failed, migration.Cancelled},
	migration.Cutover:   {migration.Planning, migration.Paused, migration.Failed, migration.Cancelled},
	migration.Done:      {},
	migration.Cancelled: {},
	migration.Paused:    {migration.Failed, migration.Cancelled},
	migration.Failed:    {migration.Cancelled},
}

func TestMoves(t *testing.T) {
	t.Parallel()
	for _, from := range migration.States {
		for _, to := range migration.States {
			if from == to && from == migration.Failed { // the first reason may be joined by a second
				continue
			}
			m := migration.Mailbox{State: from}
			err := m.To(to, now)
			allowed := slices.Contains(moves[from], to)
			switch {
			case allowed != (err == nil):
				t.Errorf("%s to %s: err = %v, allowed %t", from, to, err, allowed)
			case err != nil && (m.State != from || !m.Changed.IsZero()):
				t.Errorf("%s to %s was refused and left %+v", from, to, m)
			case err == nil && (m.State != to || m.Changed != now || m.Finished.IsZero() == to.Over()):
				t.Errorf("%s to %s made %+v", from, to, m)
			}
		}
	}
}

func TestAPauseRemembersWhereItCameFrom(t *testing.T) {
	t.Parallel()
	m := migration.Mailbox{State: migration.Verifying}
	for _, refused := range []bool{false, true} { // pausing what is paused forgets nothing
		if err := m.To(migration.Paused, now); (err != nil) != refused || m.State != migration.Paused {
			t.Errorf("err = %v, state %s", err, m.State)
		}
		if m.Was != migration.Verifying {
			t.Errorf("was %s, want verifying", m.Was)
		}
	}
}

func TestReopening(t *testing.T) {
	t.Parallel()
	for _, from := range migration.States {
		m := migration.Mailbox{State: from, Finished: now, Epoch: 4}
		err := m.Reopen(migration.Planning, now.Add(time.Hour))
		want := from == migration.Paused || from == migration.Failed
		if (err == nil) != want {
			t.Errorf("%s: err = %v, want reopened %t", from, err, want)
		}
		if want && (m.State != migration.Planning || m.Epoch != 5 || !m.Finished.IsZero() || m.Changed != now.Add(time.Hour)) {
			t.Errorf("%s is reopened as %+v", from, m)
		}
		if !want && (m.State != from || m.Epoch != 4) {
			t.Errorf("%s is refused and left %+v", from, m)
		}
	}
}

func TestWhichStatesAreOverOrHeld(t *testing.T) {
	t.Parallel()
	over, held := map[migration.State]bool{}, map[migration.State]bool{}
	for _, s := range migration.States {
		over[s], held[s] = s.Over(), s.Held()
	}
	for _, s := range migration.States {
		if want := s == migration.Done || s == migration.Failed || s == migration.Cancelled; over[s] != want {
			t.Errorf("%s over: %t", s, over[s])
		}
		if want := s == migration.Paused || s == migration.Failed || s == migration.Cancelled; held[s] != want {
			t.Errorf("%s held: %t", s, held[s])
		}
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	plan := migration.Plan{ID: "p2", Shards: 4, Items: 1000}
	for _, test := range []struct {
		name string
		m    migration.Mailbox
		want int
	}{
		{"nothing planned", migration.Mailbox{}, 0},
		{"begun", migration.Mailbox{Plans: []migration.Plan{plan}}, 0},
		{"in the first shard", migration.Mailbox{Plans: []migration.Plan{plan}, Progress: 40}, 40},
		{"in the third", migration.Mailbox{Plans: []migration.Plan{plan}, Shard: 2, Progress: 40}, 540},
		{"never more than there are", migration.Mailbox{Plans: []migration.Plan{plan}, Shard: 3, Progress: 4000}, 1000},
		{"all done", migration.Mailbox{Plans: []migration.Plan{plan}, Shard: 4}, 1000},
		{"the last plan counts", migration.Mailbox{Plans: []migration.Plan{{Shards: 9, Items: 7}, plan}, Shard: 4}, 1000},
		{"nothing to copy", migration.Mailbox{Plans: []migration.Plan{plan, {ID: "p3"}}}, 0},
	} {
		if got := test.m.Settled(); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

// A late dead letter of a step that is over does no harm.
func TestWhichMessagesConcernAMailbox(t *testing.T) {
	t.Parallel()
	box := func(s migration.State) migration.Mailbox {
		return migration.Mailbox{State: s, Pass: 2, Epoch: 1, Shard: 3, Plans: []migration.Plan{{ID: "p1", Pass: 1}, {ID: "p2", Pass: 2, Shards: 5}}}
	}
	copies := func(pass int, plan migration.PlanID, shard int) migration.Message {
		return migration.Message{Pass: pass, Plan: plan, Shard: shard}
	}
	for _, test := range []struct {
		name  string
		state migration.State
		msg   migration.Message
		want  bool
	}{
		{"the shard that is copied", migration.Copying, copies(2, "p2", 3), true},
		{"a shard that is done", migration.Copying, copies(2, "p2", 2), false},
		{"an earlier plan", migration.Copying, copies(1, "p1", 3), false},
		{"the verification under way", migration.Verifying, copies(2, "p2", 0), true},
		{"a verification that is over", migration.Synced, copies(2, "p2", 0), false},
		{"a verification that is over, before the cutover", migration.Cutover, copies(2, "p2", 0), false},
		{"the next pass", migration.Synced, migration.Message{Pass: 3, Epoch: 1}, true},
		{"the next pass, sent before a person took it back", migration.Planning, migration.Message{Pass: 3}, false},
		{"a plan that was made", migration.Copying, migration.Message{Pass: 2, Epoch: 1}, false},
		{"anything when it is done", migration.Done, copies(2, "p2", 0), false},
	} {
		if m := box(test.state); m.Concerns(test.msg) != test.want {
			t.Errorf("%s: %t", test.name, !test.want)
		}
	}
}
