package mailboxtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
)

// Address is the address of the suite's mailbox.
const Address = "ann@corp.example"

// german are the display names of well-known folders in a German mailbox.
func german() map[string]string {
	return map[string]string{"inbox": "Posteingang", "sentitems": "Gesendete Elemente", "calendar": "Kalender", "syncissues": "Synchronisierungsprobleme"}
}

// Source is the contract of mailbox.Sources. serve makes sources that hold the given mailbox and no other.
func Source(t *testing.T, serve func(t *testing.T, m *exchangetest.Mailbox) mailbox.Sources) {
	sides(t, func(t *testing.T, m *exchangetest.Mailbox) opener {
		s := serve(t, m)
		return func(ctx context.Context, address string) (mailbox.Side, error) { return s.Source(ctx, address) }
	})
	t.Run("what another process has listed is exported", func(t *testing.T) {
		t.Parallel()
		m := newMailbox(t)
		Fill(t, m, "inbox", 0, 5)
		sources := serve(t, m)
		first, err := sources.Source(t.Context(), Address)
		if err != nil {
			t.Fatal(err)
		}
		second, err := serve(t, m).Source(t.Context(), Address)
		if err != nil {
			t.Fatal(err)
		}
		items := listed(t, first, known(t, first, "inbox").ID)
		for _, it := range items {
			second.Expect(it.ID, it.Size)
			second.Expect(it.ID, -1) // a size that cannot be is no reason to fail
		}
		if got := exported(t, second, ids(items)); len(got) != 5 {
			t.Errorf("%d items exported, want 5", len(got))
		}
	})
}

// opener opens the side under test.
type opener func(ctx context.Context, address string) (mailbox.Side, error)

func newMailbox(t *testing.T) *exchangetest.Mailbox {
	t.Helper()
	return exchangetest.New(Address, exchangetest.Options{Names: german(), SpillDir: t.TempDir()})
}

