package ewstest

import (
	"encoding/base64"
	"errors"
	"io"
	"slices"

	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// writeItem writes an item as its kind, in the order of the schema.
func (c *call) writeItem(v *view) { v.write(c.s.fields, c.w) }

func (v *view) write(fields []field, w *writer) {
	k := kindOf(v.it.Summary.Class)
	w.open("t:" + k.element)
	for i := range fields {
		f := &fields[i]
		if f.of&k.fields == 0 || f.of == everyKind && k.fields == 0 {
			continue
		}
		if v.shows(f) {
			f.put(v, w)
		}
	}
	w.close("t:" + k.element)
}

func (v *view) shows(f *field) bool {
	switch {
	case f.uri == extendedHere:
		return len(v.sh.extra) > 0
	case f.uri == "item:ItemId":
		return true
	case f.uri == "item:MimeContent" && v.sh.mime:
		return v.msg != nil
	case f.heavy && v.msg == nil:
		return false
	case f.indexed != "" && v.sh.hasIndexed(f.indexed):
		return true
	}
	return v.sh.shows(f.uri, f.in, v.list)
}

// wants says whether a shape needs the whole item; get is GetItem, where the base shapes do.
func (s *Server) wants(sh *shape, get bool) bool {
	if sh.mime || get && sh.base != "IdOnly" {
		return true
	}
	for uri := range sh.uris {
		if f := s.byURI[uri]; f != nil && f.heavy {
			return true
		}
	}
	if sh.hasIndexed(headerIndex) {
		return true
	}
	for _, x := range sh.extra {
		if get && (x.name != nil || x.tag == fts.TagBody || x.tag == fts.TagHTML || x.tag == fts.TagRTF || x.tag == fts.TagTransportHeaders) {
			return true
		}
	}
	return false
}

func (c *call) getItem() *fault {
	sh, bad := readShape(c.op.child("ItemShape"))
	return c.respond(func() {
		for _, e := range c.op.child("ItemIds").kids {
			v, p := c.open(e, &sh, bad)
			if p != nil {
				c.refuse(p, c.emptyItems)
				continue
			}
			c.success(func() {
				c.w.open("m:Items")
				c.writeItem(v)
				c.w.close("m:Items")
			})
		}
	})
}

// open finds an item and loads what the shape needs of it.
func (c *call) open(e *element, sh *shape, bad *problem) (*view, *problem) {
	r, p := c.item(e)
	if p = firstProblem(bad, p); p != nil {
		return nil, p
	}
	if p := c.s.faults.problem(key(r.m, r.item.ID)); p != nil {
		return nil, p
	}
	v := &view{m: r.m, it: r.item, sh: sh}
	if c.s.wants(sh, true) {
		if err := v.load(c.r.Context()); err != nil {
			return nil, loadProblem(err)
		}
	}
	return v, nil
}

func loadProblem(err error) *problem {
	var format *fts.FormatError
	if errors.As(err, &format) {
		return newProblem("ErrorItemCorrupt")
	}
	return newProblem("ErrorContentConversionFailed")
}

func writeMIME(v *view, w *writer) {
	if v.msg == nil {
		return
	}
	w.open("t:MimeContent", "CharacterSet", "UTF-8")
	enc := base64.NewEncoder(base64.StdEncoding, rawText{w})
	writeNative(v.msg, enc)
	_ = enc.Close()
	w.close("t:MimeContent")
}

// rawText writes what needs no escaping.
type rawText struct{ w *writer }

func (r rawText) Write(b []byte) (int, error) {
	r.w.raw(string(b))
	return len(b), nil
}

var _ io.Writer = rawText{}

func writeAttachments(v *view, w *writer) {
	if v.msg == nil || len(v.msg.Attachments) == 0 {
		return
	}
	w.open("t:Attachments")
	for i := range v.msg.Attachments {
		v.writeAttachment(w, i, nil)
	}
	w.close("t:Attachments")
}

// writeAttachment writes one attachment; inside, when not nil, writes its content.
func (v *view) writeAttachment(w *writer, i int, inside func(*fts.Attachment)) {
	a := &v.msg.Attachments[i]
	name := "t:FileAttachment"
	if a.Embedded != nil {
		name = "t:ItemAttachment"
	}
	text := func(id uint16) string { s, _ := a.Properties.Value(id).(string); return s }
	optional := func(element, s string) {
		if s != "" {
			w.text(element, s)
		}
	}
	flags, _ := a.Properties.Value(fts.TagAttachFlags).(int32)
	w.open(name)
	w.empty("t:AttachmentId", "Id", attachmentID(v.m, v.it, int(a.Number)+1))
	w.text("t:Name", attachmentName(a))
	optional("t:ContentType", text(fts.TagAttachMimeTag))
	optional("t:ContentId", text(fts.TagAttachContentID))
	optional("t:ContentLocation", text(fts.TagAttachContentLocation))
	w.num("t:Size", attachmentSize(a))
	w.text("t:LastModifiedTime", textValue(v.it.Modified))
	w.flag("t:IsInline", flags&4 != 0)
	if a.Embedded == nil {
		w.flag("t:IsContactPhoto", false)
	}
	if inside != nil {
		inside(a)
	}
	w.close(name)
}

func attachmentName(a *fts.Attachment) string {
	for _, id := range []uint16{fts.TagAttachLongFilename, fts.TagAttachFilename, fts.TagDisplayName} {
		if s, _ := a.Properties.Value(id).(string); s != "" {
			return s
		}
	}
	if a.Embedded != nil {
		s, _ := a.Embedded.Properties.Value(fts.TagSubject).(string)
		return s
	}
	return ""
}

func attachmentSize(a *fts.Attachment) int {
	if a.Embedded != nil {
		n, _ := fts.Size(a.Embedded)
		return int(n)
	}
	b, _ := a.Properties.Value(fts.TagAttachData).([]byte)
	return len(b)
}

func (c *call) getAttachment() *fault {
	return c.respond(func() {
		for _, e := range c.op.child("AttachmentIds").kids {
			v, at, p := c.attachment(e.attr("Id"))
			if p != nil {
				c.refuse(p, func() { c.w.empty("m:Attachments") })
				continue
			}
			c.success(func() {
				c.w.open("m:Attachments")
				v.writeAttachment(c.w, at, func(a *fts.Attachment) { c.writeContent(v, a) })
				c.w.close("m:Attachments")
			})
		}
	})
}

// attachment finds an attachment: its item, and its place among the item's attachments.
func (c *call) attachment(s string) (*view, int, *problem) {
	x, ok := decodeID(s)
	if !ok || x.attachment == 0 {
		return nil, 0, newProblem("ErrorInvalidAttachmentId")
	}
	m := c.s.byGUID(x.mailbox)
	if m == nil {
		return nil, 0, noMailbox(x)
	}
	it, err := m.Item(x.item)
	if err != nil || !c.mayReach(m) {
		return nil, 0, newProblem("ErrorItemNotFound")
	}
	v := &view{m: m, it: it, sh: &shape{base: "IdOnly", body: "Best"}}
	if err := v.load(c.r.Context()); err != nil {
		return nil, 0, loadProblem(err)
	}
	at := slices.IndexFunc(v.msg.Attachments, func(a fts.Attachment) bool { return int(a.Number)+1 == x.attachment })
	if at < 0 {
		return nil, 0, newProblem("ErrorItemNotFound")
	}
	return v, at, nil
}

// writeContent writes a file's bytes, or a message within the message.
func (c *call) writeContent(v *view, a *fts.Attachment) {
	if a.Embedded == nil {
		b, _ := a.Properties.Value(fts.TagAttachData).([]byte)
		c.w.text("t:Content", base64.StdEncoding.EncodeToString(b))
		return
	}
	sh := c.op.child("AttachmentShape")
	inner := &view{m: v.m, it: embedded(v, a.Embedded), msg: a.Embedded, sh: &shape{base: "Default", body: orText(sh.child("BodyType").value(), "Best"), mime: sh.child("IncludeMimeContent").isTrue()}}
	inner.write(withoutID(c.s.fields), c.w)
}

// withoutID leaves out what an item in an item does not have.
func withoutID(fields []field) []field {
	var out []field
	for _, f := range fields {
		if f.uri != "item:ItemId" && f.uri != "item:Attachments" {
			out = append(out, f)
		}
	}
	return out
}
