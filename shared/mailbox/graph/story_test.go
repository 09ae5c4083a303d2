package graph_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/graph"
	"github.com/mailferry/mailferry/shared/mailbox/graph/graphtest"
)

// world is a simulated Exchange Online with one mailbox, and the mailbox opened through the client.
type world struct {
	t      *testing.T
	clock  *hasty
	server *graphtest.Server
	store  *exchangetest.Mailbox
	client *graph.Client
	m      *graph.Mailbox
}

// signed takes its tokens from the simulator.
type signed struct{ s *graphtest.Server }

func (c signed) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: c.s.Token()}, nil
}

func newWorld(t *testing.T, o graphtest.Options, e exchangetest.Options) *world {
	t.Helper()
	w := &world{t: t, clock: newHasty()}
	o.Clock, e.Clock, e.SpillDir = w.clock.FakeClock, w.clock.FakeClock, t.TempDir()
	w.server = graphtest.New(t, o)
	w.store = exchangetest.New("megan@contoso.example", e)
	w.server.AddMailbox(w.store)
	var err error
	w.client, err = graph.New(graph.Options{BaseURL: w.server.URL(), Credential: signed{w.server}, Clock: w.clock, PageSize: 7})
	if err != nil {
		t.Fatal(err)
	}
	if w.m, err = w.client.Open(t.Context(), "Megan@contoso.example"); err != nil {
		t.Fatal(err)
	}
	return w
}

// folder is a well-known folder as the client lists it.
func (w *world) folder(known string) mailbox.Folder {
	w.t.Helper()
	all, err := w.m.Folders(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(f mailbox.Folder) bool { return f.Known == known })
	if i < 0 {
		w.t.Fatalf("no %s in %+v", known, all)
	}
	return all[i]
}

func (w *world) items(f mailbox.FolderID) []mailbox.Item {
	w.t.Helper()
	var all []mailbox.Item
	for i, err := range w.m.Items(w.t.Context(), f) {
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, i)
	}
	return all
}

func mail(subject string, size int) mailbox.Stream {
	m := fts.Message{Properties: fts.Properties{
		{ID: 0x001A, Type: fts.Unicode, Value: "IPM.Note"},
		{ID: 0x0037, Type: fts.Unicode, Value: subject},
		{ID: 0x0E06, Type: fts.Time, Value: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)},
		{ID: 0x0E07, Type: fts.Int32, Value: int32(1)},
		{ID: 0x1000, Type: fts.Unicode, Value: strings.Repeat("x", size)},
		{ID: 0x1035, Type: fts.Unicode, Value: "<" + subject + "@contoso.example>"},
		{ID: 0x300B, Type: fts.Binary, Value: []byte(subject)},
	}}
	var b bytes.Buffer
	if err := fts.Write(&b, &m, fts.Version{Major: 15, Minor: 20, Build: 4566, Revision: 6022}); err != nil {
		panic(err)
	}
	return exchangetest.Bytes(b.Bytes())
}

