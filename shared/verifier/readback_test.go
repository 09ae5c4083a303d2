package verifier_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/manifest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/operator"
	"github.com/mailferry/mailferry/shared/pipeline"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
	"github.com/mailferry/mailferry/shared/receipt"
)

// reading counts how often each item of the target is read.
type reading struct {
	mu   sync.Mutex
	of   map[mailbox.ItemID]int
	then func(n int) error // after the n-th
	n    int
}

func read(s *pipelinetest.Story) *reading {
	r := &reading{of: map[mailbox.ItemID]int{}}
	s.OnTarget.Export = func(id mailbox.ItemID) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.n++
		if r.then != nil {
			if err := r.then(r.n); err != nil {
				return err
			}
		}
		r.of[id]++
		return nil
	}
	return r
}

// most is how often the item was read that was read most often, and how many were read.
func (r *reading) most() (most, items int) {
	for _, n := range r.of {
		most = max(most, n)
	}
	return most, len(r.of)
}

// again is a verification after the mailbox was verified: of another wave with the same mailbox, which has nothing to copy.
func again(t *testing.T, s *pipelinetest.Story) {
	t.Helper()
	s.Begin()
	s.Finish()
	if b := s.Box(); b.State != migration.Done || b.Problem != "" {
		t.Fatalf("%s, %q", b.State, b.Problem)
	}
}

func TestAContentIsReadOnce(t *testing.T) {
	t.Parallel()
	s, l := copied(t, 90)
	r := read(s)
	s.Hand(l)
	if most, items := r.most(); most != 1 || items != 90 {
		t.Fatalf("%d items, up to %d times", items, most)
	}
	first := proof(t, s)
	again(t, s)
	if most, items := r.most(); most != 1 || items != 90 {
		t.Errorf("%d items, up to %d times", items, most)
	}
	if b, second := s.Box(), proof(t, s); b.Counts.Match != 90 || second.Tree.Root != first.Tree.Root || second.Bytes != first.Bytes || first.Bytes == 0 {
		t.Errorf("%+v; %d bytes in tree %s, the first time %d in %s", b.Counts, second.Bytes, second.Tree.Root, first.Bytes, first.Tree.Root)
	}
}

// proof is the mailbox's receipt.
func proof(t *testing.T, s *pipelinetest.Story) receipt.Receipt {
	t.Helper()
	file, err := blob.ReadAll(t.Context(), s.Receipts, s.Box().Receipt+".json", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	r, err := receipt.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What was changed, or has no change key to tell by, is read again.
func TestAContentIsReadAgain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*testing.T, *pipelinetest.Story, *blob.Memory)
		items  int
		most   int
	}{
		{"an item was changed, and is copied again", func(t *testing.T, s *pipelinetest.Story, _ *blob.Memory) {
			edit(t, s, s.Arrived("inbox")[3], mailboxtest.With(fts.TagBody, "Body X"))
		}, 1, 2},
		{"by another release", func(_ *testing.T, s *pipelinetest.Story, _ *blob.Memory) { s.Verifier.Release = "later" }, 10, 1},
		{"the files are gone", func(t *testing.T, s *pipelinetest.Story, b *blob.Memory) { damage(t, s, b, nil) }, 10, 1},
		{"a file is damaged", func(t *testing.T, s *pipelinetest.Story, b *blob.Memory) {
			damage(t, s, b, func(text string) string { return strings.Replace(text, `"bytes":`, `"bytes":1`, 1) })
		}, 10, 1},
		{"a file is another mailbox's", func(t *testing.T, s *pipelinetest.Story, b *blob.Memory) {
			damage(t, s, b, func(text string) string {
				m, err := manifest.DecodeReadBacks(strings.NewReader(text))
				if err != nil {
					t.Fatal(err)
				}
				m.Mailbox = "m0"
				body, err := manifest.EncodeReadBacks(m)
				if err != nil {
					t.Fatal(err)
				}
				return string(body)
			})
		}, 10, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			files := &blob.Memory{}
			s, l := copied(t, 10, func(n *pipeline.Needs) { n.Manifests = files })
			s.Hand(l)
			tt.change(t, s, files)
			r := read(s)
			again(t, s)
			if most, items := r.most(); most != tt.most || items != tt.items {
				t.Errorf("%d items, up to %d times; want %d, %d", items, most, tt.items, tt.most)
			}
		})
	}
}

// A name that more than one release goes by says nothing about what a digest covers.
func TestAReleaseWithoutAName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"unknown", "(devel)", "v1.2.3+dirty"} {
		s, l := copied(t, 10, func(n *pipeline.Needs) { n.Release = name })
		r := read(s)
		s.Hand(l)
		again(t, s)
		if most, items := r.most(); most != 2 || items != 10 {
			t.Errorf("%q: %d items, up to %d times", name, items, most)
		}
	}
}

