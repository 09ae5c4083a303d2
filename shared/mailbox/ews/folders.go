package ews

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/ews/soap"
)

// folderPage is how many folders one request asks for.
const folderPage = 500

// maxFolders keeps a listing that never ends from filling the memory.
const maxFolders = 200_000

// wellKnown are the folders that exist under a name in the user's language, by the ids that Exchange 2013 knows. A
// mailbox need not have all of them.
func wellKnown() []string {
	return []string{"inbox", "sentitems", "drafts", "deleteditems", "junkemail", "outbox",
		"calendar", "contacts", "tasks", "notes", "journal"}
}

// leftOut are folders that a client or the server fills by itself: saved searches, which hold no items of their own,
// and the logs of what a client could not synchronise.
func leftOut() []string {
	return []string{"searchfolders", "syncissues", "conflicts", "localfailures", "serverfailures"}
}

// findRoot also finds out whether the mailbox is there and may be opened.
func (s *Source) findRoot(ctx context.Context) (mailbox.FolderID, error) {
	messages, err := s.ask(ctx, fmt.Sprintf(getFolder, distinguished("msgfolderroot")))
	if err != nil {
		return "", err
	}
	if len(messages[0].Entries) == 0 || messages[0].Entries[0].Folder.ID == "" {
		return "", errors.New("find root folder: the answer has no folder id in it")
	}
	return mailbox.FolderID(messages[0].Entries[0].Folder.ID), nil
}

// Folders lists the folders below the visible root, parents before children. Left out, with all below them, are
// search folders, the folders for synchronisation errors, and hidden ones (PidTagAttributeHidden), where Exchange and
// its clients keep settings.
func (s *Source) Folders(ctx context.Context) ([]mailbox.Folder, error) {
	known, err := s.knownFolders(ctx)
	if err != nil {
		return nil, fmt.Errorf("list well-known folders: %w", err)
	}
	entries, err := s.findFolders(ctx)
	if err != nil {
		return nil, fmt.Errorf("list folders: %w", err)
	}
	t := newTree(entries, known)
	out := t.below(nil, s.root)
	for _, e := range append(t.orphans(entries), entries...) {
		if t.lost(e) {
			s.o.Log.WarnContext(ctx, "folder has no parent in the listing, taken as one below the root")
			out = t.graft(out, e, s.root)
		}
	}
	return out, nil
}

// knownFolders maps ids to well-known names. Exchange answers in the order of the names; the message of a folder that
// is not there has no entries.
func (s *Source) knownFolders(ctx context.Context) (map[mailbox.FolderID]string, error) {
	names := append(wellKnown(), leftOut()...)
	messages, err := s.ask(ctx, fmt.Sprintf(getFolder, distinguished(names...)))
	if err != nil {
		return nil, err
	}
	if len(messages) != len(names) {
		return nil, fmt.Errorf("asked for %d folders by name, answer has %d", len(names), len(messages))
	}
	known := map[mailbox.FolderID]string{}
	for i, m := range messages {
		if m.Code != "NoError" && !errors.Is(failure(m.Code), mailbox.ErrNoFolder) {
			return nil, s.asError(m.Code, m.Values)
		}
		for _, e := range m.Entries {
			known[mailbox.FolderID(e.Folder.ID)] = names[i]
		}
	}
	return known, nil
}

func (s *Source) findFolders(ctx context.Context) ([]soap.Entry, error) {
	l := listing{
		s: s, size: folderPage,
		request: func(offset int) string { return fmt.Sprintf(findFolder, folderPage, offset) },
		id:      func(e soap.Entry) string { return e.Folder.ID },
	}
	var out []soap.Entry
	for e, err := range l.rows(ctx) {
		if err != nil {
			return nil, err
		}
		if out = append(out, e); len(out) > maxFolders {
			return nil, fmt.Errorf("more than %d folders", maxFolders)
		}
	}
	return out, nil
}

// tree orders folders.
type tree struct {
	children map[mailbox.FolderID][]soap.Entry
	known    map[mailbox.FolderID]string
	state    map[mailbox.FolderID]int // absent: not in the listing
}

const (
	listed = iota + 1
	placed
	skipped
)

func newTree(entries []soap.Entry, known map[mailbox.FolderID]string) *tree {
	t := &tree{children: map[mailbox.FolderID][]soap.Entry{}, known: known, state: map[mailbox.FolderID]int{}}
	for _, e := range entries {
		parent := mailbox.FolderID(e.Parent.ID)
		t.children[parent] = append(t.children[parent], e)
		t.state[mailbox.FolderID(e.Folder.ID)] = listed
	}
	return t
}

// below appends what is below a folder, level by level.
func (t *tree) below(out []mailbox.Folder, id mailbox.FolderID) []mailbox.Folder {
	next := []mailbox.FolderID{id}
	for ; len(next) > 0; next = next[1:] {
		for _, e := range t.children[next[0]] {
			id := mailbox.FolderID(e.Folder.ID)
			if t.state[id] != listed {
				continue
			}
			if t.skips(e) {
				t.skip(id)
				continue
			}
			t.state[id] = placed
			out = append(out, folderOf(e, next[0], t.known[id]))
			next = append(next, id)
		}
	}
	return out
}

func (t *tree) skips(e soap.Entry) bool {
	name := t.known[mailbox.FolderID(e.Folder.ID)]
	for _, n := range leftOut() {
		if name == n {
			return true
		}
	}
	return e.XMLName.Local == "SearchFolder" || name == "" && e.Yes(tagHidden)
}

func (t *tree) skip(id mailbox.FolderID) {
	t.state[id] = skipped
	for _, e := range t.children[id] {
		if id := mailbox.FolderID(e.Folder.ID); t.state[id] == listed {
			t.skip(id)
		}
	}
}

// lost says whether a folder was listed and reached from nowhere; its parent was moved or deleted meanwhile.
func (t *tree) lost(e soap.Entry) bool { return t.state[mailbox.FolderID(e.Folder.ID)] == listed }

// orphans are the lost folders whose parents were not listed, that is, the topmost ones.
func (t *tree) orphans(entries []soap.Entry) []soap.Entry {
	var out []soap.Entry
	for _, e := range entries {
		if t.lost(e) && t.state[mailbox.FolderID(e.Parent.ID)] == 0 {
			out = append(out, e)
		}
	}
	return out
}

// graft puts a lost folder below the root, with what is below it.
func (t *tree) graft(out []mailbox.Folder, e soap.Entry, root mailbox.FolderID) []mailbox.Folder {
	id := mailbox.FolderID(e.Folder.ID)
	if t.skips(e) {
		t.skip(id)
		return out
	}
	t.state[id] = placed
	return t.below(append(out, folderOf(e, root, t.known[id])), id)
}

func folderOf(e soap.Entry, parent mailbox.FolderID, known string) mailbox.Folder {
	class := e.Class
	if class == "" {
		class = "IPF.Note"
	}
	total, _ := strconv.Atoi(e.Total) // a count that cannot be read is no reason to lose the folder
	return mailbox.Folder{ID: mailbox.FolderID(e.Folder.ID), Parent: parent, Name: e.Name, Class: class, Known: known,
		Items: max(total, 0)}
}
