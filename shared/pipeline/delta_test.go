package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/manifest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/operator"
	"github.com/mailferry/mailferry/shared/pipeline"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
	"github.com/mailferry/mailferry/shared/submitter"
	"github.com/mailferry/mailferry/shared/verifier"
)

// reads are what a story reads of its mailboxes.
type reads struct {
	mu              sync.Mutex
	listed, exports map[string]int // by side: "source inbox", "target"
}

func (r *reads) count(in map[string]int, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	in[what]++
}

// clear forgets what was read so far.
func (r *reads) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listed, r.exports = map[string]int{}, map[string]int{}
}

// none makes sure that nothing was listed since it was cleared.
func (r *reads) none(t *testing.T) {
	t.Helper()
	if len(r.listed) > 0 {
		t.Errorf("listed %v", r.listed)
	}
}

// synced is a mailbox with mail in three folders that was copied and waits for its cutover in three days.
func synced(t *testing.T, change ...func(*pipeline.Needs)) (*pipelinetest.Story, *reads) {
	t.Helper()
	s := pipelinetest.Tell(t, change...)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 6)
	mailboxtest.Fill(t, s.Source, "sentitems", 10, 13)
	mailboxtest.Fill(t, s.Source, "drafts", 20, 22)
	r := &reads{}
	r.clear()
	watch := func(h *mailboxtest.Hooked, side string, m *exchangetest.Mailbox) {
		names := map[mailbox.FolderID]string{}
		opened, err := h.World.Source(t.Context(), m.Address)
		if err != nil {
			t.Fatal(err)
		}
		folders, err := opened.Folders(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range folders {
			names[f.ID] = f.Known
		}
		h.List = func(f mailbox.FolderID) error { r.count(r.listed, side+" "+names[f]); return nil }
		h.Export = func(mailbox.ItemID) error { r.count(r.exports, side); return nil }
	}
	watch(s.OnSource, "source", s.Source)
	watch(s.OnTarget, "target", s.Target)
	s.Begin(submitter.Batch{Cutover: pipelinetest.Start.Add(72 * time.Hour)})
	s.Finish()
	if b := s.Box(); b.State != migration.Synced || b.Counts.Match != 11 || b.Receipt == "" {
		t.Fatalf("%s, %+v, receipt %q", b.State, b.Counts, b.Receipt)
	}
	r.clear()
	return s, r
}

// hooks are those of a side.
func hooks(s *pipelinetest.Story, side string) *mailboxtest.Hooked {
	if side == "source" {
		return s.OnSource
	}
	return s.OnTarget
}

// delta makes a delta pass.
func delta(t *testing.T, s *pipelinetest.Story) {
	t.Helper()
	before := s.Box().Pass
	if _, err := s.Operator.Act(t.Context(), operator.Delta, s.Wave, ""); err != nil {
		t.Fatal(err)
	}
	s.Finish()
	if b := s.Box(); b.State != migration.Synced || b.Kind != migration.DeltaPass || b.Pass == before {
		t.Fatalf("after the delta: %s by the %s pass %d, %s", b.State, b.Kind, b.Pass, b.Problem)
	}
}

// cutOver makes the last pass.
func cutOver(t *testing.T, s *pipelinetest.Story) {
	t.Helper()
	s.Clock.Advance(73 * time.Hour)
	if err := s.Starter.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Finish()
	if b := s.Box(); b.State != migration.Done || b.Kind != migration.CutoverPass {
		t.Fatalf("after the cutover: %s by a %s pass, %s", b.State, b.Kind, b.Problem)
	}
}

func TestADeltaReadsNothingWhenNothingHasChanged(t *testing.T) {
	t.Parallel()
	files := &counted{Store: &blob.Memory{}}
	s, r := synced(t, func(n *pipeline.Needs) { n.Manifests = files })
	was := s.Box()
	files.opened = nil
	for range 3 {
		delta(t, s)
		if b := s.Box(); b.Counts != was.Counts || b.Receipt != was.Receipt || b.Problem != "" {
			t.Errorf("%+v, receipt %q; before %+v, %q", b.Counts, b.Receipt, was.Counts, was.Receipt)
		}
	}
	if len(r.listed)+len(r.exports) > 0 {
		t.Errorf("listed %v, exported %v", r.listed, r.exports)
	}
	for _, name := range files.opened {
		if !strings.HasSuffix(name, "/verified") && !strings.HasSuffix(name, "/redo") {
			t.Errorf("opened %s", name)
		}
	}
	cutOver(t, s)
	for _, f := range []string{"source inbox", "target inbox", "source drafts", "target drafts", "source calendar"} {
		if r.listed[f] != 1 { // by the verification
			t.Errorf("%s was listed %d times by the last pass", f, r.listed[f])
		}
	}
	if b := s.Box(); b.Receipt == was.Receipt || b.Receipt == "" || b.Counts != was.Counts {
		t.Errorf("receipt %q, counts %+v", b.Receipt, b.Counts)
	}
}

