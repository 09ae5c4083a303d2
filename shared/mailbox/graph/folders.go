package graph

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	abs "github.com/microsoft/kiota-abstractions-go"
	"golang.org/x/sync/errgroup"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// maxFolderDepth is Exchange's limit on the depth of a folder tree.
const maxFolderDepth = 300

// folderType asks for PidTagFolderType (MS-OXCFOLD 2.2.2.2.2.1), which alone says for sure what a search folder is.
const folderType = "singleValueExtendedProperties($filter=id eq 'Integer 0x3601')"

type folderAnswer struct {
	ID       string     `json:"id"`
	Name     string     `json:"displayName"`
	Parent   string     `json:"parentFolderId"`
	Children int        `json:"childFolderCount"`
	Items    int        `json:"totalItemCount"`
	Known    string     `json:"wellKnownName"`
	Type     string     `json:"type"`
	OData    string     `json:"@odata.type"`
	Extended []extended `json:"singleValueExtendedProperties"`
}

type extended struct {
	ID    string `json:"id"`
	Value string `json:"value"`
}

func (f folderAnswer) folder() mailbox.Folder {
	class := f.Type
	if class == "" {
		class = "IPF.Note"
	}
	return mailbox.Folder{ID: mailbox.FolderID(f.ID), Parent: mailbox.FolderID(f.Parent), Name: f.Name,
		Class: class, Known: strings.ToLower(f.Known), Items: f.Items}
}

// search reports whether f is a search folder: its folder type is 2, or its OData type or well-known name says so.
func (f folderAnswer) search() bool {
	for _, p := range f.Extended {
		if tag, _ := propertyTag(p.ID); tag == 0x3601 {
			return p.Value == "2"
		}
	}
	return strings.Contains(strings.ToLower(f.OData), "searchfolder") || strings.EqualFold(f.Known, "searchfolders")
}

// Folders lists the folders below the visible root, parents before children.
//
// The listing of the root also holds the search folders. They are left out by their folder type and, should the
// service not tell it, by their parent, which is not the visible root. Folders for synchronisation errors are left
// out by their well-known names. When no folder carries a well-known name, the usual ones are looked up by name.
func (m *Mailbox) Folders(ctx context.Context) ([]mailbox.Folder, error) {
	root, err := m.root(ctx)
	if err != nil {
		return nil, fmt.Errorf("list folders: %w", err)
	}
	top, err := m.folderPages(ctx, ask{path: m.path("/folders"), with: m.with(), absent: mailbox.ErrNoMailbox})
	if err != nil {
		return nil, fmt.Errorf("list folders: %w", err)
	}
	w := &walk{m: m, root: root, seen: map[string]bool{root: true}}
	if err := w.below(ctx, top); err != nil {
		return nil, fmt.Errorf("list folders: %w", err)
	}
	if err := w.learn(ctx); err != nil {
		return nil, fmt.Errorf("look up well-known folders: %w", err)
	}
	return w.visible(), nil
}

// root is the id of the visible root, "" when the service does not tell it.
func (m *Mailbox) root(ctx context.Context) (string, error) {
	id, err := m.named(ctx, "msgfolderroot")
	if err != nil {
		return "", err
	}
	m.rootID.Store(id)
	return id, nil
}

// isRoot reports whether id stands for the visible root, as far as that is known.
func (m *Mailbox) isRoot(id mailbox.FolderID) bool {
	known, _ := m.rootID.Load().(string)
	return id == "" || strings.EqualFold(string(id), "msgfolderroot") || string(id) == known
}

// named is the id of a folder with a well-known name, "" when there is none.
func (m *Mailbox) named(ctx context.Context, name string) (string, error) {
	var f folderAnswer
	err := m.fetch(ctx, ask{path: m.path("/folders/{folder}"), with: m.with("folder", name),
		needs: "MailboxFolder.Read.All"}, &f)
	var refused *failure
	if errors.Is(err, mailbox.ErrNoFolder) || errors.As(err, &refused) && refused.status == http.StatusBadRequest {
		return "", nil // a mailbox may lack any of them, and a name the service does not know is a bad id to it
	}
	return f.ID, err
}

func (m *Mailbox) folderPages(ctx context.Context, a ask) ([]folderAnswer, error) {
	a.needs, a.top, a.expand = "MailboxFolder.Read.All", m.client.page, folderType
	var all []folderAnswer
	for {
		var page struct {
			Value []folderAnswer `json:"value"`
			Next  string         `json:"@odata.nextLink"`
		}
		if err := m.fetch(ctx, a, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Value...)
		if page.Next == "" {
			return all, nil
		}
		if page.Next == a.link {
			return nil, errors.New("a page of folders that leads to itself")
		}
		a.link = page.Next
	}
}

// walk goes through the tree level by level.
type walk struct {
	m    *Mailbox
	root string
	seen map[string]bool
	all  []mailbox.Folder
}

func (w *walk) below(ctx context.Context, level []folderAnswer) error {
	for depth := 0; len(level) > 0; depth++ {
		if depth > maxFolderDepth {
			return fmt.Errorf("folders nested more than %d deep", maxFolderDepth)
		}
		next, err := w.children(ctx, w.take(level, depth))
		if err != nil {
			return err
		}
		level = next
	}
	return nil
}

