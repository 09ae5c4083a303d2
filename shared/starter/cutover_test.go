package starter_test

import (
	"context"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/operator"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
	"github.com/mailferry/mailferry/shared/submitter"
)

// tick lets the timer come after a wait, and everything that follows from it happen.
func tick(t *testing.T, s *pipelinetest.Story, wait time.Duration) {
	t.Helper()
	s.Clock.Advance(wait)
	if err := s.Starter.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Finish()
}

// A mailbox that had failed when the others were cut over has its own cutover once a person took it back.
func TestAMailboxThatComesBackAfterTheCutover(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 5)
	s.Begin(submitter.Batch{Cutover: pipelinetest.Start.Add(2 * time.Hour)})
	s.Finish()
	s.Change(func(b *migration.Mailbox) { _ = b.To(migration.Failed, s.Clock.Now()) })
	tick(t, s, 3*time.Hour)
	if w, err := s.Ledger.Wave(t.Context(), s.Wave); err != nil || !w.Switched {
		t.Fatalf("a failed mailbox holds up its wave: %+v, %v", w, err)
	}
	if _, err := s.Operator.Act(t.Context(), operator.Retry, s.Wave, ""); err != nil {
		t.Fatal(err)
	}
	s.Finish()
	mailboxtest.Fill(t, s.Source, "inbox", 5, 6)
	tick(t, s, 30*time.Minute)
	tick(t, s, time.Minute)
	if b := s.Box(); b.State != migration.Done || b.Kind != migration.CutoverPass || len(s.Arrived("inbox")) != 6 {
		t.Errorf("%s by a %s pass, %d items", b.State, b.Kind, len(s.Arrived("inbox")))
	}
}

// Each of a wave's mailboxes is moved once; the mark is written when none is left to move.
func TestACutover(t *testing.T) {
	t.Parallel()
	synced := migration.Mailbox{State: migration.Synced, Kind: migration.FullPass, Pass: 1, Changed: now}
	in := func(s migration.State, k migration.Kind) migration.Mailbox {
		return migration.Mailbox{State: s, Kind: k, Pass: 1, Changed: now}
	}
	for _, tt := range []struct {
		name    string
		cutover time.Time
		boxes   []migration.Mailbox
		want    []string
		marked  bool
	}{
		{"at its time", now, []migration.Mailbox{synced, synced}, []string{"plan/w/m0/2//0/0/0", "plan/w/m1/2//0/0/0"}, true},
		{"not before", now.Add(time.Second), []migration.Mailbox{synced}, nil, false},
		{"none", time.Time{}, []migration.Mailbox{synced}, nil, false},
		{"some are not synced yet", now, []migration.Mailbox{synced, in(migration.Copying, migration.DeltaPass)}, []string{"plan/w/m0/2//0/0/0"}, false},
		{"some have not begun", now, []migration.Mailbox{in(migration.Submitted, "")}, nil, false},
		{"some are paused", now, []migration.Mailbox{in(migration.Paused, migration.FullPass)}, nil, false},
		{"some were moved already", now, []migration.Mailbox{in(migration.Cutover, migration.FullPass)}, []string{"plan/w/m0/2//0/0/0"}, true},
		{"some are in their last pass", now, []migration.Mailbox{in(migration.Copying, migration.CutoverPass)}, nil, true},
		{"some failed", now, []migration.Mailbox{in(migration.Failed, migration.FullPass), synced}, []string{"plan/w/m1/2//0/0/0"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk()
			d.add(t, migration.Wave{ID: "w", Start: now, Started: true, Looked: now, Cutover: tt.cutover}, tt.boxes...)
			d.tick(t)
			same(t, "messages", d.sent(), tt.want)
			if w := d.wave(t, "w"); w.Switched != tt.marked {
				t.Errorf("marked %t", w.Switched)
			}
			for box, err := range d.Ledger.WaveMailboxes(t.Context(), "w") {
				if err != nil || box.State == migration.Synced && tt.cutover.Equal(now) {
					t.Errorf("%s is %s, %v", box.ID, box.State, err)
				}
			}
			d.clock.Advance(20 * time.Minute)
			d.tick(t)
			if again := d.sent(); tt.marked && again != nil {
				t.Errorf("again: %v", again)
			}
		})
	}
}

// paused lets a person pause every mailbox just before it is stored.
type paused struct{ ledger.Table }

func (p paused) Row(ctx context.Context, partition, key string) (ledger.Row, error) {
	l := ledger.Ledger{Mailboxes: p.Table}
	_, err := l.ChangeMailbox(ctx, migration.WaveID(partition), migration.MailboxID(key), func(b *migration.Mailbox) error {
		b.State, b.Was = migration.Paused, b.State
		return nil
	})
	if err != nil {
		return ledger.Row{}, err
	}
	return p.Table.Row(ctx, partition, key)
}

func TestAMailboxThatIsPausedDuringTheCutover(t *testing.T) {
	t.Parallel()
	d := newDesk()
	d.add(t, migration.Wave{ID: "w", Start: now, Started: true, Looked: now, Cutover: now}, migration.Mailbox{State: migration.Synced, Pass: 1})
	d.Ledger.Mailboxes = paused{d.Ledger.Mailboxes}
	d.tick(t)
	same(t, "messages", d.sent(), nil)
	if w := d.wave(t, "w"); w.Switched {
		t.Error("marked, and the mailbox would never be moved")
	}
}

// The mark is taken back only for a mailbox that needs it.
func TestTheMarkOfACutover(t *testing.T) {
	t.Parallel()
	synced, done := migration.Mailbox{State: migration.Synced, Changed: now}, migration.Mailbox{State: migration.Done, Changed: now}
	for name, tt := range map[string]struct {
		boxes []migration.Mailbox
		want  bool
	}{
		"all are done":           {[]migration.Mailbox{done, done}, true},
		"the first came back":    {[]migration.Mailbox{synced, done}, false},
		"the last one did":       {[]migration.Mailbox{done, synced}, false},
		"there are no mailboxes": {nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk()
			d.add(t, migration.Wave{ID: "w", Start: now, Started: true, Cutover: now, Switched: true}, tt.boxes...)
			d.tick(t)
			if w := d.wave(t, "w"); w.Switched != tt.want {
				t.Errorf("marked %t, want %t", w.Switched, tt.want)
			}
		})
	}
}
