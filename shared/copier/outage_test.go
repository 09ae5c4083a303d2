package copier_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
	"github.com/mailferry/mailferry/shared/submitter"
)

// While the source exports nothing, although it lists, no item is blamed.
func TestASourceThatExportsNothingForAWhile(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 30)
	s.OnSource.Export = func(mailbox.ItemID) error {
		if s.Clock.Since(pipelinetest.Start) < 5*time.Minute {
			return mailbox.ErrUnavailable
		}
		return nil
	}
	s.Begin()
	s.Finish()
	done(t, s, 30)
}

// A later pass has only such items to copy, and none that shows that the source exports.
func TestSeveralItemsThatBreakTheConnectionInALaterPass(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	items := mailboxtest.Fill(t, s.Source, "inbox", 0, 10)
	s.OnSource.Export = func(id mailbox.ItemID) error {
		if n := fmt.Sprint(id); n == fmt.Sprint(items[2].ID) || n == fmt.Sprint(items[3].ID) {
			return mailbox.ErrUnavailable
		}
		return nil
	}
	s.Begin(submitter.Batch{Cutover: pipelinetest.Start.Add(3 * time.Hour)})
	s.Finish()
	s.Clock.Advance(4 * time.Hour)
	if err := s.Starter.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Finish()
	if b := s.Box(); b.State != migration.Done || b.Counts.Match != 8 || b.Counts.Skipped != 2 || b.Pass != 2 {
		t.Errorf("%s by pass %d, %+v, problem %q", b.State, b.Pass, b.Counts, b.Problem)
	}
}
