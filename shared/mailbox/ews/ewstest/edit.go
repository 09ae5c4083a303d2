package ewstest

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/fts/compose"
)

// edits are what an UpdateItem asks for of one item, and what a CreateItem says of a new one.
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

func (d *edits) then(f func(*fts.Message)) { d.changes = append(d.changes, f) }

func (c *call) readEdits(updates *element) (*edits, *problem) {
	d := &edits{}
	for _, u := range updates.kids {
		if p := c.readEdit(d, u); p != nil {
			return nil, p
		}
	}
	return d, nil
}

func (c *call) readEdit(d *edits, u *element) *problem {
	of, p := readPath(u.kids0())
	if p != nil {
		return p
	}
	var value *element
	switch u.name.Local {
	case "AppendToItemField": // not simulated
		return newProblem("ErrorInvalidPropertyAppend")
	case "SetItemField":
		if len(u.kids) < 2 || len(u.kids[1].kids) != 1 {
			return newProblem("ErrorIncorrectUpdatePropertyCount")
		}
		value = u.kids[1].kids[0]
		if p := mismatch(of, value); p != nil {
			return p
		}
	}
	return c.edit(d, of, value)
}

// mismatch refuses a value that is not of the property that is named, and what only a new item can have.
func mismatch(of path, value *element) *problem {
	_, name, _ := strings.Cut(of.uri, ":")
	switch {
	case of.extended != nil && value.name.Local != "ExtendedProperty", of.extended == nil && of.index == "" && value.name.Local != name:
		return newProblem("ErrorUpdatePropertyMismatch")
	case of.uri == "item:Attachments":
		return newProblem("ErrorInvalidPropertySet")
	}
	return nil
}

// edit adds one change; value is nil to delete the property.
func (c *call) edit(d *edits, of path, value *element) *problem {
	switch s, known := slots()[of.uri]; {
	case of.extended != nil:
		return d.extended(of.extended, value)
	case of.index != "":
		return d.entry(of, value)
	case known && value == nil:
		d.then(func(m *fts.Message) { dropProperty(m, s.at("")) })
		return nil
	case known:
		v, ok := s.read(value)
		if !ok {
			return newProblem("ErrorInvalidPropertySet")
		}
		d.then(func(m *fts.Message) { m.Properties.Set(s.at(v)) })
		return nil
	case value == nil:
		return d.clear(of.uri)
	}
	return c.set(d, of.uri, value)
}

// slot is a field that is one property: where it is kept and how its value is read.
type slot struct {
	at   func(any) fts.Property
	read func(*element) (any, bool)
}

func tagged(id uint16) func(any) fts.Property {
	return func(v any) fts.Property { return fts.Prop(id, v) }
}