// sides is what a Side promises.
func sides(t *testing.T, serve func(t *testing.T, m *exchangetest.Mailbox) opener) {
	open := func(t *testing.T, m *exchangetest.Mailbox) mailbox.Side {
		t.Helper()
		s, err := serve(t, m)(t.Context(), Address)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	t.Run("a mailbox is opened by its address, whatever the case", func(t *testing.T) {
		t.Parallel()
		s := serve(t, newMailbox(t))
		if _, err := s(t.Context(), "ANN@Corp.Example"); err != nil {
			t.Error(err)
		}
		for _, address := range []string{"nobody@corp.example", "", "ann", "ann@corp.example\r\nX: y", "Ann <ann@corp.example>"} {
			if side, err := s(t.Context(), address); !errors.Is(err, mailbox.ErrNoMailbox) {
				t.Errorf("%q: %v, err = %v, want ErrNoMailbox", address, side, err)
			}
		}
	})
	t.Run("folders come parents first, with class and well-known name", func(t *testing.T) { t.Parallel(); folderTree(t, open) })
	t.Run("items are listed with their properties, each once", func(t *testing.T) { t.Parallel(); listing(t, open) })
	t.Run("an empty folder lists nothing, a listing may be left early", func(t *testing.T) {
		t.Parallel()
		m := newMailbox(t)
		Fill(t, m, "inbox", 0, 30)
		s := open(t, m)
		if got := listed(t, s, known(t, s, "sentitems").ID); len(got) != 0 {
			t.Errorf("%d items in an empty folder", len(got))
		}
		for _, err := range s.Items(t.Context(), known(t, s, "inbox").ID) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		if got := listed(t, s, known(t, s, "inbox").ID); len(got) != 30 {
			t.Errorf("%d items after a listing that was left, want 30", len(got))
		}
	})
	t.Run("an unknown folder is told as such, once and last", func(t *testing.T) {
		t.Parallel()
		m := newMailbox(t)
		inbox, _ := m.Known("inbox")
		gone, err := m.CreateFolder(inbox.ID, "Gone", "IPF.Note")
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, m)
		folder := named(t, s, "Gone").ID
		if err := m.DeleteFolder(gone.ID); err != nil {
			t.Fatal(err)
		}
		n := 0
		for it, err := range s.Items(t.Context(), folder) {
			if n++; !errors.Is(err, mailbox.ErrNoFolder) {
				t.Errorf("listed %+v, err = %v, want ErrNoFolder", it, err)
			}
		}
		if n != 1 {
			t.Errorf("%d yields, want the error alone", n)
		}
	})
	t.Run("a folder that changes says so, once", func(t *testing.T) { t.Parallel(); changes(t, open) })
	t.Run("items are exported in order, each once, as they are", func(t *testing.T) { t.Parallel(); exports(t, open) })
	t.Run("an item that is gone is a finding, and the export goes on", func(t *testing.T) { t.Parallel(); goneItems(t, open) })
	t.Run("what is left unread is skipped", func(t *testing.T) {
		t.Parallel()
		m := newMailbox(t)
		want := Fill(t, m, "inbox", 0, 6)
		s := open(t, m)
		order := inOrder(t, s, want)
		calls := 0
		err := s.Export(t.Context(), order, func(i int, r io.Reader, err error) error {
			calls++
			switch {
			case err != nil:
				return err
			case i%3 == 0:
				return nil
			case i%3 == 1:
				_, err := io.CopyN(io.Discard, r, 10)
				return err
			}
			if sum := summarize(t, r); sum.Digest != want[i].Summary.Digest {
				t.Errorf("item %d has another content", i)
			}
			return nil
		})
		if err != nil || calls != 6 {
			t.Errorf("%d calls, err = %v", calls, err)
		}
	})
	t.Run("an error of each ends the export and comes back", func(t *testing.T) {
		t.Parallel()
		m := newMailbox(t)
		order := Fill(t, m, "inbox", 0, 25)
		s, enough, calls := open(t, m), errors.New("enough"), 0
		err := s.Export(t.Context(), inOrder(t, s, order), func(i int, r io.Reader, err error) error {
			if calls++; i == 1 {
				return fmt.Errorf("at 1: %w", enough)
			}
			return err
		})
		if !errors.Is(err, enough) || calls != 2 {
			t.Errorf("%d calls, err = %v; want 2 and the error", calls, err)
		}
	})
	t.Run("nothing is exported when nothing is asked for", func(t *testing.T) {
		t.Parallel()
		err := open(t, newMailbox(t)).Export(t.Context(), nil, func(int, io.Reader, error) error { t.Error("called"); return nil })
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("a cancelled context ends everything", func(t *testing.T) {
		t.Parallel()
		m := newMailbox(t)
		Fill(t, m, "inbox", 0, 3)
		opened := serve(t, m)
		s, err := opened(t.Context(), Address)
		if err != nil {
			t.Fatal(err)
		}
		inbox := known(t, s, "inbox").ID
		order := ids(listed(t, s, inbox))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := opened(ctx, Address); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("open: err = %v, want none or Canceled", err)
		}
		if _, err := s.Folders(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("folders: err = %v, want Canceled", err)
		}
		n := 0
		for _, err := range s.Items(ctx, inbox) {
			if n++; !errors.Is(err, context.Canceled) {
				t.Errorf("items: err = %v, want Canceled", err)
			}
		}
		if n != 1 {
			t.Errorf("items: %d yields, want the error alone", n)
		}
		if err := s.Export(ctx, order, func(_ int, _ io.Reader, err error) error { return err }); !errors.Is(err, context.Canceled) {
			t.Errorf("export: err = %v, want Canceled", err)
		}
	})
	t.Run("many may use a side at once", func(t *testing.T) {
		t.Parallel()
		m := newMailbox(t)
		Fill(t, m, "inbox", 0, 8)
		s := open(t, m)
		inbox := known(t, s, "inbox").ID
		done := make(chan int)
		for range 4 {
			go func() {
				n := 0
				for _, err := range s.Items(t.Context(), inbox) {
					if err != nil {
						t.Error(err)
					}
					n++
				}
				done <- n
			}()
		}
		for range 4 {
			if n := <-done; n != 8 {
				t.Errorf("%d items, want 8", n)
			}
		}
	})
}

func folderTree(t *testing.T, open func(*testing.T, *exchangetest.Mailbox) mailbox.Side) {
	m := newMailbox(t)
	Fill(t, m, "inbox", 0, 3)
	inbox, _ := m.Known("inbox")
	root, _ := m.Known("msgfolderroot")
	calendar, _ := m.Known("calendar")
	at := inbox.ID
	for _, name := range []string{"Kunden & <Co>", "ärger", "日本 😀"} {
		f, err := m.CreateFolder(at, name, "IPF.Note")
		if err != nil {
			t.Fatal(err)
		}
		at = f.ID
	}
	for _, f := range []struct {
		parent      uint64
		name, class string
	}{{root.ID, "Eigene", "IPF.Note"}, {root.ID, "Inbox", "IPF.Note"}, {calendar.ID, "Urlaub", "IPF.Appointment"}} {
		if _, err := m.CreateFolder(f.parent, f.name, f.class); err != nil {
			t.Fatal(err)
		}
	}
	issues, _ := m.Known("syncissues")
	if _, err := m.CreateFolder(issues.ID, "Below sync issues", "IPF.Note"); err != nil {
		t.Fatal(err)
	}
	s := open(t, m)
	all, err := s.Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[mailbox.FolderID]mailbox.Folder{}
	path := map[string]mailbox.Folder{}
	paths := map[mailbox.FolderID]string{}
	for _, f := range all {
		if _, twice := seen[f.ID]; twice || f.ID == "" {
			t.Errorf("%q comes twice or has no id", f.Name)
		}
		seen[f.ID] = f
		if parent, ok := paths[f.Parent]; ok {
			paths[f.ID] = parent + "/" + f.Name
		} else {
			paths[f.ID] = f.Name
		}
		path[paths[f.ID]] = f
	}
	for want, f := range map[string]mailbox.Folder{
		"Posteingang":                     {Class: "IPF.Note", Known: "inbox", Items: 3},
		"Gesendete Elemente":              {Class: "IPF.Note", Known: "sentitems"},
		"Kalender":                        {Class: "IPF.Appointment", Known: "calendar"},
		"Contacts":                        {Class: "IPF.Contact", Known: "contacts"},
		"Tasks":                           {Class: "IPF.Task", Known: "tasks"},
		"Drafts":                          {Class: "IPF.Note", Known: "drafts"},
		"Deleted Items":                   {Class: "IPF.Note", Known: "deleteditems"},
		"Kalender/Urlaub":                 {Class: "IPF.Appointment"},
		"Posteingang/Kunden & <Co>":       {Class: "IPF.Note"},
		"Posteingang/Kunden & <Co>/ärger": {Class: "IPF.Note"},
		"Posteingang/Kunden & <Co>/ärger/日本 😀": {Class: "IPF.Note"},
		"Eigene": {Class: "IPF.Note"},
		"Inbox":  {Class: "IPF.Note"}, // a user's folder, in a mailbox whose inbox has another name
	} {
		if got, ok := path[want]; !ok || got.Class != f.Class || got.Known != f.Known || got.Items != f.Items {
			t.Errorf("%s is %+v (listed: %t), want %+v", want, got, ok, f)
		}
	}
	for _, f := range all {
		if slices.Contains([]string{"Finder", "Synchronisierungsprobleme", "Below sync issues", "Conflicts", "Top of Information Store", "Recoverable Items", "Deletions"}, f.Name) {
			t.Errorf("%q is listed", f.Name)
		}
	}
	if d := slices.IndexFunc(all, func(f mailbox.Folder) bool { return f.Name == "ärger" }); d < slices.IndexFunc(all, func(f mailbox.Folder) bool { return f.Name == "Kunden & <Co>" }) {
		t.Error("a child comes before its parent")
	}
}

func listing(t *testing.T, open func(*testing.T, *exchangetest.Mailbox) mailbox.Side) {
	m := newMailbox(t)
	want := map[mailbox.Identity]exchangetest.Item{}
	for _, it := range Fill(t, m, "inbox", 0, 45) {
		want[it.Summary.Properties.Identity()] = it
	}
	s := open(t, m)
	got := listed(t, s, known(t, s, "inbox").ID)
	seen := map[mailbox.ItemID]bool{}
	for _, it := range got {
		w, ok := want[it.Identity()]
		if !ok || seen[it.ID] || it.ID == "" {
			t.Errorf("item %s has identity of none, comes twice or has no id", it.Subject)
			continue
		}
		seen[it.ID] = true
		expect := mailbox.Item{Size: w.Stream.Size, Properties: w.Summary.Properties}
		if d := mailbox.Differences(expect, it); d != nil {
			t.Errorf("%s: %q differ: listed %+v, want %+v", it.Subject, d, it, expect)
		}
		p := w.Summary.Properties
		if it.Subject != p.Subject || it.MessageID != p.MessageID || string(it.SearchKey) != string(p.SearchKey) || !it.Received.Equal(p.Received.Truncate(time.Second)) || it.Sender != p.Sender || it.Size <= 0 {
			t.Errorf("listed %+v, want %+v", it, p)
		}
	}
	if len(got) != 45 {
		t.Errorf("%d items, want 45", len(got))
	}
}

func changes(t *testing.T, open func(*testing.T, *exchangetest.Mailbox) mailbox.Side) {
	m := newMailbox(t)
	there := Fill(t, m, "inbox", 0, 30)
	Fill(t, m, "sentitems", 30, 32)
	s := open(t, m)
	inbox := known(t, s, "inbox").ID
	state := mailbox.SyncState("")
	is := func(want bool, after string) {
		t.Helper()
		changed := false
		for more := true; more; {
			page, err := s.Changes(t.Context(), inbox, state)
			if err != nil || page.State == "" {
				t.Fatalf("after %s: %+v, error %v", after, page, err)
			}
			changed, state, more = changed || page.Items > 0, page.State, page.More
		}
		if changed != want {
			t.Fatalf("after %s: changed %t, want %t", after, changed, want)
		}
	}
	is(true, "nothing, from the beginning")
	is(false, "nothing")
	if _, err := m.SetRead(there[3].ID, there[3].Summary.Properties.Flags&mailbox.FlagRead == 0); err != nil {
		t.Fatal(err)
	}
	is(true, "an item was read or unread")
	is(false, "that was told")
	Fill(t, m, "inbox", 40, 41)
	is(true, "an item came")
	if err := m.Delete(there[5].ID); err != nil {
		t.Fatal(err)
	}
	is(true, "an item was deleted")
	deleted, _ := m.Known("deleteditems")
	if _, err := m.Move(there[6].ID, deleted.ID); err != nil {
		t.Fatal(err)
	}
	is(true, "an item was moved away")
	Fill(t, m, "sentitems", 50, 51)
	is(false, "another folder changed")
	for _, wrong := range []mailbox.SyncState{"nonsense", "bm9uc2Vuc2U=", "https://elsewhere.example/delta?$deltatoken=x"} {
		if _, err := s.Changes(t.Context(), inbox, wrong); !errors.Is(err, mailbox.ErrStartAgain) {
			t.Errorf("with a state that was never given: %v, want ErrStartAgain", err)
		}
	}
}

func exports(t *testing.T, open func(*testing.T, *exchangetest.Mailbox) mailbox.Side) {
	m := newMailbox(t)
	want := Fill(t, m, "inbox", 0, 45)
	slices.Reverse(want)
	s := open(t, m)
	order := inOrder(t, s, want)
	got := exported(t, s, order)
	for i, digest := range got {
		if digest != want[i].Summary.Digest {
			t.Errorf("item %d has another content", i)
		}
	}
	if len(got) != 45 {
		t.Errorf("%d items, want 45", len(got))
	}
	if twice := exported(t, s, []mailbox.ItemID{order[0], order[0]}); len(twice) != 2 || twice[0] != twice[1] {
		t.Errorf("one id asked for twice: %d items", len(twice))
	}
}

func goneItems(t *testing.T, open func(*testing.T, *exchangetest.Mailbox) mailbox.Side) {
	m := newMailbox(t)
	want := Fill(t, m, "inbox", 0, 25)
	s := open(t, m)
	order := inOrder(t, s, want)
	for _, i := range []int{0, 7, 24} {
		if err := m.Delete(want[i].ID); err != nil {
			t.Fatal(err)
		}
	}
	next := 0
	err := s.Export(t.Context(), order, func(i int, r io.Reader, err error) error {
		if i != next {
			t.Errorf("item %d instead of %d", i, next)
		}
		next++
		if i == 0 || i == 7 || i == 24 {
			if f, ok := errors.AsType[*mailbox.ItemError](err); !ok || f.Reason != mailbox.Gone {
				t.Errorf("item %d: err = %v, want gone", i, err)
			}
			return nil
		}
		if err == nil && summarize(t, r).Digest != want[i].Summary.Digest {
			t.Errorf("item %d has another content", i)
		}
		return err
	})
	if err != nil || next != 25 {
		t.Errorf("%d calls, err = %v", next, err)
	}
}

// known is a well-known folder as the side lists it, named any by its display name.
func known(t *testing.T, s mailbox.Side, name string) mailbox.Folder {
	t.Helper()
	return find(t, s, func(f mailbox.Folder) bool { return f.Known == name })
}

func named(t *testing.T, s mailbox.Side, name string) mailbox.Folder {
	t.Helper()
	return find(t, s, func(f mailbox.Folder) bool { return f.Name == name })
}

func find(t *testing.T, s mailbox.Side, like func(mailbox.Folder) bool) mailbox.Folder {
	t.Helper()
	all, err := s.Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, like)
	if i < 0 {
		t.Fatalf("the folder is not in %+v", all)
	}
	return all[i]
}

