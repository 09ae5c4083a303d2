package starter_test

import (
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
	"github.com/mailferry/mailferry/shared/submitter"
)

// What arrives at the source before the cutover is copied by a delta a day later, and the rest by the cutover.
func TestASyncedMailboxIsKeptFresh(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 5)
	s.Begin(submitter.Batch{Cutover: pipelinetest.Start.Add(50 * time.Hour)})
	s.Finish()
	step := func(wait time.Duration, state migration.State, kind migration.Kind, pass, arrived int) {
		t.Helper()
		s.Clock.Advance(wait)
		for range 2 { // a tick that comes twice changes nothing
			if err := s.Starter.Tick(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		s.Finish()
		if b := s.Box(); b.State != state || b.Kind != kind || b.Pass != pass || len(s.Arrived("inbox")) != arrived || b.Counts.Match != arrived {
			t.Errorf("after another %s: %s by pass %d, a %s one, %d arrived, %+v", wait, b.State, b.Pass, b.Kind, len(s.Arrived("inbox")), b.Counts)
		}
	}
	step(time.Minute, migration.Synced, migration.FullPass, 1, 5)
	mailboxtest.Fill(t, s.Source, "inbox", 5, 8)
	step(23*time.Hour, migration.Synced, migration.FullPass, 1, 5)
	step(time.Hour, migration.Synced, migration.DeltaPass, 2, 8)
	mailboxtest.Fill(t, s.Source, "inbox", 8, 9)
	step(time.Hour, migration.Synced, migration.DeltaPass, 2, 8)
	step(25*time.Hour, migration.Done, migration.CutoverPass, 3, 9)
}