func slots() map[string]slot {
	all := map[string]slot{
		"item:ItemClass":                     {tagged(fts.TagMessageClass), asText},
		"item:Importance":                    {tagged(fts.TagImportance), oneOf("Low", "Normal", "High")},
		"item:InReplyTo":                     {tagged(fts.TagInReplyTo), asText},
		"item:Categories":                    {fts.Public("Keywords").Prop, asTexts},
		"item:Sensitivity":                   {tagged(fts.TagSensitivity), oneOf("Normal", "Personal", "Private", "Confidential")},
		"item:ReminderDueBy":                 {fts.Common(fts.LidReminderTime).Prop, asTime},
		"item:ReminderIsSet":                 {fts.Common(fts.LidReminderSet).Prop, asBool},
		"item:ReminderMinutesBeforeStart":    {fts.Common(fts.LidReminderDelta).Prop, asNumber},
		"message:InternetMessageId":          {tagged(fts.TagMessageID), asText},
		"message:References":                 {tagged(fts.TagReferences), asText},
		"message:ReplyTo":                    {tagged(fts.TagReplyRecipientNames), asPeople},
		"message:IsReadReceiptRequested":     {tagged(tagReadReceipt), asBool},
		"message:IsDeliveryReceiptRequested": {tagged(tagDeliveryReceipt), asBool},
		"message:IsResponseRequested":        {tagged(fts.TagReplyRequested), asBool},
		"calendar:IsResponseRequested":       {tagged(fts.TagReplyRequested), asBool},
		"calendar:Location":                  {fts.Appointment(fts.LidLocation).Prop, asText},
		"calendar:IsAllDayEvent":             {fts.Appointment(fts.LidSubType).Prop, asBool},
		"calendar:LegacyFreeBusyStatus":      {fts.Appointment(fts.LidBusyStatus).Prop, oneOf("Free", "Tentative", "Busy", "OOF")},
		"calendar:ConferenceType":            {fts.Appointment(lidConferenceType).Prop, asNumber},
		"calendar:IsOnlineMeeting":           {fts.Appointment(lidOnline).Prop, asBool},
		"calendar:MeetingWorkspaceUrl":       {fts.Appointment(lidWorkspace).Prop, asText},
		"calendar:NetShowUrl":                {fts.Appointment(lidNetShow).Prop, asText},
		"calendar:AllowNewTimeProposal":      {fts.Appointment(lidNoProposal).Prop, asNot},
		"contacts:Children":                  {tagged(tagChildren), asTexts},
		"contacts:Companies":                 {fts.Common(lidCompanies).Prop, asTexts},
		"contacts:FileAsMapping":             {fts.Address(fts.LidFileUnderID).Prop, asFileAs},
		"contacts:Mileage":                   {fts.Common(lidMileage).Prop, asText},
		"contacts:Birthday":                  {tagged(fts.TagBirthday), asTime},
		"contacts:WeddingAnniversary":        {tagged(tagWedding), asTime},
		"contacts:PostalAddressIndex":        {fts.Address(lidPostalAddress).Prop, oneOf("None", "Home", "Business", "Other")},
		"task:StartDate":                     {fts.Task(fts.LidTaskStartDate).Prop, asTime},
		"task:DueDate":                       {fts.Task(fts.LidTaskDueDate).Prop, asTime},
		"task:ActualWork":                    {fts.Task(lidActualWork).Prop, asNumber},
		"task:TotalWork":                     {fts.Task(lidTotalWork).Prop, asNumber},
		"task:BillingInformation":            {fts.Common(lidBilling).Prop, asText},
		"task:Companies":                     {fts.Common(lidCompanies).Prop, asTexts},
		"task:Contacts":                      {fts.Common(lidContacts).Prop, asTexts},
		"task:Mileage":                       {fts.Common(lidMileage).Prop, asText},
		"task:PercentComplete":               {fts.Task(fts.LidPercentComplete).Prop, asPercent},
	}
	for uri, p := range contactTexts() {
		all[uri] = slot{func(v any) fts.Property { s, _ := v.(string); return p.property(s) }, asText}
	}
	return all
}

const (
	tagReadReceipt     uint16 = 0x0029 // PidTagReadReceiptRequested
	tagDeliveryReceipt uint16 = 0x0023 // PidTagOriginatorDeliveryReportRequested
)

// Numbers of properties that only their fields need.
const (
	tagChildren       uint16 = 0x3A58 // PidTagChildrensNames
	lidOnline         uint32 = 0x8240 // PidLidConferencingCheck; set Appointment, as the four below
	lidConferenceType uint32 = 0x8241 // PidLidConferencingType
	lidWorkspace      uint32 = 0x8209 // PidLidMeetingWorkspaceUrl
	lidNetShow        uint32 = 0x8248 // PidLidNetShowUrl
	lidNoProposal     uint32 = 0x825A // PidLidAppointmentNotAllowPropose
	lidMileage        uint32 = 0x8534 // set Common, as the three below
	lidBilling        uint32 = 0x8535
	lidCompanies      uint32 = 0x8539
	lidContacts       uint32 = 0x853A
	lidActualWork     uint32 = 0x8110 // PidLidTaskActualEffort, minutes; set Task, as the two below
	lidTotalWork      uint32 = 0x8111 // PidLidTaskEstimatedEffort
	lidTaskRecurrence uint32 = 0x8116
)

func asText(e *element) (any, bool) { return e.text, true }
func asBool(e *element) (any, bool) { return e.isTrue(), true }

func asNot(e *element) (any, bool) { return !e.isTrue(), true }

// asFileAs takes the two ways to file a contact that are simulated.
func asFileAs(e *element) (any, bool) {
	n, ok := map[string]int32{"None": 0, "LastCommaFirst": fileLastFirst}[e.value()]
	return n, ok
}

const fileLastFirst int32 = 0x8017

func asTime(e *element) (any, bool) {
	t, err := parseTime(e.value())
	return t.UTC(), err == nil
}

func asNumber(e *element) (any, bool) {
	n, ok := decimal(e.value())
	return int32(n), ok
}

