package ewstest

import (
	"bytes"
	"encoding/base64"
	"strings"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/fts/compose"
)

// moveItem is MoveItem and CopyItem.
func (c *call) moveItem() *fault {
	return c.respond(func() {
		to, bad := c.folder(c.op.child("ToFolderId").kids0())
		if bad != nil && bad.code == "ErrorFolderNotFound" {
			bad = newProblem("ErrorToFolderNotFound")
		}
		quiet := c.op.child("ReturnNewItemIds") != nil && !c.op.child("ReturnNewItemIds").isTrue()
		for _, e := range c.op.child("ItemIds").kids {
			r, p := c.moved(e, to, bad)
			if p != nil {
				c.refuse(p, c.emptyItems)
				continue
			}
			c.success(func() { c.idOnly(r, quiet) })
		}
	})
}

func (c *call) moved(e *element, to ref, bad *problem) (ref, *problem) {
	r, p := c.item(e)
	if p = firstProblem(bad, p); p != nil {
		return ref{}, p
	}
	if r.m != to.m {
		return c.across(r, to)
	}
	change := r.m.Copy
	if c.op.name.Local == "MoveItem" {
		change = r.m.Move
	}
	it, err := change(r.item.ID, to.folder.ID)
	if err != nil {
		return ref{}, storeProblem(err)
	}
	return ref{m: r.m, item: it}, nil
}

// across copies or moves between mailboxes.
func (c *call) across(r, to ref) (ref, *problem) {
	it, err := to.m.Add(to.folder.ID, r.item.Stream)
	if err == nil && c.op.name.Local == "MoveItem" {
		err = r.m.Delete(r.item.ID)
	}
	if err != nil {
		return ref{}, storeProblem(err)
	}
	return ref{m: to.m, item: it}, nil
}

// idOnly writes Items with one item's id, or empty when it is not wanted.
func (c *call) idOnly(r ref, quiet bool) {
	if quiet {
		c.emptyItems()
		return
	}
	c.w.open("m:Items")
	c.writeItem(&view{m: r.m, it: r.item, sh: &shape{base: "IdOnly"}})
	c.w.close("m:Items")
}

func (c *call) deleteItem() *fault {
	return c.respond(func() {
		for _, e := range c.op.child("ItemIds").kids {
			if p := c.deleted(e); p != nil {
				c.refuse(p, nil)
				continue
			}
			c.success(nil)
		}
	})
}

// deleted removes an item: for good, into the dumpster, or into the folder of deleted items.
func (c *call) deleted(e *element) *problem {
	r, p := c.item(e)
	if p != nil {
		return p
	}
	return c.discard(r)
}

func (c *call) discard(r ref) *problem {
	into := map[string]string{"SoftDelete": "recoverableitemsdeletions", "MoveToDeletedItems": "deleteditems"}[c.op.attr("DeleteType")]
	var err error
	if f, none := r.m.Known(into); into == "" || none != nil {
		err = r.m.Delete(r.item.ID)
	} else {
		_, err = r.m.Move(r.item.ID, f.ID)
	}
	if err != nil {
		return storeProblem(err)
	}
	return nil
}

func (c *call) updateItem() *fault {
	return c.respond(func() {
		for _, e := range c.op.child("ItemChanges").kids {
			r, p := c.updated(e)
			if p != nil {
				c.refuse(p, c.emptyItems)
				continue
			}
			c.success(func() {
				c.idOnly(r, false)
				c.w.open("m:ConflictResults")
				c.w.num("t:Count", 0)
				c.w.close("m:ConflictResults")
			})
		}
	})
}

func (c *call) updated(e *element) (ref, *problem) {
	id := e.kids0()
	r, p := c.item(id)
	if p != nil {
		return ref{}, p
	}
	if !r.current(id) && c.op.attr("ConflictResolution") != "AlwaysOverwrite" {
		return ref{}, newProblem("ErrorIrresolvableConflict")
	}
	edits, p := readEdits(e.child("Updates"))
	if p != nil {
		return ref{}, p
	}
	if len(edits.changes) == 0 && edits.read != nil {
		it, err := r.m.SetRead(r.item.ID, *edits.read)
		return updatedRef(r, it, err)
	}
	it, err := r.m.Edit(r.item.ID, edits.apply)
	return updatedRef(r, it, err)
}

