package graphtest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

const rootFolder = "msgfolderroot"

// extendedValue is an extended property that a client gave a folder; the store has no place for it.
type extendedValue struct {
	id    propID
	value string
}

// folderNamed finds the folder of a path: an id or a well-known name in any case.
func (c *call) folderNamed(key string) (exchangetest.Folder, error) {
	if f, err := c.box.m.Known(key); err == nil {
		return f, nil
	}
	if slices.Contains(absentFolders(), strings.ToLower(key)) {
		return exchangetest.Folder{}, exchangetest.ErrNoFolder
	}
	return c.folderByID(key)
}

// absentFolders are well-known names that a mailbox need not have a folder for.
func absentFolders() []string {
	return []string{"archive", "clutter", "conversationhistory", "scheduled"}
}

func (c *call) folderByID(key string) (exchangetest.Folder, error) {
	id, ok, known := c.box.ids.parse(key, folderEntry)
	switch {
	case !ok:
		return exchangetest.Folder{}, malformedID()
	case !known:
		return exchangetest.Folder{}, exchangetest.ErrNoFolder
	}
	return c.box.m.Folder(id)
}

// target is the folder a path ends at; below childFolders it must be a child of the one before.
func (c *call) target() (exchangetest.Folder, error) {
	f, err := c.folderNamed(c.parts["folder"])
	if err != nil || c.parts["parent"] == "" {
		return f, err
	}
	p, err := c.folderNamed(c.parts["parent"])
	if err == nil && f.Parent != p.ID {
		err = exchangetest.ErrNoFolder
	}
	return f, err
}

// parent is the folder whose children a path is about.
func (c *call) parent() (exchangetest.Folder, error) {
	if c.parts["folder"] == "" {
		return c.box.m.Known(rootFolder)
	}
	return c.folderNamed(c.parts["folder"])
}

// folderRow is a folder as queries see it.
type folderRow struct {
	c *call
	f exchangetest.Folder
}

func (r folderRow) key() uint64 { return r.f.ID }

func (r folderRow) field(name string) any {
	switch name {
	case "id":
		return r.c.box.ids.folder(r.f.ID)
	case "displayName":
		return r.f.Name
	case "parentFolderId":
		if r.f.Parent == 0 {
			return nil
		}
		return r.c.box.ids.folder(r.f.Parent)
	case "parentMailboxUrl":
		return r.c.base() + "/" + r.c.mailboxPath()
	case "wellKnownName":
		if r.f.Known == "" {
			return nil
		}
		return r.f.Known
	case "type":
		return r.f.Class
	}
	items, children, _ := r.c.box.m.Count(r.f.ID)
	if name == "childFolderCount" {
		return children
	}
	return items
}

func (r folderRow) extended(p propID) any {
	if p.name == nil {
		switch items, children, size := r.c.box.m.Count(r.f.ID); p.tag {
		case 0x3001: // PidTagDisplayName
			return r.f.Name
		case 0x3613: // PidTagContainerClass
			return r.f.Class
		case 0x3602: // PidTagContentCount
			return int32(items)
		case 0x0E08: // PidTagMessageSize, here of everything in the folder
			return size
		case 0x360A: // PidTagSubfolders
			return children > 0
		case 0x10F4: // PidTagAttributeHidden
			return r.f.Hidden
		case 0x3007: // PidTagCreationTime
			return r.f.Created
		case 0x3601: // PidTagFolderType
			return r.kind()
		case 0x66B5: // PidTagFolderPathname
			return r.path()
		}
	}
	return state(r.c, func(b *box) any {
		for _, v := range b.props[r.f.ID] {
			if v.id.format(false) == p.format(false) {
				return v.value
			}
		}
		return nil
	})
}

// kind is 0 for the root of all, 2 for a search folder and 1 for any other ([MS-OXCFOLD] 2.2.2.2.2.1).
func (r folderRow) kind() int32 {
	finder, err := r.c.box.m.Known("searchfolders")
	switch {
	case r.f.Parent == 0:
		return 0
	case err == nil && r.f.Parent == finder.ID:
		return 2
	}
	return 1
}