// take keeps the folders of a level that belong to the tree, each once: a folder that is moved during the walk can
// come twice.
func (w *walk) take(level []folderAnswer, depth int) []folderAnswer {
	var kept []folderAnswer
	for _, f := range level {
		stray := depth == 0 && w.root != "" && f.Parent != "" && f.Parent != w.root
		if w.seen[f.ID] || f.search() || stray {
			continue
		}
		w.seen[f.ID] = true
		w.all = append(w.all, f.folder())
		kept = append(kept, f)
	}
	return kept
}

func (w *walk) children(ctx context.Context, parents []folderAnswer) ([]folderAnswer, error) {
	found := make([][]folderAnswer, len(parents))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(concurrent)
	for i, p := range parents {
		if p.Children == 0 {
			continue
		}
		g.Go(func() error {
			var err error
			found[i], err = w.m.folderPages(ctx, w.m.childrenOf(p.ID))
			if errors.Is(err, mailbox.ErrNoFolder) {
				return nil // deleted since it was listed
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var all []folderAnswer
	for _, f := range found {
		all = append(all, f...)
	}
	return all, nil
}

func (m *Mailbox) childrenOf(id string) ask {
	return ask{path: m.path("/folders/{folder}/childFolders"), with: m.with("folder", id)}
}

// usualNames are looked up one by one when listings carry no wellKnownName.
func usualNames() []string {
	return []string{"inbox", "sentitems", "drafts", "deleteditems", "junkemail", "outbox", "archive", "calendar",
		"contacts", "tasks", "notes", "journal", "syncissues"}
}

func (w *walk) learn(ctx context.Context) error {
	for _, f := range w.all {
		if f.Known != "" {
			return nil
		}
	}
	names := usualNames()
	ids := make([]string, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(concurrent)
	for i, name := range names {
		g.Go(func() error {
			var err error
			ids[i], err = w.m.named(ctx, name)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, id := range ids {
		w.name(id, names[i])
	}
	return nil
}

func (w *walk) name(id, known string) {
	for i := range w.all {
		if string(w.all[i].ID) == id {
			w.all[i].Known = known
		}
	}
}

// visible leaves out the folders for synchronisation errors and what is below them.
func (w *walk) visible() []mailbox.Folder {
	out := make(map[mailbox.FolderID]bool)
	var all []mailbox.Folder
	for _, f := range w.all {
		switch f.Known {
		case "syncissues", "conflicts", "localfailures", "serverfailures":
			out[f.ID] = true
		}
		if out[f.Parent] {
			out[f.ID] = true
		}
		if !out[f.ID] {
			all = append(all, f)
		}
	}
	return all
}

// CreateFolder makes f below f.Parent, or below the visible root when that is empty or "msgfolderroot". A folder of
// that name that is there already is returned as it is, whatever its class.
func (m *Mailbox) CreateFolder(ctx context.Context, f mailbox.Folder) (mailbox.Folder, error) {
	if f.Class == "" {
		f.Class = "IPF.Note"
	}
	a := m.below(f.Parent)
	a.needs = "MailboxFolder.ReadWrite.All"
	a.body = map[string]string{"displayName": f.Name, "type": f.Class}
	a.verb = abs.POST
	var made folderAnswer
	err := m.fetch(ctx, a, &made)
	var refused *failure
	switch {
	case err == nil && made.ID != "":
		return made.folder(), nil
	case err == nil:
		return f, fmt.Errorf("create folder: no id in the answer: %w", mailbox.ErrUnavailable)
	case !errors.As(err, &refused):
		return f, fmt.Errorf("create folder: %w", err)
	case refused.status == http.StatusConflict || refused.code == "ErrorFolderExists":
		return m.existing(ctx, f)
	case refused.status == http.StatusBadRequest && folderCode(refused.code):
		return f, fmt.Errorf("create folder: %w: %w", refused, mailbox.ErrNoFolder)
	case refused.status == http.StatusBadRequest:
		return f, fmt.Errorf("create folder: %w: %w", refused, mailbox.ErrFolderName)
	}
	return f, fmt.Errorf("create folder: %w", err)
}

func (m *Mailbox) below(parent mailbox.FolderID) ask {
	if m.isRoot(parent) {
		return ask{path: m.path("/folders"), with: m.with()}
	}
	return m.childrenOf(string(parent))
}

// existing finds the folder of f's name below f's parent. Exchange does not tell names by their case.
func (m *Mailbox) existing(ctx context.Context, f mailbox.Folder) (mailbox.Folder, error) {
	siblings, err := m.folderPages(ctx, m.below(f.Parent))
	if err != nil {
		return f, fmt.Errorf("find existing folder: %w", err)
	}
	for _, s := range siblings {
		if strings.EqualFold(s.Name, f.Name) && !s.search() {
			return s.folder(), nil
		}
	}
	return f, fmt.Errorf("find existing folder: the name is taken by a folder that is not listed: %w", mailbox.ErrFolderName)
}
