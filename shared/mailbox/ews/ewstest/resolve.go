package ewstest

import (
	"errors"
	"strings"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
)

// ref is a folder or an item, found. The item's ID is 0 for a folder.
type ref struct {
	m      *exchangetest.Mailbox
	folder exchangetest.Folder
	item   exchangetest.Item
}

func (c *call) mayReach(m *exchangetest.Mailbox) bool {
	return m == c.as || !c.asOther && c.account.mayOpen(m.Address)
}

// folder resolves a FolderId or DistinguishedFolderId.
func (c *call) folder(e *element) (ref, *problem) {
	var r ref
	var p *problem
	if e.name.Local == "DistinguishedFolderId" {
		r, p = c.distinguished(e)
	} else {
		r, p = c.byFolderID(e.attr("Id"))
	}
	if p == nil && c.s.faults.isMoving(r.m) {
		p = newProblem("ErrorMailboxMoveInProgress")
	}
	return r, p
}

func (c *call) distinguished(e *element) (ref, *problem) {
	m, p := c.mailboxOf(e.path("Mailbox", "EmailAddress").value())
	if p != nil {
		return ref{}, p
	}
	name := strings.ToLower(e.attr("Id"))
	if name == "publicfoldersroot" {
		return ref{}, newProblem("ErrorNoPublicFolderServerAvailable")
	}
	f, err := m.Known(name)
	if err != nil { // archive folders without an archive, and folders that nobody has used yet
		return ref{}, newProblem("ErrorFolderNotFound")
	}
	return ref{m: m, folder: f}, nil
}

func (c *call) mailboxOf(address string) (*exchangetest.Mailbox, *problem) {
	if address == "" {
		if c.as == nil {
			return nil, newProblem("ErrorMissingEmailAddress")
		}
		return c.as, nil
	}
	m := c.s.mailbox(address)
	if m == nil {
		m = c.s.alias(address)
	}
	switch {
	case m == nil:
		return nil, newProblem("ErrorNonExistentMailbox")
	case !c.mayReach(m):
		return nil, newProblem("ErrorFolderNotFound")
	}
	return m, nil
}

func (c *call) byFolderID(s string) (ref, *problem) {
	if s == "" {
		return ref{}, newProblem("ErrorInvalidIdEmpty")
	}
	x, ok := decodeID(s)
	if !ok {
		return ref{}, newProblem("ErrorInvalidIdMalformed")
	}
	if x.item != 0 {
		return ref{}, newProblem("ErrorCannotUseItemIdForFolderId")
	}
	m := c.s.byGUID(x.mailbox)
	if m == nil {
		return ref{}, noMailbox(x)
	}
	f, err := m.Folder(x.folder)
	if err != nil || !c.mayReach(m) {
		return ref{}, newProblem("ErrorFolderNotFound")
	}
	return ref{m: m, folder: f}, nil
}

func noMailbox(x id) *problem {
	p := newProblem("ErrorNonExistentMailbox")
	p.text, p.xml = "No mailbox with such guid.", [][2]string{{"MailboxGuid", x.mailbox.String()}}
	return p
}

// item resolves an ItemId.
func (c *call) item(e *element) (ref, *problem) {
	if e.name.Local != "ItemId" {
		return ref{}, newProblem("ErrorItemNotFound") // occurrences: series are not expanded
	}
	r, p := c.byItemID(e.attr("Id"))
	if p == nil && e.attr("ChangeKey") != "" {
		if _, ok := changeOf(e.attr("ChangeKey")); !ok {
			p = newProblem("ErrorInvalidChangeKey")
		}
	}
	return r, p
}

func (c *call) byItemID(s string) (ref, *problem) {
	if s == "" {
		return ref{}, newProblem("ErrorInvalidIdEmpty")
	}
	x, ok := decodeID(s)
	if !ok {
		return ref{}, newProblem("ErrorInvalidIdMalformed")
	}
	if x.item == 0 {
		return ref{}, newProblem("ErrorCannotUseFolderIdForItemId")
	}
	m := c.s.byGUID(x.mailbox)
	if m == nil {
		return ref{}, noMailbox(x)
	}
	if c.s.faults.isMoving(m) {
		return ref{}, newProblem("ErrorMailboxMoveInProgress")
	}
	it, err := m.Item(x.item)
	if err != nil || !c.mayReach(m) || it.Folder != x.folder {
		return ref{}, newProblem("ErrorItemNotFound")
	}
	return ref{m: m, item: it}, nil
}

// current says whether the change key of an ItemId, when it has one, is the item's.
func (r ref) current(e *element) bool {
	k := e.attr("ChangeKey")
	if k == "" {
		return true
	}
	n, ok := changeOf(k)
	return ok && n == r.item.Change
}

// named returns the items that a request names and that are there.
func (c *call) named(e *element) []uint64 {
	var ids []uint64
	if e.name.Local == "ItemId" && e.has("Id") {
		if x, ok := decodeID(e.attr("Id")); ok {
			if m := c.s.byGUID(x.mailbox); m != nil {
				if _, err := m.Item(x.item); err == nil {
					ids = append(ids, x.item)
				}
			}
		}
	}
	for _, k := range e.kids {
		ids = append(ids, c.named(k)...)
	}
	return ids
}

// storeProblem translates the store's errors.
func storeProblem(err error) *problem {
	switch {
	case errors.Is(err, exchangetest.ErrNoFolder):
		return newProblem("ErrorFolderNotFound")
	case errors.Is(err, exchangetest.ErrNoItem):
		return newProblem("ErrorItemNotFound")
	case errors.Is(err, exchangetest.ErrFolderExists):
		return newProblem("ErrorFolderExists")
	case errors.Is(err, exchangetest.ErrFolderName):
		return newProblem("ErrorFolderSave")
	case errors.Is(err, exchangetest.ErrFolderPlace):
		return newProblem("ErrorMoveCopyFailed")
	case errors.Is(err, exchangetest.ErrChanged):
		return newProblem("ErrorStaleObject")
	case errors.Is(err, exchangetest.ErrQuota):
		return newProblem("ErrorQuotaExceeded")
	}
	return newProblem("ErrorInternalServerError")
}
