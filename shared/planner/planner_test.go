package planner_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/manifest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/operator"
	"github.com/mailferry/mailferry/shared/outcome"
	"github.com/mailferry/mailferry/shared/pipeline"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
)

// planned begins the wave and plans its mailbox.
func planned(t *testing.T, s *pipelinetest.Story) bus.Letter {
	t.Helper()
	s.Begin()
	l := s.Next()
	if err := s.Planner.Plan(t.Context(), l.Message); err != nil {
		t.Fatal(err)
	}
	return l
}

// shards reads the manifests of the plan under way.
func shards(t *testing.T, s *pipelinetest.Story) []manifest.Manifest {
	t.Helper()
	b := s.Box()
	var out []manifest.Manifest
	for n := range b.Plan().Shards {
		r, _, err := s.Manifests.Open(t.Context(), manifest.Name(b.ID, b.Plan().Pass, b.Plan().ID, n), 0)
		if err != nil {
			t.Fatal(err)
		}
		m, err := manifest.Decode(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

// blobs counts what a store holds.
func blobs(t *testing.T, s blob.Store) int {
	t.Helper()
	n := 0
	for _, err := range s.Names(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

func TestAMailboxIsPlanned(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 30)
	mailboxtest.Fill(t, s.Source, "sentitems", 30, 35)
	planned(t, s)
	b := s.Box()
	if b.State != migration.Copying || b.Pass != 1 || b.Kind != migration.FullPass || b.Plan().Items != 35 || b.Plan().Shards != 1 || !b.Started.Equal(s.Clock.Now()) {
		t.Errorf("mailbox %+v", b)
	}
	m := shards(t, s)[0]
	if m.Mailbox != b.ID || m.Pass != 1 || m.Plan != b.Plan().ID || len(m.Items) != 35 || m.Bytes != b.Plan().Bytes || len(m.Folders) != 2 {
		t.Errorf("manifest %+v", m)
	}
	for f := range 2 {
		var keys []mailbox.Key
		for _, it := range m.Items {
			if it.Folder == f {
				keys = append(keys, it.Key)
			}
		}
		if !slices.IsSortedFunc(keys, mailbox.Key.Compare) {
			t.Errorf("folder %v is not sorted by key", m.Folders[f].Path)
		}
	}
	want := bus.Letter{Queue: migration.CopyQueue, Message: migration.Message{Wave: s.Wave, Mailbox: b.ID, Pass: 1, Plan: b.Plan().ID}}
	if got := s.Bus.Waiting(migration.CopyQueue); len(got) != 1 || got[0].Queue != want.Queue || got[0].Message != want.Message {
		t.Errorf("sent %+v, want %+v", got, want)
	}
}

func TestAMailboxIsPlannedOnce(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 3)
	l := planned(t, s)
	was := s.Box()
	first := s.Next()
	for range 3 { // the message comes again: the copy message may not have been sent
		s.Clock.Advance(time.Hour)
		if err := s.Planner.Plan(t.Context(), l.Message); err != nil {
			t.Fatal(err)
		}
		if next := s.Next(); next.Message != first.Message {
			t.Errorf("sent %+v, want %+v", next.Message, first.Message)
		}
	}
	if now := s.Box(); len(now.Plans) != 1 || now.State != was.State || blobs(t, s.Manifests) != 1 {
		t.Errorf("planned again: %+v", now)
	}
	s.Hand(first) // now it is over
	n, _ := s.Waiting()
	if err := s.Planner.Plan(t.Context(), l.Message); err != nil {
		t.Fatal(err)
	}
	if m, _ := s.Waiting(); m != n || s.Box().State != migration.Verifying {
		t.Errorf("a message about a pass that was copied sent %d letters", m-n)
	}
}

func TestAnEmptyMailboxIsVerifiedAtOnce(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	l := planned(t, s)
	for range 2 {
		next, b := s.Next(), s.Box()
		if next.Queue != migration.VerifyQueue || next.Message.Plan != b.Plan().ID || b.State != migration.Verifying {
			t.Errorf("sent %+v, mailbox %+v", next, b)
		}
		s.Clock.Advance(time.Hour)
		if err := s.Planner.Plan(t.Context(), l.Message); err != nil { // the same message again
			t.Fatal(err)
		}
	}
}

func TestMessagesOfOtherStepsAreDropped(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		box  func(*migration.Mailbox)
		pass int
	}{
		{"paused", func(b *migration.Mailbox) { b.State = migration.Paused }, 1},
		{"failed", func(b *migration.Mailbox) { b.State = migration.Failed }, 1},
		{"cancelled", func(b *migration.Mailbox) { b.State = migration.Cancelled }, 1},
		{"done", func(b *migration.Mailbox) { b.State, b.Pass = migration.Done, 1 }, 2},
		{"a pass too early", func(*migration.Mailbox) {}, 2},
		{"planned already, and about to plan the next pass", func(b *migration.Mailbox) {
			b.State, b.Pass, b.Plans = migration.Planning, 1, []migration.Plan{{ID: "p1", Pass: 1, Shards: 1}}
		}, 1},
		{"a pass too late", func(b *migration.Mailbox) { b.State, b.Pass = migration.Planning, 3 }, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := pipelinetest.Tell(t)
			mailboxtest.Fill(t, s.Source, "inbox", 0, 1)
			s.OnSource.Open = func(string) error { t.Error("the source is opened"); return nil }
			s.Begin()
			l := s.Next()
			s.Change(test.box)
			was := s.Box()
			l.Message.Pass = test.pass
			if err := s.Planner.Plan(t.Context(), l.Message); err != nil {
				t.Fatal(err)
			}
			now := s.Box()
			if n, _ := s.Waiting(); n != 0 || now.State != was.State || now.Pass != was.Pass || len(now.Plans) != len(was.Plans) {
				t.Errorf("%d letters, mailbox %+v", n, now)
			}
		})
	}
}

func TestAMailboxThatTheLedgerDoesNotKnow(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	err := s.Planner.Plan(t.Context(), migration.Message{Wave: "w1", Mailbox: "m1", Pass: 1})
	if !errors.Is(err, ledger.ErrNotFound) || outcome.Cancelled(err) {
		t.Errorf("err = %v, want one that parks the message", err)
	}
}

func TestWhatEndsAPlan(t *testing.T) {
	t.Parallel()
	until := pipelinetest.Start.Add(90 * time.Second)
	busy := &mailbox.Throttled{Until: until, By: "test"}
	open := func(address string, err error) func(s *pipelinetest.Story) {
		return func(s *pipelinetest.Story) {
			hook := func(a string) error {
				if a == address {
					return err
				}
				return nil
			}
			s.OnSource.Open, s.OnTarget.Open = hook, hook
		}
	}
	type wants int
	const (
		again wants = iota
		later
		never
	)
	for _, test := range []struct {
		name  string
		spoil func(s *pipelinetest.Story)
		want  wants
		says  string
	}{
		{"unknown source", open("ann@old.example", mailbox.ErrNoMailbox), never, "open source mailbox: no such mailbox"},
		{"unknown target", open("ann@new.example", mailbox.ErrNoMailbox), never, "open target mailbox: no such mailbox"},
		{"wrong password at the source", open("ann@old.example", mailbox.ErrAccess), never, "open source mailbox: access denied"},
		{"no permission on the target", open("ann@new.example", mailbox.ErrAccess), never, "open target mailbox: access denied"},
		{"source throttled", open("ann@old.example", fmt.Errorf("open: %w", busy)), later, "throttled by test"},
		{"target throttled while listing", func(s *pipelinetest.Story) { s.OnTarget.Folders = func() error { return busy } }, later, "throttled"},
		{"source away", open("ann@old.example", mailbox.ErrUnavailable), again, "temporarily unavailable"},
		{"source away while listing", func(s *pipelinetest.Story) {
			s.OnSource.List = func(mailbox.FolderID) error { return mailbox.ErrUnavailable }
		}, again, "list source folder: temporarily unavailable"},
		{"target away while listing", func(s *pipelinetest.Story) {
			s.OnTarget.List = func(mailbox.FolderID) error { return mailbox.ErrUnavailable }
		}, again, "list target folder"},
		{"no room for another folder", func(s *pipelinetest.Story) {
			s.OnTarget.Create = func(mailbox.Folder) error { return mailbox.ErrQuota }
		}, never, "make target folder: mailbox is full"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := pipelinetest.Tell(t)
			mailboxtest.Fill(t, s.Source, "inbox", 0, 3)
			inbox, _ := s.Source.Known("inbox")
			if _, err := s.Source.CreateFolder(inbox.ID, "New", "IPF.Note"); err != nil {
				t.Fatal(err)
			}
			test.spoil(s)
			s.Begin()
			err := s.Planner.Plan(t.Context(), s.Next().Message)
			at, snoozed := outcome.Snoozed(err)
			if err == nil || !strings.Contains(err.Error(), test.says) || snoozed != (test.want == later) || outcome.Cancelled(err) != (test.want == never) {
				t.Errorf("err = %v, snoozed %t, cancelled %t", err, snoozed, outcome.Cancelled(err))
			}
			if snoozed && !at.Equal(until) {
				t.Errorf("snoozed until %s, want %s", at, until)
			}
			if b := s.Box(); b.State != migration.Planning || len(b.Plans) != 0 || blobs(t, s.Manifests) != 0 {
				t.Errorf("mailbox %+v", b)
			}
		})
	}
}

