package planner_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/outcome"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
)

// next makes a mailbox that was planned ready for its second pass; its last plan has three shards of which it was copying
// one, and a worker holds a group of a shard.
func next(t *testing.T, copying, held int, g *ledger.Group) (*pipelinetest.Story, migration.Message) {
	t.Helper()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 3)
	planned(t, s)
	s.Change(func(b *migration.Mailbox) {
		b.Plans[0].Shards, b.Shard, b.State = 3, copying, migration.Planning
	})
	b := s.Box()
	err := errors.Join(s.Ledger.SetLastPlan(t.Context(), b),
		s.Ledger.BeginGroup(t.Context(), ledger.GroupsOf{Mailbox: b.ID, Pass: 1, Plan: b.Plan().ID, Shard: held}, 0, g))
	if err != nil {
		t.Fatal(err)
	}
	return s, migration.Message{Wave: s.Wave, Mailbox: b.ID, Pass: 2}
}

func importing() *ledger.Group {
	return &ledger.Group{Phase: ledger.Importing, Owner: "a worker", Since: pipelinetest.Start, Items: make([]ledger.GroupItem, 3)}
}

// The shard that was being copied is looked at, whichever it is; with a damaged row, all of them.
func TestWhichWorkersAreWaitedFor(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		copying, held int
		damaged       bool
		waits         bool
	}{
		{0, 0, false, true},
		{1, 1, false, true},
		{2, 2, false, true},
		{3, 2, false, true}, // all are copied, as far as the row knows
		{1, 0, false, false},
		{1, 0, true, true},
		{0, 1, true, true},
		{1, 2, true, true},
	} {
		t.Run(fmt.Sprintf("copying %d, held %d, damaged %t", tt.copying, tt.held, tt.damaged), func(t *testing.T) {
			t.Parallel()
			g := importing()
			s, m := next(t, tt.copying, tt.held, g)
			if tt.damaged { // of the wave before; the mailbox was submitted again
				b := s.Box()
				r, err := s.Ledger.Mailboxes.Row(t.Context(), string(b.Wave), string(b.ID))
				if err == nil {
					r.Body[len(r.Body)/2] ^= 1
					_, err = s.Ledger.Mailboxes.Replace(t.Context(), r)
				}
				if err != nil {
					t.Fatal(err)
				}
				s.Begin()
				m.Wave, m.Pass = s.Wave, 1
			}
			at, snoozed := outcome.Snoozed(s.Planner.Plan(t.Context(), m))
			if snoozed != tt.waits || snoozed && !at.Equal(pipelinetest.Start.Add(90*time.Second)) {
				t.Errorf("waits %t until %s", snoozed, at)
			}
			if err := s.Ledger.HoldsGroup(t.Context(), g); errors.Is(err, ledger.ErrConflict) != tt.waits {
				t.Errorf("the worker's group: %v", err)
			}
		})
	}
}

// contested lets a group's worker store it just before another does.
type contested struct {
	ledger.Table
	err error
}

func (c contested) Replace(_ context.Context, r ledger.Row) (ledger.Row, error) { return r, c.err }

func TestAWorkerThatIsStillBusyIsWaitedFor(t *testing.T) {
	t.Parallel()
	s, m := next(t, 0, 0, importing())
	s.OnTarget.Folders = func() error { t.Error("the target is listed"); return nil }
	groups := s.Ledger.Groups
	s.Ledger.Groups = contested{groups, ledger.ErrConflict}
	at, snoozed := outcome.Snoozed(s.Planner.Plan(t.Context(), m))
	if !snoozed || !at.Equal(pipelinetest.Start.Add(90*time.Second)) {
		t.Errorf("waits %t until %s", snoozed, at)
	}
	away := errors.New("no route to host")
	s.Ledger.Groups = contested{groups, away}
	if err := s.Planner.Plan(t.Context(), m); !errors.Is(err, away) {
		t.Errorf("error %v", err)
	}
}

// illegible does not list its rows.
type illegible struct {
	ledger.Table
	err error
}

func (i illegible) Rows(context.Context, string, string) iter.Seq2[ledger.Row, error] {
	return func(yield func(ledger.Row, error) bool) { yield(ledger.Row{}, i.err) }
}

// Whoever does not know who may still be importing does not plan.
func TestGroupsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s, m := next(t, 0, 0, importing())
	s.OnTarget.Folders = func() error { t.Error("the target is listed"); return nil }
	away := errors.New("no route to host")
	s.Ledger.Groups = illegible{s.Ledger.Groups, away}
	if err := s.Planner.Plan(t.Context(), m); !errors.Is(err, away) {
		t.Errorf("error %v", err)
	}
}

// Only what may still be carried out is waited for.
func TestHowLongImportsAreWaitedFor(t *testing.T) {
	t.Parallel()
	ago := pipelinetest.Start.Add(-time.Minute)
	for _, tt := range []struct {
		group ledger.Group
		wait  time.Duration
	}{
		{ledger.Group{Phase: ledger.Settling, Since: ago}, 30 * time.Second},
		{ledger.Group{Phase: ledger.Settling, Since: ago.Add(-30 * time.Second)}, 0},
		{ledger.Group{Phase: ledger.Waiting, Since: pipelinetest.Start}, 0},
		{ledger.Group{Phase: ledger.Copied, Since: pipelinetest.Start}, 0},
		{ledger.Group{Phase: ledger.Importing, Since: ago.Add(-time.Hour)}, 90 * time.Second},
	} {
		t.Run(fmt.Sprint(tt.group.Phase, " ", tt.wait), func(t *testing.T) {
			t.Parallel()
			s, m := next(t, 0, 0, &tt.group)
			err := s.Planner.Plan(t.Context(), m)
			at, snoozed := outcome.Snoozed(err)
			if snoozed != (tt.wait > 0) || snoozed && !at.Equal(pipelinetest.Start.Add(tt.wait)) || !snoozed && err != nil {
				t.Errorf("waits %t until %s, %v", snoozed, at, err)
			}
		})
	}
}
