package ews_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/ews"
	"github.com/mailferry/mailferry/shared/mailbox/ews/ewstest"
	"github.com/mailferry/mailferry/shared/mailbox/ews/login"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// site is a simulated on-premises Exchange with one mailbox.
type site struct {
	t      *testing.T
	clock  *clockwork.FakeClock
	server *ewstest.Server
	store  *exchangetest.Mailbox
}

func newSite(t *testing.T, o ewstest.Options) *site {
	t.Helper()
	s := &site{t: t, clock: clockwork.NewFakeClock()}
	o.Clock = s.clock
	s.server = ewstest.New(t, o)
	s.store = exchangetest.New("user@corp.test", exchangetest.Options{Clock: s.clock, SpillDir: t.TempDir(),
		Names: map[string]string{"inbox": "Posteingang", "calendar": "Kalender"}})
	s.server.AddMailbox(s.store)
	s.server.AddAlias("alias@corp.test", s.store)
	s.server.AddAccount("svc", "secret", "CORP", ewstest.MayImpersonateAll())
	return s
}

func (s *site) client(change ...func(*ews.Options)) *ews.Client {
	s.t.Helper()
	o := ews.Options{URL: s.server.URL(), Clock: s.clock, Accounts: []ews.Account{{User: "svc", Password: "secret", Domain: "CORP"}}}
	for _, f := range change {
		f(&o)
	}
	c, err := ews.New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *site) open(change ...func(*ews.Options)) *ews.Source {
	s.t.Helper()
	m, err := s.client(change...).Open(s.t.Context(), "user@corp.test")
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// tick lets the clock run as long as the test does.
func (s *site) tick() {
	ctx := s.t.Context()
	go func() {
		for s.clock.BlockUntilContext(ctx, 1) == nil {
			s.clock.Advance(time.Second)
		}
	}()
}

// add puts mails into a well-known folder, received a minute apart.
func (s *site) add(known string, n, size int) []exchangetest.Item {
	s.t.Helper()
	f, err := s.store.Known(known)
	if err != nil {
		s.t.Fatal(err)
	}
	var out []exchangetest.Item
	for i := range n {
		it, err := s.store.Add(f.ID, mail(s.t, fmt.Sprintf("%s %04d <&>", known, i), i, strings.Repeat("x", size)))
		if err != nil {
			s.t.Fatal(err)
		}
		out = append(out, it)
	}
	return out
}

func mail(t *testing.T, subject string, minute int, body string) mailbox.Stream {
	t.Helper()
	m := fts.Message{Properties: fts.Properties{
		fts.Prop(fts.TagImportance, int32(2)),
		fts.Prop(fts.TagMessageClass, "IPM.Note"),
		fts.Prop(fts.TagSubject, subject),
		fts.Prop(fts.TagClientSubmitTime, time.Date(2026, 11, 1, 0, minute, 0, 0, time.UTC)),
		fts.Prop(fts.TagSenderEmail, "sender@corp.test"),
		fts.Prop(fts.TagDeliveryTime, time.Date(2026, 11, 1, 0, minute, 5, 0, time.UTC)),
		fts.Prop(fts.TagMessageFlags, int32(mailbox.FlagRead)),
		fts.Prop(fts.TagBody, body),
		fts.Prop(fts.TagMessageID, "<"+subject+"@corp.test>"),
		{ID: 0x300B, Type: fts.Binary, Value: []byte(subject)},
	}}
	var b bytes.Buffer
	if err := fts.Write(&b, &m, fts.Version{Major: 15, Minor: 1, Build: 2507, Revision: 6}); err != nil {
		t.Fatal(err)
	}
	return exchangetest.Bytes(b.Bytes())
}

func contents(t *testing.T, s mailbox.Stream) []byte {
	t.Helper()
	r, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wellKnown(folders []mailbox.Folder, known string) mailbox.Folder {
	for _, f := range folders {
		if f.Known == known {
			return f
		}
	}
	return mailbox.Folder{}
}

// A mailbox is opened, listed and read to the last byte, by either way of signing in.
func TestReadAMailbox(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		o     ewstest.Options
		auth  login.Scheme
		short bool
	}{
		{"NTLM", ewstest.Options{Auth: []ewstest.Scheme{ewstest.NTLM}}, login.NTLM, false},
		{"NTLM inside Negotiate", ewstest.Options{Auth: []ewstest.Scheme{ewstest.Negotiate}}, login.NTLM, false},
		{"what Exchange offers by default, short pages", ewstest.Options{ShortPages: 7}, "", true},
		{"Basic", ewstest.Options{Auth: []ewstest.Scheme{ewstest.Basic}}, login.Basic, false},
		{"Basic beside NTLM, over TLS", ewstest.Options{TLS: true, Auth: []ewstest.Scheme{ewstest.NTLM, ewstest.Basic}}, login.Basic, false},
		{"NTLM over TLS", ewstest.Options{TLS: true}, login.NTLM, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, test.o)
			want := s.add("inbox", 45, 100)
			inbox, _ := s.store.Known("inbox")
			sub, err := s.store.CreateFolder(inbox.ID, "Projekte & mehr", "IPF.Note")
			if err != nil {
				t.Fatal(err)
			}
			m := s.open(func(o *ews.Options) {
				o.Auth = test.auth
				if c := s.server.Client().Transport; test.o.TLS {
					o.TLS = tlsOf(c)
				}
			})

			folders, err := m.Folders(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			known := wellKnown(folders, "inbox")
			if known.Name != "Posteingang" || known.Items != 45 || string(known.ID) != ewstest.FolderID(s.store, inbox.ID) {
				t.Errorf("inbox is %+v", known)
			}
			i := slices.IndexFunc(folders, func(f mailbox.Folder) bool { return f.Name == "Projekte & mehr" })
			if i < 0 || folders[i].Parent != known.ID || string(folders[i].ID) != ewstest.FolderID(s.store, sub.ID) || folders[i].Known != "" {
				t.Errorf("sub folder is not in %+v", folders)
			}
			for _, f := range folders {
				if slices.Contains([]string{"Sync Issues", "Conflicts", "Local Failures", "Finder", "Deletions"}, f.Name) {
					t.Errorf("%s is listed", f.Name)
				}
			}

			var ids []mailbox.ItemID
			for it, err := range m.Items(t.Context(), known.ID) {
				if err != nil {
					t.Fatal(err)
				}
				w := want[len(ids)]
				if p := w.Summary.Properties; it.Identity() != p.Identity() || it.Subject != p.Subject || it.Sender != p.Sender ||
					!it.Submitted.Equal(p.Submitted) || !it.Received.Equal(p.Received) || it.Flags != p.Flags || it.Importance != 2 || it.Size == 0 {
					t.Fatalf("item %d is\n%+v, want\n%+v", len(ids), it, p)
				}
				ids = append(ids, it.ID)
			}
			if len(ids) != len(want) {
				t.Fatalf("listed %d items, want %d", len(ids), len(want))
			}

			next := 0
			err = m.Export(t.Context(), ids, func(i int, r io.Reader, err error) error {
				if err != nil || i != next {
					return fmt.Errorf("item %d instead of %d: %w", i, next, err)
				}
				next++
				b, err := io.ReadAll(r)
				if w := contents(t, want[i].Stream); !bytes.Equal(b, w) {
					t.Errorf("item %d has %d bytes, want %d", i, len(b), len(w))
				}
				return err
			})
			if err != nil || next != len(ids) {
				t.Fatalf("exported %d of %d: %v", next, len(ids), err)
			}
			if n := s.server.Requests("ExportItems"); n != 3 {
				t.Errorf("%d export requests for 45 small items, want 3", n)
			}
		})
	}
}