// path is the folder's place below the visible root, with U+FFFE before each name and alone for that root itself.
func (r folderRow) path() string {
	if r.f.Known == rootFolder || r.f.Parent == 0 {
		return "\uFFFE"
	}
	path, f := "", r.f
	for f.Parent != 0 && f.Known != rootFolder {
		path = "\uFFFE" + f.Name + path
		above, err := r.c.box.m.Folder(f.Parent)
		if err != nil {
			break // removed meanwhile
		}
		f = above
	}
	return path
}

// entry is the folder as an answer shows it.
func (r folderRow) entry(typed bool) object {
	var o object
	if typed {
		o.set("@odata.type", "#microsoft.graph.mailboxFolder")
	}
	for _, f := range folderEntity().fields {
		if r.c.query.shows(f) || f == "parentMailboxUrl" {
			o.set(f, r.field(f))
		}
	}
	return append(o, r.c.expanded(r)...)
}

// shows says whether a property is among the selected; the id always is.
func (q *query) shows(field string) bool {
	return q == nil || q.selected == nil || field == "id" || slices.Contains(q.selected, field)
}

func (c *call) listFolders() error {
	if err := c.parse(folderEntity(), optSelect, optFilter, optTop, optSkip, optOrder, optCount, optExpand, "includehiddenfolders"); err != nil {
		return err
	}
	rows, err := c.folderRows()
	if err != nil {
		return err
	}
	return c.page(rows, c.foldersPath())
}

func (c *call) countFolders() error {
	if err := c.parse(folderEntity(), optFilter, "includehiddenfolders"); err != nil {
		return err
	}
	rows, err := c.folderRows()
	if err != nil {
		return err
	}
	return c.replyCount(rows)
}

// folderRows are the folders a list shows: those of the visible root with the search folders, or a folder's own.
func (c *call) folderRows() ([]line, error) {
	p, err := c.parent()
	if err != nil {
		return nil, err
	}
	folders := c.box.m.Folders(p.ID, false)
	if c.parts["folder"] == "" {
		folders = append(folders, c.searchFolders()...)
	}
	var rows []line
	for _, f := range folders {
		if !f.Hidden || c.query.hidden {
			rows = append(rows, folderRow{c, f})
		}
	}
	return rows, nil
}

// searchFolders are listed with the folders of the root.
func (c *call) searchFolders() []exchangetest.Folder {
	finder, err := c.box.m.Known("searchfolders")
	if err != nil {
		return nil
	}
	return c.box.m.Folders(finder.ID, false)
}

// foldersPath is the collection of folders a request is about, as next links have it.
func (c *call) foldersPath() string {
	if c.parts["folder"] == "" {
		return c.mailboxPath() + "/folders"
	}
	return c.mailboxPath() + "/folders('" + quoteKey(c.parts["folder"]) + "')/childFolders"
}

func quoteKey(s string) string { return url.PathEscape(strings.ReplaceAll(s, "'", "''")) }

func (c *call) readFolder() error {
	if err := c.parse(folderEntity(), optSelect, optExpand); err != nil {
		return err
	}
	f, err := c.target()
	if err != nil {
		return err
	}
	return c.replyFolder(http.StatusOK, f)
}

func (c *call) replyFolder(status int, f exchangetest.Folder) error {
	id := strings.NewReplacer(":", "%3A", "@", "%40").Replace(c.box.id)
	o := object{{"@odata.context", c.context("admin/exchange/mailboxes('" + id + "')/folders/$entity")}}
	return c.reply(status, append(o, folderRow{c, f}.entry(false)...))
}

// folderBody is what a client says about a folder.
type folderBody struct {
	name  string
	class string
	props []extendedValue
}

// readFolderBody reads a folder to create or to change. Properties that the service computes are passed over.
func (c *call) readFolderBody() (folderBody, error) {
	var b folderBody
	m, err := c.fields()
	if err != nil {
		return b, err
	}
	for name, raw := range m {
		switch strings.ToLower(name) {
		case "displayname":
			err = readString(name, raw, &b.name)
		case "type":
			err = readString(name, raw, &b.class)
		case "singlevalueextendedproperties":
			b.props, err = readProps(raw)
		case "@odata.type", "id", "childfoldercount", "totalitemcount", "wellknownname", "parentfolderid", "parentmailboxurl", "multivalueextendedproperties":
		default:
			err = badRequest("The property '%s' does not exist on type 'microsoft.graph.mailboxFolder'. Make sure to only use property names that are defined by the type.", printable(name))
		}
		if err != nil {
			return b, err
		}
	}
	return b, nil
}

