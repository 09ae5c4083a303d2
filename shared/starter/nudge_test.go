package starter_test

import (
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
	"github.com/mailferry/mailferry/shared/submitter"
)

func TestAMailboxLeftWithoutAMessageGoesOn(t *testing.T) {
	t.Parallel()
	l := pipelinetest.New(nil)
	l.Add("ann@old.example", "ann@new.example")
	w, err := l.Submit(t.Context(), submitter.Batch{Mailboxes: []submitter.Line{{Source: "ann@old.example", Target: "ann@new.example"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := l.Bus.Take(l.Clock.Now()); !ok { // the message is lost
		t.Fatal("no message")
	}
	id := migration.MailboxFor("ann@old.example", "ann@new.example")
	_, err = l.Ledger.ChangeMailbox(t.Context(), w.ID, id, func(b *migration.Mailbox) error {
		b.Pass, b.Kind = 1, migration.FullPass
		return b.To(migration.Planning, l.Clock.Now())
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		wait time.Duration
		want migration.State
	}{{time.Hour, migration.Planning}, {90 * time.Minute, migration.Done}} {
		l.Clock.Advance(step.wait)
		if err := l.Starter.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := l.Run(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
		box, err := l.Ledger.Mailbox(t.Context(), w.ID, id)
		if err != nil || box.State != step.want {
			t.Errorf("after another %s: state %s, want %s, problem %q, err %v", step.wait, box.State, step.want, box.Problem, err)
		}
	}
}
