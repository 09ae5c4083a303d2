package graphtest

import (
	"net/http"
	"slices"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
)

// itemRow is an item as queries see it.
type itemRow struct {
	c  *call
	it exchangetest.Item
}

func (r itemRow) key() uint64 { return r.it.ID }

func (r itemRow) field(name string) any {
	switch name {
	case "id":
		return r.c.box.ids.item(r.it.Folder, r.it.ID)
	case "createdDateTime":
		return r.it.Created.UTC().Truncate(time.Second)
	case "lastModifiedDateTime":
		return r.it.Modified.UTC().Truncate(time.Second)
	case "changeKey":
		return r.c.box.ids.change(r.it.Change)
	case "categories":
		if words, ok := r.it.Properties.Named(keywords()).([]string); ok {
			return words
		}
		return []string{}
	case "type":
		return r.it.Summary.Properties.Class
	}
	return r.it.Stream.Size
}

func (r itemRow) extended(p propID) any {
	if p.name != nil {
		return r.it.Properties.Named(*p.name)
	}
	v := r.c.box.m.Property(r.it, p.tag)
	if s, ok := v.(string); ok && s == "" && p.tag >= 0x0E02 && p.tag <= 0x0E04 {
		return nil // a draft without recipients has no display names
	}
	return v
}

func (r itemRow) entry(bool) object {
	o := object{{"@odata.type", "#microsoft.graph.mailboxItem"}, {"@odata.etag", `W/"` + r.c.box.ids.change(r.it.Change) + `"`}}
	for _, f := range itemEntity().fields {
		if r.c.query.shows(f) {
			o.set(f, r.field(f))
		}
	}
	return append(o, r.c.expanded(r)...)
}

// expanded are the extended properties asked for that r has; one without any has no collection at all.
func (c *call) expanded(r row) object {
	var o object
	if c.query == nil || !c.query.expands {
		return o
	}
	upper := c.s.o.UpperHex
	var single, multi []object
	for _, p := range c.query.single {
		if v, ok := p.text(r.extended(p)); ok {
			single = append(single, object{{"id", p.format(upper)}, {"value", v}})
		}
	}
	for _, p := range c.query.multi {
		if v, ok := p.texts(r.extended(p)); ok {
			multi = append(multi, object{{"id", p.format(upper)}, {"value", v}})
		}
	}
	if single != nil {
		o.set(singleValued, single)
	}
	if multi != nil {
		o.set(multiValued, multi)
	}
	return o
}

func (c *call) listItems() error {
	if err := c.parse(itemEntity(), optSelect, optFilter, optTop, optSkip, optOrder, optCount, optExpand); err != nil {
		return err
	}
	f, err := c.target()
	if err != nil {
		return err
	}
	if c.query.filter == nil && len(c.query.order) == 0 {
		return c.pageOfIDs(f.ID)
	}
	return c.page(c.itemRows(f), c.itemsPath())
}

// itemRows are a folder's items, newest first.
func (c *call) itemRows(f exchangetest.Folder) []line {
	items := c.box.m.Items(f.ID)
	slices.Reverse(items)
	rows := make([]line, len(items))
	for i, it := range items {
		rows[i] = itemRow{c, it}
	}
	return rows
}

func (c *call) countItems() error {
	if err := c.parse(itemEntity(), optFilter); err != nil {
		return err
	}
	f, err := c.target()
	if err != nil {
		return err
	}
	return c.replyCount(c.itemRows(f))
}

// pageOfIDs is the page of a list that needs no look at the rest of it.
func (c *call) pageOfIDs(folder uint64) error {
	ids := c.box.m.IDs(folder)
	slices.Reverse(ids)
	from, to := c.bounds(len(ids))
	var rows []line
	for _, id := range ids[from:to] {
		if it, err := c.box.m.Item(id); err == nil {
			rows = append(rows, itemRow{c, it})
		}
	}
	return c.replyPage(rows, len(ids), to, c.itemsPath())
}

func (c *call) itemsPath() string {
	return c.mailboxPath() + "/folders('" + quoteKey(c.parts["folder"]) + "')/items"
}

// item finds the item of a path, which must be in the folder of the path.
func (c *call) item() (exchangetest.Item, error) {
	f, err := c.target()
	if err != nil {
		return exchangetest.Item{}, err
	}
	it, err := c.itemByID(c.parts["item"])
	if err == nil && it.Folder != f.ID {
		err = exchangetest.ErrNoItem
	}
	return it, err
}

func (c *call) itemByID(key string) (exchangetest.Item, error) {
	id, ok, known := c.box.ids.parse(key, itemEntry)
	switch {
	case !ok:
		return exchangetest.Item{}, malformedID()
	case !known:
		return exchangetest.Item{}, exchangetest.ErrNoItem
	}
	it, err := c.box.m.Item(id)
	if err == nil && c.box.ids.item(it.Folder, it.ID) != key {
		err = exchangetest.ErrNoItem
	}
	return it, err
}

func (c *call) readItem() error {
	if err := c.parse(itemEntity(), optSelect, optExpand); err != nil {
		return err
	}
	it, err := c.item()
	if err != nil {
		return err
	}
	o := object{{"@odata.context", c.context(c.itemsPath() + "/$entity")}}
	return c.reply(http.StatusOK, append(o, itemRow{c, it}.entry(true)...))
}

// deleteItem removes an item for good, or moves it to where deleted items can be recovered from.
func (c *call) deleteItem() error {
	if err := c.parse(itemEntity(), "disposaltype"); err != nil {
		return err
	}
	it, err := c.item()
	if err != nil {
		return err
	}
	switch c.query.disposal {
	case "softDelete":
		err = c.softDelete(it)
	case "hardDelete":
		if state(c, func(b *box) bool { return b.hold }) {
			return refuse(http.StatusForbidden, "ErrorAccessDenied", "The item is protected by a hold or a retention policy.")
		}
		err = c.box.m.Delete(it.ID)
	case "":
		return badRequest("The query parameter 'disposalType' is required: softDelete or hardDelete.")
	default:
		return badRequest("The query parameter 'disposalType' is softDelete or hardDelete.")
	}
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *call) softDelete(it exchangetest.Item) error {
	bin, err := c.box.m.Known("recoverableitemsdeletions")
	if err != nil {
		return err
	}
	if it.Folder == bin.ID {
		if bin, err = c.box.m.Known("recoverableitemspurges"); err != nil {
			return err
		}
	}
	_, err = c.box.m.Move(it.ID, bin.ID)
	return err
}