func TestAPlanAfterAFailedOneIsWhole(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 3)
	failures := 2
	s.OnTarget.Folders = func() error {
		if failures--; failures >= 0 {
			return mailbox.ErrUnavailable
		}
		return nil
	}
	s.Begin()
	s.Finish()
	if b := s.Box(); b.State != migration.Done || len(b.Plans) != 1 || b.Pass != 1 || b.Counts.Match != 3 {
		t.Errorf("mailbox %+v", b)
	}
}

func TestOnlyWhatIsMissingOrDiffersIsPlanned(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 10)
	mailboxtest.Fill(t, s.Source, "inbox", 9, 10) // a copy of the last
	mailboxtest.Fill(t, s.Target, "inbox", 5, 10) // there before
	mailboxtest.Fill(t, s.Target, "inbox", 50, 60)
	inbox, _ := s.Target.Known("inbox")
	changed, err := s.Target.Add(inbox.ID, mailboxtest.Letter(t, 4, mailboxtest.With(fts.TagSubject, "Edited on the target")))
	if err != nil {
		t.Fatal(err)
	}
	planned(t, s)
	items := map[mailbox.Key]manifest.Item{}
	for _, it := range shards(t, s)[0].Items {
		items[it.Key] = it
	}
	key := func(n, ordinal int) mailbox.Key {
		return mailbox.Key{Identity: mailboxtest.Summary(t, t.Context(), mailboxtest.Letter(t, n)).Properties.Identity(), Ordinal: ordinal}
	}
	if len(items) != 6 {
		t.Errorf("%d items are planned, want 6", len(items))
	}
	for n := range 4 {
		if it, ok := items[key(n, 0)]; !ok || it.Before != 0 || it.Replace != "" {
			t.Errorf("letter %d is planned (%t) as %+v", n, ok, it)
		}
	}
	if it := items[key(9, 1)]; it.Before != 1 || it.Replace != "" {
		t.Errorf("the copy of letter 9 is planned as %+v, want one before", it)
	}
	if it := items[key(4, 0)]; it.Replace != mailbox.ItemID(fmt.Sprint(changed.ID)) || it.Change == "" || it.Before != 1 {
		t.Errorf("the letter that differs is planned as %+v", it)
	}
}

