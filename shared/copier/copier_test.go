package copier_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/operator"
	"github.com/mailferry/mailferry/shared/outcome"
	"github.com/mailferry/mailferry/shared/pipeline"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
)

const doubt = 90 * time.Second // of a story's pipeline

// story has n letters in the source's inbox and the first copy message in hand.
func story(t *testing.T, n int, change ...func(*pipeline.Needs)) (*pipelinetest.Story, bus.Letter) {
	t.Helper()
	s := pipelinetest.Tell(t, change...)
	mailboxtest.Fill(t, s.Source, "inbox", 0, n)
	s.Begin()
	return s, s.Until(migration.CopyQueue)
}

// groups are the groups of the shard being copied.
func groups(t *testing.T, s *pipelinetest.Story, l bus.Letter) map[int]*ledger.Group {
	t.Helper()
	m := l.Message
	g, err := s.Ledger.GroupList(t.Context(), ledger.GroupsOf{Mailbox: m.Mailbox, Pass: m.Pass, Plan: m.Plan, Shard: m.Shard})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// done says that everything arrived once, and nothing else did.
func done(t *testing.T, s *pipelinetest.Story, items int) {
	t.Helper()
	b := s.Box()
	if want := (migration.Counts{Source: items, Target: items, Match: items}); b.State != migration.Done || b.Counts != want || b.Problem != "" {
		t.Errorf("state %s, counts %+v, want %+v, problem %q, problems %+v", b.State, b.Counts, want, b.Problem, s.Problems())
	}
}

func staged(t *testing.T, s *pipelinetest.Story) (names []string) {
	t.Helper()
	for n, err := range s.Staging.Names(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, n)
	}
	return names
}

func TestAShardIsCopied(t *testing.T) {
	t.Parallel()
	s, l := story(t, 50)
	if err := s.Copier.Copy(t.Context(), l.Message); err != nil {
		t.Fatal(err)
	}
	b := s.Box()
	if b.State != migration.Verifying || b.Shard != 1 || b.Copied != 50 || b.Progress != 0 || b.Bytes == 0 || b.Window.Bytes <= b.Bytes || !b.Window.Since.Equal(s.Clock.Now()) {
		t.Errorf("mailbox %+v", b)
	}
	g := groups(t, s, l)
	targets := map[mailbox.ItemID]bool{}
	for n := range 3 {
		if g[n] == nil || g[n].Phase != ledger.Copied || len(g[n].Items) != []int{20, 20, 10}[n] {
			t.Fatalf("group %d is %+v", n, g[n])
		}
		for _, it := range g[n].Items {
			if targets[it.Target] || it.Target == "" || it.Bytes == 0 || len(it.Digest) != 64 || it.Recipients != 3 || it.Replaced || it.Found {
				t.Errorf("group %d: item %+v", n, it)
			}
			targets[it.Target] = true
		}
	}
	if n := len(s.Arrived("inbox")); n != 50 || len(g) != 3 {
		t.Errorf("%d items arrived in %d groups", n, len(g))
	}
	next := s.Next()
	if next.Queue != migration.VerifyQueue || next.Message != (migration.Message{Wave: s.Wave, Mailbox: b.ID, Pass: 1, Plan: b.Plan().ID}) {
		t.Errorf("sent %+v", next)
	}
}

func TestAShardIsCopiedOnce(t *testing.T) {
	t.Parallel()
	s, l := story(t, 25)
	s.Hand(l)
	first := s.Next()
	s.OnTarget.Import = func(context.Context, mailbox.Stream, mailboxtest.Do) (mailbox.ItemID, error) {
		t.Error("an item is imported again")
		return "", mailbox.ErrQuota
	}
	for range 2 { // the message comes again: the verify message may not have been sent
		s.Clock.Advance(time.Hour)
		s.Hand(l)
		if next := s.Next(); next.Message != first.Message || next.Queue != migration.VerifyQueue {
			t.Errorf("sent %+v, want %+v", next, first)
		}
	}
	s.Hand(first)
	s.Hand(l) // after everything is over
	if n, _ := s.Waiting(); n != 0 || s.Box().Copied != 25 {
		t.Errorf("%d letters, mailbox %+v", n, s.Box())
	}
	done(t, s, 25)
}

func TestMessagesOfOtherStepsAreDropped(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*migration.Mailbox, *migration.Message){
		"paused":                  func(b *migration.Mailbox, _ *migration.Message) { b.State = migration.Paused },
		"failed":                  func(b *migration.Mailbox, _ *migration.Message) { b.State = migration.Failed },
		"cancelled":               func(b *migration.Mailbox, _ *migration.Message) { b.State = migration.Cancelled },
		"in another pass":         func(b *migration.Mailbox, _ *migration.Message) { b.Pass = 2 },
		"of another plan":         func(_ *migration.Mailbox, m *migration.Message) { m.Plan = "other" },
		"of a shard not yet due":  func(_ *migration.Mailbox, m *migration.Message) { m.Shard = 1 },
		"with the mailbox synced": func(b *migration.Mailbox, _ *migration.Message) { b.State = migration.Synced },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, l := story(t, 3)
			s.OnSource.Open = func(string) error { t.Error("the source is opened"); return nil }
			s.Change(func(b *migration.Mailbox) { change(b, &l.Message) })
			was := s.Box()
			if err := s.Copier.Copy(t.Context(), l.Message); err != nil {
				t.Fatal(err)
			}
			if n, _ := s.Waiting(); n != 0 || s.Box().State != was.State || len(groups(t, s, l)) != 0 {
				t.Errorf("%d letters, mailbox %+v", n, s.Box())
			}
		})
	}
}