func asPercent(e *element) (any, bool) {
	v, ok := parseLike(e.value(), 0.0)
	f, _ := v.(float64)
	return f / 100, ok && f >= 0 && f <= 100
}

func asTexts(e *element) (any, bool) {
	var list []string
	for _, k := range e.kids {
		list = append(list, k.text)
	}
	return list, true
}

// asPeople keeps addresses as PidTagReplyRecipientNames does names.
func asPeople(e *element) (any, bool) {
	var list []string
	for _, k := range e.kids {
		list = append(list, k.child("EmailAddress").value())
	}
	return strings.Join(list, ";"), true
}

func oneOf(names ...string) func(*element) (any, bool) {
	return func(e *element) (any, bool) {
		n := slices.Index(names, e.value())
		return int32(n), n >= 0
	}
}

// set changes what is more than one property.
func (c *call) set(d *edits, uri string, value *element) *problem {
	switch uri {
	case "item:Subject":
		d.then(func(m *fts.Message) { setSubject(m, value.text) })
	case "item:Body":
		d.then(func(m *fts.Message) { setBody(m, value) })
	case "item:MimeContent":
		return c.setMIME(d, value)
	case "item:Attachments":
		return c.setAttachments(d, value)
	case "item:Flag":
		n := map[string]int32{"Complete": 1, "Flagged": 2}[value.child("FlagStatus").value()]
		d.then(func(m *fts.Message) { m.Properties.Set(fts.Prop(fts.TagFlagStatus, n)) })
	case "item:Culture", "calendar:StartTimeZone", "calendar:EndTimeZone", "calendar:MeetingTimeZone": // not kept: times are UTC
	case "message:IsRead":
		b := value.isTrue()
		d.read = &b
	case "message:From":
		d.then(func(m *fts.Message) {
			setPerson(m, value, fts.TagSentRepresentingName, fts.TagSentRepresentingEmail, fts.TagSentRepresentingType)
		})
	case "message:Sender":
		d.then(func(m *fts.Message) { setPerson(m, value, fts.TagSenderName, fts.TagSenderEmail, fts.TagSenderType) })
	case "message:ToRecipients", "message:CcRecipients", "message:BccRecipients", "calendar:RequiredAttendees", "calendar:OptionalAttendees", "calendar:Resources":
		d.then(func(m *fts.Message) { setRecipients(m, uri, value) })
	case "calendar:Start", "calendar:End":
		return d.setEventTime(uri, value)
	case "task:Status", "task:CompleteDate":
		return d.setTaskState(uri, value)
	case "contacts:EmailAddresses", "contacts:PhoneNumbers", "contacts:PhysicalAddresses":
		return d.entries(uri, value)
	default: // read-only, or not simulated
		return newProblem("ErrorInvalidPropertySet")
	}
	return nil
}

// clear deletes what is more than one property.
func (d *edits) clear(uri string) *problem {
	dropAll := func(ids ...uint16) {
		d.then(func(m *fts.Message) {
			for _, id := range ids {
				dropProperty(m, fts.Prop(id, ""))
			}
		})
	}
	switch uri {
	case "item:Subject":
		d.then(func(m *fts.Message) { setSubject(m, "") })
	case "item:Body":
		dropAll(fts.TagBody, fts.TagHTML, fts.TagRTF)
	case "item:Flag":
		dropAll(fts.TagFlagStatus)
	case "message:From":
		dropAll(fts.TagSentRepresentingName, fts.TagSentRepresentingEmail, fts.TagSentRepresentingType)
	case "message:Sender":
		dropAll(fts.TagSenderName, fts.TagSenderEmail, fts.TagSenderType)
	case "message:ToRecipients", "message:CcRecipients", "message:BccRecipients", "calendar:RequiredAttendees", "calendar:OptionalAttendees", "calendar:Resources":
		d.then(func(m *fts.Message) { setRecipients(m, uri, nil) })
	case "calendar:Recurrence", "task:Recurrence":
		d.then(endSeries)
	case "contacts:EmailAddresses", "contacts:PhoneNumbers", "contacts:PhysicalAddresses", "task:CompleteDate", "item:Culture": // there is nothing to delete
	default:
		return newProblem("ErrorInvalidPropertyDelete")
	}
	return nil
}

