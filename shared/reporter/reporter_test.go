package reporter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/reporter"
)

var (
	now     = time.Date(2026, 12, 1, 20, 0, 0, 0, time.UTC)
	errAway = errors.New("no route to host")
)

// desk is a reporter, a wave of two mailboxes, and a problem of each.
func desk(t *testing.T) (*reporter.Reporter, *blob.Memory) {
	t.Helper()
	store := &blob.Memory{}
	r := &reporter.Reporter{Ledger: ledger.NewMemory(), Reports: store}
	err := r.Ledger.AddMailboxes(t.Context(), []migration.Mailbox{
		{ID: "m1", Wave: "w", Source: "ann@old.example", Target: "ann@new.example", State: migration.Done, Pass: 1},
		{ID: "m2", Wave: "w", Source: "bob@old.example", Target: "bob@new.example", State: migration.Done, Pass: 1},
	})
	for _, m := range []migration.MailboxID{"m2", "m1"} {
		err = errors.Join(err, r.Ledger.Report(t.Context(), "w", ledger.Problem{Mailbox: m, Pass: 1, About: "x", Reason: "about " + string(m), Seen: now}))
	}
	if err != nil {
		t.Fatal(err)
	}
	return r, store
}

func set(t *testing.T, r *reporter.Reporter, f func(*migration.Mailbox)) {
	t.Helper()
	if _, err := r.Ledger.ChangeMailbox(t.Context(), "w", "m1", func(b *migration.Mailbox) error { f(b); return nil }); err != nil {
		t.Fatal(err)
	}
}

func report(t *testing.T, r *reporter.Reporter) {
	t.Helper()
	if err := r.Report(t.Context(), "w", "m1"); err != nil {
		t.Fatal(err)
	}
}

func stored(t *testing.T, s *blob.Memory) map[string]reporter.Report {
	t.Helper()
	out := map[string]reporter.Report{}
	for name, err := range s.Names(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		body, err := blob.ReadAll(t.Context(), s, name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		var v reporter.Report
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatal(err)
		}
		out[name] = v
	}
	return out
}

func TestWhenAReportIsWritten(t *testing.T) {
	t.Parallel()
	written := map[migration.State]bool{migration.Synced: true, migration.Done: true, migration.Failed: true, migration.Cancelled: true}
	for _, state := range migration.States {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			r, store := desk(t)
			set(t, r, func(b *migration.Mailbox) { b.State = state })
			report(t, r)
			if got := stored(t, store); (len(got) == 1) != written[state] || len(got) > 1 {
				t.Errorf("written: %v", got)
			}
		})
	}
}

// A pass has one report: what was written stays, whatever happens to the mailbox afterwards.
func TestAPassIsReportedOnce(t *testing.T) {
	t.Parallel()
	r, store := desk(t)
	report(t, r)
	set(t, r, func(b *migration.Mailbox) { b.Counts.Match = 7 })
	report(t, r)
	set(t, r, func(b *migration.Mailbox) { b.Pass = 12 })
	report(t, r)
	got := stored(t, store)
	first, second := got["w/m1-0001.json"], got["w/m1-0012.json"]
	if len(got) != 2 || first.Counts.Match != 0 || second.Counts.Match != 7 || first.Source != "ann@old.example" || first.Target != "ann@new.example" {
		t.Errorf("reports: %+v", got)
	}
	if len(first.Problems) != 1 || first.Problems[0].Reason != "about m1" {
		t.Errorf("problems: %+v", first.Problems)
	}
}

func TestProblemsOfAWave(t *testing.T) {
	t.Parallel()
	r, _ := desk(t)
	got, more, err := r.Problems(t.Context(), "w")
	if err != nil || more || len(got) != 2 {
		t.Fatalf("%+v, more %t, %v", got, more, err)
	}
	for i, want := range []string{"ann@old.example ann@new.example about m1", "bob@old.example bob@new.example about m2"} {
		if line := got[i].Source + " " + got[i].Target + " " + got[i].Reason; line != want {
			t.Errorf("got %q, want %q", line, want)
		}
	}
	if got, more, err := r.Problems(t.Context(), "another"); err != nil || more || got == nil || len(got) > 0 {
		t.Errorf("of a wave without any: %v, more %t, %v", got, more, err)
	}
}