func readString(name string, raw json.RawMessage, into *string) error {
	if string(raw) == "null" || json.Unmarshal(raw, into) != nil || *into == "" {
		return badRequest("The property '%s' is not a string, or an empty one.", printable(name))
	}
	return nil
}

func readProps(raw json.RawMessage) ([]extendedValue, error) {
	var in []struct {
		ID    string  `json:"id"`
		Value *string `json:"value"`
	}
	if err := json.Unmarshal(raw, &in); err != nil || len(in) > maxExpanded {
		return nil, badRequest("The property 'singleValueExtendedProperties' is not valid.")
	}
	var out []extendedValue
	for _, p := range in {
		id, err := parsePropID(p.ID)
		if err != nil {
			return nil, err
		}
		if p.Value == nil || id.multi {
			return nil, badRequest("The extended property '%s' has no value of its type.", printable(p.ID))
		}
		out = append(out, extendedValue{id, *p.Value})
	}
	return out, nil
}

func (c *call) createFolder() error {
	if err := c.parse(folderEntity()); err != nil {
		return err
	}
	b, err := c.readFolderBody()
	if err != nil {
		return err
	}
	if b.name == "" || b.class == "" {
		return badRequest("The properties 'displayName' and 'type' are required.")
	}
	p, err := c.parent()
	if err != nil {
		return err
	}
	if state(c, func(b *box) bool { return b.full }) {
		return quotaExceeded()
	}
	f, err := c.box.m.CreateFolder(p.ID, b.name, b.class)
	if err != nil {
		return err
	}
	c.keepProps(f.ID, b.props)
	return c.replyFolder(http.StatusCreated, f)
}

// keepProps remembers extended properties of a folder, the last value given for each.
func (c *call) keepProps(folder uint64, props []extendedValue) {
	state(c, func(b *box) bool {
		for _, p := range props {
			old := slices.IndexFunc(b.props[folder], func(v extendedValue) bool { return v.id.format(false) == p.id.format(false) })
			if old >= 0 {
				b.props[folder] = slices.Delete(b.props[folder], old, old+1)
			}
			b.props[folder] = append(b.props[folder], p)
		}
		return true
	})
}

func (c *call) updateFolder() error {
	if err := c.parse(folderEntity()); err != nil {
		return err
	}
	b, err := c.readFolderBody()
	if err != nil {
		return err
	}
	if b.class != "" {
		return badRequest("The property 'type' is read-only and cannot be updated.")
	}
	f, err := c.target()
	if err != nil {
		return err
	}
	if b.name != "" {
		if f, err = c.rename(f, b.name); err != nil {
			return err
		}
	}
	c.keepProps(f.ID, b.props)
	return c.replyFolder(http.StatusOK, f)
}

// rename refuses what creating would refuse, and to rename a folder that every mailbox has.
func (c *call) rename(f exchangetest.Folder, name string) (exchangetest.Folder, error) {
	switch {
	case f.Known != "":
		return f, refuse(http.StatusForbidden, "ErrorAccessDenied", "A distinguished folder cannot be renamed.")
	case strings.TrimSpace(name) == "" || utf8.RuneCountInString(name) > 255 || strings.ContainsAny(name, "/\x00"):
		return f, exchangetest.ErrFolderName
	}
	return c.box.m.RenameFolder(f.ID, name)
}

func (c *call) deleteFolder() error {
	if err := c.parse(folderEntity()); err != nil {
		return err
	}
	f, err := c.target()
	if err != nil {
		return err
	}
	if f.Known != "" {
		return refuse(http.StatusForbidden, "ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be deleted.")
	}
	if err := c.box.m.DeleteFolder(f.ID); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// keywords is where Outlook keeps an item's categories.
func keywords() fts.Name {
	return fts.Name{Set: [16]byte{0x29, 0x03, 0x02, 0, 0, 0, 0, 0, 0xC0, 0, 0, 0, 0, 0, 0, 0x46}, Text: "Keywords"}
}