func updatedRef(r ref, it exchangetest.Item, err error) (ref, *problem) {
	if err != nil {
		return ref{}, storeProblem(err)
	}
	return ref{m: r.m, item: it}, nil
}

// edits are what an UpdateItem asks for of one item.
type edits struct {
	read    *bool
	changes []func(*fts.Message)
}

func (d *edits) apply(m *fts.Message) {
	for _, f := range d.changes {
		f(m)
	}
	if d.read == nil {
		return
	}
	flags, _ := m.Properties.Value(fts.TagMessageFlags).(int32)
	if flags &^= mailbox.FlagRead; *d.read {
		flags |= mailbox.FlagRead
	}
	m.Properties.Set(fts.Prop(fts.TagMessageFlags, flags))
}

func readEdits(updates *element) (*edits, *problem) {
	d := &edits{}
	for _, u := range updates.kids {
		if len(u.kids) == 0 {
			return nil, newProblem("ErrorInvalidPropertySet")
		}
		of, p := readPath(u.kids[0])
		if p != nil {
			return nil, p
		}
		var value *element
		if u.name.Local == "SetItemField" && len(u.kids) == 2 {
			value = u.kids[1].kids0()
		}
		if value == nil && u.name.Local != "DeleteItemField" || u.name.Local == "AppendToItemField" {
			return nil, newProblem("ErrorInvalidPropertySet")
		}
		if p := d.edit(of, value); p != nil {
			return nil, p
		}
	}
	return d, nil
}

// edit adds one change; value is nil to delete the property.
func (d *edits) edit(of path, value *element) *problem {
	set := func(p fts.Property) { d.changes = append(d.changes, func(m *fts.Message) { m.Properties.Set(p) }) }
	switch {
	case of.extended != nil:
		return d.extended(of.extended, value)
	case of.uri == "message:IsRead" && value != nil:
		b := value.isTrue()
		d.read = &b
	case of.uri == "item:Subject":
		text := ""
		if value != nil {
			text = value.text
		}
		d.changes = append(d.changes, func(m *fts.Message) { setSubject(m, text) })
	case of.uri == "item:Categories":
		var list []string
		if value != nil {
			for _, k := range value.kids {
				list = append(list, k.text)
			}
		}
		set(fts.Public("Keywords").Prop(list))
	case of.uri == "item:Importance" && value != nil:
		n := map[string]int32{"Low": 0, "Normal": 1, "High": 2}[value.value()]
		set(fts.Prop(fts.TagImportance, n))
	case of.uri == "item:Flag" && value != nil:
		n := map[string]int32{"Complete": 1, "Flagged": 2}[value.child("FlagStatus").value()]
		set(fts.Prop(fts.TagFlagStatus, n))
	case of.uri == "item:Body" && value != nil:
		d.changes = append(d.changes, func(m *fts.Message) { setBody(m, value) })
	case strings.HasSuffix(of.uri, "Recipients"):
		d.changes = append(d.changes, func(m *fts.Message) { setRecipients(m, of.uri, value) })
	default:
		return d.simple(of.uri, value)
	}
	return nil
}

// simple changes what is one property of a plain type.
func (d *edits) simple(uri string, value *element) *problem {
	texts := map[string]uint16{"item:InReplyTo": fts.TagInReplyTo, "message:References": fts.TagReferences, "item:ItemClass": fts.TagMessageClass}
	flags := map[string]uint16{"message:IsReadReceiptRequested": 0x0029, "message:IsDeliveryReceiptRequested": 0x0023, "message:IsResponseRequested": fts.TagReplyRequested}
	levels := map[string]int32{"Normal": 0, "Personal": 1, "Private": 2, "Confidential": 3}
	var p fts.Property
	switch {
	case texts[uri] != 0 && value != nil:
		p = fts.Prop(texts[uri], value.text)
	case flags[uri] != 0 && value != nil:
		p = fts.Prop(flags[uri], value.isTrue())
	case uri == "item:Sensitivity" && value != nil:
		p = fts.Prop(fts.TagSensitivity, levels[value.value()])
	case uri == "item:ReminderIsSet" && value != nil:
		p = fts.Common(fts.LidReminderSet).Prop(value.isTrue())
	case uri == "item:ReminderMinutesBeforeStart" && value != nil:
		n, _ := decimal(value.value())
		p = fts.Common(fts.LidReminderDelta).Prop(int32(n))
	case texts[uri] != 0 || flags[uri] != 0:
		d.changes = append(d.changes, func(m *fts.Message) { drop(m, &extended{tag: texts[uri] + flags[uri]}) })
		return nil
	default:
		return newProblem("ErrorInvalidPropertySet")
	}
	d.changes = append(d.changes, func(m *fts.Message) { m.Properties.Set(p) })
	return nil
}

