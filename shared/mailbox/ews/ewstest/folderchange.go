package ewstest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
)

// eachFolder answers for every folder of a list; do returns nothing but a problem.
func (c *call) eachFolder(do func(ref) *problem) *fault {
	return c.respond(func() {
		for _, e := range c.op.child("FolderIds").kids {
			r, p := c.folder(e)
			if p == nil {
				p = do(r)
			}
			if p != nil {
				c.refuse(p, nil)
				continue
			}
			c.success(nil)
		}
	})
}

func (c *call) deleteFolder() *fault {
	return c.eachFolder(func(r ref) *problem {
		if r.folder.Known != "" {
			return newProblem("ErrorDeleteDistinguishedFolder")
		}
		return c.dropFolder(r)
	})
}

// dropFolder puts a folder into that of deleted items, or ends it. The dumpster does not keep folders here.
func (c *call) dropFolder(r ref) *problem {
	if c.op.attr("DeleteType") != "MoveToDeletedItems" {
		return storeProblemOf(r.m.DeleteFolder(r.folder.ID))
	}
	trash, err := r.m.Known("deleteditems")
	if err != nil {
		return storeProblem(err)
	}
	_, err = r.m.MoveFolder(r.folder.ID, trash.ID)
	for n := 1; errors.Is(err, exchangetest.ErrFolderExists); n++ { // beside another deleted folder of that name
		if _, err = r.m.RenameFolder(r.folder.ID, fmt.Sprintf("%s%d", r.folder.Name, n)); err == nil {
			_, err = r.m.MoveFolder(r.folder.ID, trash.ID)
		}
	}
	return storeProblemOf(err)
}

func storeProblemOf(err error) *problem {
	if err == nil {
		return nil
	}
	return storeProblem(err)
}

// emptyFolder deletes what is in a folder. Calendars cannot be emptied so.
func (c *call) emptyFolder() *fault {
	return c.eachFolder(func(r ref) *problem {
		if folderKindOf(r.folder.Class).element == "CalendarFolder" {
			return newProblem("ErrorCannotEmptyFolder")
		}
		for _, it := range r.m.Items(r.folder.ID) {
			if p := c.discard(ref{m: r.m, item: it}); p != nil {
				return p
			}
		}
		if sub := c.op.attr("DeleteSubFolders"); sub != "true" && sub != "1" {
			return nil
		}
		for _, f := range r.m.Folders(r.folder.ID, false) {
			if p := c.dropFolder(ref{m: r.m, folder: f}); p != nil {
				return p
			}
		}
		return nil
	})
}

// changeFolder writes the answers of operations that give a folder back.
func (c *call) changeFolder(list []*element, do func(*element) (ref, *problem)) {
	for _, e := range list {
		r, p := do(e)
		if p != nil {
			c.refuse(p, c.emptyFolders)
			continue
		}
		c.success(func() { c.folderID(r) })
	}
}

func (c *call) updateFolder() *fault {
	return c.respond(func() {
		c.changeFolder(c.op.child("FolderChanges").kids, func(e *element) (ref, *problem) {
			r, p := c.folder(e.kids0())
			if p != nil {
				return ref{}, p
			}
			for _, u := range e.child("Updates").kids {
				if p := r.update(u); p != nil {
					return ref{}, p
				}
			}
			return r, nil
		})
	})
}

// update changes one property of a folder. A folder has no permissions to delete, and no properties beside its name.
func (r *ref) update(u *element) *problem {
	of, p := readPath(u.kids0())
	switch {
	case p != nil:
		return p
	case u.name.Local == "DeleteFolderField" && of.uri == "folder:PermissionSet":
		return nil
	case u.name.Local == "SetFolderField" && of.uri == "folder:FolderClass" && u.kids[1].child("FolderClass").value() == r.folder.Class:
		return nil // another class is not simulated
	case u.name.Local != "SetFolderField" || of.uri != "folder:DisplayName" || u.kids[1].child("DisplayName") == nil:
		return newProblem("ErrorInvalidPropertySet")
	case r.folder.Known != "":
		return newProblem("ErrorFolderSave")
	}
	f, err := r.m.RenameFolder(r.folder.ID, u.kids[1].child("DisplayName").text)
	if err != nil {
		return storeProblem(err)
	}
	r.folder = f
	return nil
}

// moveFolder is MoveFolder and CopyFolder.
func (c *call) moveFolder() *fault {
	return c.respond(func() {
		to, bad := c.folder(c.op.child("ToFolderId").kids0())
		if bad != nil && bad.code == "ErrorFolderNotFound" {
			bad = newProblem("ErrorToFolderNotFound")
		}
		c.changeFolder(c.op.child("FolderIds").kids, func(e *element) (ref, *problem) {
			r, p := c.folder(e)
			if p = firstProblem(bad, p); p != nil {
				return ref{}, p
			}
			if c.op.name.Local == "CopyFolder" {
				if r.holds(to) {
					return ref{}, newProblem("ErrorMoveCopyFailed")
				}
				return r.copyTo(to)
			}
			return r.moveTo(to)
		})
	})
}

func (r ref) moveTo(to ref) (ref, *problem) {
	switch {
	case r.folder.Known != "":
		return ref{}, newProblem("ErrorMoveDistinguishedFolder")
	case r.m != to.m: // not simulated
		return ref{}, newProblem("ErrorMoveCopyFailed")
	}
	f, err := r.m.MoveFolder(r.folder.ID, to.folder.ID)
	return ref{m: r.m, folder: f}, storeProblemOf(err)
}

// holds says whether a folder is r or below it.
func (r ref) holds(f ref) bool {
	return r.m == f.m && (r.folder.ID == f.folder.ID ||
		slices.ContainsFunc(r.m.Folders(r.folder.ID, true), func(g exchangetest.Folder) bool { return g.ID == f.folder.ID }))
}

// copyTo copies a folder with everything below it.
func (r ref) copyTo(to ref) (ref, *problem) {
	made, err := to.m.CreateFolder(to.folder.ID, r.folder.Name, r.folder.Class)
	if err != nil {
		return ref{}, storeProblem(err)
	}
	copied := ref{m: to.m, folder: made}
	for _, it := range r.m.Items(r.folder.ID) {
		if _, err := to.m.Add(made.ID, it.Stream); err != nil {
			return ref{}, storeProblem(err)
		}
	}
	for _, f := range r.m.Folders(r.folder.ID, false) {
		if _, p := (ref{m: r.m, folder: f}).copyTo(copied); p != nil {
			return ref{}, p
		}
	}
	return copied, nil
}
