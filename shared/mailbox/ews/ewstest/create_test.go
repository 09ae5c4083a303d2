package ewstest

import (
	"strings"
	"testing"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts/compose"
)

// make asks for a new item in its home folder.
func (w *world) make(attrs, item string) answer {
	w.t.Helper()
	return w.ask(`<m:CreateItem ` + attrs + `><m:Items>` + item + `</m:Items></m:CreateItem>`)
}

// all gets everything that an answer's first item has.
func (w *world) all(a answer) answer {
	w.t.Helper()
	return w.ask(`<m:GetItem><m:ItemShape><t:BaseShape>AllProperties</t:BaseShape><t:IncludeMimeContent>true</t:IncludeMimeContent></m:ItemShape><m:ItemIds><t:ItemId Id="` +
		a.is("NoError").attrs("ItemId", "Id")[0] + `"/></m:ItemIds></m:GetItem>`).is("NoError")
}

const saveOnly = `MessageDisposition="SaveOnly"`

func TestANewMessageKeepsWhatItIsGiven(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	made := w.make(saveOnly, `<t:Message><t:Subject>s</t:Subject><t:Sensitivity>Private</t:Sensitivity><t:Body BodyType="HTML">&lt;p&gt;hi&lt;/p&gt;</t:Body>
		<t:Attachments><t:FileAttachment><t:Name>a.txt</t:Name><t:ContentType>text/plain</t:ContentType><t:Content>YWJj</t:Content></t:FileAttachment></t:Attachments>
		<t:Categories><t:String>Red</t:String></t:Categories><t:Importance>High</t:Importance><t:Culture>en-US</t:Culture>
		<t:CcRecipients><t:Mailbox><t:EmailAddress>c@x.test</t:EmailAddress></t:Mailbox></t:CcRecipients>
		<t:From><t:Mailbox><t:Name>Ann</t:Name><t:EmailAddress>a@x.test</t:EmailAddress></t:Mailbox></t:From>
		<t:ReplyTo><t:Mailbox><t:EmailAddress>r@x.test</t:EmailAddress></t:Mailbox></t:ReplyTo></t:Message>`)
	if ids := made.is("NoError").attrs("AttachmentId", "Id"); len(ids) != 1 {
		t.Errorf("ids of the attachment: %v", ids)
	} else {
		w.ask(`<m:GetAttachment><m:AttachmentIds><t:AttachmentId Id="`+ids[0]+`"/></m:AttachmentIds></m:GetAttachment>`).is("NoError").eq("Name", "a.txt")
	}
	w.all(made).eq("Sensitivity", "Private").eq("Body", "<p>hi</p>").eq("String", "Red").eq("Importance", "High").
		eq("IsDraft", "true").eq("EmailAddress", "c@x.test,a@x.test,r@x.test").eq("HasAttachments", "true").eq("ContentType", "text/plain")
	w.make(saveOnly, `<t:Message><t:Body BodyType="HTML"><b>hi</b></t:Body></t:Message>`).is("ErrorSchemaValidation")
	w.make(saveOnly, `<t:Message><t:Size>1</t:Size></t:Message>`).is("ErrorInvalidPropertySet")
}

func TestNewEventsContactsAndTasks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	event := `<t:CalendarItem><t:Subject>Talk</t:Subject><t:Start>2026-03-01T10:00:00+01:00</t:Start><t:End>2026-03-01T10:30:00Z</t:End><t:LegacyFreeBusyStatus>OOF</t:LegacyFreeBusyStatus>
		<t:Location>Hall</t:Location><t:RequiredAttendees><t:Attendee><t:Mailbox><t:EmailAddress>bo@corp.test</t:EmailAddress></t:Mailbox></t:Attendee></t:RequiredAttendees></t:CalendarItem>`
	w.make("", event).is("ErrorSendMeetingInvitationsRequired")
	w.make(`SendMeetingInvitations="SendToAllAndSaveCopy"`, event).is("ErrorSendAsDenied")
	w.all(w.make(`SendMeetingInvitations="SendToNone"`, event)).eq("Start", "2026-03-01T09:00:00Z").eq("Duration", "PT1H30M").
		eq("LegacyFreeBusyStatus", "OOF").eq("Location", "Hall").eq("EmailAddress", address+",bo@corp.test")
	w.make(`SendMeetingInvitations="SendToNone"`, `<t:CalendarItem><t:MimeContent>QQ==</t:MimeContent></t:CalendarItem>`).is("ErrorUnsupportedMimeConversion")

	w.all(w.make("", `<t:Contact><t:DisplayName>Zoe</t:DisplayName><t:EmailAddresses><t:Entry Key="EmailAddress2">z@x.test</t:Entry></t:EmailAddresses>
		<t:PhysicalAddresses><t:Entry Key="Home"><t:City>Bonn</t:City></t:Entry></t:PhysicalAddresses><t:PhoneNumbers><t:Entry Key="Pager">7</t:Entry></t:PhoneNumbers>
		<t:PostalAddressIndex>Home</t:PostalAddressIndex></t:Contact>`)).
		eq("DisplayName", "Zoe").eq("City", "Bonn").eq("PostalAddressIndex", "Home").eq("Entry", "z@x.test,,7")
	w.make("", `<t:Contact><t:PhoneNumbers><t:Entry Key="Drum">7</t:Entry></t:PhoneNumbers></t:Contact>`).is("ErrorInvalidPropertySet")

	w.all(w.make("", `<t:Task><t:Subject>Do</t:Subject><t:DueDate>2026-03-01T00:00:00Z</t:DueDate><t:Mileage>9</t:Mileage><t:Status>Completed</t:Status></t:Task>`)).
		eq("DueDate", "2026-03-01T00:00:00Z").eq("Mileage", "9").eq("PercentComplete", "100").eq("IsComplete", "true")
	w.ask(`<m:CreateItem><m:SavedItemFolderId>` + known("inbox") + `</m:SavedItemFolderId><m:Items><t:Task/></m:Items></m:CreateItem>`).is("ErrorCannotCreateTaskInNonTaskFolder")
}

func TestWhatAnUpdateMayChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	it := w.mail("inbox", "x", 1)
	contact := w.add("contacts", compose.Contact(compose.ContactOptions{Given: "Zoe", Home: "2"}))
	change := func(updates string) answer {
		id := ItemID(w.m, it)
		if strings.Contains(updates, "contacts:") {
			id = ItemID(w.m, contact)
		}
		return w.ask(`<m:UpdateItem ConflictResolution="AlwaysOverwrite" MessageDisposition="SaveOnly"><m:ItemChanges><t:ItemChange><t:ItemId Id="` + id + `"/><t:Updates>` + updates + `</t:Updates></t:ItemChange></m:ItemChanges></m:UpdateItem>`)
	}
	set := func(uri, value string) string {
		return `<t:SetItemField><t:FieldURI FieldURI="` + uri + `"/><t:Message>` + value + `</t:Message></t:SetItemField>`
	}
	remove := func(uri string) string {
		return `<t:DeleteItemField><t:FieldURI FieldURI="` + uri + `"/></t:DeleteItemField>`
	}
	w.all(change(set("item:MimeContent", "<t:MimeContent>U3ViamVjdDogbmV3DQoNCmhpDQo=</t:MimeContent>")+set("item:Importance", "<t:Importance>Low</t:Importance>"))).
		eq("Subject", "new").eq("Importance", "Low").eq("HasAttachments", "false").eq("IsRead", "false")
	w.all(change(remove("message:From")+remove("item:InReplyTo")+remove("message:ReplyTo")+set("item:Subject", "<t:Subject>s</t:Subject>"))).eq("Subject", "s").eq("From", "")
	change(remove("contacts:Children") + remove("contacts:FileAsMapping")).is("NoError")
	change(remove("item:Size")).is("ErrorInvalidPropertyDelete")
	change(set("item:Subject", "<t:Importance>Low</t:Importance>")).is("ErrorUpdatePropertyMismatch")
	change(set("item:Subject", "<t:Subject>a</t:Subject><t:Importance>Low</t:Importance>")).is("ErrorIncorrectUpdatePropertyCount")
	change(`<t:AppendToItemField><t:FieldURI FieldURI="item:Subject"/><t:Message><t:Subject>a</t:Subject></t:Message></t:AppendToItemField>`).is("ErrorInvalidPropertyAppend")

	entry := `<t:IndexedFieldURI FieldURI="contacts:PhoneNumber" FieldIndex="`
	w.all(change(`<t:SetItemField>`+entry+`Pager"/><t:Contact><t:PhoneNumbers><t:Entry Key="Pager">9</t:Entry></t:PhoneNumbers></t:Contact></t:SetItemField>`+
		`<t:DeleteItemField>`+entry+`HomePhone"/></t:DeleteItemField>`)).eq("Entry", "9")
}

func TestWhatIsToBeSentMustBeSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	mail := w.mail("inbox", "x", 1)
	event := w.add("calendar", compose.Event(compose.EventOptions{Subject: "e"}))
	task := w.add("tasks", compose.Task(compose.TaskOptions{Subject: "t"}))
	update := func(attrs string, it exchangetest.Item) answer {
		return w.ask(`<m:UpdateItem ConflictResolution="AlwaysOverwrite"` + attrs + `><m:ItemChanges><t:ItemChange><t:ItemId Id="` + ItemID(w.m, it) +
			`"/><t:Updates><t:SetItemField><t:FieldURI FieldURI="item:Subject"/><t:Item><t:Subject>s</t:Subject></t:Item></t:SetItemField></t:Updates></t:ItemChange></m:ItemChanges></m:UpdateItem>`)
	}
	update("", mail).is("ErrorMessageDispositionRequired")
	update(` MessageDisposition="SendOnly"`, mail).is("ErrorSendAsDenied")
	update(` MessageDisposition="SaveOnly"`, mail).is("NoError")
	update("", event).is("ErrorSendMeetingInvitationsOrCancellationsRequired")
	update(` SendMeetingInvitationsOrCancellations="SendToNone"`, event).is("NoError")
	update("", task).is("NoError")
	drop := func(attrs string, it exchangetest.Item) answer {
		return w.ask(`<m:DeleteItem DeleteType="HardDelete"` + attrs + `>` + itemIDs(w.m, it) + `</m:DeleteItem>`)
	}
	drop("", event).is("ErrorSendMeetingCancellationsRequired")
	drop(` SendMeetingCancellations="SendToNone"`, event).is("NoError")
	drop("", task).is("ErrorAffectedTaskOccurrencesRequired")
	drop(` AffectedTaskOccurrences="AllOccurrences"`, task).is("NoError")
}

func TestAttachmentsComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	it := w.mail("inbox", "x", 1)
	add := func(what string) answer {
		return w.ask(`<m:CreateAttachment><m:ParentItemId Id="` + ItemID(w.m, it) + `"/><m:Attachments>` + what + `</m:Attachments></m:CreateAttachment>`)
	}
	drop := func(id string) answer {
		return w.ask(`<m:DeleteAttachment><m:AttachmentIds><t:AttachmentId Id="` + id + `"/></m:AttachmentIds></m:DeleteAttachment>`)
	}
	get := func(id string) answer {
		return w.ask(`<m:GetAttachment><m:AttachmentIds><t:AttachmentId Id="` + id + `"/></m:AttachmentIds></m:GetAttachment>`)
	}
	file := add(`<t:FileAttachment><t:Name>n.txt</t:Name><t:Content>YWJj</t:Content></t:FileAttachment>`).is("NoError").attrs("AttachmentId", "Id")[0]
	inner := add(`<t:ItemAttachment><t:Name>m</t:Name><t:Message><t:Subject>inner</t:Subject></t:Message></t:ItemAttachment>`).is("NoError").attrs("AttachmentId", "Id")[0]
	get(file).is("NoError").eq("Content", "YWJj")
	key := drop(file).is("NoError").attrs("RootItemId", "RootItemChangeKey")[0]
	if now, err := w.m.Item(it.ID); err != nil || key != ChangeKey(w.m, now) {
		t.Errorf("root item's change key: %s, %v", key, err)
	}
	get(file).is("ErrorItemNotFound")
	drop(file).is("ErrorItemNotFound")
	get(inner).is("NoError").eq("Subject", "inner")
	add(`<t:ItemAttachment><t:Name>m</t:Name><t:Task/></t:ItemAttachment>`).is("ErrorInvalidItemForOperationCreateItemAttachment")
}

func TestEventsAndContactsHaveNativeContent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	content := func(made answer) string { return string(unbase64(t, w.all(made).texts("MimeContent"))) }
	long := strings.Repeat("lång ", 30)
	cal := content(w.make(`SendMeetingInvitations="SendToNone"`, `<t:CalendarItem><t:Subject>a; b, `+long+`</t:Subject><t:Start>2026-03-01T00:00:00Z</t:Start><t:End>2026-03-02T00:00:00Z</t:End><t:IsAllDayEvent>true</t:IsAllDayEvent></t:CalendarItem>`))
	for _, line := range strings.Split(cal, "\r\n") {
		if len(line) > 75 {
			t.Errorf("line of %d octets: %s", len(line), line)
		}
	}
	for _, want := range []string{"BEGIN:VCALENDAR\r\nMETHOD:PUBLISH\r\n", "\r\nDTSTART;VALUE=DATE:20260301\r\n", "\r\nSUMMARY:a\\; b\\, " + long + "\r\n", "\r\nEND:VCALENDAR\r\n"} {
		if !strings.Contains(strings.ReplaceAll(cal, "\r\n ", ""), want) {
			t.Errorf("calendar: no %q in %s", want, cal)
		}
	}
	card := content(w.make("", `<t:Contact><t:DisplayName>Zoe</t:DisplayName><t:EmailAddresses><t:Entry Key="EmailAddress1">z@x.test</t:Entry></t:EmailAddresses><t:Surname>Cole</t:Surname></t:Contact>`))
	for _, want := range []string{"BEGIN:VCARD\r\n", "\r\nVERSION:3.0\r\n", "\r\nFN:Zoe\r\nN:Cole;;;;\r\n", "\r\nEMAIL;TYPE=INTERNET:z@x.test\r\n", "\r\nEND:VCARD\r\n"} {
		if !strings.Contains(card, want) {
			t.Errorf("contact: no %q in %s", want, card)
		}
	}
}