func TestAMailboxThatTheLedgerDoesNotKnow(t *testing.T) {
	t.Parallel()
	s, l := story(t, 1)
	l.Message.Mailbox = "m1"
	if err := s.Copier.Copy(t.Context(), l.Message); !errors.Is(err, ledger.ErrNotFound) || outcome.Cancelled(err) {
		t.Errorf("err = %v, want one that parks the message", err)
	}
}

func TestFourItemsAreImportedAtOnce(t *testing.T) {
	t.Parallel()
	s, l := story(t, 40)
	var mu sync.Mutex
	waiting := make(chan struct{})
	busy, most, n := 0, 0, 0
	s.OnTarget.Import = func(_ context.Context, _ mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
		mu.Lock()
		busy++
		n++
		most = max(most, busy)
		mine := waiting
		if n%4 == 0 { // the fourth opens the gate
			close(waiting)
			waiting = make(chan struct{})
		}
		mu.Unlock()
		<-mine
		id, err := do()
		mu.Lock()
		busy--
		mu.Unlock()
		return id, err
	}
	if err := s.Copier.Copy(t.Context(), l.Message); err != nil {
		t.Fatal(err)
	}
	if most != 4 {
		t.Errorf("%d at once, want 4", most)
	}
}

// What is in memory at once is bounded over all mailboxes, and given back whatever becomes of an item.
func TestMemoryIsGivenBack(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t, func(n *pipeline.Needs) { n.Memory = mailbox.Large })
	inbox, _ := s.Source.Known("inbox")
	large := strings.Repeat("x", 1<<20) // twice that in the stream
	for n := range 24 {
		if _, err := s.Source.Add(inbox.ID, mailboxtest.Letter(t, n, mailboxtest.With(fts.TagBody, large))); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	s.OnSource.Stream = func(_ mailbox.ItemID, r io.Reader) io.Reader {
		if n++; n%3 == 0 {
			return io.LimitReader(r, 1<<20)
		}
		return r
	}
	var mu sync.Mutex
	imports := 0
	s.OnTarget.Import = func(_ context.Context, _ mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
		mu.Lock()
		imports++
		refuse := imports%3 == 0
		mu.Unlock()
		if refuse {
			return "", &mailbox.ItemError{Reason: mailbox.Refused}
		}
		return do()
	}
	s.Begin()
	s.Finish()
	b := s.Box()
	if b.State != migration.Done || b.Counts.Skipped == 0 || b.Counts.Skipped+b.Counts.Match != 24 {
		t.Errorf("mailbox %+v", b)
	}
	if !s.Copier.Memory.TryAcquire(mailbox.Large) {
		t.Error("some memory was not given back")
	}
}

func TestSkippedItems(t *testing.T) {
	t.Parallel()
	const which = "<7@example.org>"
	finding := func(why mailbox.Reason) error { return &mailbox.ItemError{Reason: why, Detail: "ErrorTest"} }
	for _, test := range []struct {
		name   string
		spoil  func(s *pipelinetest.Story, is func(mailbox.ItemID) bool)
		want   mailbox.Reason
		detail string
	}{
		{"corrupt at the source", func(s *pipelinetest.Story, is func(mailbox.ItemID) bool) {
			s.OnSource.Export = func(id mailbox.ItemID) error {
				if is(id) {
					return finding(mailbox.Corrupt)
				}
				return nil
			}
		}, mailbox.Corrupt, "ErrorTest"},
		{"a stream that is cut", func(s *pipelinetest.Story, is func(mailbox.ItemID) bool) {
			s.OnSource.Stream = func(id mailbox.ItemID, r io.Reader) io.Reader {
				if is(id) {
					return io.LimitReader(r, 400)
				}
				return r
			}
		}, mailbox.Corrupt, "fts: offset 400"},
		{"a stream with the server's mark of truncation", func(s *pipelinetest.Story, is func(mailbox.ItemID) bool) {
			s.OnSource.Stream = func(id mailbox.ItemID, r io.Reader) io.Reader {
				if is(id) {
					return io.MultiReader(io.LimitReader(r, 400), strings.NewReader("=== Truncated Data ==="))
				}
				return r
			}
		}, mailbox.Corrupt, "fts: offset"},
		{"refused by the target", func(s *pipelinetest.Story, _ func(mailbox.ItemID) bool) {
			s.OnTarget.Import = func(ctx context.Context, st mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
				r, _ := st.Open(ctx)
				if sum, err := fts.Summarize(r); err == nil && sum.MessageID == which {
					return "", finding(mailbox.Refused)
				}
				return do()
			}
		}, mailbox.Refused, "ErrorTest"},
		{"too large, as the listing says", func(s *pipelinetest.Story, _ func(mailbox.ItemID) bool) {
			s.OnSource.Listed = func(it *mailbox.Item) {
				if it.MessageID == which {
					it.Size = 200_000_000
				}
			}
		}, mailbox.TooBig, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := pipelinetest.Tell(t)
			items := mailboxtest.Fill(t, s.Source, "inbox", 0, 25)
			seventh := mailbox.ItemID(fmt.Sprint(items[7].ID))
			exports := 0
			test.spoil(s, func(id mailbox.ItemID) bool {
				if id == seventh {
					exports++
				}
				return id == seventh
			})
			s.Begin()
			s.Finish()
			b := s.Box()
			if want := (migration.Counts{Source: 25, Target: 24, Match: 24, Skipped: 1}); b.State != migration.Done || b.Counts != want || b.Copied != 24 || b.Pass != 1 {
				t.Errorf("mailbox %+v, want counts %+v in one pass", b, want)
			}
			p := s.Problems()
			if len(p) != 1 || p[0].Reason != string(test.want) || !strings.HasPrefix(p[0].Detail, test.detail) || p[0].Folder != "Inbox" || p[0].Class != "IPM.Note" || p[0].Received.IsZero() {
				t.Errorf("problems %+v, want one: %s, %s", p, test.want, test.detail)
			}
			if len(p) > 0 && strings.Contains(fmt.Sprint(p), "Letter") {
				t.Errorf("a problem holds content: %+v", p)
			}
		})
	}
}