// setMIME makes a mail anew and keeps what MIME does not hold: its flags and its categories.
func (c *call) setMIME(d *edits, value *element) *problem {
	raw, err := base64.StdEncoding.DecodeString(spaceless(value.text))
	if err != nil {
		return newProblem("ErrorMimeContentInvalidBase64String")
	}
	made, err := compose.MIME(bytes.NewReader(raw), compose.Options{Received: c.s.o.Clock.Now()})
	if err != nil {
		return newProblem("ErrorMimeContentInvalid")
	}
	d.then(func(m *fts.Message) {
		for _, id := range []uint16{fts.TagMessageFlags, fts.TagSearchKey, fts.TagDeliveryTime, fts.TagFlagStatus} {
			if v := m.Properties.Value(id); v != nil {
				made.Properties.Set(fts.Prop(id, v))
			}
		}
		for _, p := range m.Properties {
			if p.Name != nil {
				made.Properties.Set(p)
			}
		}
		*m = *made
	})
	return nil
}

func setPerson(m *fts.Message, value *element, name, address, kind uint16) {
	who := value.child("Mailbox")
	email := who.child("EmailAddress").value()
	m.Properties.Set(fts.Prop(name, orText(who.child("Name").value(), email)))
	m.Properties.Set(fts.Prop(address, email))
	m.Properties.Set(fts.Prop(kind, orText(who.child("RoutingType").value(), "SMTP")))
}

// setRecipients replaces those of one kind.
func setRecipients(m *fts.Message, uri string, list *element) {
	_, name, _ := strings.Cut(uri, ":")
	kind := recipientKind(name)
	var kept []fts.Properties
	for _, r := range m.Recipients {
		if k, _ := r.Value(fts.TagRecipientType).(int32); k&0xF != kind {
			kept = append(kept, r)
		}
	}
	if m.Recipients = kept; list == nil {
		return
	}
	for _, k := range list.kids {
		who := k
		if k.name.Local == "Attendee" {
			who = k.child("Mailbox")
		}
		addRecipient(m, kind, who)
	}
}

func recipientKind(list string) int32 {
	return map[string]int32{"ToRecipients": 1, "CcRecipients": 2, "BccRecipients": 3, "RequiredAttendees": 1, "OptionalAttendees": 2, "Resources": 3}[list]
}

func addRecipient(m *fts.Message, kind int32, who *element) {
	address := who.child("EmailAddress").value()
	m.Recipients = append(m.Recipients, fts.Properties{
		fts.Prop(fts.TagRowID, int32(len(m.Recipients))),
		fts.Prop(fts.TagRecipientType, kind),
		fts.Prop(fts.TagDisplayName, orText(who.child("Name").value(), address)),
		fts.Prop(fts.TagAddressType, "SMTP"),
		fts.Prop(fts.TagEmailAddress, address),
		fts.Prop(fts.TagSMTPAddress, address),
	})
}

func setSubject(m *fts.Message, text string) {
	m.Properties.Set(fts.Prop(fts.TagSubject, text))
	if m.Properties.Value(fts.TagNormalizedSubject) != nil {
		m.Properties.Set(fts.Prop(fts.TagSubjectPrefix, ""))
		m.Properties.Set(fts.Prop(fts.TagNormalizedSubject, text))
	}
}

// setBody replaces both bodies: an item has one, and shows the other converted.
func setBody(m *fts.Message, k *element) {
	for _, id := range []uint16{fts.TagBody, fts.TagHTML, fts.TagRTF} {
		dropProperty(m, fts.Prop(id, ""))
	}
	if k.attr("BodyType") == "HTML" {
		m.Properties.Set(fts.Prop(fts.TagHTML, []byte(k.text)))
		m.Properties.Set(fts.Prop(fts.TagInternetCodepage, int32(65001)))
		return
	}
	m.Properties.Set(fts.Prop(fts.TagBody, k.text))
}

func dropProperty(m *fts.Message, which fts.Property) {
	m.Properties = slices.DeleteFunc(m.Properties, func(p fts.Property) bool {
		if which.Name == nil {
			return p.Name == nil && p.ID == which.ID
		}
		return p.Name != nil && *p.Name == *which.Name
	})
}

func (d *edits) extended(x *extended, value *element) *problem {
	if value == nil {
		d.then(func(m *fts.Message) { dropProperty(m, x.property("")) })
		return nil
	}
	p, bad := extendedProperty(x, value)
	if bad != nil {
		return bad
	}
	d.then(func(m *fts.Message) { m.Properties.Set(p) })
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
