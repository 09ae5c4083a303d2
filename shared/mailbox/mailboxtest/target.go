package mailboxtest

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// Target is the contract of mailbox.Targets. serve makes targets that hold the given mailbox and no other.
func Target(t *testing.T, serve func(t *testing.T, m *exchangetest.Mailbox) mailbox.Targets) {
	sides(t, func(t *testing.T, m *exchangetest.Mailbox) opener {
		s := serve(t, m)
		return func(ctx context.Context, address string) (mailbox.Side, error) { return s.Target(ctx, address) }
	})
	open := func(t *testing.T, m *exchangetest.Mailbox) mailbox.Target {
		t.Helper()
		target, err := serve(t, m).Target(t.Context(), Address)
		if err != nil {
			t.Fatal(err)
		}
		return target
	}
	t.Run("a folder is made once, with its name and class", func(t *testing.T) { t.Parallel(); makeFolders(t, open) })
	t.Run("a folder that cannot be made is told why", func(t *testing.T) {
		t.Parallel()
		m := newMailbox(t)
		target := open(t, m)
		inbox := known(t, target, "inbox").ID
		for name, f := range map[string]mailbox.Folder{"a slash": {Name: "In/Out"}, "no name": {}, "space": {Name: "  "}, "too long": {Name: strings.Repeat("x", 256)}} {
			f.Parent, f.Class = inbox, "IPF.Note"
			if _, err := target.CreateFolder(t.Context(), f); !errors.Is(err, mailbox.ErrFolderName) {
				t.Errorf("%s: err = %v, want ErrFolderName", name, err)
			}
		}
		gone, err := target.CreateFolder(t.Context(), mailbox.Folder{Parent: inbox, Name: "Gone", Class: "IPF.Note"})
		if err != nil {
			t.Fatal(err)
		}
		folder, _ := m.Known("inbox")
		if err := m.DeleteFolder(m.Folders(folder.ID, false)[0].ID); err != nil {
			t.Fatal(err)
		}
		if _, err := target.CreateFolder(t.Context(), mailbox.Folder{Parent: gone.ID, Name: "Child", Class: "IPF.Note"}); !errors.Is(err, mailbox.ErrNoFolder) {
			t.Errorf("below a folder that is gone: err = %v, want ErrNoFolder", err)
		}
		if _, err := target.Import(t.Context(), gone.ID, Letter(t, 1)); !errors.Is(err, mailbox.ErrNoFolder) {
			t.Errorf("import into a folder that is gone: err = %v, want ErrNoFolder", err)
		}
	})
	t.Run("what is imported is listed once more and exported alike", func(t *testing.T) { t.Parallel(); imports(t, open) })
	t.Run("an import never looks whether the item is there", func(t *testing.T) {
		t.Parallel()
		target := open(t, newMailbox(t))
		inbox := known(t, target, "inbox").ID
		seen := map[mailbox.ItemID]bool{}
		for range 3 {
			id, err := target.Import(t.Context(), inbox, Letter(t, 1))
			if err != nil || id == "" || seen[id] {
				t.Fatalf("id %q, err = %v", id, err)
			}
			seen[id] = true
		}
		keys, err := mailbox.List(t.Context(), target, inbox)
		if err != nil || len(keys) != 3 || keys[2].Key.Ordinal != 2 || keys[2].Key.Identity != keys[0].Key.Identity {
			t.Errorf("listed %+v, err = %v; want one identity three times", keys, err)
		}
	})
	t.Run("an item that is refused is a finding and not there", func(t *testing.T) { t.Parallel(); refusals(t, open) })
	t.Run("a full mailbox says so", func(t *testing.T) {
		t.Parallel()
		m := exchangetest.New(Address, exchangetest.Options{Quota: 10, SpillDir: t.TempDir()})
		target := open(t, m)
		inbox := known(t, target, "inbox").ID
		if _, err := target.Import(t.Context(), inbox, Letter(t, 1)); !errors.Is(err, mailbox.ErrQuota) {
			t.Errorf("err = %v, want ErrQuota", err)
		}
		if n := len(listed(t, target, inbox)); n != 0 {
			t.Errorf("%d items are there", n)
		}
	})
	t.Run("an item is replaced only as it was listed", func(t *testing.T) { t.Parallel(); replaces(t, open) })
	t.Run("a cancelled context imports and makes nothing", func(t *testing.T) {
		t.Parallel()
		target := open(t, newMailbox(t))
		inbox := known(t, target, "inbox").ID
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := target.Import(ctx, inbox, Letter(t, 1)); err == nil {
			t.Error("import: no error")
		}
		if _, err := target.CreateFolder(ctx, mailbox.Folder{Parent: inbox, Name: "x", Class: "IPF.Note"}); !errors.Is(err, context.Canceled) {
			t.Errorf("create folder: err = %v, want Canceled", err)
		}
		if n := len(listed(t, target, inbox)); n != 0 {
			t.Errorf("%d items are there", n)
		}
	})
}

