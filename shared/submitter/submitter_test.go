package submitter_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/submitter"
)

func TestFaultsNameTheirPlace(t *testing.T) {
	t.Parallel()
	csv, json := submitter.ParseCSV, submitter.ParseJSON
	for _, tt := range []struct {
		name, in string
		parse    func(io.Reader) (submitter.Batch, error)
		want     string
	}{
		{"every line's faults, in order", "source,target\nada,a@new.example\nb@old.example,b@new.example,x\n,c@new.example\n", csv,
			"line 2: source: is not an SMTP address; line 3: 3 columns, the header names 2; line 4: source: is empty; want an SMTP address"},
		{"twice, after empty lines", "source,target\n\n\na@old.example,a@new.example\nA@old.example,b@new.example\n", csv,
			"line 5: source: the same mailbox is in line 4"},
		{"an open quote", "source,target\n\"a@old.example,a@new.example\n", csv,
			"line 2: byte 30: extraneous or missing \" in quoted-field; what follows was not read"},
		{"an open quote in the header", "source,ta\"rget\n", csv, "line 1: byte 10: bare \" in non-quoted-field; what follows was not read"},
		{"no lines", "source,target\r\n", csv, "the batch has no mailboxes"},
		{"nothing", "\xEF\xBB\xBF", csv, "line 1: the file is empty; it begins with the line source,target"},
		{"twice in JSON", `{"mailboxes":[{"source":"a@old.example","target":"a@new.example"},{"source":"a@old.example","target":"b@new.example"}]}`, json,
			"line 2: source: the same mailbox is in mailbox 1"},
		{"a list", `[]`, json, `want {"mailboxes":[{"source":"…","target":"…"}]}: byte 1: no array belongs here`},
		{"a number", `{"mailboxes":[{"source":7}]}`, json, `want {"mailboxes":[{"source":"…","target":"…"}]}: mailboxes.source: byte 25: no number belongs here`},
		{"no time", `{"start":"soon"}`, json, `want {"mailboxes":[{"source":"…","target":"…"}]}: "soon": want a time like 2026-12-01T22:00:00Z`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := tt.parse(strings.NewReader(tt.in))
			if want := "nothing was submitted: " + tt.want; err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

func TestALongListOfFaultsSaysThatThereIsMore(t *testing.T) {
	t.Parallel()
	_, err := submitter.ParseCSV(strings.NewReader("source,target\n" + strings.Repeat("ada,bob\n", 1000)))
	bad, ok := errors.AsType[*submitter.BatchError](err)
	if !ok || len(bad.Faults) != 101 || bad.Faults[100].What != "there is more, which is not listed" {
		t.Errorf("got %v", err)
	}
}

// far is Table storage that takes as long to answer as Azure's. Its time is a test's.
type far struct{ ledger.Table }

func (f far) Insert(ctx context.Context, rows ...ledger.Row) error {
	time.Sleep(10 * time.Millisecond)
	return f.Table.Insert(ctx, rows...)
}

func (f far) Delete(ctx context.Context, r ledger.Row) error {
	time.Sleep(10 * time.Millisecond)
	return f.Table.Delete(ctx, r)
}

// The largest batch must be submitted, or refused, before Azure's front end gives up; this one is a hundredth of it.
func TestALargeBatchIsQuick(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := ledger.NewMemory()
		l.Mailboxes = far{l.Mailboxes}
		n := 0
		s := submitter.Submitter{Ledger: l, Clock: clockwork.NewRealClock(), NewID: func() string { n++; return fmt.Sprint(n) }}
		began := time.Now()
		if _, err := s.Submit(t.Context(), batch()); err != nil {
			t.Fatal(err)
		}
		_, err := s.Submit(t.Context(), batch())
		if bad, ok := errors.AsType[*submitter.BatchError](err); !ok || len(bad.Faults) != 101 || bad.Faults[0].Line != 2 {
			t.Errorf("submitted again: %v", err)
		}
		if took := time.Since(began); took > 2*230*time.Second/100 {
			t.Errorf("took %s", took)
		}
		for m, err := range l.WaveMailboxes(t.Context(), migration.WaveID("w"+time.Now().UTC().Format("20060102")+"-2")) {
			t.Errorf("left of what was refused: %v, %v", m.ID, err)
		}
	})
}

func batch() submitter.Batch {
	var b submitter.Batch
	for i := range submitter.MaxMailboxes / 100 {
		b.Mailboxes = append(b.Mailboxes, submitter.Line{Source: fmt.Sprintf("u%d@old.example", i), Target: fmt.Sprintf("u%d@new.example", i), Line: i + 2})
	}
	return b
}
