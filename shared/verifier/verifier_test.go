package verifier_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/manifest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/outcome"
	"github.com/mailferry/mailferry/shared/pipeline"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
	"github.com/mailferry/mailferry/shared/receipt"
	"github.com/mailferry/mailferry/shared/verifier"
)

// copied is a story with n letters copied and the verify message in hand.
func copied(t *testing.T, n int, change ...func(*pipeline.Needs)) (*pipelinetest.Story, bus.Letter) {
	t.Helper()
	s := pipelinetest.Tell(t, change...)
	mailboxtest.Fill(t, s.Source, "inbox", 0, n)
	s.Begin()
	return s, s.Until(migration.VerifyQueue)
}

func depth(d verifier.Depth) func(*pipeline.Needs) {
	return func(n *pipeline.Needs) { n.Depth = d }
}

// edit changes an item of the target behind everybody's back.
func edit(t *testing.T, s *pipelinetest.Story, it exchangetest.Item, change func(*fts.Message)) {
	t.Helper()
	if _, err := s.Target.Edit(it.ID, change); err != nil {
		t.Fatal(err)
	}
}

func reasons(s *pipelinetest.Story) map[string]int {
	found := map[string]int{}
	for _, p := range s.Problems() {
		found[p.Reason]++
	}
	return found
}

// Each word of verification, as one change between copy and verification brings it about.
func TestWords(t *testing.T) {
	t.Parallel()
	const letters = 10
	for _, test := range []struct {
		name   string
		spoil  func(t *testing.T, s *pipelinetest.Story)
		counts migration.Counts
		state  migration.State
		reason string
	}{
		{"all is there", func(*testing.T, *pipelinetest.Story) {},
			migration.Counts{Source: letters, Target: letters, Match: letters}, migration.Done, ""},
		{"missing", func(t *testing.T, s *pipelinetest.Story) {
			for _, it := range s.Arrived("inbox")[:2] {
				if err := s.Target.Delete(it.ID); err != nil {
					t.Fatal(err)
				}
			}
		}, migration.Counts{Source: letters, Target: letters - 2, Match: letters - 2, Missing: 2}, migration.Planning, "missing"},
		{"extra", func(t *testing.T, s *pipelinetest.Story) {
			it := s.Arrived("inbox")[3]
			if _, err := s.Target.Copy(it.ID, it.Folder); err != nil {
				t.Fatal(err)
			}
		}, migration.Counts{Source: letters, Target: letters + 1, Match: letters, Extra: 1}, migration.Done, "extra"},
		{"its user's own", func(t *testing.T, s *pipelinetest.Story) {
			mailboxtest.Fill(t, s.Target, "inbox", 100, 103)
		}, migration.Counts{Source: letters, Target: letters + 3, Match: letters, Own: 3}, migration.Done, ""},
		{"gone from the source since", func(t *testing.T, s *pipelinetest.Story) {
			inbox, _ := s.Source.Known("inbox")
			if err := s.Source.Delete(s.Source.Items(inbox.ID)[0].ID); err != nil {
				t.Fatal(err)
			}
		}, migration.Counts{Source: letters - 1, Target: letters, Match: letters - 1, Own: 1}, migration.Done, ""},
		{"arrived at the source since", func(t *testing.T, s *pipelinetest.Story) {
			mailboxtest.Fill(t, s.Source, "inbox", letters, letters+1)
		}, migration.Counts{Source: letters + 1, Target: letters, Match: letters, Missing: 1}, migration.Planning, "missing"},
		{"differs in what listings show", func(t *testing.T, s *pipelinetest.Story) {
			edit(t, s, s.Arrived("inbox")[4], mailboxtest.With(fts.TagSubject, "Edited"))
		}, migration.Counts{Source: letters, Target: letters, Match: letters - 1, Differs: 1}, migration.Planning, "differs"},
		{"differs in its content only", func(t *testing.T, s *pipelinetest.Story) {
			edit(t, s, s.Arrived("inbox")[4], mailboxtest.With(fts.TagBody, "Bodi 4"))
		}, migration.Counts{Source: letters, Target: letters, Match: letters - 1, Differs: 1}, migration.Planning, "differs"},
		{"changed on both sides alike", func(t *testing.T, s *pipelinetest.Story) {
			change := mailboxtest.With(fts.TagBody, "Edited on both sides")
			inbox, _ := s.Source.Known("inbox")
			for _, it := range s.Arrived("inbox") {
				for _, other := range s.Source.Items(inbox.ID) {
					if it.Summary.Identity() != other.Summary.Identity() {
						continue
					}
					edit(t, s, it, change)
					if _, err := s.Source.Edit(other.ID, change); err != nil {
						t.Fatal(err)
					}
				}
			}
		}, migration.Counts{Source: letters, Target: letters, Match: letters}, migration.Done, ""},
		{"a recipient fewer", func(t *testing.T, s *pipelinetest.Story) {
			edit(t, s, s.Arrived("inbox")[4], func(m *fts.Message) { m.Recipients = m.Recipients[:2] })
		}, migration.Counts{Source: letters, Target: letters, Match: letters - 1, Differs: 1}, migration.Planning, "differs"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, l := copied(t, letters)
			test.spoil(t, s)
			before := len(s.Arrived("inbox"))
			if err := s.Verifier.Verify(t.Context(), l.Message); err != nil {
				t.Fatal(err)
			}
			b := s.Box()
			if b.Counts != test.counts || b.State != test.state {
				t.Errorf("%s with %+v, want %s with %+v", b.State, b.Counts, test.state, test.counts)
			}
			found := reasons(s)
			if test.reason == "" && len(found) > 0 || test.reason != "" && found[test.reason] != max(test.counts.Missing, test.counts.Extra, test.counts.Differs) {
				t.Errorf("reported %v", found)
			}
			if len(s.Arrived("inbox")) != before {
				t.Error("verification changed the target")
			}
			s.Finish() // what was missing or differed is mended by the next pass
			if b := s.Box(); b.State != migration.Done || b.Counts.Missing+b.Counts.Differs > 0 || b.Counts.Extra != test.counts.Extra {
				t.Errorf("in the end %s with %+v, %q", b.State, b.Counts, b.Problem)
			}
		})
	}
}

