package verifier_test

import (
	"context"
	"sync"
	"testing"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
	"github.com/mailferry/mailferry/shared/submitter"
)

// What arrives while a pass is under way is no loss as long as another pass is to come.
func TestAMailboxInUseIsSynced(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		batch submitter.Batch
		state migration.State
	}{
		{"before a cutover", later, migration.Synced},
		{"in its only pass", submitter.Batch{}, migration.Failed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := pipelinetest.Tell(t)
			mailboxtest.Fill(t, s.Source, "inbox", 0, 5)
			var one sync.Mutex // imports come side by side
			n := 5
			s.OnTarget.Import = func(_ context.Context, _ mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
				one.Lock()
				defer one.Unlock()
				mailboxtest.Fill(t, s.Source, "inbox", n, n+1)
				n++
				return do()
			}
			s.Begin(test.batch)
			s.Finish()
			if b := s.Box(); b.State != test.state || b.Counts.Missing == 0 || b.Pass != migration.MaxTries {
				t.Errorf("%s after pass %d, %+v, problem %q", b.State, b.Pass, b.Counts, b.Problem)
			}
			if test.state != migration.Synced {
				return
			}
			s.OnTarget.Import = nil
			cutOver(t, s)
			if b := s.Box(); b.State != migration.Done || b.Counts.Missing != 0 || b.Counts.Match != n {
				t.Errorf("after the cutover: %s, %+v", b.State, b.Counts)
			}
		})
	}
}
