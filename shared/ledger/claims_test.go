package ledger_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/migration"
)

var (
	start   = time.Date(2026, 12, 1, 20, 0, 0, 0, time.UTC)
	errAway = errors.New("no route to host")
)

// ann is a mailbox that a wave was submitted with.
func ann(w migration.WaveID, s migration.State, at time.Time) migration.Mailbox {
	return migration.Mailbox{ID: migration.MailboxFor("ann@old.example", "ann@new.example"), Wave: w, Source: "ann@old.example",
		Target: "ann@new.example", State: s, Submitted: at}
}

// submit writes a mailbox, its claims and its wave, and fails the test if that cannot be done.
func submit(t *testing.T, l *ledger.Ledger, m migration.Mailbox) {
	t.Helper()
	err := errors.Join(l.AddMailboxes(t.Context(), []migration.Mailbox{m}), l.Claim(t.Context(), m, m.Submitted), l.AddWave(t.Context(), migration.Wave{ID: m.Wave}))
	if err != nil {
		t.Fatal(err)
	}
}

func damage(t *testing.T, table ledger.Table, partition, key string) {
	t.Helper()
	r, err := table.Row(t.Context(), partition, key)
	if err != nil {
		t.Fatal(err)
	}
	r.Body[len(r.Body)/2] ^= 1
	if _, err := table.Replace(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

// holder is the wave that a mailbox of a third wave is refused for, "" if it is not refused.
func holder(t *testing.T, l *ledger.Ledger, at time.Time) migration.WaveID {
	t.Helper()
	m := ann("w9", migration.Submitted, at)
	err := l.Claim(t.Context(), m, m.Submitted)
	if taken, ok := errors.AsType[*ledger.Claimed](err); ok {
		return taken.Wave
	}
	if err != nil {
		t.Fatal(err)
	}
	return ""
}

// Whether a claim still counts is told by its mailbox and its wave.
func TestWhenAClaimIsTakenOver(t *testing.T) {
	t.Parallel()
	hour := start.Add(time.Hour)
	for _, tt := range []struct {
		name  string
		state migration.State
		at    time.Time // when the other wave claims
		lose  func(*testing.T, *ledger.Ledger, migration.Mailbox)
		taken bool
	}{
		{"submitted", migration.Submitted, hour, nil, false},
		{"synced", migration.Synced, hour, nil, false},
		{"paused", migration.Paused, hour, nil, false},
		{"done", migration.Done, hour, nil, true},
		{"failed", migration.Failed, hour, nil, true},
		{"cancelled", migration.Cancelled, hour, nil, true},
		{"its row is gone", migration.Copying, hour, func(t *testing.T, l *ledger.Ledger, m migration.Mailbox) {
			if err := l.RemoveMailbox(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"its row is damaged", migration.Copying, hour, func(t *testing.T, l *ledger.Ledger, m migration.Mailbox) {
			damage(t, l.Mailboxes, string(m.Wave), string(m.ID))
		}, true},
		{"still being submitted", migration.Submitted, start.Add(10*time.Minute - 1), noWave, false},
		{"its submission failed", migration.Submitted, start.Add(10 * time.Minute), noWave, true},
		{"its wave's row is damaged", migration.Synced, hour, badWave, true},
		{"its wave's row is damaged, and it is in work", migration.Copying, hour, badWave, false},
		{"its wave's row is damaged, and it is planned", migration.Planning, hour, badWave, false},
		{"its wave's row is damaged, and it is verified", migration.Verifying, hour, badWave, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := ledger.NewMemory()
			first := ann("w1", tt.state, start)
			submit(t, l, first)
			if tt.lose != nil {
				tt.lose(t, l, first)
			}
			second := ann("w2", migration.Submitted, tt.at)
			if err := l.AddMailboxes(t.Context(), []migration.Mailbox{second}); err != nil {
				t.Fatal(err)
			}
			err := l.Claim(t.Context(), second, tt.at)
			taken, refused := errors.AsType[*ledger.Claimed](err)
			if tt.taken != (err == nil) || refused && (taken.Wave != "w1" || taken.Side != "source") || !refused && err != nil {
				t.Errorf("second wave: %v", err)
			}
			if !tt.taken {
				return
			}
			if err := l.AddWave(t.Context(), migration.Wave{ID: "w2"}); err != nil {
				t.Fatal(err)
			}
			if by := holder(t, l, tt.at.Add(time.Hour)); by != "w2" {
				t.Errorf("a third wave is refused for %q, want w2", by)
			}
		})
	}
}

func noWave(t *testing.T, l *ledger.Ledger, m migration.Mailbox) {
	t.Helper()
	if err := l.Waves.Delete(t.Context(), ledger.Row{Partition: "wave", Key: string(m.Wave), ETag: "*"}); err != nil {
		t.Fatal(err)
	}
}

func badWave(t *testing.T, l *ledger.Ledger, m migration.Mailbox) {
	t.Helper()
	damage(t, l.Waves, "wave", string(m.Wave))
}

// One source goes to one target, also within a wave.
func TestTwoMailboxesOfAWaveShareNoSide(t *testing.T) {
	t.Parallel()
	l := ledger.NewMemory()
	first := ann("w1", migration.Submitted, start)
	submit(t, l, first)
	second := first
	second.Target = "bob@new.example"
	second.ID = migration.MailboxFor(second.Source, second.Target)
	taken, ok := errors.AsType[*ledger.Claimed](l.Claim(t.Context(), second, second.Submitted))
	if !ok || taken.Wave != "w1" || taken.Side != "source" {
		t.Errorf("claimed: %v", taken)
	}
}

// A wave gives back what it holds, all of it, and nothing of another wave's.
func TestWhatIsReleased(t *testing.T) {
	t.Parallel()
	l := ledger.NewMemory()
	first, second := ann("w1", migration.Failed, start), ann("w2", migration.Copying, start.Add(time.Hour))
	submit(t, l, first)
	submit(t, l, second) // takes the claims of what failed over
	if err := l.Release(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if by := holder(t, l, start.Add(2*time.Hour)); by != "w2" {
		t.Errorf("after the first wave released: held by %q, want w2", by)
	}
	other := second
	other.Source = "nobody@old.example" // its source is not claimed
	if err := l.Release(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	third := ann("w3", migration.Submitted, start.Add(2*time.Hour))
	third.Source = "bob@old.example"
	if err := l.Claim(t.Context(), third, third.Submitted); err != nil {
		t.Errorf("the target was not released: %v", err)
	}
}

// slow lets something happen between the reading of a row and its replacement.
type slow struct {
	ledger.Table
	meanwhile func()
}

func (s *slow) Replace(ctx context.Context, r ledger.Row) (ledger.Row, error) {
	if f := s.meanwhile; f != nil {
		s.meanwhile = nil
		f()
	}
	return s.Table.Replace(ctx, r)
}

func TestOfTwoWavesThatTakeAClaimOverOneWins(t *testing.T) {
	t.Parallel()
	l := ledger.NewMemory()
	submit(t, l, ann("w1", migration.Failed, start))
	table := &slow{Table: l.Mailboxes}
	table.meanwhile = func() { submit(t, l, ann("w2", migration.Submitted, start.Add(time.Hour))) }
	l.Mailboxes = table
	if err := l.Claim(t.Context(), ann("w3", migration.Submitted, start.Add(time.Hour)), start.Add(time.Hour)); err == nil {
		t.Error("both have the mailbox")
	}
	if by := holder(t, l, start.Add(2*time.Hour)); by != "w2" {
		t.Errorf("held by %q, want w2", by)
	}
}

// away is a table that cannot be reached: everything fails, or what is named.
type away struct {
	ledger.Table
	insert, row bool
}

func (a away) Insert(ctx context.Context, rows ...ledger.Row) error {
	if a.insert {
		return errAway
	}
	return a.Table.Insert(ctx, rows...)
}

func (a away) Row(ctx context.Context, partition, key string) (ledger.Row, error) {
	if a.row {
		return ledger.Row{}, errAway
	}
	return a.Table.Row(ctx, partition, key)
}

// What cannot be read is not taken for free.
func TestAClaimThatCannotBeMade(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]func(*ledger.Ledger){
		"inserting fails":        func(l *ledger.Ledger) { l.Mailboxes = away{Table: l.Mailboxes, insert: true} },
		"reading it fails":       func(l *ledger.Ledger) { l.Mailboxes = away{Table: l.Mailboxes, row: true} },
		"reading its wave fails": func(l *ledger.Ledger) { l.Waves = away{Table: l.Waves, row: true} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := ledger.NewMemory()
			submit(t, l, ann("w1", migration.Submitted, start))
			off(l)
			if err := l.Claim(t.Context(), ann("w2", migration.Submitted, start.Add(time.Hour)), start.Add(time.Hour)); !errors.Is(err, errAway) {
				t.Errorf("error %v", err)
			}
		})
	}
}