// counted notes what is opened.
type counted struct {
	blob.Store
	opened []string
}

func (s *counted) Open(ctx context.Context, name string, offset int64) (io.ReadCloser, int64, error) {
	s.opened = append(s.opened, name)
	return s.Store.Open(ctx, name, offset)
}

// A change on one side makes its folder, and no other, be listed by the next pass, once.
func TestADeltaReadsWhatHasChanged(t *testing.T) {
	t.Parallel()
	items := func(m *exchangetest.Mailbox, known string) []exchangetest.Item {
		f, err := m.Known(known)
		if err != nil {
			t.Fatal(err)
		}
		return m.Items(f.ID)
	}
	for name, tt := range map[string]struct {
		change func(t *testing.T, s *pipelinetest.Story)
		folder string
		match  int
	}{
		"an item came": {func(t *testing.T, s *pipelinetest.Story) { mailboxtest.Fill(t, s.Source, "inbox", 6, 7) }, "inbox", 12},
		"an item was read": {func(t *testing.T, s *pipelinetest.Story) {
			it := items(s.Source, "sentitems")[0]
			if _, err := s.Source.SetRead(it.ID, it.Summary.Properties.Flags&mailbox.FlagRead == 0); err != nil {
				t.Fatal(err)
			}
		}, "sentitems", 11},
		"an item was deleted at the source": {func(t *testing.T, s *pipelinetest.Story) {
			if err := s.Source.Delete(items(s.Source, "drafts")[0].ID); err != nil {
				t.Fatal(err)
			}
		}, "drafts", 10},
		"an item was deleted on the target": {func(t *testing.T, s *pipelinetest.Story) {
			if err := s.Target.Delete(items(s.Target, "inbox")[3].ID); err != nil {
				t.Fatal(err)
			}
		}, "inbox", 11},
		"an item of its own came on the target": {func(t *testing.T, s *pipelinetest.Story) { mailboxtest.Fill(t, s.Target, "inbox", 50, 51) }, "inbox", 11},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, r := synced(t)
			tt.change(t, s)
			delta(t, s)
			want := map[string]int{"source " + tt.folder: 2, "target " + tt.folder: 2} // by the planner and the verifier
			if len(r.listed) != 2 || r.listed["source "+tt.folder] != 2 || r.listed["target "+tt.folder] != 2 {
				t.Errorf("listed %v, want %v", r.listed, want)
			}
			if b := s.Box(); b.Counts.Match != tt.match || b.Counts.Missing+b.Counts.Differs+b.Counts.Extra > 0 || b.Receipt == "" {
				t.Errorf("%+v, receipt %q", b.Counts, b.Receipt)
			}
			r.clear()
			counts := s.Box().Counts
			delta(t, s)
			if r.none(t); s.Box().Counts != counts {
				t.Errorf("%+v, before %+v", s.Box().Counts, counts)
			}
			cutOver(t, s)
			if b := s.Box(); b.Counts.Match != tt.match {
				t.Errorf("at last %+v", b.Counts)
			}
		})
	}
}

// A state that a side refuses, as Graph does with 410 and Exchange with ErrorInvalidSyncStateData, says nothing: the folder is
// listed, and the next pass has a new state to ask from.
func TestAStateThatIsRefused(t *testing.T) {
	t.Parallel()
	for _, side := range []string{"source", "target"} {
		t.Run(side, func(t *testing.T) {
			t.Parallel()
			s, r := synced(t)
			h := hooks(s, side)
			refused := 0
			h.Changes = func(_ mailbox.FolderID, since mailbox.SyncState, _ *mailbox.Changes) error {
				if since != "" {
					refused++
					return mailbox.ErrStartAgain
				}
				return nil
			}
			mailboxtest.Fill(t, s.Source, "inbox", 6, 7)
			delta(t, s)
			if b := s.Box(); b.Counts.Match != 12 || refused == 0 || r.listed["source drafts"] != 2 {
				t.Errorf("%+v, refused %d times, listed %v", b.Counts, refused, r.listed)
			}
			h.Changes = nil
			r.clear()
			delta(t, s)
			r.none(t)
		})
	}
}