func TestWhatIsTooLargeIsKnownBeforeTheCopy(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 3)
	s.OnSource.Listed = func(it *mailbox.Item) {
		switch it.MessageID {
		case "<1@example.org>":
			it.Size = 112_499_616 // weighs 150,000,000 on the wire
		case "<2@example.org>":
			it.Size = 112_499_620
		}
	}
	planned(t, s)
	skipped := 0
	for _, m := range shards(t, s) {
		for _, it := range m.Items {
			if it.Skip != "" {
				skipped++
			}
			if (it.Skip == mailbox.TooBig) != (it.Size == 112_499_620) {
				t.Errorf("an item of %d bytes: %q", it.Size, it.Skip)
			}
		}
	}
	if skipped != 1 {
		t.Errorf("%d items are skipped", skipped)
	}
}

func TestWhatIsSkippedTakesNoWindow(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 5)
	s.OnSource.Listed = func(it *mailbox.Item) { it.Size = 200_000_000 }
	planned(t, s)
	if b := s.Box(); b.Plan().Shards != 1 || b.Plan().Items != 5 {
		t.Errorf("plan %+v, want one shard", b.Plan())
	}
}

func TestFoldersAreMadeWithNamesThatTheTargetTakes(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	root, _ := s.Source.Known("msgfolderroot")
	targetRoot, _ := s.Target.Known("msgfolderroot")
	if _, err := s.Target.CreateFolder(targetRoot.ID, "Team", "IPF.Appointment"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Team", "R&D: \"plans\"", "Reports_All"} {
		f, err := s.Source.CreateFolder(root.ID, name, "IPF.Note")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Source.CreateFolder(f.ID, "Below", "IPF.Note"); err != nil {
			t.Fatal(err)
		}
	}
	s.OnTarget.Create = func(f mailbox.Folder) error {
		if strings.Contains(f.Name, "Reports_All") && !strings.Contains(f.Name, "(") { // a target with a rule of its own
			return mailbox.ErrFolderName
		}
		return nil
	}
	l := planned(t, s)
	for pass := 1; pass <= 2; pass++ { // planning another pass makes nothing anew
		if pass == 2 {
			s.Change(func(b *migration.Mailbox) { b.State = migration.Planning })
			l.Message.Pass = 2
			if err := s.Planner.Plan(t.Context(), l.Message); err != nil {
				t.Fatal(err)
			}
		}
		var names []string
		for _, f := range s.Target.Folders(targetRoot.ID, true) {
			if f.Known == "" {
				names = append(names, f.Name+" "+f.Class)
			}
		}
		slices.Sort(names)
		want := []string{"Below IPF.Note", "Below IPF.Note", "Below IPF.Note", `R&D: "plans" IPF.Note`, "Reports_All (moved) IPF.Note", "Team (moved) IPF.Note", "Team IPF.Appointment"}
		if !slices.Equal(names, want) {
			t.Errorf("pass %d: folders %q, want %q", pass, names, want)
		}
		if n := len(s.Problems()); n != 2 {
			t.Errorf("pass %d: %d problems, want one per folder with another name: %+v", pass, n, s.Problems())
		}
	}
}