func TestWhoMayOpenWhat(t *testing.T) {
	t.Parallel()
	s := newSite(t, ewstest.Options{})
	s.server.AddAccount("few", "secret", "CORP", ewstest.MayImpersonate("other@corp.test"))
	s.server.AddAccount("none", "secret", "CORP")
	for _, test := range []struct {
		name, user, password, address string
		want                          error
	}{
		{"the mailbox", "svc", "secret", "USER@corp.test", nil},
		{"an alias", "svc", "secret", "alias@corp.test", nil},
		{"an unknown mailbox", "svc", "secret", "nobody@corp.test", mailbox.ErrNoMailbox},
		{"a wrong password", "svc", "wrong", "user@corp.test", mailbox.ErrAccess},
		{"an unknown account", "who", "secret", "user@corp.test", mailbox.ErrAccess},
		{"outside the role's scope", "few", "secret", "user@corp.test", mailbox.ErrAccess},
		{"no right at all", "none", "secret", "user@corp.test", mailbox.ErrAccess},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := s.client(func(o *ews.Options) {
				o.Accounts = []ews.Account{{User: test.user, Password: login.Secret(test.password), Domain: "CORP"}}
			})
			_, err := c.Source(t.Context(), test.address)
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if err != nil && (strings.Contains(err.Error(), "@") || strings.Contains(err.Error(), test.user)) {
				t.Errorf("error names someone: %v", err)
			}
		})
	}
}