// What a side says about changes decides only when an item comes: the last pass lists everything.
func TestASideThatForgetsToTellOfAChange(t *testing.T) {
	t.Parallel()
	for _, side := range []string{"source", "target"} {
		t.Run(side, func(t *testing.T) {
			t.Parallel()
			s, r := synced(t)
			never := func(_ mailbox.FolderID, _ mailbox.SyncState, page *mailbox.Changes) error { page.Items = 0; return nil }
			s.OnSource.Changes, s.OnTarget.Changes = never, never
			if side == "source" {
				mailboxtest.Fill(t, s.Source, "inbox", 6, 7)
			} else if err := s.Target.Delete(s.Arrived("inbox")[0].ID); err != nil {
				t.Fatal(err)
			}
			delta(t, s)
			r.none(t)
			cutOver(t, s)
			if got, want := len(s.Arrived("inbox")), map[string]int{"source": 7, "target": 6}[side]; got != want || s.Box().Counts.Missing > 0 {
				t.Errorf("%d items in the inbox, want %d; %+v", got, want, s.Box().Counts)
			}
		})
	}
}

// An item that was skipped is tried again by every pass, and one that differs is copied again: their folders are not in order.
func TestAFolderThatIsNotInOrderIsAlwaysListed(t *testing.T) {
	t.Parallel()
	s, r := synced(t)
	mailboxtest.Fill(t, s.Source, "inbox", 6, 7)
	count := s.OnSource.Export
	var bad mailbox.ItemID
	s.OnSource.Listed = func(it *mailbox.Item) {
		if bad == "" && it.MessageID == "<6@example.org>" {
			bad = it.ID
		}
	}
	s.OnSource.Export = func(id mailbox.ItemID) error {
		if id == bad {
			return &mailbox.ItemError{Reason: mailbox.Corrupt}
		}
		return count(id)
	}
	delta(t, s)
	if b := s.Box(); b.Counts.Skipped != 1 {
		t.Fatalf("%+v", b.Counts)
	}
	r.clear()
	delta(t, s)
	if r.listed["source inbox"] != 2 || r.listed["source drafts"] != 0 {
		t.Errorf("listed %v", r.listed)
	}
	s.OnSource.Export = count
	delta(t, s)
	if b := s.Box(); b.Counts.Skipped != 0 || b.Counts.Match != 12 {
		t.Errorf("once it can be read: %+v", b.Counts)
	}
}