// What goes away between listing and copy is no loss: the source does not have it any more.
func TestWhatIsGoneIsNotMissing(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	items := mailboxtest.Fill(t, s.Source, "inbox", 0, 10)
	s.Begin()
	l := s.Until(migration.CopyQueue)
	if err := s.Source.Delete(items[3].ID); err != nil {
		t.Fatal(err)
	}
	s.Hand(l)
	s.Finish()
	done(t, s, 9)
	if p := s.Problems(); len(p) != 1 || p[0].Reason != string(mailbox.Gone) {
		t.Errorf("problems %+v", p)
	}
}

// The outcomes of a delivery that does not get through.
func TestWhatEndsADelivery(t *testing.T) {
	t.Parallel()
	until := pipelinetest.Start.Add(200 * time.Second)
	failing := func(err error) func(*pipelinetest.Story) {
		return func(s *pipelinetest.Story) {
			s.OnTarget.Import = func(context.Context, mailbox.Stream, mailboxtest.Do) (mailbox.ItemID, error) { return "", err }
		}
	}
	exporting := func(err error) func(*pipelinetest.Story) {
		return func(s *pipelinetest.Story) { s.OnSource.Export = func(mailbox.ItemID) error { return err } }
	}
	for _, test := range []struct {
		name  string
		spoil func(*pipelinetest.Story)
		end   bool
		until time.Time
		stall int // counted as a delivery without progress
		says  string
		phase ledger.Phase
	}{
		{"the target is throttled", failing(&mailbox.Throttled{Until: until, By: "test"}), false, until, 0, "throttled by test", ledger.Waiting},
		{"the source is throttled", exporting(&mailbox.Throttled{Until: until, By: "test"}), false, until, 0, "throttled by test", ledger.Waiting},
		{"the target is away", failing(mailbox.ErrUnavailable), false, pipelinetest.Start.Add(10 * time.Second), 1, "temporarily unavailable", ledger.Waiting},
		{"the source is away", exporting(mailbox.ErrUnavailable), false, pipelinetest.Start.Add(10 * time.Second), 1, "temporarily unavailable", ledger.Waiting},
		{"an answer is lost", failing(mailbox.ErrUnknown), false, pipelinetest.Start.Add(doubt), 0, "the answer to an import was lost", ledger.Settling},
		{"an error that nobody knows", failing(errors.New("surprise")), false, pipelinetest.Start.Add(doubt), 0, "the answer to an import was lost", ledger.Settling},
		{"the target is full", failing(mailbox.ErrQuota), true, time.Time{}, 1, "mailbox is full", ledger.Waiting},
		{"the password is wrong", exporting(mailbox.ErrAccess), true, time.Time{}, 1, "access denied", ledger.Waiting},
		{"the target mailbox is gone", failing(mailbox.ErrNoMailbox), true, time.Time{}, 1, "no such mailbox", ledger.Waiting},
		{"the folder was deleted meanwhile", failing(mailbox.ErrNoFolder), true, time.Time{}, 1, "deleted meanwhile; retry the mailbox", ledger.Waiting},
		{"the source mailbox cannot be opened", func(s *pipelinetest.Story) { s.OnSource.Open = func(string) error { return mailbox.ErrNoMailbox } }, true, time.Time{}, 1, "open source mailbox: no such mailbox", ""},
		{"the target mailbox cannot be opened", func(s *pipelinetest.Story) { s.OnTarget.Open = func(string) error { return mailbox.ErrAccess } }, true, time.Time{}, 1, "open target mailbox: access denied", ""},
		{"the source mailbox is throttled", func(s *pipelinetest.Story) {
			s.OnSource.Open = func(string) error { return &mailbox.Throttled{Until: until, By: "test"} }
		}, false, until, 0, "throttled by test", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, l := story(t, 30)
			test.spoil(s)
			err := s.Copier.Copy(t.Context(), l.Message)
			at, snoozed := outcome.Snoozed(err)
			if err == nil || !strings.Contains(err.Error(), test.says) || outcome.Cancelled(err) != test.end || snoozed == test.end || !at.Equal(test.until) {
				t.Errorf("err = %v until %s, cancelled %t; want %q until %s", err, at, outcome.Cancelled(err), test.says, test.until)
			}
			b := s.Box()
			if b.State != migration.Copying || b.Stalls != test.stall || (b.Problem != "") != (test.stall > 0) {
				t.Errorf("mailbox %+v", b)
			}
			g := groups(t, s, l)
			if test.phase == "" && len(g) != 0 || test.phase != "" && (len(g) != 1 || g[0].Phase != test.phase) {
				t.Errorf("groups %+v, want one in phase %s", g, test.phase)
			}
			if n, _ := s.Waiting(); n != 0 {
				t.Errorf("%d letters were sent", n)
			}
		})
	}
}

