package starter_test

import (
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/operator"
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

// ticks lets hours go by.
func ticks(t *testing.T, s *pipelinetest.Story, hours int) {
	t.Helper()
	for range hours {
		s.Clock.Advance(time.Hour)
		if err := s.Starter.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Finish()
	}
}

// An operator's process may end between the ledger and the bus, and a message may be dropped while its mailbox is paused.
func TestAMailboxThatHasNotBegunGoesOn(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	s.Begin(submitter.Batch{Spread: 3 * 3600})
	s.Next() // is lost
	ticks(t, s, 4)
	if b := s.Box(); b.State != migration.Submitted {
		t.Errorf("%s while its wave is still beginning", b.State)
	}
	ticks(t, s, 2)
	if b := s.Box(); b.State != migration.Done {
		t.Errorf("%s, problem %q", b.State, b.Problem)
	}
}

func TestAMailboxInCutoverGoesOn(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	s.Begin(submitter.Batch{Cutover: pipelinetest.Start.Add(time.Hour)})
	s.Finish()
	s.Clock.Advance(time.Hour)
	if err := s.Starter.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Next() // is lost
	ticks(t, s, 3)
	if b := s.Box(); b.State != migration.Done || b.Kind != migration.CutoverPass {
		t.Errorf("%s by a %s pass", b.State, b.Kind)
	}
}

// A mailbox that failed before its wave was cut over, and is retried afterwards, is cut over as well.
func TestARetryAfterTheCutover(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 3)
	s.OnTarget.Open = func(string) error { return mailbox.ErrQuota }
	s.Begin(submitter.Batch{Cutover: pipelinetest.Start.Add(time.Hour)})
	s.Finish()
	ticks(t, s, 3)
	s.OnTarget.Open = nil
	if _, err := s.Operator.Act(t.Context(), operator.Retry, s.Wave, s.Box().ID); err != nil {
		t.Fatal(err)
	}
	s.Finish()
	ticks(t, s, 2)
	if b := s.Box(); b.State != migration.Done || b.Kind != migration.CutoverPass || b.Counts.Match != 3 {
		t.Errorf("%s by a %s pass, %+v", b.State, b.Kind, b.Counts)
	}
}

// A mailbox that is told to wait, again and again, does not stand still.
func TestAMailboxThatWaitsIsNotNudged(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		waited  time.Duration // since its last wait was over
		letters int
	}{{"an hour", time.Hour, 0}, {"three hours", 3 * time.Hour, 1}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk()
			long := now.Add(-24 * time.Hour)
			d.add(t, migration.Wave{ID: "w", Start: long, Started: true}, migration.Mailbox{State: migration.Verifying, Pass: 1, Changed: long,
				Plans: []migration.Plan{{ID: "p", Pass: 1}}, Wait: migration.Wait{Until: now.Add(-tt.waited), Why: "the content of 400 of 500 items is compared"}})
			d.tick(t)
			if got := d.sent(); len(got) != tt.letters {
				t.Errorf("messages %v", got)
			}
		})
	}
}