func bytesOf(t *testing.T, s mailbox.Stream) []byte {
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

// TestMoveIntoAMailbox is the whole way: find the mailbox, make a folder, import, list back, export the same bytes.
func TestMoveIntoAMailbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{ImportStatus: 201, SessionStatus: 201}, exchangetest.Options{})
	inbox := w.folder("inbox")
	project, err := w.m.CreateFolder(t.Context(), mailbox.Folder{Parent: inbox.ID, Name: "Project | 1 %20", Class: "IPF.Note"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.m.CreateFolder(t.Context(), mailbox.Folder{Parent: inbox.ID, Name: "PROJECT | 1 %20", Class: "IPF.Note"})
	if err != nil || again.ID != project.ID {
		t.Errorf("made twice: %+v, %v; want %s", again, err, project.ID)
	}
	sent := map[mailbox.ItemID][]byte{}
	for i := range 30 {
		s := mail(fmt.Sprintf("mail %02d", i), 100*i)
		id, err := w.m.Import(t.Context(), project.ID, s)
		if err != nil {
			t.Fatal(err)
		}
		sent[id] = bytesOf(t, s)
		w.clock.Advance(time.Second)
	}
	var ids []mailbox.ItemID
	for _, item := range w.items(project.ID) {
		ids = append(ids, item.ID)
		if item.Class != "IPM.Note" || !strings.HasPrefix(item.Subject, "mail ") || item.Flags != 1 || item.Change == "" ||
			item.MessageID != "<"+item.Subject+"@contoso.example>" || string(item.SearchKey) != item.Subject ||
			!item.Received.Equal(time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)) || item.Size == 0 {
			t.Errorf("listed %+v", item)
		}
	}
	if len(ids) != 30 {
		t.Fatalf("%d items listed, want 30", len(ids))
	}
	n := 0
	err = w.m.Export(t.Context(), ids, func(i int, r io.Reader, err error) error {
		if err != nil {
			return err
		}
		b, err := io.ReadAll(r)
		if !bytes.Equal(b, sent[ids[i]]) {
			t.Errorf("item %d: exported %d bytes, imported %d", i, len(b), len(sent[ids[i]]))
		}
		n++
		return err
	})
	if err != nil || n != 30 {
		t.Errorf("%d exported, error %v", n, err)
	}
	if c := w.server.Count(w.store, graphtest.ExportItems); c.Requests != 2 {
		t.Errorf("%d requests to export 30 items, want 2", c.Requests)
	}
	if c := w.server.Count(w.store, graphtest.CreateSession); c.Requests != 1 || w.server.Unbound() != 0 {
		t.Errorf("%d sessions, %d imports without cookie", c.Requests, w.server.Unbound())
	}
}

func TestFolderTree(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{}, exchangetest.Options{Names: map[string]string{"inbox": "Posteingang"}})
	parent := w.folder("inbox")
	for depth := range 12 {
		f, err := w.m.CreateFolder(t.Context(), mailbox.Folder{Parent: parent.ID, Name: fmt.Sprint("level ", depth), Class: "IPF.Note"})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 9 {
			if _, err := w.m.CreateFolder(t.Context(), mailbox.Folder{Parent: f.ID, Name: fmt.Sprint("side ", i), Class: "IPF.Appointment"}); err != nil {
				t.Fatal(err)
			}
		}
		parent = f
	}
	top, err := w.m.CreateFolder(t.Context(), mailbox.Folder{Parent: w.folder("inbox").Parent, Name: "Top", Class: "IPF.Task"})
	if err != nil {
		t.Fatal(err)
	}
	all, err := w.m.Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[mailbox.FolderID]bool{w.folder("inbox").Parent: true}
	own := 0
	for _, f := range all {
		if !seen[f.Parent] || seen[f.ID] {
			t.Errorf("%s comes before its parent, or twice", f.Name)
		}
		seen[f.ID] = true
		if f.Known == "" {
			own++
		}
		if f.Known == "searchfolders" || f.Known == "syncissues" || f.Known == "conflicts" || f.Name == "" || f.Class == "" {
			t.Errorf("listed %+v", f)
		}
	}
	if own != 12*10+1 || !seen[top.ID] || w.folder("inbox").Name != "Posteingang" {
		t.Errorf("%d own folders, want 121", own)
	}
	if _, err := w.m.CreateFolder(t.Context(), mailbox.Folder{Parent: "AAMkgone", Name: "x", Class: "IPF.Note"}); only(err) != mailbox.ErrNoFolder {
		t.Errorf("below a folder that is not there: %v", err)
	}
	if _, err := w.m.CreateFolder(t.Context(), mailbox.Folder{Name: strings.Repeat("x", 256), Class: "IPF.Note"}); only(err) != mailbox.ErrFolderName {
		t.Errorf("with a name too long: %v", err)
	}
}

