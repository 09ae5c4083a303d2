package copier_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/manifest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/outcome"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
)

// damage changes one byte in the middle of every row of a partition that begins with a prefix.
func damage(t *testing.T, table ledger.Table, partition, prefix string) {
	t.Helper()
	n := 0
	for r, err := range table.Rows(t.Context(), partition, prefix) {
		if err != nil {
			t.Fatal(err)
		}
		r.Body[len(r.Body)/2] ^= 1
		if _, err := table.Replace(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n == 0 {
		t.Fatalf("no row %s… of %s", prefix, partition)
	}
}

func partition(l bus.Letter) string {
	m := l.Message
	return string(m.Mailbox) + "-0001-" + string(m.Plan) + "-00000"
}

func replaceBlob(t *testing.T, s blob.Store, name string, change func([]byte) []byte) {
	t.Helper()
	body, err := blob.ReadAll(t.Context(), s, name, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), name, bytes.NewReader(change(body))); err != nil {
		t.Fatal(err)
	}
}

func flip(b []byte) []byte {
	b[len(b)/2] ^= 1
	return b
}

func reported(s *pipelinetest.Story, reason string) (n int) {
	for _, p := range s.Problems() {
		if p.Reason == reason {
			n++
		}
	}
	return n
}

func TestADamagedGroupIsLookedUpOnTheTarget(t *testing.T) {
	t.Parallel()
	s, l := story(t, 50)
	n := 0
	s.OnTarget.Import = one(func(_ context.Context, _ mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
		if n++; n == 31 {
			return "", mailbox.ErrUnavailable
		}
		return do()
	})
	s.Hand(l) // the first group is copied, the second waits
	s.OnTarget.Import = nil
	arrived := len(s.Arrived("inbox"))
	if arrived <= 20 || arrived >= 40 {
		t.Fatalf("%d items arrived", arrived)
	}
	damage(t, s.Ledger.Groups, partition(l), "")
	s.Finish()
	done(t, s, 50)
	if n := reported(s, "ledger row damaged"); n != 2 {
		t.Errorf("%d damaged rows reported, want 2: %+v", n, s.Problems())
	}
}

func TestADamagedGroupOfACopiedShardChangesNothing(t *testing.T) {
	t.Parallel()
	s, l := story(t, 50)
	corrupt := 0 // an item of the last group, skipped for a reason
	s.OnSource.Stream = func(_ mailbox.ItemID, r io.Reader) io.Reader {
		if corrupt++; corrupt == 45 {
			return io.LimitReader(r, 100)
		}
		return r
	}
	s.Hand(l)
	damage(t, s.Ledger.Groups, partition(l), "00000")
	s.OnSource.Stream = nil
	s.Finish()
	if b, want := s.Box(), (migration.Counts{Source: 50, Target: 49, Match: 49, Skipped: 1}); b.State != migration.Done || b.Counts != want || b.Pass != 1 {
		t.Errorf("mailbox %+v, want %+v in one pass", b, want)
	}
}

func TestADamagedManifestIsPlannedAnew(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func([]byte) []byte{
		"a bit":     flip,
		"cut short": func(b []byte) []byte { return b[:len(b)/2] },
		"empty":     func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, l := story(t, 50)
			m := l.Message
			n := 0
			s.OnTarget.Import = one(func(_ context.Context, _ mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
				if n++; n == 31 {
					return "", mailbox.ErrUnavailable
				}
				return do()
			})
			s.Hand(l)
			s.OnTarget.Import = nil
			replaceBlob(t, s.Manifests, manifest.Name(m.Mailbox, m.Pass, m.Plan, 0), change)
			s.Finish()
			done(t, s, 50)
			if b := s.Box(); b.Pass != 2 || reported(s, "manifest damaged") != 1 {
				t.Errorf("pass %d, problems %+v", b.Pass, s.Problems())
			}
		})
	}
}

// The worker that gives a plan up may be killed before it sends the plan message: the redelivery sends it.
func TestADamagedManifestAndAKilledWorker(t *testing.T) {
	t.Parallel()
	s, l := story(t, 5)
	m := l.Message
	replaceBlob(t, s.Manifests, manifest.Name(m.Mailbox, m.Pass, m.Plan, 0), flip)
	s.Hand(l)
	first := s.Next()          // lost with its sender
	s.Clock.Advance(time.Hour) // past the window of duplicate detection
	s.Hand(l)
	again := s.Next()
	if again.Message != first.Message || again.Queue != migration.PlanQueue || again.Message.Pass != 2 {
		t.Fatalf("sent %+v, then %+v", first, again)
	}
	s.Hand(again)
	s.Hand(first)
	s.Finish()
	done(t, s, 5)
}

// Storage that damages every manifest ends with a person, not in a circle.
func TestManifestsThatAreAlwaysDamaged(t *testing.T) {
	t.Parallel()
	s, l := story(t, 5)
	for range migration.MaxTries {
		m := l.Message
		replaceBlob(t, s.Manifests, manifest.Name(m.Mailbox, m.Pass, m.Plan, 0), flip)
		err := s.Copier.Copy(t.Context(), m)
		if b := s.Box(); b.Tries < migration.MaxTries-1 || err == nil {
			if err != nil {
				t.Fatal(err)
			}
			l = s.Until(migration.CopyQueue)
			continue
		}
		if !outcome.Cancelled(err) || !errors.Is(err, manifest.ErrDamaged) || !strings.Contains(err.Error(), "storage account") {
			t.Errorf("err = %v", err)
		}
		return
	}
	t.Error("nobody is asked")
}

// One changed bit of a staged item's content is not a malformed stream; its sum shows it.
func TestAChangedBitOfAStagedItem(t *testing.T) {
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
	replaceBlob(t, s.Staging, staged(t, s)[0], flip)
	s.OnTarget.Import = nil
	s.Finish()
	done(t, s, 1)
	if exports != 2 || len(staged(t, s)) != 0 {
		t.Errorf("%d exports, want another one; staging %q", exports, staged(t, s))
	}
}

// A mailbox whose row is damaged does not keep its addresses from being submitted again, and its wave can still be read.
func TestADamagedMailboxIsSubmittedAgain(t *testing.T) {
	t.Parallel()
	s, l := story(t, 50)
	n := 0
	s.OnTarget.Import = one(func(_ context.Context, _ mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
		if n++; n == 31 {
			return "", mailbox.ErrUnavailable
		}
		return do()
	})
	s.Hand(l)
	s.OnTarget.Import = nil
	damage(t, s.Ledger.Mailboxes, string(s.Wave), string(l.Message.Mailbox))
	for b, err := range s.Ledger.WaveMailboxes(t.Context(), s.Wave) {
		if err != nil || b.State != migration.Failed || !strings.Contains(b.Problem, "damaged") {
			t.Errorf("the wave lists %+v, err %v", b, err)
		}
	}
	s.Begin()
	s.Finish()
	done(t, s, 50)
}
