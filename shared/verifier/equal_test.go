package verifier_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
	"github.com/mailferry/mailferry/shared/submitter"
	"github.com/mailferry/mailferry/shared/verifier"
)

// twins adds two mails of one identity, told apart by their subject, to the source's inbox.
func twins(t *testing.T, s *pipelinetest.Story) (first, second exchangetest.Item) {
	t.Helper()
	inbox, _ := s.Source.Known("inbox")
	var out [2]exchangetest.Item
	for i, subject := range []string{"A", "B"} {
		var err error
		if out[i], err = s.Source.Add(inbox.ID, mailboxtest.Letter(t, 1, mailboxtest.With(fts.TagSubject, subject))); err != nil {
			t.Fatal(err)
		}
	}
	return out[0], out[1]
}

func subjects(s *pipelinetest.Story) (out []string) {
	for _, it := range s.Arrived("inbox") {
		out = append(out, it.Summary.Subject)
	}
	slices.Sort(out)
	return out
}

// cutOver lets a synced mailbox's cutover come.
func cutOver(t *testing.T, s *pipelinetest.Story) {
	t.Helper()
	s.Clock.Advance(5 * time.Hour)
	if err := s.Starter.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Finish()
}

var later = submitter.Batch{Cutover: pipelinetest.Start.Add(4 * time.Hour)}

// The other one is neither taken for it nor copied twice.
func TestOneOfTwoEqualItemsCannotBeCopied(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	first, _ := twins(t, s)
	s.OnSource.Export = func(id mailbox.ItemID) error {
		if string(id) == fmt.Sprint(first.ID) {
			return &mailbox.ItemError{Reason: mailbox.Corrupt}
		}
		return nil
	}
	s.Begin()
	s.Finish()
	want := migration.Counts{Source: 2, Target: 1, Match: 1, Skipped: 1}
	if b := s.Box(); b.State != migration.Done || b.Counts != want || b.Pass != 1 || !slices.Equal(subjects(s), []string{"B"}) {
		t.Errorf("arrived %q, %s by pass %d, %+v", subjects(s), b.State, b.Pass, b.Counts)
	}
}

// What is left of it on the target is not overwritten by the other one.
func TestOneOfTwoEqualItemsIsDeletedAfterTheCopy(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	first, _ := twins(t, s)
	s.Begin(later)
	s.Finish()
	if err := s.Source.Delete(first.ID); err != nil {
		t.Fatal(err)
	}
	cutOver(t, s)
	want := migration.Counts{Source: 1, Target: 2, Match: 1, Own: 1}
	if b := s.Box(); b.State != migration.Done || b.Counts != want || b.Copied != 2 || !slices.Equal(subjects(s), []string{"A", "B"}) {
		t.Errorf("arrived %q, %s, copied %d, %+v", subjects(s), b.State, b.Copied, b.Counts)
	}
}

// Equal items that come and go between passes change their numbers; what we imported stays known as ours, and no more.
func TestEqualItemsThatComeAndGoAreCounted(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	inbox, _ := s.Source.Known("inbox")
	add := func(subject string) exchangetest.Item {
		it, err := s.Source.Add(inbox.ID, mailboxtest.Letter(t, 1, mailboxtest.With(fts.TagSubject, subject)))
		if err != nil {
			t.Fatal(err)
		}
		return it
	}
	old := add("B")
	s.Begin(later)
	s.Finish()
	add("A") // is the first now
	if _, err := s.Operator.Act(t.Context(), "delta", s.Wave, s.Box().ID); err != nil {
		t.Fatal(err)
	}
	s.Finish()
	if err := s.Source.Delete(old.ID); err != nil {
		t.Fatal(err)
	}
	cutOver(t, s)
	want := migration.Counts{Source: 1, Target: 2, Match: 1, Own: 1}
	if b := s.Box(); b.State != migration.Done || b.Counts != want || !slices.Equal(subjects(s), []string{"A", "B"}) {
		t.Errorf("arrived %q, %s, %+v", subjects(s), b.State, b.Counts)
	}
}

// An edit that listings do not show is found at every depth, because the source gives the item another change key.
func TestAnEditBetweenPassesArrives(t *testing.T) {
	t.Parallel()
	for _, d := range []verifier.Depth{verifier.Index, verifier.Sample, verifier.Full} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			s := pipelinetest.Tell(t, depth(d))
			items := mailboxtest.Fill(t, s.Source, "inbox", 0, 5)
			s.Begin(later)
			s.Finish()
			if _, err := s.Source.Edit(items[3].ID, mailboxtest.With(fts.TagBody, "Edited")); err != nil {
				t.Fatal(err)
			}
			cutOver(t, s)
			edited := 0
			for _, it := range s.Arrived("inbox") {
				if s.Target.Property(it, fts.TagBody) == "Edited" {
					edited++
				}
			}
			if b := s.Box(); b.State != migration.Done || b.Counts != (migration.Counts{Source: 5, Target: 5, Match: 5}) || edited != 1 {
				t.Errorf("%d edits arrived, %s, %+v", edited, b.State, b.Counts)
			}
		})
	}
}
