package exchangetest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

func note(t *testing.T, subject string, body int) []byte {
	t.Helper()
	m := &fts.Message{Properties: fts.Properties{
		fts.Prop(fts.TagMessageClass, "IPM.Note"),
		fts.Prop(fts.TagSubject, subject),
		fts.Prop(fts.TagSearchKey, []byte(subject)),
		fts.Prop(fts.TagMessageFlags, int32(0)),
		fts.Prop(fts.TagBody, strings.Repeat("x", body)),
	}, Recipients: []fts.Properties{{
		fts.Prop(fts.TagRowID, int32(0)),
		fts.Prop(fts.TagRecipientType, int32(1)),
		fts.Prop(fts.TagDisplayName, "Bo"),
		fts.Prop(fts.TagSMTPAddress, "bo@corp.test"),
	}}}
	var b bytes.Buffer
	if err := fts.Write(&b, m, fts.Version{Major: 15, Minor: 1, Build: 2507, Revision: 6}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func bytesOf(t *testing.T, s mailbox.Stream) []byte {
	t.Helper()
	r, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func add(t *testing.T, m *Mailbox, folder, subject string) Item {
	t.Helper()
	it, err := m.Add(well(t, m, folder).ID, Bytes(note(t, subject, 10)))
	if err != nil {
		t.Fatal(err)
	}
	return it
}

func well(t *testing.T, m *Mailbox, name string) Folder {
	t.Helper()
	f, err := m.Known(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestNewMailbox(t *testing.T) {
	t.Parallel()
	m := New("Anna@corp.test", Options{Names: map[string]string{"inbox": "Posteingang"}})
	if f := well(t, m, "INBOX"); f.Name != "Posteingang" || f.Class != "IPF.Note" || f.Parent != well(t, m, "msgfolderroot").ID {
		t.Errorf("inbox is %+v", f)
	}
	if m.GUID != New("anna@CORP.test", Options{}).GUID {
		t.Error("the GUID depends on the address's case")
	}
	if _, err := m.Known("archiveinbox"); !errors.Is(err, ErrNoFolder) {
		t.Errorf("archive: %v", err)
	}
	if _, err := m.Known(""); !errors.Is(err, ErrNoFolder) {
		t.Errorf("no name: %v", err)
	}
	top := well(t, m, "msgfolderroot").ID
	shallow, deep := m.Folders(top, false), m.Folders(top, true)
	if len(deep) != len(shallow)+3 { // the three below Sync Issues
		t.Errorf("%d folders, %d in depth", len(shallow), len(deep))
	}
}

func TestFolderNames(t *testing.T) {
	t.Parallel()
	m := New("a@b.test", Options{})
	inbox := well(t, m, "inbox").ID
	first, err := m.CreateFolder(inbox, "Projects", "")
	if err != nil || first.Class != "IPF.Note" {
		t.Fatalf("%+v, %v", first, err)
	}
	for _, c := range []struct {
		name, folder string
		want         error
	}{
		{"other case", "PROJECTS", ErrFolderExists},
		{"slash", "a/b", ErrFolderName},
		{"empty", " ", ErrFolderName},
		{"255 characters", strings.Repeat("ä", 255), nil},
		{"256 characters", strings.Repeat("ä", 256), ErrFolderName},
	} {
		if _, err := m.CreateFolder(inbox, c.folder, ""); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
		if _, err := m.RenameFolder(well(t, m, "drafts").ID, c.folder); c.want == ErrFolderName && !errors.Is(err, c.want) {
			t.Errorf("rename, %s: got %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := m.CreateFolder(999, "x", ""); !errors.Is(err, ErrNoFolder) {
		t.Errorf("no parent: %v", err)
	}
	if err := m.DeleteFolder(inbox); !errors.Is(err, ErrFolderName) {
		t.Errorf("well-known folder: %v", err)
	}
}

func TestDeleteFolderTakesEverythingBelow(t *testing.T) {
	t.Parallel()
	size := int64(len(note(t, "x", 10)))
	m := New("a@b.test", Options{Quota: size})
	outer, err := m.CreateFolder(well(t, m, "inbox").ID, "outer", "")
	if err != nil {
		t.Fatal(err)
	}
	inner, err := m.CreateFolder(outer.ID, "inner", "")
	if err != nil {
		t.Fatal(err)
	}
	it, err := m.Add(inner.ID, Bytes(note(t, "x", 10)))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.DeleteFolder(outer.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Item(it.ID); !errors.Is(err, ErrNoItem) {
		t.Errorf("item: %v", err)
	}
	if _, err := m.Folder(inner.ID); !errors.Is(err, ErrNoFolder) {
		t.Errorf("inner folder: %v", err)
	}
	add(t, m, "inbox", "y") // the quota is free again
}

func TestAddKeepsTheStream(t *testing.T) {
	t.Parallel()
	m := New("a@b.test", Options{})
	raw := note(t, "hello", 10)
	it, err := m.Add(well(t, m, "inbox").ID, Bytes(raw))
	if err != nil {
		t.Fatal(err)
	}
	if it.Digest != sha256.Sum256(raw) || !bytes.Equal(bytesOf(t, it.Stream), raw) {
		t.Error("other bytes")
	}
	if it.Summary.Subject != "hello" || it.Summary.To != "Bo" || len(it.Recipients) != 1 {
		t.Errorf("summary %+v", it.Summary)
	}
	for id, want := range map[uint16]any{fts.TagSubject: "hello", fts.TagDisplayTo: "Bo", fts.TagMessageSize: int32(len(raw)), fts.TagHasAttachments: false, fts.TagTransportHeaders: nil} {
		if got := m.Property(it, id); got != want {
			t.Errorf("property %#x: got %v, want %v", id, got, want)
		}
	}
	items, children, size := m.Count(it.Folder)
	if items != 1 || children != 0 || size != int64(len(raw)) || m.Unread(it.Folder) != 1 {
		t.Errorf("counts %d %d %d", items, children, size)
	}
}

func TestAddRefuses(t *testing.T) {
	t.Parallel()
	raw := note(t, "hello", 10)
	m := New("a@b.test", Options{Quota: int64(2*len(raw) - 1)})
	inbox := well(t, m, "inbox").ID
	var format *fts.FormatError
	for name, bad := range map[string][]byte{"empty": nil, "half": raw[:len(raw)/2], "truncated": append(raw[:len(raw)/2:len(raw)/2], "=== Truncated Data ==="...)} {
		if _, err := m.Add(inbox, Bytes(bad)); !errors.As(err, &format) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := m.Add(999, Bytes(raw)); !errors.Is(err, ErrNoFolder) {
		t.Errorf("no folder: %v", err)
	}
	it, err := m.Add(inbox, Bytes(raw))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Add(inbox, Bytes(raw)); !errors.Is(err, ErrQuota) {
		t.Errorf("quota of an addition: %v", err)
	}
	if _, err := m.Copy(it.ID, inbox); !errors.Is(err, ErrQuota) {
		t.Errorf("quota of a copy: %v", err)
	}
	if _, err := m.Move(it.ID, well(t, m, "drafts").ID); err != nil {
		t.Errorf("a move needs no room: %v", err)
	}
	if len(m.Items(inbox)) != 0 {
		t.Error("something stayed behind")
	}
}

func TestMoveAndCopy(t *testing.T) {
	t.Parallel()
	m := New("a@b.test", Options{})
	it, drafts := add(t, m, "inbox", "x"), well(t, m, "drafts").ID
	copied, err := m.Copy(it.ID, drafts)
	if err != nil {
		t.Fatal(err)
	}
	moved, err := m.Move(it.ID, drafts)
	if err != nil {
		t.Fatal(err)
	}
	if copied.ID == it.ID || moved.ID == it.ID || string(moved.Summary.SearchKey) != "x" || moved.Digest != it.Digest {
		t.Errorf("copied %d, moved %d", copied.ID, moved.ID)
	}
	if _, err := m.Move(it.ID, drafts); !errors.Is(err, ErrNoItem) {
		t.Errorf("twice: %v", err)
	}
	if _, err := m.Copy(copied.ID, 999); !errors.Is(err, ErrNoFolder) {
		t.Errorf("nowhere: %v", err)
	}
	if got := m.IDs(drafts); !slices.Equal(got, []uint64{copied.ID, moved.ID}) {
		t.Errorf("ids %v", got)
	}
}

func TestReplaceAsksForTheChangeKey(t *testing.T) {
	t.Parallel()
	m := New("a@b.test", Options{})
	it := add(t, m, "inbox", "x")
	again, err := m.Replace(it.ID, it.Change, Bytes(note(t, "longer than it was", 100)))
	if err != nil || again.ID != it.ID || again.Change == it.Change {
		t.Fatalf("%d, %v", again.ID, err)
	}
	if _, err := m.Replace(it.ID, it.Change, Bytes(note(t, "y", 1))); !errors.Is(err, ErrChanged) {
		t.Errorf("stale: %v", err)
	}
	if _, err := m.Replace(999, 0, Bytes(note(t, "y", 1))); !errors.Is(err, ErrNoItem) {
		t.Errorf("no item: %v", err)
	}
	if n, _, size := m.Count(it.Folder); n != 1 || size != again.Stream.Size {
		t.Errorf("%d items of %d bytes, want one of %d", n, size, again.Stream.Size)
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	m := New("a@b.test", Options{})
	inbox, drafts := well(t, m, "inbox").ID, well(t, m, "drafts").ID
	a, b := add(t, m, "inbox", "a"), add(t, m, "inbox", "b")
	_, point := m.Changes(inbox, 0)
	steps := []error{
		second(m.SetRead(a.ID, true)),
		second(m.Edit(b.ID, func(msg *fts.Message) { msg.Properties.Set(fts.Prop(fts.TagSubject, "c")) })),
		second(m.Move(b.ID, drafts)),
		m.Delete(a.ID),
	}
	if err := errors.Join(steps...); err != nil {
		t.Fatal(err)
	}
	kinds := func(folder, after uint64) (out []Kind) {
		log, _ := m.Changes(folder, after)
		for i, c := range log {
			if c.Folder != folder || i > 0 && c.Seq <= log[i-1].Seq {
				t.Errorf("line %+v", c)
			}
			out = append(out, c.Kind)
		}
		return out
	}
	if got := kinds(inbox, 0); !slices.Equal(got, []Kind{Created, Created, ReadFlag, Updated, Deleted, Deleted}) {
		t.Errorf("inbox: %v", got)
	}
	if got := kinds(inbox, point); len(got) != 4 {
		t.Errorf("after a point: %v", got)
	}
	if got := kinds(drafts, 0); !slices.Equal(got, []Kind{Created}) {
		t.Errorf("drafts: %v", got)
	}
	if m.Unread(inbox) != 0 || m.Unread(drafts) != 1 {
		t.Errorf("unread %d and %d", m.Unread(inbox), m.Unread(drafts))
	}
	if got := m.Items(drafts)[0].Summary.Subject; got != "c" {
		t.Errorf("edited subject %q", got)
	}
}

func second[T any](_ T, err error) error { return err }

func TestRestampWritesWhatAServerOwns(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClockAt(time.Date(2026, 2, 3, 9, 0, 0, 0, time.UTC))
	online := fts.Version{Major: 15, Minor: 20, Build: 9999, Revision: 1}
	m := New("a@b.test", Options{Clock: clock, Restamp: &online})
	raw := note(t, "x", 10)
	a, err := m.Add(well(t, m, "inbox").ID, Bytes(raw))
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Add(well(t, m, "inbox").ID, Bytes(raw))
	if err != nil {
		t.Fatal(err)
	}
	got, err := fts.Read(bytes.NewReader(bytesOf(t, a.Stream)))
	if err != nil {
		t.Fatal(err)
	}
	if when, _ := got.Properties.Value(fts.TagLastModified).(time.Time); !when.Equal(clock.Now()) {
		t.Errorf("modified %v", when)
	}
	if bytes.Equal(bytesOf(t, a.Stream), bytesOf(t, b.Stream)) {
		t.Error("two items with one change key")
	}
	sum, err := fts.Summarize(bytes.NewReader(bytesOf(t, a.Stream)))
	if err != nil {
		t.Fatal(err)
	}
	before, err := fts.Summarize(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if sum.Digest != before.Digest || a.Digest != sha256.Sum256(raw) {
		t.Error("the stamp changes what the item is")
	}
}

func TestLargeStreamsWaitInAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := New("a@b.test", Options{SpillDir: dir})
	raw := note(t, "large", 9<<20/2) // two bytes a character: above what is parsed whole
	s, err := m.Keep(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	it, err := m.Add(well(t, m, "inbox").ID, s)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if !bytes.Equal(bytesOf(t, it.Stream), raw) {
			t.Fatal("other bytes")
		}
	}
	if m.Property(it, fts.TagSubject) != "large" || m.Property(it, fts.TagBody) != nil {
		t.Error("listed properties of a large item")
	}
	small, err := m.Keep(strings.NewReader("abc"))
	if err != nil || string(bytesOf(t, small)) != "abc" || small.Size != 3 {
		t.Errorf("small: %v", err)
	}
}

func BenchmarkItemsOfALargeMailbox(b *testing.B) {
	m := New("a@b.test", Options{})
	inbox, _ := m.Known("inbox")
	raw := Bytes(note(&testing.T{}, "x", 10))
	for i := range 20_000 {
		folder := inbox.ID
		if i%100 == 0 {
			folder++
		}
		if _, err := m.Add(folder, raw); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if n := len(m.Items(inbox.ID + 1)); n != 200 {
			b.Fatal(fmt.Sprint(n))
		}
	}
}
