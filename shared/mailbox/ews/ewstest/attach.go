package ewstest

import (
	"encoding/base64"
	"slices"

	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// setAttachments adds the attachments that a new item comes with.
func (c *call) setAttachments(d *edits, list *element) *problem {
	for _, e := range list.kids {
		a, p := c.attachmentOf(e)
		if p != nil {
			return p
		}
		d.then(func(m *fts.Message) { attach(m, a) })
	}
	return nil
}

// attach adds an attachment under a number that no other one has, and returns the number.
func attach(m *fts.Message, a fts.Attachment) int32 {
	a.Number = 0
	for _, o := range m.Attachments {
		a.Number = max(a.Number, o.Number+1)
	}
	a.Properties.Set(fts.Prop(fts.TagAttachNumber, a.Number))
	m.Attachments = append(m.Attachments, a)
	markAttachments(m)
	return a.Number
}

// attachmentOf reads a FileAttachment or an ItemAttachment that holds a message.
func (c *call) attachmentOf(e *element) (fts.Attachment, *problem) {
	a := fts.Attachment{}
	set := func(id uint16, v any) { a.Properties.Set(fts.Prop(id, v)) }
	name := e.child("Name").value()
	set(fts.TagDisplayName, name)
	set(fts.TagAttachLongFilename, name)
	set(fts.TagRenderingPosition, int32(-1))
	for element, id := range map[string]uint16{"ContentType": fts.TagAttachMimeTag, "ContentId": fts.TagAttachContentID, "ContentLocation": fts.TagAttachContentLocation} {
		if s := e.child(element).value(); s != "" {
			set(id, s)
		}
	}
	if in := e.child("IsInline"); in != nil && in.isTrue() {
		set(fts.TagAttachFlags, int32(4))
	}
	if e.name.Local == "FileAttachment" {
		content, err := base64.StdEncoding.DecodeString(spaceless(e.child("Content").value()))
		if err != nil {
			return a, newProblem("ErrorInvalidRequest")
		}
		set(fts.TagAttachMethod, int32(1))
		set(fts.TagAttachData, content)
		set(fts.TagAttachSize, int32(len(content)))
		return a, nil
	}
	item := e.child("Message")
	if e.name.Local != "ItemAttachment" || item == nil { // not simulated
		return a, newProblem("ErrorInvalidItemForOperationCreateItemAttachment")
	}
	inner, p := c.composed(item, newKinds()["Message"], c.as)
	set(fts.TagAttachMethod, int32(5))
	a.Embedded = inner
	return a, p
}

func (c *call) createAttachment() *fault {
	return c.respond(func() {
		parent, bad := c.item(c.op.child("ParentItemId").asItemID())
		for _, e := range c.op.child("Attachments").kids {
			a, p := c.attachmentOf(e)
			number := int32(0)
			if p = firstProblem(bad, p); p == nil {
				parent, p = editedRef(parent, func(m *fts.Message) { number = attach(m, a) })
			}
			if p != nil {
				c.refuse(p, func() { c.w.empty("m:Attachments") })
				continue
			}
			c.success(func() {
				c.w.open("m:Attachments")
				c.w.open("t:" + e.name.Local)
				c.w.empty("t:AttachmentId", "Id", attachmentID(parent.m, parent.item, int(number)+1),
					"RootItemId", ItemID(parent.m, parent.item), "RootItemChangeKey", ChangeKey(parent.m, parent.item))
				c.w.close("t:" + e.name.Local)
				c.w.close("m:Attachments")
			})
		}
	})
}

// asItemID is a ParentItemId read as the ItemId that it is in all but name.
func (e *element) asItemID() *element {
	id := *e
	id.name.Local = "ItemId"
	return &id
}

func editedRef(r ref, change func(*fts.Message)) (ref, *problem) {
	it, err := r.m.Edit(r.item.ID, change)
	return updatedRef(r, it, err)
}

func (c *call) deleteAttachment() *fault {
	return c.respond(func() {
		for _, e := range c.op.child("AttachmentIds").kids {
			v, at, p := c.attachment(e.attr("Id"))
			r := ref{}
			if p == nil {
				number := v.msg.Attachments[at].Number
				r, p = editedRef(ref{m: v.m, item: v.it}, func(m *fts.Message) {
					m.Attachments = slices.DeleteFunc(m.Attachments, func(a fts.Attachment) bool { return a.Number == number })
					markAttachments(m)
				})
			}
			if p != nil {
				c.refuse(p, nil)
				continue
			}
			c.success(func() {
				c.w.empty("m:RootItemId", "RootItemId", ItemID(r.m, r.item), "RootItemChangeKey", ChangeKey(r.m, r.item))
			})
		}
	})
}