func TestThrottlingIsNoFailure(t *testing.T) {
	t.Parallel()
	s, l := story(t, 30)
	var mu sync.Mutex
	imports := 0
	s.OnTarget.Import = func(_ context.Context, _ mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
		mu.Lock()
		imports++
		busy := imports%5 == 0
		mu.Unlock()
		if busy {
			return "", &mailbox.Throttled{Until: s.Clock.Now().Add(7 * time.Second), By: "test"}
		}
		return do()
	}
	s.Hand(l)
	next := s.Bus.Waiting(migration.CopyQueue)
	want := l.Message.Again()
	want.Version = migration.MessageVersion
	if len(next) != 1 || next[0].Message != want || !next[0].At.Equal(s.Clock.Now().Add(7*time.Second)) {
		t.Errorf("sent %+v", next)
	}
	s.Finish()
	done(t, s, 30)
	if s.Box().Copied != 30 {
		t.Errorf("copied %d", s.Box().Copied)
	}
}

func TestALostAnswerMakesNoDuplicate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		carried  func(n int) bool // whether the n-th import is carried out although its answer is lost
		lost     func(n int) bool
		messages int // how many different mails
	}{
		{"carried out", func(int) bool { return true }, func(n int) bool { return n == 6 }, 25},
		{"not carried out", func(int) bool { return false }, func(n int) bool { return n == 6 }, 25},
		{"all lost, all carried out", func(int) bool { return true }, func(n int) bool { return n <= 8 }, 25},
		{"every second", func(n int) bool { return n%2 == 0 }, func(n int) bool { return n%3 == 0 }, 25},
		{"identical mails, carried out", func(int) bool { return true }, func(n int) bool { return n <= 8 }, 3},
		{"identical mails, every second", func(n int) bool { return n%2 == 0 }, func(n int) bool { return n%3 == 0 }, 3},
		{"one mail over and over", func(n int) bool { return n%2 == 0 }, func(n int) bool { return n%2 == 0 || n%3 == 0 }, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := pipelinetest.Tell(t)
			for range 25 / test.messages {
				mailboxtest.Fill(t, s.Source, "inbox", 0, test.messages)
			}
			items := 25 / test.messages * test.messages
			mailboxtest.Fill(t, s.Target, "inbox", 100, 103)
			var mu sync.Mutex
			n := 0
			s.OnTarget.Import = func(_ context.Context, _ mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
				mu.Lock()
				defer mu.Unlock()
				n++
				if !test.lost(n) {
					return do()
				}
				if test.carried(n) {
					if _, err := do(); err != nil {
						return "", err
					}
				}
				return "", fmt.Errorf("connection reset: %w", mailbox.ErrUnknown)
			}
			s.Begin()
			s.Finish()
			b := s.Box()
			if want := (migration.Counts{Source: items, Target: items + 3, Match: items, Own: 3}); b.State != migration.Done || b.Counts != want || b.Pass != 1 {
				t.Errorf("mailbox %+v, want counts %+v in one pass; problems %+v", b, want, s.Problems())
			}
		})
	}
}

// Nothing of a group is imported again before a lost request can no longer be carried out.
func TestALateImportIsWaitedFor(t *testing.T) {
	t.Parallel()
	s, l := story(t, 5)
	var late []mailboxtest.Do
	s.OnTarget.Import = func(_ context.Context, _ mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
		if len(late) == 0 {
			late = append(late, do)
			return "", mailbox.ErrUnknown
		}
		return do()
	}
	s.OnTarget.Import = one(s.OnTarget.Import)
	s.Hand(l)
	_, wait := s.Waiting()
	if wait != doubt {
		t.Errorf("comes back after %s, want %s", wait, doubt)
	}
	s.Clock.Advance(wait - time.Second)
	if _, err := late[0](); err != nil { // at the last moment it is carried out
		t.Fatal(err)
	}
	l.Message = l.Message.Again()
	at, snoozed := outcome.Snoozed(s.Copier.Copy(t.Context(), l.Message)) // too early
	if want := pipelinetest.Start.Add(doubt); !snoozed || !at.Equal(want) {
		t.Errorf("a delivery that is too early: snoozed %t until %s, want %s", snoozed, at, want)
	}
	s.Finish()
	done(t, s, 5)
	found := 0
	for _, it := range groups(t, s, l)[0].Items {
		if it.Found {
			found++
		}
	}
	if found != 1 {
		t.Errorf("%d items were found, want 1", found)
	}
}

