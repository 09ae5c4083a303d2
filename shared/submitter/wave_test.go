package submitter_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/submitter"
)

var now = time.Date(2026, 12, 1, 20, 0, 0, 0, time.UTC)

func newSubmitter() submitter.Submitter {
	return submitter.Submitter{Ledger: ledger.NewMemory(), Clock: clockwork.NewFakeClockAt(now), NewID: func() string { return "x" }}
}

var ann = []submitter.Line{{Source: "ann@old.example", Target: "ann@new.example", Line: 2}}

// What was submitted stands in the ledger as it was said; a wave without a start time begins at once.
func TestABatchBecomesAWave(t *testing.T) {
	t.Parallel()
	later := now.Add(time.Hour)
	for _, tt := range []struct {
		batch submitter.Batch
		start time.Time
	}{
		{submitter.Batch{Name: "Ward 7"}, now},
		{submitter.Batch{Start: later, Cutover: later, Spread: 604800}, later},
	} {
		s := newSubmitter()
		tt.batch.Mailboxes = ann
		got, err := s.Submit(t.Context(), tt.batch)
		want := migration.Wave{ID: "w20261201-x", Name: tt.batch.Name, Mailboxes: 1, Submitted: now, Start: tt.start, Cutover: tt.batch.Cutover, Spread: tt.batch.Spread}
		if err != nil || got != want {
			t.Errorf("wave %+v, want %+v, %v", got, want, err)
		}
		if stored, err := s.Ledger.Wave(t.Context(), want.ID); err != nil || stored != want {
			t.Errorf("stored %+v, want %+v, %v", stored, want, err)
		}
		box, err := s.Ledger.Mailbox(t.Context(), want.ID, migration.MailboxFor(ann[0].Source, ann[0].Target))
		if err != nil || box.State != migration.Submitted || box.Source != ann[0].Source || box.Target != ann[0].Target || !box.Submitted.Equal(now) || !box.Changed.Equal(now) {
			t.Errorf("mailbox %+v, %v", box, err)
		}
	}
}

func left(t *testing.T, l *ledger.Ledger) (n int) {
	t.Helper()
	for range l.AllWaves(t.Context()) {
		n++
	}
	for range l.WaveMailboxes(t.Context(), "w20261201-x") {
		n++
	}
	return n
}

func TestABatchThatIsRefusedLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		batch submitter.Batch
		want  string
	}{
		{"no mailboxes", submitter.Batch{}, "the batch has no mailboxes"},
		{"too many", submitter.Batch{Mailboxes: make([]submitter.Line, submitter.MaxMailboxes+1)}, "more than 100000 mailboxes; split the batch"},
		{"cutover first", submitter.Batch{Mailboxes: ann, Start: now, Cutover: now.Add(-1)}, "cutover: is before the start"},
		{"spread", submitter.Batch{Mailboxes: ann, Spread: 604801}, "spread: want 0 to 604800 seconds"},
		{"negative spread", submitter.Batch{Mailboxes: ann, Spread: -1}, "spread: want 0 to 604800 seconds"},
		{"the same source", submitter.Batch{Mailboxes: []submitter.Line{ann[0], {Source: "ANN@old.example", Target: "b@new.example", Line: 3}}},
			"line 3: source: the same mailbox is in line 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSubmitter()
			w, err := s.Submit(t.Context(), tt.batch)
			bad, ok := errors.AsType[*submitter.BatchError](err)
			if !ok || bad.Faults[0].String() != tt.want || w != (migration.Wave{}) {
				t.Errorf("wave %+v, error %.200v", w, err)
			}
			if n := left(t, s.Ledger); n > 0 {
				t.Errorf("%d rows are left", n)
			}
		})
	}
}

var errAway = errors.New("no route to host")

// gone ends the request when the wave is to be written, as a caller that hangs up does.
type gone struct {
	ledger.Table
	hangUp context.CancelFunc
}

func (g gone) Insert(context.Context, ...ledger.Row) error {
	g.hangUp()
	return errAway
}

// What a submission that fails has written is taken back, also when the caller has gone: the mailboxes are free.
func TestASubmissionThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	s := newSubmitter()
	waves := s.Ledger.Waves
	ctx, hangUp := context.WithCancel(t.Context())
	s.Ledger.Waves = gone{waves, hangUp}
	if _, err := s.Submit(ctx, submitter.Batch{Mailboxes: ann}); !errors.Is(err, errAway) {
		t.Errorf("error %v", err)
	}
	s.Ledger.Waves = waves
	if n := left(t, s.Ledger); n > 0 {
		t.Errorf("%d rows are left", n)
	}
	s.NewID = func() string { return "y" }
	if _, err := s.Submit(t.Context(), submitter.Batch{Mailboxes: ann}); err != nil {
		t.Errorf("submitted again: %v", err)
	}
}