// many lists its first row n times.
type many struct {
	ledger.Table
	n int
}

func (m many) Rows(ctx context.Context, partition, prefix string) iter.Seq2[ledger.Row, error] {
	return func(yield func(ledger.Row, error) bool) {
		for row, err := range m.Table.Rows(ctx, partition, prefix) {
			for range m.n {
				if !yield(row, err) {
					return
				}
			}
			return
		}
	}
}

func TestReportsHaveALimit(t *testing.T) {
	t.Parallel()
	r, _ := desk(t)
	problems := r.Ledger.Problems
	for n, want := range map[int]int{10_000: 10_000, 10_001: 10_000} {
		r.Ledger.Problems = many{problems, n}
		got, err := r.Read(t.Context(), "w", "m1")
		if err != nil || len(got.Problems) != want {
			t.Errorf("%d problems of a mailbox: %d listed, %v", n, len(got.Problems), err)
		}
	}
	for n, left := range map[int]bool{100_000: false, 100_001: true} {
		r.Ledger.Problems = many{problems, n}
		got, more, err := r.Problems(t.Context(), "w")
		if err != nil || len(got) != 100_000 || more != left {
			t.Errorf("%d problems of a wave: %d listed, more %t, %v", n, len(got), more, err)
		}
	}
}

// failing reads some rows, and then fails.
type failing struct{ ledger.Table }

func (f failing) Rows(ctx context.Context, partition, prefix string) iter.Seq2[ledger.Row, error] {
	return func(yield func(ledger.Row, error) bool) {
		for row, err := range f.Table.Rows(ctx, partition, prefix) {
			if !yield(row, err) {
				return
			}
		}
		yield(ledger.Row{}, errAway)
	}
}

type full struct{ blob.Store }

func (full) Put(context.Context, string, io.Reader) error { return fmt.Errorf("put: %w", errAway) }

// Half a list is no report.
func TestAReportIsWholeOrNone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		off  func(*testing.T, *reporter.Reporter)
		want error
		wave bool // the list of the wave's problems fails too
	}{
		{"no problems", func(_ *testing.T, r *reporter.Reporter) { r.Ledger.Problems = failing{r.Ledger.Problems} }, errAway, true},
		{"no reports", func(_ *testing.T, r *reporter.Reporter) { r.Reports = full{} }, errAway, false},
		{"no mailbox", func(t *testing.T, r *reporter.Reporter) {
			if err := r.Ledger.RemoveMailbox(t.Context(), migration.Mailbox{ID: "m1", Wave: "w"}); err != nil {
				t.Fatal(err)
			}
		}, ledger.ErrNotFound, false},
		{"a damaged mailbox", func(t *testing.T, r *reporter.Reporter) {
			row, err := r.Ledger.Mailboxes.Row(t.Context(), "w", "m1")
			if err == nil {
				row.Body[len(row.Body)/2] ^= 1
				_, err = r.Ledger.Mailboxes.Replace(t.Context(), row)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, ledger.ErrCorrupt, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, store := desk(t)
			tt.off(t, r)
			if err := r.Report(t.Context(), "w", "m1"); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if got := stored(t, store); len(got) > 0 {
				t.Errorf("stored: %v", got)
			}
			if _, _, err := r.Problems(t.Context(), "w"); (err != nil) != tt.wave {
				t.Errorf("the wave's problems: %v", err)
			}
		})
	}
	r, _ := desk(t)
	r.Ledger.Mailboxes = failing{r.Ledger.Mailboxes}
	if _, _, err := r.Problems(t.Context(), "w"); !errors.Is(err, errAway) {
		t.Errorf("without the mailboxes' addresses: %v", err)
	}
}