// one lets imports through one at a time.
func one(f func(context.Context, mailbox.Stream, mailboxtest.Do) (mailbox.ItemID, error)) func(context.Context, mailbox.Stream, mailboxtest.Do) (mailbox.ItemID, error) {
	var mu sync.Mutex
	return func(ctx context.Context, s mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
		mu.Lock()
		defer mu.Unlock()
		return f(ctx, s, do)
	}
}

// Service Bus may deliver a message to a second worker while the first still works.
func TestTwoWorkersOnOneShard(t *testing.T) {
	t.Parallel()
	for _, at := range []int{1, 5, 19, 20, 21, 44} {
		t.Run(fmt.Sprintf("at import %d", at), func(t *testing.T) {
			t.Parallel()
			s, l := story(t, 45)
			var second atomic.Bool // the second worker is at work
			n := 0
			first := one(func(_ context.Context, _ mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
				if n++; n == at {
					second.Store(true)
					s.Hand(l)
					second.Store(false)
				}
				return do()
			})
			s.OnTarget.Import = func(ctx context.Context, st mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
				if second.Load() {
					return do()
				}
				return first(ctx, st, do)
			}
			s.Hand(l)
			s.OnTarget.Import = nil
			s.Finish()
			done(t, s, 45)
			if s.Box().Copied != 45 {
				t.Errorf("copied %d", s.Box().Copied)
			}
		})
	}
}

// A worker that dies leaves its group importing; whoever comes next waits, looks, and goes on.
func TestAWorkerThatDies(t *testing.T) {
	t.Parallel()
	s, l := story(t, 45)
	n := 0
	dead := errors.New("killed")
	s.OnTarget.Import = one(func(_ context.Context, _ mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
		if n++; n > 27 {
			return "", dead
		}
		return do()
	})
	broken := *s.Copier
	tables := *s.Ledger
	broken.Ledger = &tables
	broken.Ledger.Groups = &dying{Table: tables.Groups, left: 3} // begins two groups, ends one
	if err := broken.Copy(t.Context(), l.Message); err == nil {
		t.Fatal("the worker did not die")
	}
	if g := groups(t, s, l); len(g) != 2 || g[0].Phase != ledger.Copied || g[1].Phase != ledger.Importing {
		t.Fatalf("groups %+v", g)
	}
	s.OnTarget.Import = nil
	s.Bus.Put(l)
	s.Finish()
	done(t, s, 45)
	if s.Box().Copied != 45 {
		t.Errorf("copied %d", s.Box().Copied)
	}
}

// dying is a table that takes only so many writes.
type dying struct {
	ledger.Table
	left int
}

func (d *dying) Insert(ctx context.Context, rows ...ledger.Row) error {
	if d.left--; d.left < 0 {
		return errors.New("dead")
	}
	return d.Table.Insert(ctx, rows...)
}

func (d *dying) Replace(ctx context.Context, r ledger.Row) (ledger.Row, error) {
	if d.left--; d.left < 0 {
		return r, errors.New("dead")
	}
	return d.Table.Replace(ctx, r)
}

func TestABudgetThatIsSpent(t *testing.T) {
	t.Parallel()
	s, l := story(t, 70, func(n *pipeline.Needs) { n.Budget = 100 * time.Second })
	s.OnTarget.Import = func(_ context.Context, _ mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
		s.Clock.Advance(4 * time.Second)
		return do()
	}
	err := s.Copier.Copy(t.Context(), l.Message) // a group takes 80 s
	at, snoozed := outcome.Snoozed(err)
	if !snoozed || !at.Equal(s.Clock.Now()) || !strings.Contains(err.Error(), "time is spent") {
		t.Fatalf("err = %v", err)
	}
	if b := s.Box(); b.Progress != 40 || b.Stalls != 0 || b.Problem != "" || len(s.Arrived("inbox")) != 40 {
		t.Errorf("mailbox %+v, %d arrived", b, len(s.Arrived("inbox")))
	}
	s.Bus.Put(bus.Letter{Queue: l.Queue, Message: l.Message.Again()})
	s.Finish()
	done(t, s, 70)
}

func TestTheUploadWindow(t *testing.T) {
	t.Parallel()
	s, l := story(t, 30)
	since := s.Clock.Now().Add(-2 * time.Minute)
	s.Change(func(b *migration.Mailbox) { b.Window = migration.Window{Since: since, Bytes: 144_990_000} })
	err := s.Copier.Copy(t.Context(), l.Message)
	at, snoozed := outcome.Snoozed(err)
	if !snoozed || !at.Equal(since.Add(5*time.Minute)) || !strings.Contains(err.Error(), "upload window is used up") {
		t.Fatalf("err = %v until %s", err, at)
	}
	b := s.Box()
	arrived := len(s.Arrived("inbox"))
	if arrived == 0 || arrived == 30 || b.Stalls != 0 || b.Problem != "" || b.Window.Bytes <= 144_990_000 || b.Window.Bytes > 145_000_000 || !b.Window.Since.Equal(since) {
		t.Errorf("%d arrived, mailbox %+v", arrived, b)
	}
	s.Bus.Put(bus.Letter{Queue: l.Queue, Message: l.Message.Again(), At: at})
	s.Finish()
	done(t, s, 30)
	if w := s.Box().Window; !w.Since.Equal(at) || w.Bytes >= 145_000_000 {
		t.Errorf("window %+v, want one from %s", w, at)
	}
}