// setRecipients replaces those of one kind.
func setRecipients(m *fts.Message, uri string, list *element) {
	kind := map[string]int32{"message:ToRecipients": 1, "message:CcRecipients": 2, "message:BccRecipients": 3}[uri]
	var kept []fts.Properties
	for _, r := range m.Recipients {
		if k, _ := r.Value(fts.TagRecipientType).(int32); k&0xF != kind {
			kept = append(kept, r)
		}
	}
	if m.Recipients = kept; list != nil {
		addRecipients(m, list)
	}
}

func (d *edits) extended(x *extended, value *element) *problem {
	if value == nil {
		d.changes = append(d.changes, func(m *fts.Message) { drop(m, x) })
		return nil
	}
	p, bad := extendedProperty(x, value)
	if bad != nil {
		return bad
	}
	d.changes = append(d.changes, func(m *fts.Message) { m.Properties.Set(p) })
	return nil
}

// extendedProperty reads the value of an ExtendedProperty element.
func extendedProperty(x *extended, e *element) (fts.Property, *problem) {
	like := map[fts.Type]any{fts.Unicode: "", fts.Bool: false, fts.Int32: int32(0), fts.Int16: int16(0), fts.Int64: int64(0), fts.Binary: []byte{}, fts.Float64: 0.0}[x.typ]
	if x.typ == fts.Time {
		t, err := parseTime(e.child("Value").value())
		return x.property(t.UTC()), badValueIf(err != nil)
	}
	if x.typ == fts.Unicode|fts.Multi {
		var list []string
		if vs := e.child("Values"); vs != nil {
			for _, v := range vs.kids {
				list = append(list, v.text)
			}
		}
		return x.property(list), nil
	}
	text := ""
	if v := e.child("Value"); v != nil {
		text = v.text
	}
	v, ok := parseLike(text, like)
	if n, isInt := v.(int64); isInt {
		switch x.typ {
		case fts.Int32:
			v = int32(n)
		case fts.Int16:
			v = int16(n)
		}
	}
	return x.property(v), badValueIf(!ok)
}

func badValueIf(bad bool) *problem {
	if bad {
		return newProblem("ErrorInvalidExtendedPropertyValue")
	}
	return nil
}

func (x *extended) property(v any) fts.Property {
	if x.name != nil {
		return x.name.Prop(v)
	}
	return fts.Prop(x.tag, v)
}

func drop(m *fts.Message, x *extended) {
	kept := m.Properties[:0]
	for _, p := range m.Properties {
		same := x.name == nil && p.Name == nil && p.ID == x.tag || x.name != nil && p.Name != nil && *p.Name == *x.name
		if !same {
			kept = append(kept, p)
		}
	}
	m.Properties = kept
}

func setSubject(m *fts.Message, text string) {
	m.Properties.Set(fts.Prop(fts.TagSubject, text))
	if m.Properties.Value(fts.TagNormalizedSubject) != nil {
		m.Properties.Set(fts.Prop(fts.TagSubjectPrefix, ""))
		m.Properties.Set(fts.Prop(fts.TagNormalizedSubject, text))
	}
}

// createItem saves messages made of MIME, or of a few simple properties.
func (c *call) createItem() *fault {
	return c.respond(func() {
		for _, e := range c.op.child("Items").kids {
			r, p := c.created(e)
			if p != nil {
				c.refuse(p, c.emptyItems)
				continue
			}
			c.success(func() { c.idOnly(r, false) })
		}
	})
}