// damage changes the files of what was read back, or takes them away.
func damage(t *testing.T, s *pipelinetest.Story, files *blob.Memory, how func(string) string) {
	t.Helper()
	var names []string
	for name, err := range files.Names(t.Context(), manifest.ReadBacksOf(s.Box().ID)) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		t.Fatal("no file is there")
	}
	for _, name := range names {
		text, err := blob.ReadAll(t.Context(), files, name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if err := files.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if how == nil {
			continue
		}
		if err := files.Put(t.Context(), name, strings.NewReader(how(string(text)))); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnItemWithoutAChangeKeyIsAlwaysRead(t *testing.T) {
	t.Parallel()
	s, l := copied(t, 10)
	one := s.Arrived("inbox")[4].Summary.MessageID
	s.OnTarget.Listed = func(it *mailbox.Item) {
		if it.MessageID == one {
			it.Change = ""
		}
	}
	s.Hand(l)
	r := read(s)
	again(t, s)
	if _, items := r.most(); items != 1 {
		t.Errorf("%d items were read, want the one", items)
	}
}

// An item that could not be read may be readable the next time; the others are not read for its sake.
func TestWhatCouldNotBeReadIsReadAgain(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(s *pipelinetest.Story, bad func(mailbox.ItemID) bool){
		"refused": func(s *pipelinetest.Story, bad func(mailbox.ItemID) bool) {
			count := s.OnTarget.Export
			s.OnTarget.Export = func(id mailbox.ItemID) error {
				if bad(id) {
					return &mailbox.ItemError{Reason: mailbox.Corrupt}
				}
				return count(id)
			}
		},
		"malformed": func(s *pipelinetest.Story, bad func(mailbox.ItemID) bool) {
			s.OnTarget.Stream = func(id mailbox.ItemID, r io.Reader) io.Reader {
				if bad(id) {
					return io.LimitReader(r, 40)
				}
				return r
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, l := copied(t, 10)
			r := read(s)
			var mu sync.Mutex
			var spoilt mailbox.ItemID
			spoil(s, func(id mailbox.ItemID) bool {
				mu.Lock()
				defer mu.Unlock()
				if spoilt == "" {
					spoilt = id
				}
				return id == spoilt
			})
			s.OnTarget.Replace = func(_ context.Context, old mailbox.Item, _ mailboxtest.Do) (mailbox.ItemID, error) {
				return old.ID, nil
			}
			s.Hand(l)
			if b := s.Box(); b.Counts.Differs != 1 {
				t.Fatalf("%+v", b.Counts)
			}
			s.OnTarget.Stream = nil
			count := read(s)
			s.Finish()
			if b := s.Box(); b.State != migration.Done || b.Counts.Match != 10 || len(count.of) != 1 || count.of[spoilt] != 1 {
				t.Errorf("%s, %+v; read %v after %v", b.State, b.Counts, count.of, r.of)
			}
		})
	}
}

// A comparison that takes longer than one delivery may goes on where it was, and people are told how far it is.
func TestALongComparison(t *testing.T) {
	t.Parallel()
	s, l := copied(t, 500, func(n *pipeline.Needs) { n.Budget = time.Minute })
	r := read(s)
	r.then = func(int) error { s.Clock.Advance(time.Second); return nil }
	deliveries := 1
	s.Hand(l)
	if b := s.Box(); b.State != migration.Verifying || !strings.Contains(b.Wait.Why, "the content of 80 of 500 items is compared") {
		t.Fatalf("%s, %q", b.State, b.Wait.Why)
	}
	s.Around = func(_ bus.Letter, deliver func() error) error { deliveries++; return deliver() }
	s.Finish()
	most, items := r.most()
	if b := s.Box(); b.State != migration.Done || b.Counts.Match != 500 || most != 1 || items != 500 || deliveries != 7 {
		t.Errorf("%s after %d deliveries: %+v; %d items, up to %d times", b.State, deliveries, b.Counts, items, most)
	}
}

// slow is a bus to which a letter takes a while.
type slow struct {
	bus.Bus
	clock *clockwork.FakeClock
}

func (b slow) Send(ctx context.Context, letters ...bus.Letter) error {
	b.clock.Advance(time.Second)
	return b.Bus.Send(ctx, letters...)
}

// How far a long comparison is stands in the row, whatever the message to come back takes.
func TestALongComparisonIsTold(t *testing.T) {
	t.Parallel()
	s, l := copied(t, 200, func(n *pipeline.Needs) {
		n.Budget, n.Bus = time.Minute, slow{n.Bus, n.Clock.(*clockwork.FakeClock)}
	})
	read(s).then = func(int) error { s.Clock.Advance(time.Second); return nil }
	s.Hand(l)
	if b := s.Box(); !strings.Contains(b.Wait.Why, "80 of 200") || !b.Wait.Until.After(s.Clock.Now()) {
		t.Errorf("waits until %s: %q", b.Wait.Until, b.Wait.Why)
	}
}

// The deliveries of one verification ask for changes from where the one before them had come: a state is made once.
func TestALongComparisonMakesStatesOnce(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t, func(n *pipeline.Needs) { n.Budget = time.Minute })
	mailboxtest.Fill(t, s.Source, "inbox", 0, 300)
	var mu sync.Mutex
	made, asked := map[mailbox.FolderID]int{}, map[mailbox.FolderID]int{}
	s.OnTarget.Changes = func(f mailbox.FolderID, since mailbox.SyncState, _ *mailbox.Changes) error {
		mu.Lock()
		defer mu.Unlock()
		if asked[f]++; since == "" {
			made[f]++
		}
		return nil
	}
	read(s).then = func(int) error { s.Clock.Advance(time.Second); return nil }
	s.Begin(later)
	s.Finish()
	if b := s.Box(); b.State != migration.Synced || b.Counts.Match != 300 || b.Receipt == "" {
		t.Fatalf("%s, %+v, %q", b.State, b.Counts, b.Receipt)
	}
	for f, n := range asked {
		if made[f] != 1 || n != 4 { // by the deliveries of the comparison
			t.Errorf("folder %s was asked %d times, %d of them from the beginning", f, n, made[f])
		}
	}
	// A delta whose comparison is long leaves out the same folders in every delivery.
	mailboxtest.Fill(t, s.Source, "sentitems", 300, 310)
	for _, want := range []int{310, 510, 510} {
		if want == 510 && s.Box().Counts.Match == 310 {
			mailboxtest.Fill(t, s.Source, "inbox", 310, 510)
		}
		listed := map[mailbox.FolderID]int{}
		s.OnSource.List = func(f mailbox.FolderID) error { listed[f]++; return nil }
		if _, err := s.Operator.Act(t.Context(), operator.Delta, s.Wave, ""); err != nil {
			t.Fatal(err)
		}
		s.Finish()
		if b := s.Box(); b.State != migration.Synced || b.Counts.Match != want || b.Counts.Source != want || len(listed) > 1 {
			t.Errorf("%s, %+v, want %d; listed %v", b.State, b.Counts, want, listed)
		}
	}
}

// Where nothing is known of the source's contents, they are read once too: another wave knows nothing.
func TestALongComparisonOfBothSides(t *testing.T) {
	t.Parallel()
	s, l := copied(t, 500, func(n *pipeline.Needs) { n.Budget = time.Minute })
	s.Hand(l)
	s.Finish()
	var mu sync.Mutex
	from := map[mailbox.ItemID]int{}
	s.OnSource.Export = func(id mailbox.ItemID) error {
		mu.Lock()
		defer mu.Unlock()
		from[id]++
		s.Clock.Advance(time.Second)
		return nil
	}
	again(t, s)
	for id, n := range from {
		if n != 1 {
			t.Errorf("item %s was read %d times", id, n)
		}
	}
	if b := s.Box(); b.Counts.Match != 500 || len(from) != 500 {
		t.Errorf("%+v, %d items were read", b.Counts, len(from))
	}
}

// A comparison that cannot be kept, and takes longer than a delivery may, ends in front of a person.
func TestAComparisonThatLeadsNowhere(t *testing.T) {
	t.Parallel()
	s, l := copied(t, 200, func(n *pipeline.Needs) { n.Budget = time.Minute })
	s.OnTarget.Listed = func(it *mailbox.Item) { it.Change = "" }
	read(s).then = func(int) error { s.Clock.Advance(time.Second); return nil }
	s.Hand(l)
	s.Finish()
	if b := s.Box(); b.State != migration.Failed || !strings.Contains(b.Problem, "the content of 80 of 200 items is compared, and not more in 1m0s") {
		t.Errorf("%s, %q", b.State, b.Problem)
	}
}

// Failures that pass do not add up as long as the comparison gets on.
func TestFailuresOnTheWay(t *testing.T) {
	t.Parallel()
	s, l := copied(t, 1500)
	r := read(s)
	r.then = func(n int) error {
		if n%100 == 0 {
			return mailbox.ErrUnavailable
		}
		return nil
	}
	s.Hand(l)
	s.Finish()
	if b := s.Box(); b.State != migration.Done || b.Counts.Match != 1500 || r.n < 1500+15 {
		t.Errorf("%s, %+v, %q after %d readings", b.State, b.Counts, b.Problem, r.n)
	}
}

// broken is a stream whose connection ends.
type broken struct{ io.Reader }

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = fmt.Errorf("read answer: %w", mailbox.ErrUnavailable)
	}
	return n, err
}