// An item larger than what is left is taken alone in an empty window.
func TestAnEmptyWindowTakesAnyItem(t *testing.T) {
	t.Parallel()
	s, l := story(t, 1)
	s.Change(func(b *migration.Mailbox) {
		b.Window = migration.Window{Since: s.Clock.Now().Add(-5 * time.Minute), Bytes: 1_000_000_000}
	})
	if err := s.Copier.Copy(t.Context(), l.Message); err != nil {
		t.Fatal(err)
	}
}

func TestTheNextShardWaitsForItsWindow(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 5)
	s.OnSource.Listed = func(it *mailbox.Item) { it.Size = 30_000_000 } // three to a shard
	s.Begin()
	l := s.Until(migration.CopyQueue)
	if err := s.Copier.Copy(t.Context(), l.Message); err != nil {
		t.Fatal(err)
	}
	next := s.Bus.Waiting(migration.CopyQueue)
	if b := s.Box(); b.State != migration.Copying || b.Shard != 1 || b.Copied != 3 {
		t.Errorf("mailbox %+v", b)
	}
	if len(next) != 1 || next[0].Message.Shard != 1 || next[0].Message.Turn != 0 || !next[0].At.Equal(s.Clock.Now().Add(5*time.Minute)) {
		t.Fatalf("sent %+v", next)
	}
	if err := s.Copier.Copy(t.Context(), l.Message); err != nil { // the first shard's message again
		t.Fatal(err)
	}
	if again := s.Bus.Waiting(migration.CopyQueue); len(again) != 1 || len(s.Arrived("inbox")) != 3 {
		t.Errorf("sent %+v, %d arrived", again, len(s.Arrived("inbox")))
	}
	s.Hand(s.Next())
	if b := s.Box(); b.State != migration.Verifying || b.Copied != 5 || len(s.Arrived("inbox")) != 5 {
		t.Errorf("mailbox %+v", b)
	}
}

// large adds a letter of 9 MiB.
func large(t *testing.T, s *pipelinetest.Story) {
	t.Helper()
	inbox, _ := s.Source.Known("inbox")
	if _, err := s.Source.Add(inbox.ID, mailboxtest.Letter(t, 500, mailboxtest.With(fts.TagHTML, bytes.Repeat([]byte("large "), 3<<19)))); err != nil {
		t.Fatal(err)
	}
}

func TestALargeItemGoesThroughStaging(t *testing.T) {
	t.Parallel()
	for _, fault := range []error{mailbox.ErrUnavailable, mailbox.ErrUnknown, &mailbox.Throttled{Until: pipelinetest.Start.Add(time.Minute), By: "test"}} {
		t.Run(fault.Error(), func(t *testing.T) {
			t.Parallel()
			s := pipelinetest.Tell(t)
			mailboxtest.Fill(t, s.Source, "inbox", 0, 2)
			large(t, s)
			exports := map[mailbox.ItemID]int{}
			s.OnSource.Export = func(id mailbox.ItemID) error { exports[id]++; return nil }
			failures := 3
			s.OnTarget.Import = one(func(_ context.Context, st mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
				if st.Size < mailbox.Large {
					return do()
				}
				if n := staged(t, s); len(n) != 2 { // the item and its sum
					t.Errorf("during the import staging holds %q", n)
				}
				if failures--; failures >= 0 {
					return "", fault
				}
				return do()
			})
			s.Begin()
			l := s.Until(migration.CopyQueue)
			s.Hand(l)
			if n := staged(t, s); len(n) != 2 || strings.Contains(n[0], "@") {
				t.Errorf("after a failed import staging holds %q", n)
			}
			for range 3 {
				s.Hand(s.Until(migration.CopyQueue))
			}
			if len(exports) != 3 {
				t.Errorf("exports %v", exports)
			}
			for id, n := range exports {
				if n != 1 {
					t.Errorf("item %s was read %d times from the source", id, n)
				}
			}
			if n := staged(t, s); len(n) != 0 {
				t.Errorf("after the import staging holds %q", n)
			}
			s.Finish()
			done(t, s, 3)
		})
	}
}

func TestAnItemThatIsLargerThanItsListingGoesThroughStaging(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	inbox, _ := s.Source.Known("inbox")
	if _, err := s.Source.Add(inbox.ID, mailboxtest.Letter(t, 1, mailboxtest.With(fts.TagHTML, bytes.Repeat([]byte("x"), 100<<10)))); err != nil {
		t.Fatal(err)
	}
	planning := true
	s.OnSource.Listed = func(it *mailbox.Item) {
		if planning {
			it.Size = 1000
		}
	}
	s.Begin()
	l := s.Until(migration.CopyQueue)
	planning = false
	through := false
	s.OnTarget.Import = func(_ context.Context, _ mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
		through = len(staged(t, s)) == 2
		return do()
	}
	s.Hand(l)
	if !through {
		t.Error("it did not go through staging")
	}
	if n := staged(t, s); len(n) != 0 {
		t.Errorf("after the import staging holds %q", n)
	}
	s.Finish()
	done(t, s, 1)
}

