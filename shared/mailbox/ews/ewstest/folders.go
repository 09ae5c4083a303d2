package ewstest

import (
	"slices"
	"strings"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// folderValue is what restrictions see of a folder's FieldURI; nil when they may not.
func folderValue(r ref, uri string) any {
	items, children, _ := r.m.Count(r.folder.ID)
	switch uri {
	case "folder:DisplayName":
		return r.folder.Name
	case "folder:FolderClass":
		return r.folder.Class
	case "folder:TotalCount":
		return items
	case "folder:ChildFolderCount":
		return children
	case "folder:UnreadCount":
		return r.m.Unread(r.folder.ID)
	}
	return nil
}

// folderProperty is a folder's MAPI property.
func folderProperty(r ref, x *extended) any {
	if x.name != nil {
		return nil
	}
	items, children, size := r.m.Count(r.folder.ID)
	switch x.tag {
	case fts.TagMessageSize: // PidTagMessageSizeExtended; as 32 bits only while it fits
		if x.typ == fts.Int32 {
			return int32(min(size, 1<<31-1))
		}
		return size
	case fts.TagDisplayName:
		return r.folder.Name
	case fts.TagCreationTime:
		return r.folder.Created.UTC()
	case fts.TagLastModified, 0x670A: // PidTagLocalCommitTimeMax
		return lastChange(r)
	case 0x3601: // PidTagFolderType: generic
		return int32(1)
	case 0x3602: // PidTagContentCount
		return int32(items)
	case 0x3603: // PidTagContentUnreadCount
		return int32(r.m.Unread(r.folder.ID))
	case 0x360A: // PidTagSubfolders
		return children > 0
	case 0x3613: // PidTagContainerClass
		return r.folder.Class
	case 0x3617: // PidTagAssociatedContentCount
		return int32(0)
	case 0x66B5: // PR_FOLDER_PATHNAME
		return pathname(r)
	case 0x10F4: // PidTagAttributeHidden
		return r.folder.Hidden
	case fts.TagEntry, fts.TagRecordKey:
		return entryID(r.m, 1, r.folder.ID)
	case fts.TagObjectType:
		return int32(3) // a folder
	case fts.TagSourceKey:
		return appendCounter(nil, r.m, r.folder.ID)[:22]
	}
	return nil
}

func lastChange(r ref) time.Time {
	t := r.folder.Created
	for _, it := range r.m.Items(r.folder.ID) {
		if it.Modified.After(t) {
			t = it.Modified
		}
	}
	return t.UTC()
}

// pathname joins names from the root of the visible tree with U+FFFE, which XML does not have.
func pathname(r ref) string {
	path := ""
	for f := r.folder; f.Parent != 0 && f.Known != "msgfolderroot"; {
		path = "\uFFFE" + f.Name + path
		up, err := r.m.Folder(f.Parent)
		if err != nil {
			break
		}
		f = up
	}
	return path
}

// writeFolder writes a folder in the order of the schema.
func (w *writer) writeFolder(r ref, sh *shape) {
	k := folderKindOf(r.folder.Class)
	name := "t:" + k.element
	w.open(name)
	if sh.shows("folder:FolderId", shown, false) || sh.base == "IdOnly" {
		w.empty("t:FolderId", "Id", FolderID(r.m, r.folder.ID), "ChangeKey", folderChangeKey(r.m, r.folder))
	}
	if sh.shows("folder:ParentFolderId", inAll, false) {
		w.parentOf(r)
	}
	if sh.shows("folder:FolderClass", inAll, false) && r.folder.Class != "" {
		w.text("t:FolderClass", r.folder.Class)
	}
	w.folderCounts(r, sh)
	for _, x := range sh.extra {
		w.writeExtended(x, x.fits(folderProperty(r, x)))
	}
	if sh.shows("folder:EffectiveRights", inAll, false) {
		w.rights()
	}
	if sh.shows("folder:DistinguishedFolderId", inAll, false) && slices.Contains(strings.Fields(distinguishedNames), r.folder.Known) {
		w.text("t:DistinguishedFolderId", r.folder.Known)
	}
	if k.element != "CalendarFolder" && k.element != "ContactsFolder" && sh.shows("folder:UnreadCount", opened, false) {
		w.num("t:UnreadCount", r.m.Unread(r.folder.ID))
	}
	w.close(name)
}

func (w *writer) parentOf(r ref) {
	parent := r.folder
	if r.folder.Parent != 0 {
		if up, err := r.m.Folder(r.folder.Parent); err == nil {
			parent = up
		}
	}
	w.empty("t:ParentFolderId", "Id", FolderID(r.m, parent.ID), "ChangeKey", folderChangeKey(r.m, parent))
}

func (w *writer) folderCounts(r ref, sh *shape) {
	items, children, _ := r.m.Count(r.folder.ID)
	if sh.shows("folder:DisplayName", opened, false) {
		w.text("t:DisplayName", r.folder.Name)
	}
	if sh.shows("folder:TotalCount", opened, false) {
		w.num("t:TotalCount", items)
	}
	if sh.shows("folder:ChildFolderCount", opened, false) {
		w.num("t:ChildFolderCount", children)
	}
}

func (c *call) getFolder() *fault {
	sh, bad := readShape(c.op.child("FolderShape"))
	return c.respond(func() {
		for _, e := range c.op.child("FolderIds").kids {
			r, p := c.folder(e)
			if p = firstProblem(bad, p); p != nil {
				c.refuse(p, c.emptyFolders)
				continue
			}
			c.success(func() {
				c.w.open("m:Folders")
				c.w.writeFolder(r, &sh)
				c.w.close("m:Folders")
			})
		}
	})
}

func firstProblem(ps ...*problem) *problem {
	for _, p := range ps {
		if p != nil {
			return p
		}
	}
	return nil
}

func (c *call) findFolder() *fault {
	sh, bad := readShape(c.op.child("FolderShape"))
	where, badWhere := readRestriction(c.op.child("Restriction"))
	pg, badPage := readPage(c.op, "IndexedPageFolderView", "FractionalPageFolderView")
	return c.respond(func() {
		for _, e := range c.op.child("ParentFolderIds").kids {
			r, p := c.folder(e)
			if p = firstProblem(bad, badWhere, badPage, p); p != nil {
				c.refuse(p, nil)
				continue
			}
			c.foundFolders(c.matching(r, where), pg, &sh)
		}
	})
}

// matching returns the folders below r that the request is about.
func (c *call) matching(r ref, where condition) []ref {
	var out []ref
	if c.op.attr("Traversal") == "SoftDeleted" {
		return nil
	}
	for _, f := range r.m.Folders(r.folder.ID, c.op.attr("Traversal") == "Deep") {
		sub := ref{m: r.m, folder: f}
		if where == nil || where(folderLookup(sub)) {
			out = append(out, sub)
		}
	}
	return out
}

func folderLookup(r ref) lookup {
	return func(p path) any {
		if p.extended != nil {
			return p.extended.fits(folderProperty(r, p.extended))
		}
		return folderValue(r, p.uri)
	}
}

func (c *call) foundFolders(all []ref, pg page, sh *shape) {
	from, to, p := c.window(pg, len(all))
	if p != nil {
		c.refuse(p, nil)
		return
	}
	c.success(func() {
		c.w.open("m:RootFolder", pg.attrs(from, to, len(all))...)
		c.w.open("t:Folders")
		for _, r := range all[from:to] {
			c.w.writeFolder(r, sh)
		}
		c.w.close("t:Folders")
		c.w.close("m:RootFolder")
	})
}

func (c *call) createFolder() *fault {
	return c.respond(func() {
		parent, bad := c.folder(c.op.child("ParentFolderId").kids0())
		if bad != nil && bad.code == "ErrorFolderNotFound" {
			bad = newProblem("ErrorParentFolderNotFound")
		}
		for _, e := range c.op.child("Folders").kids {
			r, p := c.makeFolder(e, parent, bad)
			if p != nil {
				c.refuse(p, c.emptyFolders)
				continue
			}
			c.success(func() { c.folderID(r) })
		}
	})
}

// folderID writes Folders with one folder's id.
func (c *call) folderID(r ref) {
	c.w.open("m:Folders")
	c.w.writeFolder(r, &shape{base: "IdOnly"})
	c.w.close("m:Folders")
}

func (e *element) kids0() *element {
	if e == nil || len(e.kids) == 0 {
		return &element{}
	}
	return e.kids[0]
}

func (c *call) makeFolder(e *element, parent ref, bad *problem) (ref, *problem) {
	if bad != nil {
		return ref{}, bad
	}
	class := e.child("FolderClass").value()
	if class == "" {
		class = map[string]string{"CalendarFolder": "IPF.Appointment", "ContactsFolder": "IPF.Contact", "TasksFolder": "IPF.Task"}[e.name.Local]
	}
	name := ""
	if n := e.child("DisplayName"); n != nil {
		name = n.text
	}
	f, err := parent.m.CreateFolder(parent.folder.ID, name, class)
	if err != nil {
		return ref{}, storeProblem(err)
	}
	return ref{m: parent.m, folder: f}, nil
}