// An item whose stream breaks in its middle was not read: nothing is said about it, and it is read again.
func TestAStreamThatBreaks(t *testing.T) {
	t.Parallel()
	s, l := copied(t, 100)
	r := read(s)
	var mu sync.Mutex
	n := 0
	s.OnTarget.Stream = func(_ mailbox.ItemID, r io.Reader) io.Reader {
		mu.Lock()
		defer mu.Unlock()
		if n++; n%30 == 0 {
			return broken{io.LimitReader(r, 200)}
		}
		return r
	}
	s.Hand(l)
	s.Finish()
	if b := s.Box(); b.State != migration.Done || b.Counts.Match != 100 || b.Pass != 1 || len(s.Problems()) > 0 || r.n <= 100 {
		t.Errorf("%s after pass %d, %+v, problems %+v, %d readings", b.State, b.Pass, b.Counts, s.Problems(), r.n)
	}
}

// A comparison that is broken off, by whatever, loses no more than what was under way.
func TestAComparisonThatIsBrokenOff(t *testing.T) {
	t.Parallel()
	for name, why := range map[string]error{"throttled": &mailbox.Throttled{Until: pipelinetest.Start.Add(24 * time.Hour), By: "test"},
		"unavailable": mailbox.ErrUnavailable} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, l := copied(t, 300)
			r := read(s)
			r.then = func(n int) error {
				if n%150 == 0 {
					return why
				}
				return nil
			}
			s.Hand(l)
			if _, items := r.most(); items < 80 || items > 200 {
				t.Fatalf("%d items were read", items)
			}
			s.Finish()
			all := 0
			for _, n := range r.of {
				all += n
			}
			if b := s.Box(); b.State != migration.Done || b.Counts.Match != 300 || len(r.of) != 300 || all > 300+2*80 {
				t.Errorf("%s: %+v; %d items, %d readings", b.State, b.Counts, len(r.of), all)
			}
		})
	}
}