func TestADamagedStagedItemIsReadAgain(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	large(t, s)
	exports := 0
	s.OnSource.Export = func(mailbox.ItemID) error { exports++; return nil }
	s.OnTarget.Import = func(context.Context, mailbox.Stream, mailboxtest.Do) (mailbox.ItemID, error) {
		return "", mailbox.ErrUnavailable
	}
	s.Begin()
	s.Hand(s.Until(migration.CopyQueue))
	name := staged(t, s)[0]
	if err := s.Staging.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := s.Staging.Put(t.Context(), name, strings.NewReader("half of it")); err != nil {
		t.Fatal(err)
	}
	if n := len(staged(t, s)); n != 2 {
		t.Errorf("%d blobs in staging, want the item and its sum", n)
	}
	s.OnTarget.Import = nil
	s.Finish()
	done(t, s, 1)
	if exports != 2 || len(staged(t, s)) != 0 {
		t.Errorf("%d exports, staging %q", exports, staged(t, s))
	}
}

func TestACorruptLargeItemIsSkippedAndNotKept(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	large(t, s)
	s.OnSource.Stream = func(_ mailbox.ItemID, r io.Reader) io.Reader { return io.LimitReader(r, 8<<20) }
	s.Begin()
	s.Finish()
	if b := s.Box(); b.State != migration.Done || b.Counts.Skipped != 1 || len(staged(t, s)) != 0 {
		t.Errorf("mailbox %+v, staging %q", b, staged(t, s))
	}
}

// A source that breaks off while it sends is no corrupt item.
func TestABrokenConnectionIsNoCorruptItem(t *testing.T) {
	t.Parallel()
	for _, big := range []bool{false, true} {
		s := pipelinetest.Tell(t)
		if big {
			large(t, s)
		}
		mailboxtest.Fill(t, s.Source, "inbox", 0, 10)
		breaks := 2
		s.OnSource.Stream = func(_ mailbox.ItemID, r io.Reader) io.Reader {
			if breaks--; breaks >= 0 {
				return io.MultiReader(io.LimitReader(r, 300), iotest.ErrReader(fmt.Errorf("connection reset: %w", mailbox.ErrUnavailable)))
			}
			return r
		}
		s.Begin()
		s.Finish()
		items := 10
		if big {
			items = 11
		}
		done(t, s, items)
		if len(s.Problems()) != 0 || len(staged(t, s)) != 0 {
			t.Errorf("problems %+v, staging %q", s.Problems(), staged(t, s))
		}
	}
}

// An item that breaks the source's connection each time is found and skipped, so that the others move.
func TestAnItemThatBreaksTheConnectionIsFound(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	items := mailboxtest.Fill(t, s.Source, "inbox", 0, 10)
	poison := mailbox.ItemID(fmt.Sprint(items[0].ID))
	s.OnSource.Export = func(id mailbox.ItemID) error {
		if id == poison {
			return fmt.Errorf("connection reset: %w", mailbox.ErrUnavailable)
		}
		return nil
	}
	s.Begin()
	s.Finish()
	b := s.Box()
	if want := (migration.Counts{Source: 10, Target: 9, Match: 9, Skipped: 1}); b.State != migration.Done || b.Counts != want {
		t.Errorf("mailbox %+v", b)
	}
	if p := s.Problems(); len(p) != 1 || p[0].Reason != string(mailbox.Corrupt) || !strings.Contains(p[0].Detail, "breaks off") {
		t.Errorf("problems %+v", p)
	}
}

func TestASourceThatStaysAwayAsksForAPerson(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 10)
	s.Begin()
	l := s.Until(migration.CopyQueue)
	s.OnSource.Export = func(mailbox.ItemID) error { return mailbox.ErrUnavailable }
	s.OnSource.Folders = func() error { return mailbox.ErrUnavailable }
	var waits []time.Duration
	for range 10 {
		was := s.Clock.Now()
		s.Hand(l)
		if n, wait := s.Waiting(); n > 0 {
			waits = append(waits, wait)
			l = s.Next()
		} else {
			_ = was
			break
		}
	}
	if b := s.Box(); b.State != migration.Failed || !strings.Contains(b.Problem, "no progress in 10 deliveries") {
		t.Errorf("mailbox %+v", b)
	}
	if len(waits) != 9 || !slices.IsSorted(waits) || waits[0] != 10*time.Second || waits[8] != 10*time.Minute {
		t.Errorf("waits %v, want nine that grow from 10 s to 10 min", waits)
	}
	if len(s.Arrived("inbox")) != 0 {
		t.Error("something arrived")
	}
}

// Any progress starts the count of stalls anew.
func TestProgressForgetsStalls(t *testing.T) {
	t.Parallel()
	s, l := story(t, 30)
	s.Change(func(b *migration.Mailbox) { b.Stalls = 2 })
	n := 0
	s.OnTarget.Import = one(func(_ context.Context, _ mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
		if n++; n == 10 {
			return "", mailbox.ErrUnavailable
		}
		return do()
	})
	if _, snoozed := outcome.Snoozed(s.Copier.Copy(t.Context(), l.Message)); !snoozed || s.Box().Stalls != 0 {
		t.Errorf("snoozed %t, stalls %d", snoozed, s.Box().Stalls)
	}
}

