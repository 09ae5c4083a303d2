package pipeline_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
)

// Whoever looks at a mailbox that stands still reads why, and until when.
func TestWhyAMailboxWaits(t *testing.T) {
	t.Parallel()
	until := pipelinetest.Start.Add(3 * time.Minute)
	for _, test := range []struct {
		name  string
		fault error
		why   string
		until time.Time
	}{
		{"throttled", &mailbox.Throttled{Until: until, By: "graph mailbox"}, "throttled by graph mailbox", until},
		{"away", errors.New("no route to host"), "failed 1 times: list target folders: no route to host", pipelinetest.Start.Add(5 * time.Second)},
		{"for a moment", &mailbox.Throttled{Until: pipelinetest.Start.Add(time.Second), By: "graph mailbox"}, "", time.Time{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := pipelinetest.Tell(t)
			mailboxtest.Fill(t, s.Source, "inbox", 0, 3)
			s.OnTarget.Folders = func() error { return test.fault }
			s.Begin()
			s.Hand(s.Next())
			if w := s.Box().Wait; !strings.HasPrefix(w.Why, test.why) || (w.Why == "") != (test.why == "") || !w.Until.Equal(test.until) {
				t.Errorf("waits until %s: %q; want %s: %q", w.Until, w.Why, test.until, test.why)
			}
			s.OnTarget.Folders = nil
			s.Finish()
			if b := s.Box(); b.State != migration.Done || b.Wait != (migration.Wait{}) {
				t.Errorf("in the end it is %s and waits for %+v", b.State, b.Wait)
			}
		})
	}
}

// A mailbox that needs a person says what the person can do.
func TestAFailedMailboxSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{
		mailbox.ErrNoMailbox: "no such mailbox; check the address",
		mailbox.ErrAccess:    "access denied; check the service account's password",
		mailbox.ErrQuota:     "mailbox is full; make room",
	} {
		t.Run(err.Error(), func(t *testing.T) {
			t.Parallel()
			s := pipelinetest.Tell(t)
			s.OnSource.Open = func(string) error { return err }
			s.Begin()
			s.Finish()
			b := s.Box()
			if b.State != migration.Failed || !strings.Contains(b.Problem, want) {
				t.Errorf("%s: %q, want %q", b.State, b.Problem, want)
			}
			if p := s.Problems(); len(p) != 1 || p[0].Detail != b.Problem {
				t.Errorf("reported %+v", p)
			}
		})
	}
}
