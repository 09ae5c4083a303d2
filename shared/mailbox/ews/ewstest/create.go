package ewstest

import (
	"bytes"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/fts/compose"
)

// createItem saves messages made of MIME or of properties, and events, contacts and tasks made of properties.
func (c *call) createItem() *fault {
	return c.respond(func() {
		for _, e := range c.op.child("Items").kids {
			r, p := c.created(e)
			if p != nil {
				c.refuse(p, c.emptyItems)
				continue
			}
			c.success(func() { c.newID(r, e) })
		}
	})
}

// newID writes Items with a new item's id and those of the attachments that it came with.
func (c *call) newID(r ref, e *element) {
	name, given := "t:"+e.name.Local, e.child("Attachments").children()
	first := r.item.Attachments - len(given) // after those of its MIME
	c.w.open("m:Items")
	c.w.open(name)
	c.w.empty("t:ItemId", "Id", ItemID(r.m, r.item), "ChangeKey", ChangeKey(r.m, r.item))
	c.w.list("t:Attachments", func(begin func()) {
		for i, a := range given {
			begin()
			c.w.open("t:" + a.name.Local)
			c.w.empty("t:AttachmentId", "Id", attachmentID(r.m, r.item, first+i+1))
			c.w.close("t:" + a.name.Local)
		}
	})
	c.w.close(name)
	c.w.close("m:Items")
}

// newKind is what CreateItem needs to know of a kind of item.
type newKind struct {
	prefixes []string // of its fields
	home     string   // where it goes when no folder is named
	folder   string   // the element of a folder that takes it; "" is any
	misplace string   // the answer of another folder
}

func newKinds() map[string]newKind {
	return map[string]newKind{
		"Message":      {prefixes: []string{"item", "message"}, home: "drafts"},
		"CalendarItem": {prefixes: []string{"item", "calendar"}, home: "calendar", folder: "CalendarFolder", misplace: "ErrorCannotCreateCalendarItemInNonCalendarFolder"},
		"Contact":      {prefixes: []string{"item", "contacts"}, home: "contacts", folder: "ContactsFolder", misplace: "ErrorCannotCreateContactInNonContactFolder"},
		"Task":         {prefixes: []string{"item", "task"}, home: "tasks", folder: "TasksFolder", misplace: "ErrorCannotCreateTaskInNonTaskFolder"},
	}
}

func (c *call) created(e *element) (ref, *problem) {
	k, ok := newKinds()[e.name.Local]
	if !ok {
		return ref{}, newProblem("ErrorInvalidOperation") // not simulated
	}
	if p := c.mayCreate(e); p != nil {
		return ref{}, p
	}
	into := distinguishedID(k.home)
	if saved := c.op.child("SavedItemFolderId"); saved != nil {
		into = saved.kids0()
	}
	r, p := c.folder(into)
	if p != nil {
		return ref{}, p
	}
	if k.folder != "" && folderKindOf(r.folder.Class).element != k.folder {
		return ref{}, newProblem(k.misplace)
	}
	m, p := c.composed(e, k, r.m)
	if p != nil {
		return ref{}, p
	}
	return c.stored(r, m)
}

// mayCreate looks at what is to be sent: nothing ever is from here.
func (c *call) mayCreate(e *element) *problem {
	disposition, invitations := c.op.attr("MessageDisposition"), c.op.attr("SendMeetingInvitations")
	switch {
	case e.name.Local == "Message" && disposition == "":
		return newProblem("ErrorMessageDispositionRequired")
	case e.name.Local == "Message" && disposition != "SaveOnly":
		return newProblem("ErrorSendAsDenied")
	case e.name.Local == "CalendarItem" && invitations == "":
		return newProblem("ErrorSendMeetingInvitationsRequired")
	case e.name.Local == "CalendarItem" && invitations != "SendToNone" && e.child("RequiredAttendees") != nil:
		return newProblem("ErrorSendAsDenied")
	}
	return nil
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

// composed makes the item that a request describes.
func (c *call) composed(e *element, k newKind, in *exchangetest.Mailbox) (*fts.Message, *problem) {
	m, p := c.blank(e, in)
	if p != nil {
		return nil, p
	}
	d := &edits{}
	if e.name.Local == "Message" && e.child("MimeContent") == nil {
		d.then(func(m *fts.Message) { m.Properties.Set(fts.Prop(fts.TagMessageClass, "IPM.Note")) })
	}
	for _, x := range mimeFirst(e.kids) {
		if p := c.describe(d, k, x); p != nil {
			return nil, p
		}
	}
	d.apply(m)
	markAttachments(m)
	return m, nil
}

// markAttachments says in the flags whether there are any.
func markAttachments(m *fts.Message) {
	flags, _ := m.Properties.Value(fts.TagMessageFlags).(int32)
	if flags &^= mailbox.FlagHasAttachments; len(m.Attachments) > 0 {
		flags |= mailbox.FlagHasAttachments
	}
	m.Properties.Set(fts.Prop(fts.TagMessageFlags, flags))
}

// blank is an item that says nothing yet. Only messages can be made of MIME here.
func (c *call) blank(e *element, in *exchangetest.Mailbox) (*fts.Message, *problem) {
	now, id := c.s.o.Clock.Now(), uuid.NewString()
	if e.name.Local != "Message" && e.child("MimeContent") != nil {
		return nil, newProblem("ErrorUnsupportedMimeConversion")
	}
	switch e.name.Local {
	case "CalendarItem":
		return compose.Event(compose.EventOptions{UID: id, Start: now, End: now, Busy: 2, Reminder: -1, Created: now,
			Organizer: compose.Address{Name: displayName(in.Address), Email: in.Address}}), nil
	case "Contact":
		return compose.Contact(compose.ContactOptions{UID: id, Created: now}), nil
	case "Task":
		return compose.Task(compose.TaskOptions{UID: id, Importance: 1, Created: now, Owner: displayName(in.Address)}), nil
	}
	m, err := compose.MIME(strings.NewReader("Subject: \r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"), compose.Options{Received: now, Seed: id})
	if err != nil {
		return nil, newProblem("ErrorItemSave")
	}
	m.Properties.Set(fts.Prop(fts.TagMessageFlags, int32(mailbox.FlagUnsent)))
	return m, nil
}

// mimeFirst puts MIME before the properties that are given beside it.
func mimeFirst(kids []*element) []*element {
	at := slices.IndexFunc(kids, func(e *element) bool { return e.name.Local == "MimeContent" })
	if at <= 0 {
		return kids
	}
	return append([]*element{kids[at]}, slices.Delete(slices.Clone(kids), at, at+1)...)
}

// describe takes one element of a new item.
func (c *call) describe(d *edits, k newKind, e *element) *problem {
	if e.name.Local == "ExtendedProperty" {
		x, p := readExtended(e.kids0())
		if p != nil {
			return p
		}
		return d.extended(x, e)
	}
	for _, prefix := range k.prefixes {
		if uri := prefix + ":" + e.name.Local; knownField(uri) {
			return c.edit(d, path{uri: uri}, e)
		}
	}
	return newProblem("ErrorInvalidPropertySet")
}