// A file of states that is damaged or gone costs a pass that lists everything.
func TestADamagedFileOfStates(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func([]byte) []byte{
		"gone":    nil,
		"cut":     func(b []byte) []byte { return b[:len(b)/2] },
		"changed": func(b []byte) []byte { return bytes.Replace(b, []byte(`"inOrder":true`), []byte(`"inOrder":TRUE`), 1) },
		"flipped": func(b []byte) []byte { return bytes.Replace(b, []byte(`"match":6`), []byte(`"match":7`), 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := &blob.Memory{}
			s, r := synced(t, func(n *pipeline.Needs) { n.Manifests = files })
			b := s.Box()
			at := manifest.VerifiedName(b.ID, b.Pass, b.Plan().ID)
			good, err := blob.ReadAll(t.Context(), files, at, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if err := files.Delete(t.Context(), at); err != nil {
				t.Fatal(err)
			}
			if damage != nil {
				bad := damage(slices.Clone(good))
				if bytes.Equal(bad, good) {
					t.Fatal("nothing was damaged")
				}
				if err := files.Put(t.Context(), at, bytes.NewReader(bad)); err != nil {
					t.Fatal(err)
				}
			}
			delta(t, s)
			if r.listed["source inbox"] != 2 || r.listed["target drafts"] != 2 || s.Box().Counts != b.Counts {
				t.Errorf("listed %v, %+v", r.listed, s.Box().Counts)
			}
			r.clear()
			delta(t, s)
			r.none(t)
		})
	}
}

// A side that does not answer, for whatever reason and however long, is no reason to stop: its folders are listed.
func TestASideThatCannotSayWhatHasChanged(t *testing.T) {
	t.Parallel()
	for name, why := range map[string]error{"away": mailbox.ErrUnavailable, "no such folder": mailbox.ErrNoFolder,
		"refused": mailbox.ErrAccess, "something new": errors.New("status 418")} {
		for _, side := range []string{"source", "target"} {
			t.Run(name+" "+side, func(t *testing.T) {
				t.Parallel()
				s, r := synced(t)
				h := hooks(s, side)
				h.Changes = func(mailbox.FolderID, mailbox.SyncState, *mailbox.Changes) error { return why }
				mailboxtest.Fill(t, s.Source, "inbox", 6, 7)
				delta(t, s)
				if b := s.Box(); b.Counts.Match != 12 || r.listed["source drafts"] != 2 {
					t.Errorf("%+v, listed %v", b.Counts, r.listed)
				}
				h.Changes = nil
				r.clear()
				delta(t, s)
				if side == "target" && r.listed["source drafts"] > 0 {
					t.Errorf("the states are of use no more: %v", r.listed)
				}
				cutOver(t, s)
			})
		}
	}
}

// A side on which states cannot be had at all costs deltas that list everything.
func TestASideWithoutStates(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	s.OnTarget.Changes = func(mailbox.FolderID, mailbox.SyncState, *mailbox.Changes) error { return mailbox.ErrStartAgain }
	mailboxtest.Fill(t, s.Source, "inbox", 0, 6)
	s.Begin(submitter.Batch{Cutover: pipelinetest.Start.Add(72 * time.Hour)})
	s.Finish()
	mailboxtest.Fill(t, s.Source, "inbox", 6, 7)
	delta(t, s)
	if b := s.Box(); b.Counts.Match != 7 {
		t.Errorf("%+v", b.Counts)
	}
	cutOver(t, s)
}

// One that wants to be left alone is: nothing is taken for unchanged meanwhile.
func TestASideThatIsThrottledWhenAsked(t *testing.T) {
	t.Parallel()
	s, _ := synced(t)
	mailboxtest.Fill(t, s.Source, "inbox", 6, 7)
	free := s.Clock.Now().Add(10 * time.Minute)
	s.OnSource.Changes = func(mailbox.FolderID, mailbox.SyncState, *mailbox.Changes) error {
		if s.Clock.Now().Before(free) {
			return &mailbox.Throttled{Until: free, By: "test"}
		}
		return nil
	}
	delta(t, s)
	if b := s.Box(); b.Counts.Match != 12 || s.Clock.Now().Before(free) {
		t.Errorf("%+v at %s", b.Counts, s.Clock.Now())
	}
}

// The last pass has nobody to make states for.
func TestNoStatesAreMadeInVain(t *testing.T) {
	t.Parallel()
	s, _ := synced(t)
	made := 0
	count := func(_ mailbox.FolderID, since mailbox.SyncState, _ *mailbox.Changes) error {
		if since == "" {
			made++
		}
		return nil
	}
	s.OnSource.Changes, s.OnTarget.Changes = count, count
	cutOver(t, s)
	once := pipelinetest.Tell(t)
	mailboxtest.Fill(t, once.Source, "inbox", 0, 6)
	once.OnSource.Changes, once.OnTarget.Changes = count, count
	once.Begin()
	once.Finish()
	if made > 0 || once.Box().State != migration.Done {
		t.Errorf("%d states were made; %s", made, once.Box().State)
	}
}

// A verification that was broken off after it wrote how folders stand is made again.
func TestStatesThatAreThereAlready(t *testing.T) {
	t.Parallel()
	files := &blob.Memory{}
	s, _ := synced(t, func(n *pipeline.Needs) { n.Manifests = files })
	if _, err := s.Operator.Act(t.Context(), operator.Delta, s.Wave, ""); err != nil {
		t.Fatal(err)
	}
	l := s.Until(migration.VerifyQueue)
	b := s.Box()
	body, err := manifest.EncodeVerified(manifest.Verified{Mailbox: b.ID, Pass: b.Pass, Plan: b.Plan().ID})
	if err != nil {
		t.Fatal(err)
	}
	if err := files.Put(t.Context(), manifest.VerifiedName(b.ID, b.Pass, b.Plan().ID), bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	s.Hand(l)
	if b := s.Box(); b.State != migration.Synced || b.Counts.Match != 11 {
		t.Errorf("%s, %+v", b.State, b.Counts)
	}
	mailboxtest.Fill(t, s.Source, "inbox", 6, 7)
	delta(t, s)
	if b := s.Box(); b.Counts.Match != 12 {
		t.Errorf("%+v", b.Counts)
	}
}

// Folders are left out by a pass that compares as deeply as the one that found them in order, and not before all of the
// mailbox has a receipt.
func TestAPassThatIsToProveMore(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*pipelinetest.Story){
		"compares more":      func(s *pipelinetest.Story) { s.Verifier.Depth = verifier.Sample },
		"has no receipt yet": func(s *pipelinetest.Story) { s.Change(func(b *migration.Mailbox) { b.Receipt = "" }) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, r := synced(t)
			change(s)
			delta(t, s)
			if r.listed["source drafts"] != 1 || s.Box().Receipt == "" { // by the verifier
				t.Errorf("listed %v, receipt %q", r.listed, s.Box().Receipt)
			}
			r.clear()
			delta(t, s)
			r.none(t)
		})
	}
}

