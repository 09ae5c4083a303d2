package copier_test

import (
	"context"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
)

// An item on which the target breaks off every time does not keep the others from being copied. While the target answers
// nothing at all, no item is blamed.
func TestAnItemWhoseImportIsNeverAnsweredIsSkipped(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 25)
	imports := 0
	s.OnTarget.Import = func(ctx context.Context, st mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
		if r, _ := st.Open(ctx); r != nil {
			if sum, err := fts.Summarize(r); err == nil && sum.MessageID == "<7@example.org>" {
				imports++
				return "", mailbox.ErrUnknown
			}
		}
		return do()
	}
	s.OnTarget.Folders = func() error {
		if imports > 0 && s.Clock.Since(pipelinetest.Start) < 2*time.Hour {
			return mailbox.ErrUnavailable
		}
		return nil
	}
	s.Begin()
	s.Finish()
	want := migration.Counts{Source: 25, Target: 24, Match: 24, Skipped: 1}
	if b := s.Box(); b.State != migration.Done || b.Counts != want || imports < 6 || imports > 10 {
		t.Errorf("%d imports, %s, %+v, problem %q", imports, b.State, b.Counts, b.Problem)
	}
	if took := s.Clock.Since(pipelinetest.Start); took < 2*time.Hour {
		t.Errorf("skipped after %s, while the target was away", took)
	}
	if p := s.Problems(); len(p) != 1 || p[0].Reason != string(mailbox.Refused) {
		t.Errorf("problems %+v", p)
	}
}
