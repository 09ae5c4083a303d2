package graphtest

import (
	"net/http"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
)

// importItem adds one item, or replaces one. Nothing is compared with what is there: the same item twice is two.
func (c *call) importItem() error {
	if err := c.requireJSON(); err != nil {
		return err
	}
	b, err := readImport(c.r.Body, c.box.m.Keep)
	if err != nil {
		return err
	}
	if err := b.check(); err != nil {
		return err
	}
	f, err := c.folderByID(b.FolderID)
	if err != nil {
		return err
	}
	if state(c, func(b *box) bool { return b.full }) {
		return quotaExceeded()
	}
	it, err := c.store(f, b)
	if err != nil {
		return err
	}
	c.s.bindSession(c)
	return c.reply(c.s.o.ImportStatus, object{
		{"@odata.context", "https://outlook.office365.com/api/g" + c.version + "/$metadata#microsoft.graph.importMailboxItemResponse"},
		{"itemId", c.box.ids.item(it.Folder, it.ID)},
		{"changeKey", c.box.ids.shortChange(it.Change)},
	})
}

// check enforces which fields a mode takes.
func (b importBody) check() error {
	switch {
	case b.FolderID == "":
		return badRequest("The property 'FolderId' is required.")
	case !b.hasData:
		return badRequest("The property 'Data' is required.")
	case b.Mode == "create" && (b.ItemID != "" || b.ChangeKey != ""):
		return badRequest("The properties 'ItemId' and 'ChangeKey' are not allowed when 'Mode' is create.")
	case b.Mode == "update" && (b.ItemID == "" || b.ChangeKey == ""):
		return badRequest("The properties 'ItemId' and 'ChangeKey' are required when 'Mode' is update.")
	case b.Mode != "create" && b.Mode != "update":
		return badRequest("The property 'Mode' is create or update.")
	}
	return nil
}

func (c *call) store(f exchangetest.Folder, b importBody) (exchangetest.Item, error) {
	if b.Mode == "create" {
		return c.box.m.Add(f.ID, b.Data)
	}
	old, err := c.itemByID(b.ItemID)
	if err != nil {
		return old, err
	}
	if old.Folder != f.ID {
		return old, exchangetest.ErrNoItem
	}
	change, ok := c.box.ids.parseChange(b.ChangeKey)
	if !ok {
		return old, refuse(http.StatusBadRequest, "ErrorInvalidChangeKey", "The change key is invalid.")
	}
	if change != old.Change {
		return old, exchangetest.ErrChanged
	}
	return c.box.m.Replace(old.ID, change, b.Data)
}