func TestManyRequestsAtOnceOverNTLM(t *testing.T) {
	t.Parallel()
	s := newSite(t, ewstest.Options{MaxConcurrency: 5})
	items := s.add("inbox", 60, 10_000)
	c := s.client(func(o *ews.Options) { o.MaxConcurrent = 5 })
	sources := make([]*ews.Source, 3)
	for i := range sources {
		m, err := c.Open(t.Context(), "user@corp.test")
		if err != nil {
			t.Fatal(err)
		}
		sources[i] = m
	}
	var wg sync.WaitGroup
	for i, it := range items {
		wg.Go(func() {
			id := mailbox.ItemID(ewstest.ItemID(s.store, it))
			err := sources[i%len(sources)].Export(t.Context(), []mailbox.ItemID{id}, func(_ int, r io.Reader, err error) error {
				if err != nil {
					return err
				}
				_, err = fts.Check(r)
				return err
			})
			if err != nil {
				t.Errorf("item %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if n := s.server.Refusals("svc"); n > 0 {
		t.Errorf("the server refused %d requests: more than 5 at once", n)
	}
}

func TestThrottledByTheServer(t *testing.T) {
	t.Parallel()
	s := newSite(t, ewstest.Options{})
	s.add("inbox", 1, 10)
	m := s.open()
	s.server.Busy("svc", time.Minute, 1)
	_, err := m.Folders(t.Context())
	var throttled *mailbox.Throttled
	if !errors.As(err, &throttled) || throttled.Until.Sub(s.clock.Now()) != time.Minute {
		t.Fatalf("got %v, want throttled for a minute", err)
	}
	refused := s.server.Refusals("svc")
	if _, err := m.Folders(t.Context()); !errors.As(err, &throttled) || s.server.Refusals("svc") != refused {
		t.Fatalf("got %v, with %d more refusals", err, s.server.Refusals("svc")-refused)
	}
	s.clock.Advance(time.Minute)
	if _, err := m.Folders(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.server.Busy("svc", 2*time.Second, 1) // within the client's patience the second request waits
	if _, err := m.Folders(t.Context()); !errors.As(err, &throttled) {
		t.Fatalf("got %v", err)
	}
	s.tick()
	if _, err := m.Folders(t.Context()); err != nil {
		t.Fatalf("a short back-off was not waited for: %v", err)
	}
	s.server.Unavailable(2)
	if _, err := m.Folders(t.Context()); err != nil {
		t.Fatalf("two answers of 503 were not retried: %v", err)
	}
}

// Each bad item is told as what it is, and the others are read.
func TestBadItems(t *testing.T) {
	t.Parallel()
	s := newSite(t, ewstest.Options{})
	items := s.add("inbox", 6, 50_000)
	m := s.open()
	var ids []mailbox.ItemID
	for _, it := range items {
		ids = append(ids, mailbox.ItemID(ewstest.ItemID(s.store, it)))
	}
	if err := s.store.Delete(items[1].ID); err != nil {
		t.Fatal(err)
	}
	s.server.CorruptItem(s.store, items[2].ID)
	s.server.Truncate(s.store, items[3].ID)
	s.server.Refuse(s.store, items[4].ID, "ErrorInternalServerError")
	var got []string
	err := m.Export(t.Context(), ids, func(i int, r io.Reader, err error) error {
		var item *mailbox.ItemError
		var format *fts.FormatError
		if err == nil {
			_, err = fts.Check(r)
		}
		switch {
		case errors.As(err, &item):
			got = append(got, string(item.Reason))
		case errors.As(err, &format):
			got = append(got, "not a stream")
		default:
			got = append(got, fmt.Sprint(err))
		}
		return nil
	})
	want := []string{"<nil>", "gone before copy", "corrupt at source", "not a stream", "corrupt at source", "<nil>"}
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("got %q, %v\nwant %q", got, err, want)
	}

	s.server.CutConnection(s.store, items[0].ID, 1)
	for _, want := range []error{mailbox.ErrUnavailable, nil} { // a lost connection passes
		err := m.Export(t.Context(), ids[:1], func(_ int, r io.Reader, err error) error {
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			return err
		})
		if !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
	}
	s.server.MoveMailbox(s.store, true)
	if _, err := m.Folders(t.Context()); !errors.Is(err, mailbox.ErrUnavailable) {
		t.Fatalf("while the mailbox moves: %v", err)
	}
}

func TestServerStopsABatch(t *testing.T) {
	t.Parallel()
	s := newSite(t, ewstest.Options{})
	items := s.add("inbox", 10, 100)
	m := s.open()
	s.server.BatchStopAfter(3)
	var ids []mailbox.ItemID
	for _, it := range items {
		ids = append(ids, mailbox.ItemID(ewstest.ItemID(s.store, it)))
		m.Expect(ids[len(ids)-1], it.Stream.Size)
	}
	n := 0
	err := m.Export(t.Context(), ids, func(i int, r io.Reader, err error) error {
		if err != nil || i != n {
			return fmt.Errorf("item %d instead of %d: %w", i, n, err)
		}
		n++
		_, err = fts.Check(r)
		return err
	})
	if err != nil || n != 10 || s.server.Requests("ExportItems") != 4 {
		t.Fatalf("%d items in %d requests, %v", n, s.server.Requests("ExportItems"), err)
	}
}

// Mail is deleted between two pages of a listing: nothing that stays is skipped, nothing is listed twice.
func TestListingOfAFolderInUse(t *testing.T) {
	t.Parallel()
	s := newSite(t, ewstest.Options{})
	items := s.add("inbox", 1100, 1)
	inbox, _ := s.store.Known("inbox")
	m := s.open()
	page := 0
	s.server.Before("FindItem", func(ewstest.Request) {
		if page++; page == 2 {
			for _, it := range items[100:150] {
				_ = s.store.Delete(it.ID)
			}
		}
	})
	seen := map[mailbox.ItemID]int{}
	for it, err := range m.Items(t.Context(), mailbox.FolderID(ewstest.FolderID(s.store, inbox.ID))) {
		if err != nil {
			t.Fatal(err)
		}
		seen[it.ID]++
	}
	for i, it := range items {
		if n := seen[mailbox.ItemID(ewstest.ItemID(s.store, it))]; n != 1 {
			t.Fatalf("item %d was listed %d times", i, n)
		}
	}
}

func TestFollowAFolder(t *testing.T) {
	t.Parallel()
	s := newSite(t, ewstest.Options{})
	items := s.add("inbox", 600, 1)
	inbox, _ := s.store.Known("inbox")
	f := mailbox.FolderID(ewstest.FolderID(s.store, inbox.ID))
	m := s.open()
	all := 0
	d, err := m.Changes(t.Context(), f, "")
	for pages := 0; ; pages++ {
		if err != nil || pages > 3 {
			t.Fatalf("page %d: %v", pages, err)
		}
		if all += d.Items; !d.More {
			break
		}
		d, err = m.Changes(t.Context(), f, d.State)
	}
	if all != 600 {
		t.Fatalf("the first pass has %d items, want 600", all)
	}
	s.add("inbox", 1, 1)
	if err := s.store.Delete(items[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.SetRead(items[1].ID, false); err != nil {
		t.Fatal(err)
	}
	if d, err = m.Changes(t.Context(), f, d.State); err != nil || d.More || d.Items != 3 {
		t.Fatalf("after an addition, a deletion and a reading: %+v, %v", d, err)
	}
	if _, err := m.Changes(t.Context(), f, "bm9uc2Vuc2U="); !errors.Is(err, mailbox.ErrStartAgain) {
		t.Fatalf("a state of nonsense: %v", err)
	}
	s.server.ForgetStates(s.store)
	if _, err := m.Changes(t.Context(), f, d.State); !errors.Is(err, mailbox.ErrStartAgain) {
		t.Fatalf("a state that Exchange has forgotten: %v", err)
	}
	if d, err = m.Changes(t.Context(), f, ""); err != nil || !d.More {
		t.Fatalf("from the start: %v", err)
	}
	if _, err = m.Changes(t.Context(), f, d.State); err != nil {
		t.Fatalf("with the state given then: %v", err)
	}
}

// An item of 150 MB, the largest that Exchange Online takes, goes through in constant memory. It does not run beside
// other tests, because all share the heap.
func TestLargeItemInConstantMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 200 MB over loopback")
	}
	s := newSite(t, ewstest.Options{})
	inbox, _ := s.store.Known("inbox")
	it, err := s.store.Add(inbox.ID, large(t, s.store, 150<<20))
	if err != nil {
		t.Fatal(err)
	}
	m := s.open()
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	var most, size int64
	err = m.Export(t.Context(), []mailbox.ItemID{mailbox.ItemID(ewstest.ItemID(s.store, it))}, func(_ int, r io.Reader, err error) error {
		buf := make([]byte, 64<<10)
		for chunks := 0; err == nil; chunks++ {
			var n int
			n, err = r.Read(buf)
			size += int64(n)
			if chunks%100 == 0 {
				runtime.ReadMemStats(&now)
				most = max(most, int64(now.HeapAlloc)-int64(before.HeapAlloc))
			}
		}
		if err == io.EOF {
			return nil
		}
		return err
	})
	if err != nil || size != it.Stream.Size {
		t.Fatalf("read %d of %d bytes: %v", size, it.Stream.Size, err)
	}
	if t.Logf("heap grew by %.1f MB", float64(most)/(1<<20)); most > 64<<20 {
		t.Errorf("heap grew by %d MB while reading %d MB", most>>20, size>>20)
	}
}

// large is kept on disk by the store, so that it does not count as the client's memory.
func large(t *testing.T, store *exchangetest.Mailbox, size int) mailbox.Stream {
	t.Helper()
	m := fts.Message{Properties: fts.Properties{fts.Prop(fts.TagMessageClass, "IPM.Note"), fts.Prop(fts.TagSubject, "large")},
		Attachments: []fts.Attachment{{Properties: fts.Properties{{ID: 0x3701, Type: fts.Binary, Value: make([]byte, size)}}}}}
	r, w := io.Pipe()
	go func() { w.CloseWithError(fts.Write(w, &m, fts.Version{Major: 15, Minor: 1, Build: 2507, Revision: 6})) }()
	kept, err := store.Keep(r)
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

func TestExportEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := newSite(t, ewstest.Options{})
	items := s.add("inbox", 2, 3_000_000)
	m := s.open()
	ctx, cancel := context.WithCancel(t.Context())
	var ids []mailbox.ItemID
	for _, it := range items {
		ids = append(ids, mailbox.ItemID(ewstest.ItemID(s.store, it)))
	}
	err := m.Export(ctx, ids, func(i int, r io.Reader, _ error) error {
		cancel()
		_, err := io.Copy(io.Discard, r)
		if !errors.Is(err, context.Canceled) || errors.Is(err, mailbox.ErrUnavailable) {
			t.Errorf("item %d: %v", i, err)
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}