func (c *call) created(e *element) (ref, *problem) {
	if e.name.Local != "Message" {
		return ref{}, newProblem("ErrorInvalidOperation") // only messages are simulated
	}
	switch c.op.attr("MessageDisposition") {
	case "":
		return ref{}, newProblem("ErrorMessageDispositionRequired")
	case "SaveOnly":
	default:
		return ref{}, newProblem("ErrorSendAsDenied") // nothing is ever sent from here
	}
	into := distinguishedID("drafts")
	if saved := c.op.child("SavedItemFolderId"); saved != nil {
		into = saved.kids0()
	}
	r, p := c.folder(into)
	if p != nil {
		return ref{}, p
	}
	m, p := c.composed(e)
	if p != nil {
		return ref{}, p
	}
	return c.stored(r, m)
}

func (c *call) stored(r ref, m *fts.Message) (ref, *problem) {
	var b bytes.Buffer
	if err := fts.Write(&b, m, c.s.o.Build); err != nil {
		return ref{}, newProblem("ErrorItemSave")
	}
	it, err := r.m.Add(r.folder.ID, exchangetest.Bytes(b.Bytes()))
	if err != nil {
		return ref{}, storeProblem(err)
	}
	return ref{m: r.m, item: it}, nil
}

func (c *call) composed(e *element) (*fts.Message, *problem) {
	raw := []byte("Subject: \r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
	if mc := e.child("MimeContent"); mc != nil {
		var err error
		if raw, err = base64.StdEncoding.DecodeString(spaceless(mc.text)); err != nil {
			return nil, newProblem("ErrorMimeContentInvalidBase64String")
		}
	}
	m, err := compose.MIME(bytes.NewReader(raw), compose.Options{Received: c.s.o.Clock.Now()})
	if err != nil {
		return nil, newProblem("ErrorMimeContentInvalid")
	}
	return m, c.simple(e, m)
}

// simple puts the properties that a request gives beside or instead of MIME.
func (c *call) simple(e *element, m *fts.Message) *problem {
	flags := int32(mailbox.FlagUnsent)
	if e.child("MimeContent") == nil {
		m.Properties.Set(fts.Prop(fts.TagMessageClass, orText(e.child("ItemClass").value(), "IPM.Note")))
	}
	for _, k := range e.kids {
		switch k.name.Local {
		case "Subject":
			setSubject(m, k.text)
		case "Body":
			setBody(m, k)
		case "IsRead":
			if k.isTrue() {
				flags |= mailbox.FlagRead
			}
		case "ToRecipients", "CcRecipients", "BccRecipients":
			addRecipients(m, k)
		case "ExtendedProperty":
			if p := c.extra(k, m, &flags); p != nil {
				return p
			}
		}
	}
	if len(m.Attachments) > 0 {
		flags |= mailbox.FlagHasAttachments
	}
	m.Properties.Set(fts.Prop(fts.TagMessageFlags, flags))
	return nil
}

func (c *call) extra(k *element, m *fts.Message, flags *int32) *problem {
	x, p := readExtended(k.kids0())
	if p != nil {
		return p
	}
	v, p := extendedProperty(x, k)
	if p != nil {
		return p
	}
	if n, ok := v.Value.(int32); ok && v.ID == fts.TagMessageFlags && v.Name == nil {
		*flags = n
	}
	m.Properties.Set(v)
	return nil
}

func setBody(m *fts.Message, k *element) {
	if k.attr("BodyType") == "HTML" {
		m.Properties.Set(fts.Prop(fts.TagHTML, []byte(k.text)))
		m.Properties.Set(fts.Prop(fts.TagInternetCodepage, int32(65001)))
		return
	}
	m.Properties.Set(fts.Prop(fts.TagBody, k.text))
}

func addRecipients(m *fts.Message, list *element) {
	kind := map[string]int32{"ToRecipients": 1, "CcRecipients": 2, "BccRecipients": 3}[list.name.Local]
	for _, k := range list.kids {
		address := k.child("EmailAddress").value()
		m.Recipients = append(m.Recipients, fts.Properties{
			fts.Prop(fts.TagRowID, int32(len(m.Recipients))),
			fts.Prop(fts.TagRecipientType, kind),
			fts.Prop(fts.TagDisplayName, orText(strings.TrimSpace(k.child("Name").value()), address)),
			fts.Prop(fts.TagAddressType, "SMTP"),
			fts.Prop(fts.TagEmailAddress, address),
			fts.Prop(fts.TagSMTPAddress, address),
		})
	}
}