func TestHowDeepItLooks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		depth    verifier.Depth
		sees     func(mailbox.Identity) bool
		exported bool
	}{
		{verifier.Index, func(mailbox.Identity) bool { return false }, false},
		{verifier.Sample, func(id mailbox.Identity) bool { return id[0]%20 == 0 }, true},
		{verifier.Full, func(mailbox.Identity) bool { return true }, true},
	} {
		t.Run(string(test.depth), func(t *testing.T) {
			t.Parallel()
			const letters = 200
			s, l := copied(t, letters, depth(test.depth))
			want := 0
			for _, it := range s.Arrived("inbox") {
				if test.sees(it.Summary.Identity()) {
					want++
				}
				edit(t, s, it, mailboxtest.With(fts.TagBody, "Body X"))
			}
			if test.depth == verifier.Sample && (want < 2 || want > letters/5) {
				t.Fatalf("a sample of %d", want)
			}
			var exports atomic.Int32
			s.OnTarget.Export = func(mailbox.ItemID) error { exports.Add(1); return nil }
			if err := s.Verifier.Verify(t.Context(), l.Message); err != nil {
				t.Fatal(err)
			}
			if b := s.Box(); b.Counts.Differs != want || int(exports.Load()) != want {
				t.Errorf("%d differ and %d were exported, want %d", b.Counts.Differs, exports.Load(), want)
			}
		})
	}
}

// What does not arrive although the target says so is tried three times, then a person is asked.
func TestThreePassesAtMost(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 5)
	var n atomic.Int32
	s.OnTarget.Import = func(context.Context, mailbox.Stream, mailboxtest.Do) (mailbox.ItemID, error) {
		return mailbox.ItemID(fmt.Sprint("lie", n.Add(1))), nil
	}
	s.Begin()
	s.Finish()
	b := s.Box()
	if b.State != migration.Failed || b.Pass != migration.MaxTries || b.Counts.Missing != 5 || !strings.Contains(b.Problem, "5 items are missing") {
		t.Errorf("%s after pass %d: %+v, %q", b.State, b.Pass, b.Counts, b.Problem)
	}
	if b.Receipt != "" {
		t.Error("a mailbox that failed has a receipt")
	}
}