// What differs, and what is there in excess, is looked at by every pass.
func TestWhatIsWrongOnTheTargetIsReportedByEveryPass(t *testing.T) {
	t.Parallel()
	for name, wrong := range map[string]func(*testing.T, *pipelinetest.Story){
		"in excess": func(t *testing.T, s *pipelinetest.Story) {
			f, err := s.Target.Known("inbox")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Target.Copy(s.Arrived("inbox")[0].ID, f.ID); err != nil {
				t.Fatal(err)
			}
		},
		"different": func(_ *testing.T, s *pipelinetest.Story) {
			s.OnTarget.Listed = func(it *mailbox.Item) {
				if it.MessageID == "<3@example.org>" {
					it.Importance = 2 - it.Importance + 5
				}
			}
			mailboxtest.Fill(t, s.Source, "inbox", 6, 7)
		},
		"different in its content": func(t *testing.T, s *pipelinetest.Story) {
			s.OnTarget.Replace = func(context.Context, mailbox.Item, mailboxtest.Do) (mailbox.ItemID, error) {
				return "", &mailbox.ItemError{Reason: mailbox.Refused}
			}
			if _, err := s.Target.Edit(s.Arrived("inbox")[2].ID, mailboxtest.With(fts.TagBody, "Body X")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, r := synced(t)
			wrong(t, s)
			delta(t, s)
			before := s.Box()
			if before.Counts.Extra+before.Counts.Differs != 1 || before.Problem == "" {
				t.Fatalf("%+v, %q", before.Counts, before.Problem)
			}
			r.clear()
			delta(t, s)
			if b := s.Box(); b.Counts != before.Counts || b.Problem != before.Problem || r.listed["target inbox"] == 0 || r.listed["target drafts"] > 0 {
				t.Errorf("%+v, %q, listed %v", b.Counts, b.Problem, r.listed)
			}
		})
	}
}

// An item that comes while its folder is listed is not in that listing, and is found by the next pass.
func TestAnItemThatComesDuringTheListing(t *testing.T) {
	t.Parallel()
	s, _ := synced(t)
	mailboxtest.Fill(t, s.Source, "inbox", 6, 7) // so that the inbox is listed
	come := func() { mailboxtest.Fill(t, s.Source, "inbox", 7, 8) }
	during(s, 2, func() { // when it is verified
		once := sync.OnceFunc(come)
		s.OnSource.Listed = func(*mailbox.Item) { once() }
	})
	delta(t, s)
	if b := s.Box(); b.Counts.Source != 12 {
		t.Fatalf("the item did not come during the listing: %+v", b.Counts)
	}
	delta(t, s)
	if b := s.Box(); b.Counts.Match != 13 {
		t.Errorf("%+v", b.Counts)
	}
}

// during calls f once, before a folder of the source is listed for the n-th time from now.
func during(s *pipelinetest.Story, n int, f func()) {
	listings, list := 0, s.OnSource.List
	s.OnSource.List = func(of mailbox.FolderID) error {
		if listings++; listings == n {
			f()
		}
		return list(of)
	}
}