// Nothing is lost of what was read when the store is away: the verification is made again.
func TestReadBacksThatCannotBeStored(t *testing.T) {
	t.Parallel()
	files := &once{Store: &blob.Memory{}}
	s, l := copied(t, 10, func(n *pipeline.Needs) { n.Manifests = files })
	files.fail = true
	if err := s.Verifier.Verify(t.Context(), l.Message); err == nil {
		t.Fatal("nobody was told")
	}
	s.Hand(l)
	if b := s.Box(); b.State != migration.Done || b.Counts.Match != 10 {
		t.Errorf("%s, %+v", b.State, b.Counts)
	}
}

// once is a store that fails to write once when asked to.
type once struct {
	blob.Store
	fail bool
}

func (s *once) Put(ctx context.Context, name string, r io.Reader) error {
	if s.fail {
		s.fail = false
		return errors.New("the store is away")
	}
	return s.Store.Put(ctx, name, r)
}

// What a process has read is stored while it works, each content once, also when it is told to stop.
func TestReadBacksAreStoredOnTheWay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		stop  int // after so many items; 0: not
		files int // at least
		items int // at least
	}{{"to the end", 0, 4, 300}, {"told to stop", 100, 1, 80}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			files := &blob.Memory{}
			s, l := copied(t, 300, func(n *pipeline.Needs) { n.Manifests = strict{files} })
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r := read(s)
			r.then = func(n int) error {
				if s.Clock.Advance(time.Second); n == tt.stop {
					cancel()
				}
				return ctx.Err()
			}
			if err := s.Verifier.Verify(ctx, l.Message); (err != nil) != (tt.stop > 0) {
				t.Fatal(err)
			}
			names, items, seen := 0, 0, map[manifest.ContentID]int{}
			for name, err := range files.Names(t.Context(), manifest.ReadBacksOf(s.Box().ID)) {
				if err != nil {
					t.Fatal(err)
				}
				body, _, err := files.Open(t.Context(), name, 0)
				if err != nil {
					t.Fatal(err)
				}
				f, err := manifest.DecodeReadBacks(body)
				if err != nil {
					t.Fatal(err)
				}
				names++
				for _, it := range f.Items {
					items++
					seen[it.Item]++
				}
			}
			if names < tt.files || items < tt.items || len(seen) != items {
				t.Errorf("%d files with %d contents of %d items", names, items, len(seen))
			}
		})
	}
}

// strict is a store that does nothing for a caller that was told to stop.
type strict struct{ blob.Store }

func (s strict) Put(ctx context.Context, name string, r io.Reader) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.Store.Put(ctx, name, r)
}