func listed(t *testing.T, s mailbox.Side, f mailbox.FolderID) []mailbox.Item {
	t.Helper()
	var out []mailbox.Item
	for it, err := range s.Items(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, it)
	}
	return out
}

func ids(items []mailbox.Item) []mailbox.ItemID {
	out := make([]mailbox.ItemID, len(items))
	for i, it := range items {
		out[i] = it.ID
	}
	return out
}

// inOrder are the side's ids of items of the inbox, in their order.
func inOrder(t *testing.T, s mailbox.Side, items []exchangetest.Item) []mailbox.ItemID {
	t.Helper()
	at := map[mailbox.Identity]mailbox.ItemID{}
	for _, it := range listed(t, s, known(t, s, "inbox").ID) {
		at[it.Identity()] = it.ID
	}
	out := make([]mailbox.ItemID, len(items))
	for i, it := range items {
		if out[i] = at[it.Summary.Properties.Identity()]; out[i] == "" {
			t.Fatalf("item %d is not listed", i)
		}
	}
	return out
}

// exported are the digests of items as they are exported, which must be in order.
func exported(t *testing.T, s mailbox.Side, order []mailbox.ItemID) [][32]byte {
	t.Helper()
	var out [][32]byte
	err := s.Export(t.Context(), order, func(i int, r io.Reader, err error) error {
		if err != nil || i != len(out) {
			return fmt.Errorf("item %d, expected %d: %w", i, len(out), err)
		}
		out = append(out, summarize(t, r).Digest)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