func TestNobodyHome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{}, exchangetest.Options{})
	w.server.AddUser(graphtest.User{UPN: "onprem@contoso.example"})
	for _, who := range []string{"onprem@contoso.example", "nobody@contoso.example"} {
		_, err := w.client.Target(t.Context(), who)
		if only(err) != mailbox.ErrNoMailbox || strings.Contains(err.Error(), "contoso") {
			t.Errorf("%s: %v", who, err)
		}
	}
}

func TestPermissionsAreNamed(t *testing.T) {
	t.Parallel()
	clock := newHasty()
	app := graphtest.App{ID: "one", Roles: []string{"User.Read.All"}}
	s := graphtest.New(t, graphtest.Options{Clock: clock.FakeClock, Apps: []graphtest.App{app}})
	store := exchangetest.New("megan@contoso.example", exchangetest.Options{})
	s.AddMailbox(store)
	client, err := graph.New(graph.Options{BaseURL: s.URL(), Credential: signed{s}, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	m, err := client.Open(t.Context(), store.Address)
	if err != nil {
		t.Fatal(err)
	}
	_, folders := m.Folders(t.Context())
	_, create := m.CreateFolder(t.Context(), mailbox.Folder{Name: "x"})
	_, imports := m.Import(t.Context(), "f", streamOf("x"))
	_, export := export1(t, m, "a")
	var items error
	for _, items = range m.Items(t.Context(), "f") {
	}
	for needs, err := range map[string]error{"MailboxFolder.Read.All": folders, "MailboxFolder.ReadWrite.All": create,
		"MailboxItem.ImportExport.All": imports, "MailboxItem.Export.All": export, "MailboxItem.Read.All": items} {
		if only(err) != mailbox.ErrAccess || !strings.Contains(err.Error(), needs) {
			t.Errorf("%s: %v", needs, err)
		}
		silent(t, err)
	}
}

func TestSessionEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{SessionLife: 30 * time.Minute}, exchangetest.Options{})
	inbox := w.folder("inbox")
	importOne := func() {
		t.Helper()
		if _, err := w.m.Import(t.Context(), inbox.ID, mail("m", 10)); err != nil {
			t.Error(err)
		}
	}
	importOne()
	w.server.ExpireSessions(w.store) // told by a 401
	importOne()
	w.clock.Advance(30 * time.Minute) // known beforehand
	importOne()
	if c := w.server.Count(w.store, graphtest.ImportItem); c.Requests != 4 || c.Failed != 1 {
		t.Errorf("imports %+v, want 4 with 1 failed", c)
	}
	if c := w.server.Count(w.store, graphtest.CreateSession); c.Requests != 3 {
		t.Errorf("%d sessions, want 3", c.Requests)
	}
	if n := len(w.items(inbox.ID)); n != 3 {
		t.Errorf("%d items, want 3", n)
	}
}

func TestThrottledImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{}, exchangetest.Options{})
	inbox := w.folder("inbox")
	w.server.Next(1, graphtest.ImportItem).Throttle("2.128")
	if _, err := w.m.Import(t.Context(), inbox.ID, mail("m", 10)); err != nil || w.clock.total() != 2128*time.Millisecond {
		t.Errorf("short: error %v, waited %v", err, w.clock.total())
	}
	w.server.Next(1, graphtest.ImportItem).Throttle("61.5")
	now := w.clock.Now()
	_, err := w.m.Import(t.Context(), inbox.ID, mail("m", 10))
	var throttled *mailbox.Throttled
	if !errors.As(err, &throttled) || throttled.Until.Sub(now) != 61500*time.Millisecond || throttled.By != "graph mailbox" {
		t.Errorf("long: %v", err)
	}
	before := w.server.Count(w.store, graphtest.Any).Requests
	if _, err := w.m.Folders(t.Context()); !errors.As(err, &throttled) {
		t.Errorf("reads behind the fence: %v", err)
	}
	if n := w.server.Count(w.store, graphtest.Any).Requests; n != before {
		t.Errorf("%d requests were sent behind the fence", n-before)
	}
	w.clock.Advance(62 * time.Second)
	if n := len(w.items(inbox.ID)); n != 1 {
		t.Errorf("%d items, want 1", n)
	}
}