func TestADifferingItemIsReplaced(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]error{"replaced": nil, "answer lost": mailbox.ErrUnknown, "changed meanwhile": mailbox.ErrChanged} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := pipelinetest.Tell(t)
			mailboxtest.Fill(t, s.Source, "inbox", 0, 3)
			inbox, _ := s.Target.Known("inbox")
			if _, err := s.Target.Add(inbox.ID, mailboxtest.Letter(t, 1, mailboxtest.With(fts.TagSubject, "Old"))); err != nil {
				t.Fatal(err)
			}
			n := 0
			s.OnTarget.Replace = func(_ context.Context, _ mailbox.Item, do mailboxtest.Do) (mailbox.ItemID, error) {
				if n++; n > 1 || answer == nil {
					return do()
				}
				if answer == mailbox.ErrUnknown {
					if _, err := do(); err != nil {
						return "", err
					}
				}
				return "", answer
			}
			s.Begin()
			s.Finish()
			done(t, s, 3)
			if want := map[error]int{nil: 1, mailbox.ErrUnknown: 1, mailbox.ErrChanged: 2}[answer]; n != want || s.Box().Pass != want {
				t.Errorf("%d replacements in %d passes, want %d", n, s.Box().Pass, want)
			}
		})
	}
}

// A store that breaks off while the manifest is read is no damaged manifest: the mailbox goes on later.
func TestAManifestThatCannotBeReadNow(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection lost")
	var store *breaking
	s, l := story(t, 3, func(n *pipeline.Needs) { store = &breaking{Store: n.Manifests}; n.Manifests = store })
	store.err = broken
	if err := s.Copier.Copy(t.Context(), l.Message); !errors.Is(err, broken) || outcome.Cancelled(err) {
		t.Errorf("err = %v", err)
	}
	store.err = nil
	s.Bus.Put(l)
	s.Finish()
	done(t, s, 3)
}

type breaking struct {
	blob.Store
	err error
}

func (b *breaking) Open(ctx context.Context, name string, offset int64) (io.ReadCloser, int64, error) {
	r, size, err := b.Store.Open(ctx, name, offset)
	if err == nil && b.err != nil {
		r = io.NopCloser(io.MultiReader(io.LimitReader(r, size/2), iotest.ErrReader(b.err)))
	}
	return r, size, err
}

func TestALedgerThatNamesOtherItemsAsksForAPerson(t *testing.T) {
	t.Parallel()
	for name, items := range map[string][]ledger.GroupItem{"too few": make([]ledger.GroupItem, 2), "others": make([]ledger.GroupItem, 3)} {
		s, l := story(t, 3)
		m := l.Message
		g := &ledger.Group{Phase: ledger.Waiting, Items: items}
		if err := s.Ledger.BeginGroup(t.Context(), ledger.GroupsOf{Mailbox: m.Mailbox, Pass: m.Pass, Plan: m.Plan}, 0, g); err != nil {
			t.Fatal(err)
		}
		if err := s.Copier.Copy(t.Context(), m); !outcome.Cancelled(err) || !errors.Is(err, ledger.ErrCorrupt) {
			t.Errorf("%s: err = %v", name, err)
		}
	}
}

// A pause takes effect at the next group; nothing is lost or doubled by it.
func TestAPauseInTheMiddle(t *testing.T) {
	t.Parallel()
	s, l := story(t, 45)
	n := 0
	s.OnTarget.Import = one(func(_ context.Context, _ mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
		if n++; n == 5 {
			if _, err := s.Operator.Act(t.Context(), operator.Pause, s.Wave, ""); err != nil {
				t.Error(err)
			}
		}
		return do()
	})
	s.Hand(l)
	if b := s.Box(); b.State != migration.Paused || len(s.Arrived("inbox")) != 20 {
		t.Errorf("mailbox %+v, %d arrived", b, len(s.Arrived("inbox")))
	}
	s.Finish()
	if len(s.Arrived("inbox")) != 20 {
		t.Errorf("%d arrived during the pause", len(s.Arrived("inbox")))
	}
	if _, err := s.Operator.Act(t.Context(), operator.Resume, s.Wave, ""); err != nil {
		t.Fatal(err)
	}
	s.Finish()
	done(t, s, 45)
}

// A delivery that is broken off stores what it has: nothing is looked up without need.
func TestACancelledDelivery(t *testing.T) {
	t.Parallel()
	s, l := story(t, 45)
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	s.OnTarget.Import = one(func(_ context.Context, _ mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
		if n++; n == 5 {
			cancel()
		}
		return do()
	})
	if err := s.Copier.Copy(ctx, l.Message); err == nil {
		t.Error("no error")
	}
	s.OnTarget.Import = nil
	s.Bus.Put(l)
	s.Finish()
	done(t, s, 45)
}

// An answer that breaks off behind an item spoils neither the item nor the memory that it took.
func TestAnAnswerThatBreaksOffBehindAnItem(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t, func(n *pipeline.Needs) { n.Memory = mailbox.Large })
	mailboxtest.Fill(t, s.Source, "inbox", 0, 3)
	exports := 0
	s.OnSource.Export = func(mailbox.ItemID) error {
		if exports++; exports <= 3 { // until items are exported one by one
			return mailbox.ErrUnavailable
		}
		return nil
	}
	s.OnSource.After = func(mailbox.ItemID) error { return mailbox.ErrUnavailable }
	s.Begin()
	s.Finish()
	done(t, s, 3)
	if !s.Copier.Memory.TryAcquire(mailbox.Large) {
		t.Error("some memory was not given back")
	}
}
