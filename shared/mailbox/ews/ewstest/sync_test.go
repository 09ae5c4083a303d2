package ewstest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

func syncItems(folder, state string, limit int) string {
	s := ""
	if state != "" {
		s = "<m:SyncState>" + state + "</m:SyncState>"
	}
	return fmt.Sprintf(`<m:SyncFolderItems><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape><m:SyncFolderId>%s</m:SyncFolderId>%s<m:MaxChangesReturned>%d</m:MaxChangesReturned></m:SyncFolderItems>`, known(folder), s, limit)
}

// changes lists an answer's changes as "Create" and so on.
func (a answer) changes() string {
	var out []string
	for _, c := range a.all("Changes") {
		for _, k := range c.kids {
			out = append(out, k.name.Local)
		}
	}
	return strings.Join(out, " ")
}

func TestSyncItems(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	a, b, c := w.mail("inbox", "a", 1), w.mail("inbox", "b", 2), w.mail("inbox", "c", 3)

	first := w.ask(syncItems("inbox", "", 2)).is("NoError").eq("IncludesLastItemInRange", "false")
	if ids := first.attrs("ItemId", "Id"); len(ids) != 2 || ids[0] != ItemID(w.m, c) || ids[1] != ItemID(w.m, b) {
		t.Fatalf("first page: %v", ids)
	}
	d := w.mail("inbox", "d", 4) // arrives while the first listing is under way
	second := w.ask(syncItems("inbox", first.texts("SyncState"), 2)).is("NoError").eq("IncludesLastItemInRange", "false")
	if ids := second.attrs("ItemId", "Id"); len(ids) != 1 || ids[0] != ItemID(w.m, a) {
		t.Fatalf("second page: %v", ids)
	}
	third := w.ask(syncItems("inbox", second.texts("SyncState"), 2)).is("NoError").eq("IncludesLastItemInRange", "true")
	if ids := third.attrs("ItemId", "Id"); len(ids) != 1 || ids[0] != ItemID(w.m, d) {
		t.Fatalf("what came meanwhile: %v", ids)
	}
	state := third.texts("SyncState")
	if got := w.ask(syncItems("inbox", state, 512)).is("NoError").eq("IncludesLastItemInRange", "true").changes(); got != "" {
		t.Fatalf("nothing happened and yet: %s", got)
	}

	must := func(_ any, err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.m.SetRead(a.ID, true))
	must(w.m.Edit(b.ID, func(m *fts.Message) { m.Properties.Set(fts.Prop(fts.TagImportance, int32(2))) }))
	must(w.m.Move(c.ID, w.known("drafts").ID))
	must(nil, w.m.Delete(d.ID))
	e := w.mail("inbox", "e", 5)
	must(w.m.SetRead(e.ID, true))
	f := w.mail("inbox", "f", 6)
	must(nil, w.m.Delete(f.ID))
	if got, want := w.ask(syncItems("inbox", state, 512)).is("NoError").changes(), "ReadFlagChange Update Delete Delete Create"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	// The same, one by one, and the old state again: a repeated request gets the same answer.
	var kinds []string
	for last := "false"; last == "false"; {
		one := w.ask(syncItems("inbox", state, 1)).is("NoError")
		kinds = append(kinds, one.changes())
		state, last = one.texts("SyncState"), one.texts("IncludesLastItemInRange")
	}
	if got := strings.Join(kinds, " "); got != "ReadFlagChange Update Delete Delete Create" {
		t.Fatalf("one by one: %s", got)
	}
	if got := w.ask(syncItems("drafts", "", 512)).is("NoError").changes(); got != "Create" {
		t.Fatalf("target of the move: %s", got)
	}
}

func TestSyncIgnoresWhatTheClientKnows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	a, b := w.mail("inbox", "a", 1), w.mail("inbox", "b", 2)
	body := strings.Replace(syncItems("inbox", "", 512), "<m:MaxChanges", `<m:Ignore><t:ItemId Id="`+ItemID(w.m, a)+`"/></m:Ignore><m:MaxChanges`, 1)
	if ids := w.ask(body).is("NoError").attrs("ItemId", "Id"); len(ids) != 1 || ids[0] != ItemID(w.m, b) {
		t.Fatalf("got %v", ids)
	}
}

func TestSyncStatesAreBoundAndChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	state := w.ask(syncItems("inbox", "", 512)).is("NoError").texts("SyncState")
	w.ask(syncItems("drafts", state, 512)).is("ErrorInvalidSyncStateData")
	w.ask(syncItems("inbox", "garbage", 512)).is("ErrorInvalidSyncStateData").eq("SyncState", "").eq("IncludesLastItemInRange", "true")
	w.ask(syncItems("inbox", state[:len(state)-8], 512)).is("ErrorInvalidSyncStateData")
	hierarchy := w.ask(syncHierarchy("")).is("NoError").texts("SyncState")
	w.ask(syncItems("inbox", hierarchy, 512)).is("ErrorInvalidSyncStateData")
	w.ask(syncHierarchy(state)).is("ErrorInvalidSyncStateData").eq("SyncState", "").eq("IncludesLastFolderInRange", "true")
	w.ask(syncItems("archiveinbox", "", 512)).is("ErrorSyncFolderNotFound")
}

func syncHierarchy(state string) string {
	s := ""
	if state != "" {
		s = "<m:SyncState>" + state + "</m:SyncState>"
	}
	return `<m:SyncFolderHierarchy><m:FolderShape><t:BaseShape>Default</t:BaseShape></m:FolderShape><m:SyncFolderId>` + known("msgfolderroot") + `</m:SyncFolderId>` + s + `</m:SyncFolderHierarchy>`
}

func TestSyncHierarchy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	gone, err := w.m.CreateFolder(w.known("inbox").ID, "gone", "")
	if err != nil {
		t.Fatal(err)
	}
	first := w.ask(syncHierarchy("")).is("NoError").eq("IncludesLastFolderInRange", "true")
	if got := strings.Count(first.changes(), "Create"); got != len(w.m.Folders(w.known("msgfolderroot").ID, true)) {
		t.Fatalf("%d folders", got)
	}
	state := first.texts("SyncState")
	w.mail("inbox", "x", 1) // counts are no changes
	if got := w.ask(syncHierarchy(state)).is("NoError").changes(); got != "" {
		t.Fatalf("nothing happened and yet: %s", got)
	}
	if _, err := w.m.CreateFolder(w.known("inbox").ID, "new", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := w.m.RenameFolder(w.known("drafts").ID, "Entwürfe"); err != nil {
		t.Fatal(err)
	}
	if err := w.m.DeleteFolder(gone.ID); err != nil {
		t.Fatal(err)
	}
	if got := w.ask(syncHierarchy(state)).is("NoError").eq("DisplayName", "Entwürfe,new").changes(); got != "Update Create Delete" {
		t.Fatalf("got %s", got)
	}
}

func FuzzIDsAndStates(f *testing.F) {
	f.Add("AAMkAD")
	f.Add(syncState{kind: 1, folder: 7, folders: map[uint64]uint64{1: 2}}.encode())
	f.Add(changeKey(newMailbox(), 9, 7))
	f.Add(FolderID(newMailbox(), 7))
	f.Fuzz(func(t *testing.T, s string) {
		if x, ok := decodeID(s); ok && x.folder > 1<<48 {
			t.Fatal("a counter of more than 48 bits")
		}
		changeOf(s)
		if st, ok := decodeState(s); ok {
			if again, ok := decodeState(st.encode()); !ok || fmt.Sprint(again) != fmt.Sprint(st) {
				t.Fatalf("%+v came back as %+v", st, again)
			}
		}
	})
}