func makeFolders(t *testing.T, open func(*testing.T, *exchangetest.Mailbox) mailbox.Target) {
	target := open(t, newMailbox(t))
	inbox := known(t, target, "inbox")
	for _, test := range []struct {
		name   string
		parent mailbox.FolderID
		f      mailbox.Folder
	}{
		{"below a folder", inbox.ID, mailbox.Folder{Name: "Kunden & <Co> 日本 %20", Class: "IPF.Note"}},
		{"below the root", "", mailbox.Folder{Name: "Top", Class: "IPF.Note"}},
		{"a calendar", "", mailbox.Folder{Name: "Urlaub", Class: "IPF.Appointment"}},
		{"one without a class", "", mailbox.Folder{Name: "Plain"}},
		{"the name of another level", "", mailbox.Folder{Name: "Kunden & <Co> 日本 %20", Class: "IPF.Note"}},
	} {
		f := test.f
		f.Parent = test.parent
		made, err := target.CreateFolder(t.Context(), f)
		if err != nil || made.ID == "" || made.Name != f.Name {
			t.Fatalf("%s: made %+v, err = %v", test.name, made, err)
		}
		got := find(t, target, func(g mailbox.Folder) bool { return g.ID == made.ID })
		class := f.Class
		if class == "" {
			class = "IPF.Note"
		}
		if got.Name != f.Name || got.Class != class || got.Known != "" || test.parent != "" && got.Parent != test.parent {
			t.Errorf("%s: listed as %+v", test.name, got)
		}
		f.Name, f.Class = strings.ToUpper(f.Name), "IPF.Task"
		again, err := target.CreateFolder(t.Context(), f)
		if err != nil || again.ID != made.ID || again.Class != class {
			t.Errorf("%s, again in capitals: %+v, err = %v; want the first as it is", test.name, again, err)
		}
	}
	wellKnown, err := target.CreateFolder(t.Context(), mailbox.Folder{Name: "POSTEINGANG", Class: "IPF.Note"})
	if err != nil || wellKnown.ID != inbox.ID || wellKnown.Known != "inbox" {
		t.Errorf("a name that a well-known folder has: %+v, err = %v; want that folder, named as what it is", wellKnown, err)
	}
}

func imports(t *testing.T, open func(*testing.T, *exchangetest.Mailbox) mailbox.Target) {
	target := open(t, newMailbox(t))
	inbox := known(t, target, "inbox").ID
	want := map[mailbox.ItemID]fts.Summary{}
	for n := range 12 {
		letter := Letter(t, n)
		if n == 5 { // above what is kept in memory, and no multiple of three
			letter = Letter(t, n, With(fts.TagBody, strings.Repeat("long ", 500_001)))
		}
		id, err := target.Import(t.Context(), inbox, letter)
		if err != nil {
			t.Fatal(err)
		}
		want[id] = Summary(t, t.Context(), letter)
	}
	items := listed(t, target, inbox)
	digests := exported(t, target, ids(items))
	for i, it := range items {
		w, ok := want[it.ID]
		if !ok || it.Identity() != w.Properties.Identity() || digests[i] != w.Digest {
			t.Errorf("item %d (%s) is not what Import gave that id to", i, it.Subject)
		}
		if d := mailbox.Differences(mailbox.Item{Size: it.Size, Properties: w.Properties}, it); d != nil {
			t.Errorf("item %d: %q differ", i, d)
		}
	}
	if len(items) != 12 {
		t.Errorf("%d items, want 12", len(items))
	}
}

