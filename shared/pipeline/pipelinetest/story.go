package pipelinetest

import (
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/pipeline"
	"github.com/mailferry/mailferry/shared/submitter"
)

// Story is a local pipeline with one mailbox on both sides, to be told step by step.
type Story struct {
	*Local
	Source, Target     *exchangetest.Mailbox
	OnSource, OnTarget *mailboxtest.Hooked
	Wave               migration.WaveID

	t *testing.T
}

// Ann is the story's mailbox.
var Ann = submitter.Line{Source: "ann@old.example", Target: "ann@new.example"}

// Tell begins a story. change may replace what its pipeline stands on.
func Tell(t *testing.T, change ...func(*pipeline.Needs)) *Story {
	t.Helper()
	s := &Story{t: t}
	s.Local = New(func(n *pipeline.Needs) {
		s.OnSource = &mailboxtest.Hooked{World: n.Sources.(mailboxtest.World)}
		s.OnTarget = &mailboxtest.Hooked{World: n.Targets.(mailboxtest.World)}
		n.Sources, n.Targets = s.OnSource, s.OnTarget
		for _, f := range change {
			f(n)
		}
	})
	s.Source, s.Target = s.Add(Ann.Source, Ann.Target)
	return s
}

// Begin submits the mailbox and starts its wave. Times of the batch are optional.
func (s *Story) Begin(b ...submitter.Batch) {
	s.t.Helper()
	batch := submitter.Batch{}
	if len(b) > 0 {
		batch = b[0]
	}
	batch.Mailboxes = []submitter.Line{Ann}
	w, err := s.Submit(s.t.Context(), batch)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Wave = w.ID
}

// Finish delivers messages until none is left.
func (s *Story) Finish() {
	s.t.Helper()
	if err := s.Run(s.t.Context(), 2000); err != nil {
		s.t.Fatal(err)
	}
}

// Next moves the clock to the next letter and takes it, without delivering it.
func (s *Story) Next() bus.Letter {
	s.t.Helper()
	at, more := s.Bus.Next()
	if !more {
		s.t.Fatal("there is no next message")
	}
	s.Clock.Advance(max(0, at.Sub(s.Clock.Now())))
	l, ok := s.Bus.Take(s.Clock.Now())
	if !ok {
		s.t.Fatal("the next message is not due")
	}
	return l
}

// Until delivers messages until the next one is of a queue, and takes that.
func (s *Story) Until(q migration.Queue) bus.Letter {
	s.t.Helper()
	for range 2000 {
		l := s.Next()
		if l.Queue == q {
			return l
		}
		s.Hand(l)
	}
	s.t.Fatalf("no message comes to queue %s", q)
	return bus.Letter{}
}

// Hand delivers a letter to its stage; the pipeline must know what to do about it.
func (s *Story) Hand(l bus.Letter) {
	s.t.Helper()
	if err := s.Deliver(s.t.Context(), l.Queue, l.Message.Encode()); err != nil {
		s.t.Fatal(err)
	}
}

// Box is the mailbox's row.
func (s *Story) Box() migration.Mailbox {
	s.t.Helper()
	m, err := s.Ledger.Mailbox(s.t.Context(), s.Wave, migration.MailboxFor(Ann.Source, Ann.Target))
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// Change edits the mailbox's row.
func (s *Story) Change(f func(*migration.Mailbox)) {
	s.t.Helper()
	b := s.Box()
	if _, err := s.Ledger.ChangeMailbox(s.t.Context(), b.Wave, b.ID, func(m *migration.Mailbox) error { f(m); return nil }); err != nil {
		s.t.Fatal(err)
	}
}

// Problems are the mailbox's problems.
func (s *Story) Problems() []ledger.Problem {
	s.t.Helper()
	var out []ledger.Problem
	for p, err := range s.Ledger.ProblemsOf(s.t.Context(), s.Wave, s.Box().ID) {
		if err != nil {
			s.t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// Waiting is how many letters wait, and how long until the first is due.
func (s *Story) Waiting() (letters int, wait time.Duration) {
	for _, q := range migration.Queues {
		letters += len(s.Bus.Waiting(q))
	}
	if at, more := s.Bus.Next(); more && !at.IsZero() {
		wait = at.Sub(s.Clock.Now())
	}
	return letters, wait
}

// Arrived is what a well-known folder of the target holds.
func (s *Story) Arrived(known string) []exchangetest.Item {
	s.t.Helper()
	f, err := s.Target.Known(known)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.Target.Items(f.ID)
}