// What came after the plan is missing when it is verified, and its folder is looked at again although nothing more changes.
func TestAnItemThatComesAfterThePlan(t *testing.T) {
	t.Parallel()
	s, _ := synced(t)
	mailboxtest.Fill(t, s.Source, "inbox", 6, 7)
	if _, err := s.Operator.Act(t.Context(), operator.Delta, s.Wave, ""); err != nil {
		t.Fatal(err)
	}
	l := s.Until(migration.VerifyQueue)
	mailboxtest.Fill(t, s.Source, "inbox", 7, 8)
	s.Hand(l)
	s.Finish()
	if b := s.Box(); b.Counts.Match != 13 || b.Pass != 3 {
		t.Errorf("%+v after pass %d", b.Counts, b.Pass)
	}
}

// A full pass that has to be made again lists everything again: its receipt is about all of the mailbox.
func TestAFullPassLeavesNothingOut(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 6)
	mailboxtest.Fill(t, s.Source, "sentitems", 10, 13)
	s.OnSource.List = func(mailbox.FolderID) error { return nil }
	folders, err := (&mailboxtest.Memory{Mailbox: s.Source}).Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	during(s, len(folders)+1, func() { mailboxtest.Fill(t, s.Source, "inbox", 6, 7) })
	s.Begin(submitter.Batch{Cutover: pipelinetest.Start.Add(72 * time.Hour)})
	s.Finish()
	if b := s.Box(); b.State != migration.Synced || b.Pass != 2 || b.Kind != migration.FullPass || b.Counts.Match != 10 || b.Receipt == "" {
		t.Errorf("%s after the %s pass %d, %+v, receipt %q", b.State, b.Kind, b.Pass, b.Counts, b.Receipt)
	}
}

// A content that differs where listings agree is copied again by the next pass.
func TestAContentThatDiffersBeforeTheCutover(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 6)
	s.Begin(submitter.Batch{Cutover: pipelinetest.Start.Add(72 * time.Hour)})
	l := s.Until(migration.VerifyQueue)
	if _, err := s.Target.Edit(s.Arrived("inbox")[2].ID, mailboxtest.With(fts.TagBody, "Body X")); err != nil {
		t.Fatal(err)
	}
	s.Hand(l)
	s.Finish()
	if b := s.Box(); b.State != migration.Synced || b.Counts.Differs != 0 || b.Counts.Match != 6 || b.Pass != 2 {
		t.Errorf("%s after pass %d, %+v", b.State, b.Pass, b.Counts)
	}
}

// A verification that ends in failure leaves no receipt, whatever was proved before.
func TestADeltaThatFails(t *testing.T) {
	t.Parallel()
	s, _ := synced(t)
	mailboxtest.Fill(t, s.Source, "inbox", 6, 7)
	s.OnTarget.Import = func(context.Context, mailbox.Stream, mailboxtest.Do) (mailbox.ItemID, error) { return "lie", nil }
	if _, err := s.Operator.Act(t.Context(), operator.Delta, s.Wave, ""); err != nil {
		t.Fatal(err)
	}
	s.Finish()
	if b := s.Box(); b.State != migration.Failed || b.Receipt != "" {
		t.Errorf("%s, receipt %q", b.State, b.Receipt)
	}
}

// unstored takes no change of a row.
type unstored struct{ ledger.Table }

func (unstored) Replace(context.Context, ledger.Row) (ledger.Row, error) {
	return ledger.Row{}, errors.New("the store is away")
}

// A verification that found a folder in order may be broken off, and made again by one that compares more deeply. What that
// one names to the planner counts.
func TestWhatIsToBeCopiedAgainIsNotLeftOut(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 6)
	s.Begin(submitter.Batch{Cutover: pipelinetest.Start.Add(72 * time.Hour)})
	l := s.Until(migration.VerifyQueue)
	if _, err := s.Target.Edit(s.Arrived("inbox")[2].ID, mailboxtest.With(fts.TagBody, "Body X")); err != nil {
		t.Fatal(err)
	}
	shallow, away := *s.Verifier, *s.Ledger
	away.Mailboxes = unstored{away.Mailboxes}
	shallow.Depth, shallow.Ledger = verifier.Index, &away
	if err := shallow.Verify(t.Context(), l.Message); err == nil {
		t.Fatal("the first verification was not broken off")
	}
	s.Hand(l)
	s.Finish()
	if b := s.Box(); b.State != migration.Synced || b.Counts.Differs != 0 || b.Counts.Match != 6 || b.Pass != 2 {
		t.Errorf("%s after pass %d, %+v", b.State, b.Pass, b.Counts)
	}
}