// A verification that is delivered twice, or late, says the same and sends what follows once more.
func TestTwice(t *testing.T) {
	t.Parallel()
	s, l := copied(t, 5)
	if err := s.Target.Delete(s.Arrived("inbox")[0].ID); err != nil {
		t.Fatal(err)
	}
	s.Hand(l)
	first := s.Next()
	s.Clock.Advance(20 * 60e9) // past the window of duplicate detection
	s.Hand(l)
	if next := s.Next(); next.Queue != migration.PlanQueue || next.Message != first.Message {
		t.Errorf("sent %+v, then %+v", first, next)
	}
	s.Hand(first)
	s.Finish()
	before := s.Box()
	s.Hand(l)
	s.Finish()
	if b := s.Box(); b.State != migration.Done || b.Pass != before.Pass || b.Receipt != before.Receipt {
		t.Errorf("a late message changed %+v into %+v", before, b)
	}
}

func TestWhatEndsAVerification(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name           string
		err            error
		later, forever bool
	}{
		{"throttled", &mailbox.Throttled{Until: pipelinetest.Start.Add(1e11), By: "test"}, true, false},
		{"no mailbox", mailbox.ErrNoMailbox, false, true},
		{"no access", mailbox.ErrAccess, false, true},
		{"away", mailbox.ErrUnavailable, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, l := copied(t, 3)
			s.OnTarget.Folders = func() error { return test.err }
			err := s.Verifier.Verify(t.Context(), l.Message)
			if _, later := outcome.Snoozed(err); err == nil || later != test.later || outcome.Cancelled(err) != test.forever {
				t.Errorf("err = %v", err)
			}
			if s.Box().State != migration.Verifying {
				t.Errorf("mailbox %+v", s.Box())
			}
		})
	}
}

// Without its manifests a mailbox is verified all the same, and people are told.
func TestADamagedManifestIsReported(t *testing.T) {
	t.Parallel()
	for _, there := range []bool{true, false} {
		s, l := copied(t, 5)
		name := manifest.Name(l.Message.Mailbox, 1, l.Message.Plan, 0)
		if err := s.Manifests.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if there {
			if err := s.Manifests.Put(t.Context(), name, strings.NewReader("{}\n")); err != nil {
				t.Fatal(err)
			}
		}
		s.Hand(l)
		if b := s.Box(); b.State != migration.Done || b.Counts.Match != 5 || reasons(s)["manifest damaged"] != 1 {
			t.Errorf("there: %t: %s with %+v, reported %v", there, b.State, b.Counts, reasons(s))
		}
	}
}

// The receipt of a mailbox speaks of what was found on the target, and can be checked by anyone.
func TestTheReceiptSaysWhatWasFound(t *testing.T) {
	t.Parallel()
	s, l := copied(t, 10)
	mailboxtest.Fill(t, s.Target, "inbox", 100, 103)
	s.Hand(l)
	b := s.Box()
	read := func(ending string) []byte {
		body, err := blob.ReadAll(t.Context(), s.Receipts, b.Receipt+ending, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	file, leaves := read(".json"), read(".leaves")
	r, err := receipt.Verify(file, bytes.NewReader(leaves), nil)
	if err == nil {
		t.Error("a receipt is taken without a trusted key")
	}
	if r, err = receipt.Verify(file, bytes.NewReader(leaves), keys(s)); err != nil {
		t.Fatal(err)
	}
	if r.Items != 10 || r.Counts != b.Counts || r.Mailbox != b.ID || r.Pass != 1 || r.Counts.Own != 3 {
		t.Errorf("receipt %+v", r)
	}
	if !bytes.Contains(leaves, []byte(`"content"`)) {
		t.Errorf("no leaf has a digest of content:\n%s", leaves)
	}
}

func keys(s *pipelinetest.Story) []ed25519.PublicKey { return []ed25519.PublicKey{s.Key.Public()} }