func refusals(t *testing.T, open func(*testing.T, *exchangetest.Mailbox) mailbox.Target) {
	m := newMailbox(t)
	target := open(t, m)
	inbox := known(t, target, "inbox").ID
	whole := Letter(t, 1)
	r, err := whole.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]mailbox.Stream{"garbage": exchangetest.Bytes([]byte("no FastTransfer stream")), "nothing": exchangetest.Bytes(nil), "a cut stream": exchangetest.Bytes(b[:len(b)-20])} {
		_, err := target.Import(t.Context(), inbox, s)
		if f, ok := errors.AsType[*mailbox.ItemError](err); !ok || f.Reason != mailbox.Refused && f.Reason != mailbox.Corrupt {
			t.Errorf("%s: err = %v, want refused or corrupt", name, err)
		}
	}
	broken := errors.New("staging broke")
	for name, s := range map[string]mailbox.Stream{
		"cannot be opened": {Size: 10, Open: func(context.Context) (io.ReadCloser, error) { return nil, broken }},
		"breaks off": {Size: whole.Size, Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader(string(b[:len(b)/2])), iotest.ErrReader(broken))), nil
		}},
	} {
		_, err := target.Import(t.Context(), inbox, s)
		if _, item := errors.AsType[*mailbox.ItemError](err); err == nil || item || errors.Is(err, mailbox.ErrUnknown) {
			t.Errorf("a stream that %s: err = %v, want one that says that nothing was carried out, and not for the item's fault", name, err)
		}
	}
	if n := len(listed(t, target, inbox)); n != 0 {
		t.Errorf("%d items are there", n)
	}
}

func replaces(t *testing.T, open func(*testing.T, *exchangetest.Mailbox) mailbox.Target) {
	m := newMailbox(t)
	target := open(t, m)
	Fill(t, m, "inbox", 1, 3)
	inbox := known(t, target, "inbox").ID
	one := func() mailbox.Item {
		for _, it := range listed(t, target, inbox) {
			if it.MessageID == "<1@example.org>" {
				return it
			}
		}
		t.Fatal("the item is not listed")
		return mailbox.Item{}
	}
	old := one()
	id, err := target.Replace(t.Context(), inbox, old, Letter(t, 1, With(fts.TagSubject, "Changed")))
	if err != nil {
		t.Fatal(err)
	}
	now := one()
	if now.ID != id || now.Subject != "Changed" || now.Change == old.Change || len(listed(t, target, inbox)) != 2 {
		t.Errorf("after the replacement: id %s, listed %+v", id, now)
	}
	if _, err := target.Replace(t.Context(), inbox, old, Letter(t, 1, With(fts.TagSubject, "Late"))); !errors.Is(err, mailbox.ErrChanged) {
		t.Errorf("a stale change key: err = %v, want ErrChanged", err)
	}
	folder, _ := m.Known("inbox")
	for _, it := range m.Items(folder.ID) {
		if err := m.Delete(it.ID); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := target.Replace(t.Context(), inbox, now, Letter(t, 1)); !errors.Is(err, mailbox.ErrChanged) {
		t.Errorf("an item that is gone: err = %v, want ErrChanged", err)
	}
	if n := len(listed(t, target, inbox)); n != 0 {
		t.Errorf("%d items are there", n)
	}
}