// TestWindowIsFull uploads more than 150 MB in 5 minutes would allow.
func TestWindowIsFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{Limits: graphtest.Limits{Upload: 100_000}}, exchangetest.Options{})
	inbox := w.folder("inbox")
	start := w.clock.Now()
	var err error
	n := 0
	for err == nil && n < 20 {
		if _, err = w.m.Import(t.Context(), inbox.ID, mail("m", 10_000)); err == nil {
			n++
		}
	}
	var throttled *mailbox.Throttled
	if !errors.As(err, &throttled) || throttled.Until.Sub(start) < 4*time.Minute || n == 0 {
		t.Errorf("after %d imports: %v", n, err)
	}
	w.clock.Advance(throttled.Until.Sub(w.clock.Now()))
	if _, err := w.m.Import(t.Context(), inbox.ID, mail("m", 10_000)); err != nil {
		t.Errorf("when the window is free again: %v", err)
	}
	tooBig := mailbox.Stream{Size: 112_500_000} // 150 MB in base64, and the JSON around it
	var item *mailbox.ItemError
	if _, err := w.m.Import(t.Context(), inbox.ID, tooBig); !errors.As(err, &item) || item.Reason != mailbox.TooBig {
		t.Errorf("larger than a window: %v", err)
	}
}

func TestNeverMoreThanFour(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{}, exchangetest.Options{})
	inbox := w.folder("inbox")
	arrived, release := w.server.Next(4, graphtest.ImportItem).Hold()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			m, err := w.client.Open(t.Context(), w.store.Address)
			if err == nil {
				_, err = m.Import(t.Context(), inbox.ID, mail("m", 100))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	for range 4 {
		<-arrived
	}
	release()
	wg.Wait()
	if p := w.server.Peak(w.store); p != 4 {
		t.Errorf("%d at once, want 4", p)
	}
	if c := w.server.Count(w.store, graphtest.Any); c.Throttled != 0 {
		t.Errorf("%d throttled", c.Throttled)
	}
}

func TestQuota(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{}, exchangetest.Options{})
	inbox := w.folder("inbox")
	w.server.Fill(w.store, true)
	if _, err := w.m.Import(t.Context(), inbox.ID, mail("m", 10)); only(err) != mailbox.ErrQuota {
		t.Errorf("import: %v", err)
	}
	if _, err := w.m.CreateFolder(t.Context(), mailbox.Folder{Parent: inbox.ID, Name: "x", Class: "IPF.Note"}); only(err) != mailbox.ErrQuota {
		t.Errorf("create folder: %v", err)
	}
}

func TestLostAnswersAreUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{}, exchangetest.Options{})
	inbox := w.folder("inbox")
	w.server.Next(1, graphtest.ImportItem).LoseAnswer()
	if _, err := w.m.Import(t.Context(), inbox.ID, mail("lost", 10)); only(err) != mailbox.ErrUnknown {
		t.Errorf("lost answer: %v", err)
	}
	if n := len(w.items(inbox.ID)); n != 1 {
		t.Errorf("%d items after the lost answer, want 1: it was sent again or not at all", n)
	}
	for _, status := range []int{500, 502, 503, 504} {
		w.server.Next(1, graphtest.ImportItem).Fail(status)
		_, err := w.m.Import(t.Context(), inbox.ID, mail("lost", 10))
		if only(err) != mailbox.ErrUnknown {
			t.Errorf("status %d: %v", status, err)
		}
		silent(t, err)
		w.clock.Advance(time.Minute)
	}
}

func TestReadsAreTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{}, exchangetest.Options{})
	inbox := w.folder("inbox")
	id, err := w.m.Import(t.Context(), inbox.ID, mail("m", 10))
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []graphtest.Op{graphtest.ListItems, graphtest.ListFolders, graphtest.ExportItems, graphtest.CreateFolder, graphtest.CreateSession} {
		w.server.Next(1, op).Fail(503)
		w.server.Next(1, op).Reset()
	}
	w.server.ExpireSessions(w.store)
	if n := len(w.items(inbox.ID)); n != 1 {
		t.Errorf("%d items", n)
	}
	if got, err := export1(t, w.m, id); err != nil || !strings.HasPrefix(got, string(id)+"=") {
		t.Errorf("export: %v", err)
	}
	w.server.Next(1, graphtest.CreateFolder).LoseAnswer()
	f, err := w.m.CreateFolder(t.Context(), mailbox.Folder{Parent: inbox.ID, Name: "x", Class: "IPF.Note"})
	if err != nil || f.ID == "" {
		t.Errorf("create folder: %v", err)
	}
	if _, err := w.m.Import(t.Context(), inbox.ID, mail("m2", 10)); err != nil {
		t.Errorf("import: %v", err)
	}
	w.folder("inbox")
}

func TestReplaceNeedsTheCurrentItem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{}, exchangetest.Options{})
	inbox := w.folder("inbox")
	if _, err := w.m.Import(t.Context(), inbox.ID, mail("before", 10)); err != nil {
		t.Fatal(err)
	}
	old := w.items(inbox.ID)[0]
	if _, err := w.m.Replace(t.Context(), inbox.ID, old, mail("after", 20)); err != nil {
		t.Fatal(err)
	}
	now := w.items(inbox.ID)
	if len(now) != 1 || now[0].Subject != "after" {
		t.Errorf("after the replacement: %+v", now)
	}
	if _, err := w.m.Replace(t.Context(), inbox.ID, old, mail("late", 20)); only(err) != mailbox.ErrChanged {
		t.Errorf("with a stale change key: %v", err)
	}
}

func TestBadStreamsAndFoldersAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{}, exchangetest.Options{})
	inbox := w.folder("inbox")
	var item *mailbox.ItemError
	if _, err := w.m.Import(t.Context(), inbox.ID, streamOf("no FastTransfer stream")); !errors.As(err, &item) {
		t.Errorf("garbage: %v", err)
	}
	if _, err := w.m.Import(t.Context(), "AAMkgone", mail("m", 10)); only(err) != mailbox.ErrNoFolder {
		t.Errorf("no such folder: %v", err)
	}
}

func TestItemsThatCannotBeExported(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{}, exchangetest.Options{})
	inbox := w.folder("inbox")
	var ids []mailbox.ItemID
	for i := range 5 {
		id, err := w.m.Import(t.Context(), inbox.ID, mail(fmt.Sprint("m", i), 10))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	stored, err := w.store.Known("inbox")
	if err != nil {
		t.Fatal(err)
	}
	numbers := w.store.IDs(stored.ID)
	w.server.RefuseExport(w.store, numbers[1], "ErrorCorruptData")
	if err := w.store.Delete(numbers[3]); err != nil {
		t.Fatal(err)
	}
	got := make([]mailbox.Reason, len(ids))
	err = w.m.Export(t.Context(), ids, func(i int, r io.Reader, err error) error {
		var item *mailbox.ItemError
		if errors.As(err, &item) {
			got[i] = item.Reason
			return nil
		}
		return err
	})
	if want := []mailbox.Reason{"", mailbox.Corrupt, "", mailbox.Gone, ""}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, error %v", got, err)
	}
}

func TestChangesOfAFolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{}, exchangetest.Options{})
	inbox := w.folder("inbox")
	state := mailbox.SyncState("")
	round := func() (items int, err error) {
		for {
			page, err := w.m.Changes(t.Context(), inbox.ID, state)
			if err != nil {
				return items, err
			}
			if items, state = items+page.Items, page.State; !page.More {
				return items, nil
			}
		}
	}
	for i := range 20 {
		if _, err := w.m.Import(t.Context(), inbox.ID, mail(fmt.Sprint("m", i), 10)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := round(); n != 20 || err != nil {
		t.Errorf("at first: %d, %v", n, err)
	}
	stored, _ := w.store.Known("inbox")
	if err := w.store.Delete(w.store.IDs(stored.ID)[0]); err != nil {
		t.Fatal(err)
	}
	if n, err := round(); n != 1 || err != nil {
		t.Errorf("after a deletion: %d, %v", n, err)
	}
	if n, err := round(); n != 0 || err != nil {
		t.Errorf("once more: %d, %v", n, err)
	}
	w.server.ExpireDelta(w.store)
	if _, err := round(); !errors.Is(err, mailbox.ErrStartAgain) {
		t.Errorf("with an expired link: %v", err)
	}
}

func TestListingUnderChangeRepeatsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{}, exchangetest.Options{})
	inbox := w.folder("inbox")
	add := func(i int) {
		if _, err := w.m.Import(t.Context(), inbox.ID, mail(fmt.Sprint("m", i), 10)); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(time.Second)
	}
	for i := range 21 {
		add(i)
	}
	seen := map[mailbox.ItemID]bool{}
	for i, err := range w.m.Items(t.Context(), inbox.ID) {
		if err != nil {
			t.Fatal(err)
		}
		if seen[i.ID] {
			t.Errorf("%s twice", i.Subject)
		}
		if seen[i.ID] = true; len(seen) == 7 {
			add(100) // shifts the next page by one, so that it begins with what was the last
		}
	}
	if len(seen) != 21 {
		t.Errorf("%d items, want 21", len(seen))
	}
}

// The service pages by position: what is deleted moves up what follows, and a page would leave it out.
func TestListingWhileItemsGoLeavesNoneOut(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ page, every, gone int }{ // after every so many items listed, so many of them are deleted
		{page: 7, every: 7, gone: 1}, {page: 7, every: 3, gone: 1}, {page: 7, every: 20, gone: 20}, {page: 7, every: 1, gone: 1},
		{page: 2, every: 2, gone: 2}, {page: 1, every: 5, gone: 1}, {page: 50, every: 1, gone: 1},
	} {
		t.Run(fmt.Sprintf("%+v", test), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, graphtest.Options{}, exchangetest.Options{})
			inbox := w.folder("inbox")
			stored, _ := w.store.Known("inbox")
			store := map[mailbox.ItemID]uint64{}
			for i := range 40 {
				if _, err := w.m.Import(t.Context(), inbox.ID, mail(fmt.Sprint("m", i), 10)); err != nil {
					t.Fatal(err)
				}
				w.clock.Advance(time.Second)
			}
			for _, it := range w.store.Items(stored.ID) {
				store[mailbox.ItemID(w.server.ItemID(w.store, it))] = it.ID
			}
			client, err := graph.New(graph.Options{BaseURL: w.server.URL(), Credential: signed{w.server}, Clock: w.clock, PageSize: test.page})
			if err != nil {
				t.Fatal(err)
			}
			m, err := client.Open(t.Context(), "megan@contoso.example")
			if err != nil {
				t.Fatal(err)
			}
			seen, gone := []mailbox.ItemID{}, 0
			for it, err := range m.Items(t.Context(), inbox.ID) {
				if err != nil {
					t.Fatal(err)
				}
				if slices.Contains(seen, it.ID) {
					t.Errorf("%s twice", it.Subject)
				}
				if seen = append(seen, it.ID); len(seen)%test.every > 0 {
					continue
				}
				for range min(test.gone, len(seen)-gone) {
					if err := w.store.Delete(store[seen[gone]]); err != nil {
						t.Fatal(err)
					}
					gone++
				}
			}
			if len(seen) != 40 {
				t.Errorf("%d items are listed of the 40 that were there until then", len(seen))
			}
		})
	}
}