// Two folders of which the target takes only one name stay two.
func TestTwoFoldersStayTwo(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	root, _ := s.Source.Known("msgfolderroot")
	for _, name := range []string{`In\Out`, "In_Out"} {
		f, err := s.Source.CreateFolder(root.ID, name, "IPF.Note")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := s.Source.Add(f.ID, mailboxtest.Letter(t, 1)); err != nil { // the same item in both
				t.Fatal(err)
			}
		}
	}
	s.OnTarget.Create = func(f mailbox.Folder) error {
		if strings.Contains(f.Name, `\`) {
			return mailbox.ErrFolderName
		}
		return nil
	}
	s.Begin()
	s.Finish()
	if b := s.Box(); b.State != migration.Done || b.Counts != (migration.Counts{Source: 4, Target: 4, Match: 4}) || b.Problem != "" {
		t.Errorf("mailbox %+v", b)
	}
}

func TestShardsAreWhatOneWindowTakes(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 5)
	mailboxtest.Fill(t, s.Source, "sentitems", 5, 12)
	s.OnSource.Listed = func(it *mailbox.Item) { it.Size = 30_000_000 } // 40 MB on the wire: three fit into 140
	planned(t, s)
	total, seen := 0, map[mailbox.Key]bool{}
	for n, m := range shards(t, s) {
		var wire int64
		for _, it := range m.Items {
			wire += mailbox.WireSize(it.Size)
			if it.Folder >= len(m.Folders) || seen[it.Key] {
				t.Errorf("shard %d: item %+v of %d folders", n, it, len(m.Folders))
			}
			seen[it.Key] = true
		}
		if wire > 140_000_000 || len(m.Items) == 0 || m.Shard != n || m.Bytes != int64(len(m.Items))*30_000_000 {
			t.Errorf("shard %d: %d items, %d bytes on the wire", n, len(m.Items), wire)
		}
		total += len(m.Items)
	}
	if b := s.Box(); total != 12 || b.Plan().Shards != 4 || b.Plan().Bytes != 360_000_000 {
		t.Errorf("%d items in the plan %+v", total, b.Plan())
	}
}

func TestAnItemLargerThanAShardHasOneForItself(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 3)
	s.OnSource.Listed = func(it *mailbox.Item) { it.Size = 110_000_000 } // 146.7 MB on the wire: above a shard, below a window
	planned(t, s)
	if b := s.Box(); b.Plan().Shards != 3 || b.Plan().Items != 3 {
		t.Errorf("plan %+v, want three shards", b.Plan())
	}
}

// many is a source that lists n small items without there being any.
type many struct {
	mailbox.Source
	n int
}

func (m many) Folders(context.Context) ([]mailbox.Folder, error) {
	return []mailbox.Folder{{ID: "1", Name: "Inbox", Known: "inbox"}}, nil
}

func (m many) Items(context.Context, mailbox.FolderID) iter.Seq2[mailbox.Item, error] {
	return func(yield func(mailbox.Item, error) bool) {
		for i := range m.n {
			it := mailbox.Item{ID: mailbox.ItemID(fmt.Sprint(i)), Size: 100, Properties: mailbox.Properties{SearchKey: fmt.Append(nil, i/3)}}
			if !yield(it, nil) {
				return
			}
		}
	}
}

// opens is Sources that opens one mailbox for every address.
type opens struct{ m many }

func (o opens) Source(context.Context, string) (mailbox.Source, error) { return o.m, nil }

func TestAShardHoldsAtMost4000Items(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t, func(n *pipeline.Needs) { n.Sources = opens{many{n: 9_001}} })
	planned(t, s)
	var sizes []int
	for _, m := range shards(t, s) {
		sizes = append(sizes, len(m.Items))
	}
	if !slices.Equal(sizes, []int{4000, 4000, 1001}) {
		t.Errorf("shards of %v items", sizes)
	}
}

func TestAPlanIsNotCommittedWithoutItsManifests(t *testing.T) {
	t.Parallel()
	full := errors.New("storage is full")
	s := pipelinetest.Tell(t, func(n *pipeline.Needs) { n.Manifests = refusing{n.Manifests, full} })
	mailboxtest.Fill(t, s.Source, "inbox", 0, 3)
	s.Begin()
	if err := s.Planner.Plan(t.Context(), s.Next().Message); !errors.Is(err, full) {
		t.Errorf("err = %v", err)
	}
	if n, _ := s.Waiting(); n != 0 || len(s.Box().Plans) != 0 {
		t.Errorf("%d letters, mailbox %+v", n, s.Box())
	}
}

type refusing struct {
	blob.Store
	err error
}

func (r refusing) Put(context.Context, string, io.Reader) error { return r.err }

// Another worker that plans at the same time loses: its plan is never read.
func TestOfTwoPlannersOneWins(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 3)
	s.Begin()
	l := s.Next()
	s.OnTarget.Folders = func() error { // while the first lists, the second plans
		s.OnTarget.Folders = nil
		return s.Planner.Plan(t.Context(), l.Message)
	}
	if err := s.Planner.Plan(t.Context(), l.Message); err == nil {
		t.Log("the loser ends without an error")
	} else if outcome.Cancelled(err) {
		t.Errorf("the loser ends the mailbox: %v", err)
	}
	if b := s.Box(); len(b.Plans) != 1 || b.State != migration.Copying || len(s.Bus.Waiting(migration.CopyQueue)) != 1 {
		t.Errorf("mailbox %+v, letters %+v", b, s.Bus.Waiting(migration.CopyQueue))
	}
	s.Finish()
	if b := s.Box(); b.State != migration.Done || b.Counts.Match != 3 || b.Counts.Extra != 0 {
		t.Errorf("mailbox %+v", b)
	}
}

// A plan counts only for the mailbox as it was when the planner began.
func TestAMailboxThatWentOnWhileItWasPlanned(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		goesOn func(b *migration.Mailbox)
		listed int
		plans  int
	}{
		{"it was paused", func(b *migration.Mailbox) { b.State = migration.Paused }, 1, 0},
		{"a person sent it into a new pass", func(b *migration.Mailbox) { b.Pass++ }, 1, 0},
		{"a person took it back into work: another wave may have had it", func(b *migration.Mailbox) { b.Epoch++ }, 2, 1},
		{"it was planned and is to be again", func(b *migration.Mailbox) { b.Plans = append(b.Plans, migration.Plan{ID: "other", Pass: b.Pass}) }, 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := pipelinetest.Tell(t)
			mailboxtest.Fill(t, s.Source, "inbox", 0, 3)
			s.Begin()
			l := s.Next()
			listed := 0
			s.OnTarget.Folders = func() error {
				if listed++; listed == 1 {
					s.Change(tt.goesOn)
				}
				return nil
			}
			err := s.Planner.Plan(t.Context(), l.Message)
			if b := s.Box(); listed != tt.listed || len(b.Plans) != tt.plans || (b.State == migration.Copying) != (tt.listed == 2) {
				t.Errorf("listed %d times, %s, plans %+v, error %v", listed, b.State, b.Plans, err)
			}
		})
	}
}

func TestWhyAPassIsMade(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		from       migration.State
		kind, want migration.Kind
	}{
		{migration.Synced, migration.FullPass, migration.DeltaPass},
		{migration.Cutover, migration.DeltaPass, migration.CutoverPass},
		{migration.Verifying, migration.FullPass, migration.FullPass}, // once more, because items were missing
		{migration.Planning, migration.CutoverPass, migration.CutoverPass},
	} {
		s := pipelinetest.Tell(t)
		s.Begin()
		l := s.Next()
		s.Change(func(b *migration.Mailbox) { b.State, b.Kind, b.Pass = test.from, test.kind, 4 })
		l.Message.Pass = 5
		if err := s.Planner.Plan(t.Context(), l.Message); err != nil {
			t.Fatal(err)
		}
		if b := s.Box(); b.Kind != test.want || b.Pass != 5 {
			t.Errorf("from %s of a %s pass: pass %d is %s, want %s", test.from, test.kind, b.Pass, b.Kind, test.want)
		}
	}
}

// An earlier plan's worker may still be importing, in this wave or another: its groups are taken over and waited for
// before the target is listed.
func TestAnEarlierPlansWorkersAreWaitedFor(t *testing.T) {
	t.Parallel()
	for _, another := range []bool{false, true} {
		t.Run(fmt.Sprintf("another wave %t", another), func(t *testing.T) {
			t.Parallel()
			s := pipelinetest.Tell(t)
			mailboxtest.Fill(t, s.Source, "inbox", 0, 3)
			planned(t, s)
			b := s.Box()
			of := ledger.GroupsOf{Mailbox: b.ID, Pass: 1, Plan: b.Plan().ID}
			group := &ledger.Group{Phase: ledger.Importing, Owner: "a worker", Since: s.Clock.Now(), Items: make([]ledger.GroupItem, 3)}
			if err := s.Ledger.BeginGroup(t.Context(), of, 0, group); err != nil {
				t.Fatal(err)
			}
			next := migration.Message{Wave: s.Wave, Mailbox: b.ID, Pass: 2}
			if another {
				if _, err := s.Operator.Act(t.Context(), operator.Cancel, s.Wave, b.ID); err != nil {
					t.Fatal(err)
				}
				s.Begin()
				next.Wave, next.Pass = s.Wave, 1
			} else {
				s.Change(func(b *migration.Mailbox) { b.State = migration.Planning })
			}
			s.OnTarget.Folders = func() error { t.Error("the target is listed"); return nil }
			for _, wait := range []time.Duration{0, 60 * time.Second} {
				s.Clock.Advance(wait)
				at, snoozed := outcome.Snoozed(s.Planner.Plan(t.Context(), next))
				if want := pipelinetest.Start.Add(90 * time.Second); !snoozed || !at.Equal(want) {
					t.Errorf("snoozed %t until %s, want %s", snoozed, at, want)
				}
			}
			if err := s.Ledger.HoldsGroup(t.Context(), group); !errors.Is(err, ledger.ErrConflict) {
				t.Errorf("the worker still has its group: %v", err)
			}
			s.OnTarget.Folders = nil
			s.Clock.Advance(30 * time.Second)
			if err := s.Planner.Plan(t.Context(), next); err != nil {
				t.Fatal(err)
			}
			if b := s.Box(); b.State != migration.Copying || b.Pass != next.Pass {
				t.Errorf("mailbox %+v", b)
			}
		})
	}
}

// A folder that the target takes under no name costs what is in it and below it, and nothing else.
func TestAFolderThatIsRefusedUnderEveryName(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 3)
	root, _ := s.Source.Known("msgfolderroot")
	bad, err := s.Source.CreateFolder(root.ID, "Bad", "IPF.Note")
	if err != nil {
		t.Fatal(err)
	}
	below, err := s.Source.CreateFolder(bad.ID, "Below", "IPF.Note")
	if err != nil {
		t.Fatal(err)
	}
	for n, id := range []uint64{bad.ID, below.ID} {
		if _, err := s.Source.Add(id, mailboxtest.Letter(t, 10+n)); err != nil {
			t.Fatal(err)
		}
	}
	s.OnTarget.Create = func(f mailbox.Folder) error {
		if strings.Contains(f.Name, "Below") {
			t.Errorf("a folder is made below one that is refused: %+v", f)
		}
		return mailbox.ErrFolderName
	}
	s.Begin()
	s.Finish()
	b := s.Box()
	if b.State != migration.Failed || b.Counts.Match != 3 || b.Counts.Missing != 2 || len(s.Arrived("inbox")) != 3 {
		t.Errorf("mailbox %+v", b)
	}
	named := false
	for _, p := range s.Problems() {
		named = named || p.Reason == "folder refused" && p.Folder == "Bad"
	}
	if !named {
		t.Errorf("the report does not name the folder: %+v", s.Problems())
	}
	s.OnTarget.Create = nil
	if _, err := s.Operator.Act(t.Context(), operator.Retry, s.Wave, ""); err != nil {
		t.Fatal(err)
	}
	s.Finish()
	if b := s.Box(); b.State != migration.Done || b.Counts.Match != 5 {
		t.Errorf("after the retry %+v", b)
	}
}

// Another wave may have found the mailbox failed in the moment in which it was retried. One of the two goes on.
func TestOfTwoWavesOnePlans(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 3)
	s.Begin()
	l := s.Next()
	if err := s.Planner.Plan(t.Context(), l.Message); err != nil {
		t.Fatal(err)
	}
	other := s.Box()
	other.Wave, other.Submitted = "w-other", s.Clock.Now()
	s.Change(func(b *migration.Mailbox) { b.State = migration.Failed })
	err := errors.Join(s.Ledger.AddMailboxes(t.Context(), []migration.Mailbox{other}), s.Ledger.Claim(t.Context(), other, s.Clock.Now()))
	if err != nil {
		t.Fatal(err)
	}
	s.Change(func(b *migration.Mailbox) { b.State = migration.Planning })
	err = s.Planner.Plan(t.Context(), migration.Message{Wave: s.Wave, Mailbox: other.ID, Pass: 2})
	if !outcome.Cancelled(err) || !strings.Contains(err.Error(), "w-other") {
		t.Errorf("error %v, want that the other wave has it", err)
	}
}

// A planner that was held up between the ledger's two rows may write the older plan as the last one when it wakes.
func TestAnEarlierPlanIsFoundWithoutTheNoteOfIt(t *testing.T) {
	t.Parallel()
	for _, another := range []bool{false, true} {
		t.Run(fmt.Sprintf("another wave %t", another), func(t *testing.T) {
			t.Parallel()
			s := pipelinetest.Tell(t)
			mailboxtest.Fill(t, s.Source, "inbox", 0, 3)
			planned(t, s)
			first := s.Box()
			s.Change(func(b *migration.Mailbox) { b.State = migration.Planning })
			if err := s.Planner.Plan(t.Context(), migration.Message{Wave: s.Wave, Mailbox: first.ID, Pass: 2}); err != nil {
				t.Fatal(err)
			}
			if err := s.Ledger.SetLastPlan(t.Context(), first); err != nil {
				t.Fatal(err)
			}
			b := s.Box()
			of := ledger.GroupsOf{Mailbox: b.ID, Pass: 2, Plan: b.Plan().ID}
			group := &ledger.Group{Phase: ledger.Importing, Owner: "a worker", Since: s.Clock.Now(), Items: make([]ledger.GroupItem, 3)}
			if err := s.Ledger.BeginGroup(t.Context(), of, 0, group); err != nil {
				t.Fatal(err)
			}
			next := migration.Message{Wave: s.Wave, Mailbox: first.ID, Pass: 3}
			if another {
				if _, err := s.Operator.Act(t.Context(), operator.Cancel, s.Wave, first.ID); err != nil {
					t.Fatal(err)
				}
				s.Begin()
				next.Wave, next.Pass = s.Wave, 1
			} else {
				s.Change(func(b *migration.Mailbox) { b.State = migration.Planning })
			}
			if _, snoozed := outcome.Snoozed(s.Planner.Plan(t.Context(), next)); !snoozed {
				t.Error("planned while an import may still be carried out")
			}
			if err := s.Ledger.HoldsGroup(t.Context(), group); !errors.Is(err, ledger.ErrConflict) {
				t.Errorf("the worker still has its group: %v", err)
			}
		})
	}
}

// A damaged note of the last plan costs a look at every wave, and no mailbox.
func TestADamagedNoteOfTheLastPlan(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 3)
	strangers := func() {
		for _, w := range []migration.WaveID{"a", "z"} { // of which this mailbox is none, before and after its own
			if err := s.Ledger.AddWave(t.Context(), migration.Wave{ID: w}); err != nil {
				t.Fatal(err)
			}
		}
	}
	planned(t, s)
	strangers()
	b := s.Box()
	of := ledger.GroupsOf{Mailbox: b.ID, Pass: 1, Plan: b.Plan().ID}
	group := &ledger.Group{Phase: ledger.Importing, Owner: "a worker", Since: s.Clock.Now(), Items: make([]ledger.GroupItem, 3)}
	note, err := s.Ledger.Groups.Row(t.Context(), string(b.ID), "last-plan")
	if err != nil {
		t.Fatal(err)
	}
	note.Body = []byte(`{"sum":"","row":{}}`)
	if _, err = s.Ledger.Groups.Replace(t.Context(), note); err != nil {
		t.Fatal(err)
	}
	_, err = s.Operator.Act(t.Context(), operator.Cancel, s.Wave, b.ID)
	if err = errors.Join(err, s.Ledger.BeginGroup(t.Context(), of, 0, group)); err != nil {
		t.Fatal(err)
	}
	s.Begin()
	first := migration.Message{Wave: s.Wave, Mailbox: b.ID, Pass: 1}
	if _, snoozed := outcome.Snoozed(s.Planner.Plan(t.Context(), first)); !snoozed {
		t.Error("planned while an import may still be carried out")
	}
	s.Clock.Advance(90 * time.Second)
	if err := s.Planner.Plan(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if last, err := s.Ledger.LastPlan(t.Context(), b.ID); err != nil || last.Wave != s.Wave {
		t.Errorf("noted %+v, err %v", last, err)
	}
}
