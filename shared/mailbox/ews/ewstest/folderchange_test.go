package ewstest

import (
	"fmt"
	"testing"
)

func TestRenameMoveAndCopyFolders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	folder := func(parent, name string) (id uint64, e string) {
		f, err := w.m.CreateFolder(w.known(parent).ID, name, "")
		if err != nil {
			t.Fatal(err)
		}
		return f.ID, `<t:FolderId Id="` + FolderID(w.m, f.ID) + `"/>`
	}
	id, f := folder("inbox", "Old")
	_, taken := folder("inbox", "Taken")
	rename := func(e, name string) answer {
		return w.ask(`<m:UpdateFolder><m:FolderChanges><t:FolderChange>` + e + `<t:Updates><t:SetFolderField><t:FieldURI FieldURI="folder:FolderClass"/><t:Folder><t:FolderClass>IPF.Note</t:FolderClass></t:Folder></t:SetFolderField><t:SetFolderField><t:FieldURI FieldURI="folder:DisplayName"/><t:Folder><t:DisplayName>` +
			name + `</t:DisplayName></t:Folder></t:SetFolderField><t:DeleteFolderField><t:FieldURI FieldURI="folder:PermissionSet"/></t:DeleteFolderField></t:Updates></t:FolderChange></m:FolderChanges></m:UpdateFolder>`)
	}
	if got := rename(f, "New").is("NoError").attrs("FolderId", "Id")[0]; got != FolderID(w.m, id) {
		t.Errorf("a renamed folder has another id: %s", got)
	}
	rename(f, "TAKEN").is("ErrorFolderExists")
	rename(known("inbox"), "Mine").is("ErrorFolderSave")

	to := func(op, dest, e string) answer {
		return w.ask(`<m:` + op + `><m:ToFolderId>` + dest + `</m:ToFolderId><m:FolderIds>` + e + `</m:FolderIds></m:` + op + `>`)
	}
	to("MoveFolder", known("drafts"), f).is("NoError")
	to("MoveFolder", known("inbox"), taken).is("NoError")
	to("MoveFolder", f, taken).is("NoError")
	to("MoveFolder", taken, f).is("ErrorMoveCopyFailed")
	to("CopyFolder", taken, f).is("ErrorMoveCopyFailed")
	to("MoveFolder", f, known("inbox")).is("ErrorMoveDistinguishedFolder")
	to("MoveFolder", known("archiveinbox"), f).is("ErrorToFolderNotFound")
	copied := to("CopyFolder", known("inbox"), f).is("NoError").attrs("FolderId", "Id")[0]
	if x, _ := decodeID(copied); len(w.m.Folders(x.folder, false)) != 1 {
		t.Errorf("the folder below was not copied")
	}
}

func TestDeletedFoldersGoWhereTheyAreSentTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	for range 2 {
		f, err := w.m.CreateFolder(w.known("inbox").ID, "Gone", "")
		if err != nil {
			t.Fatal(err)
		}
		w.ask(`<m:DeleteFolder DeleteType="MoveToDeletedItems"><m:FolderIds><t:FolderId Id="` + FolderID(w.m, f.ID) + `"/></m:FolderIds></m:DeleteFolder>`).is("NoError")
	}
	got := ""
	for _, f := range w.m.Folders(w.known("deleteditems").ID, false) {
		got += f.Name + " "
	}
	if got != "Gone Gone1 " {
		t.Errorf("deleted folders: %q", got)
	}
}

func TestEmptyFolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	w.mail("inbox", "a", 1)
	if _, err := w.m.CreateFolder(w.known("inbox").ID, "Sub", ""); err != nil {
		t.Fatal(err)
	}
	empty := func(name string, deep bool) answer {
		return w.ask(fmt.Sprintf(`<m:EmptyFolder DeleteType="SoftDelete" DeleteSubFolders="%v"><m:FolderIds>%s</m:FolderIds></m:EmptyFolder>`, deep, known(name)))
	}
	count := func() string {
		items, children, _ := w.m.Count(w.known("inbox").ID)
		dumped, _, _ := w.m.Count(w.known("recoverableitemsdeletions").ID)
		return fmt.Sprint(items, children, dumped)
	}
	empty("inbox", false).is("NoError")
	if got := count(); got != "0 1 1" {
		t.Errorf("emptied: %s", got)
	}
	empty("inbox", true).is("NoError")
	if got := count(); got != "0 0 1" {
		t.Errorf("emptied with what is below: %s", got)
	}
	empty("calendar", false).is("ErrorCannotEmptyFolder")
}
