package ewstest

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// writeNative writes what MimeContent holds: iCalendar of an appointment, vCard of a contact, a mail of all else.
func writeNative(m *fts.Message, w io.Writer) {
	class, _ := m.Properties.Value(fts.TagMessageClass).(string)
	switch kindOf(class).element {
	case "CalendarItem":
		if cal := calendarBody(m); cal != "" {
			_, _ = io.WriteString(w, cal)
			return
		}
	case "Contact":
		_, _ = io.WriteString(w, vcard(m))
		return
	}
	writeMIMEOf(m, w)
}

// contentLines are lines of iCalendar or vCard.
type contentLines struct{ strings.Builder }

// add writes a line, folded at 75 octets between characters (RFC 5545 3.1).
func (b *contentLines) add(line string) {
	col := 0
	for _, r := range line {
		s := string(r)
		if col+len(s) > 75 {
			b.WriteString("\r\n ")
			col = 1
		}
		b.WriteString(s)
		col += len(s)
	}
	b.WriteString("\r\n")
}

// text writes a line whose value is text, unless that is empty.
func (b *contentLines) text(name, value string) {
	if value != "" {
		b.add(name + ":" + escaped(value))
	}
}

func escaped(s string) string {
	return strings.NewReplacer(`\`, `\\`, ";", `\;`, ",", `\,`, "\r\n", `\n`, "\n", `\n`).Replace(s)
}

const utcStamp = "20060102T150405Z"

// calendarBody is the event of an appointment or of a request, "" of everything else. Series show their first event.
func calendarBody(m *fts.Message) string {
	class, _ := m.Properties.Value(fts.TagMessageClass).(string)
	start, ok1 := m.Properties.Named(fts.Appointment(fts.LidStartWhole)).(time.Time)
	end, ok2 := m.Properties.Named(fts.Appointment(fts.LidEndWhole)).(time.Time)
	if !ok1 || !ok2 || kindOf(class).fields&(isCalendar|isRequest) == 0 {
		return ""
	}
	method := "PUBLISH"
	if kindOf(class).fields&isRequest != 0 {
		method = "REQUEST"
	}
	b := &contentLines{}
	for _, l := range []string{"BEGIN:VCALENDAR", "METHOD:" + method, "PRODID:Microsoft Exchange Server 2010", "VERSION:2.0", "BEGIN:VEVENT"} {
		b.add(l)
	}
	b.people(m)
	subject, _ := m.Properties.Value(fts.TagSubject).(string)
	place, _ := m.Properties.Named(fts.Appointment(fts.LidLocation)).(string)
	id, _ := m.Properties.Named(fts.Meeting(fts.LidGlobalObject)).([]byte)
	b.text("DESCRIPTION", strings.TrimSpace(textBody(m.Properties)))
	b.add(fmt.Sprintf("UID:%X", id))
	b.add("SUMMARY:" + escaped(subject))
	if allDay, _ := m.Properties.Named(fts.Appointment(fts.LidSubType)).(bool); allDay {
		b.add("DTSTART;VALUE=DATE:" + start.UTC().Format("20060102"))
		b.add("DTEND;VALUE=DATE:" + end.UTC().Format("20060102"))
	} else {
		b.add("DTSTART:" + start.UTC().Format(utcStamp))
		b.add("DTEND:" + end.UTC().Format(utcStamp))
	}
	b.add("DTSTAMP:" + start.UTC().Format(utcStamp))
	b.add("LOCATION:" + escaped(place))
	busy, _ := m.Properties.Named(fts.Appointment(fts.LidBusyStatus)).(int32)
	b.add("X-MICROSOFT-CDO-BUSYSTATUS:" + pick(busy, "FREE", "TENTATIVE", "BUSY", "OOF"))
	b.add("END:VEVENT")
	b.add("END:VCALENDAR")
	return b.String()
}

// people writes organizer and attendees of a meeting.
func (b *contentLines) people(m *fts.Message) {
	if len(m.Recipients) == 0 {
		return
	}
	name, _ := m.Properties.Value(fts.TagSentRepresentingName).(string)
	address, _ := m.Properties.Value(fts.TagSentRepresentingEmail).(string)
	quoted := func(s string) string { return `"` + strings.NewReplacer(`"`, "'", "\r", "", "\n", "").Replace(s) + `"` }
	b.add("ORGANIZER;CN=" + quoted(name) + ":mailto:" + address)
	for _, r := range m.Recipients {
		p := recipient(r)
		kind, _ := r.Value(fts.TagRecipientType).(int32)
		role := map[int32]string{2: "OPT-PARTICIPANT", 3: "NON-PARTICIPANT"}[kind&0xF]
		b.add("ATTENDEE;ROLE=" + orText(role, "REQ-PARTICIPANT") + ";PARTSTAT=NEEDS-ACTION;RSVP=TRUE;CN=" + quoted(p.name) + ":mailto:" + p.address)
	}
}

// vcard is a contact as vCard 3.0 (MS-OXVCARD).
func vcard(m *fts.Message) string {
	at := func(p place) string {
		s, _ := m.Properties.Value(p.tag).(string)
		if p.lid != 0 {
			s, _ = m.Properties.Named(fts.Address(p.lid)).(string)
		}
		return s
	}
	text := func(id uint16) string { return at(place{tag: id}) }
	b := &contentLines{}
	for _, l := range []string{"BEGIN:VCARD", "PROFILE:VCARD", "VERSION:3.0", "MAILER:Microsoft Exchange", "PRODID:Microsoft Exchange"} {
		b.add(l)
	}
	b.add("FN:" + escaped(text(fts.TagDisplayName)))
	b.add("N:" + joined(text(fts.TagSurname), text(fts.TagGivenName), text(fts.TagMiddleName), "", text(0x3A05)))
	for _, e := range emails() {
		b.text("EMAIL;TYPE=INTERNET", at(place{lid: e.lid + 3}))
	}
	b.text("NOTE", strings.TrimSpace(textBody(m.Properties)))
	if company, department := text(fts.TagCompanyName), text(fts.TagDepartment); company+department != "" {
		b.add("ORG:" + joined(company, department))
	}
	for i, kind := range []string{"WORK", "HOME", "POSTAL"} {
		var parts []string
		for _, p := range addressParts() {
			parts = append(parts, at([]place{p.business, p.home, p.other}[i]))
		}
		if strings.Join(parts, "") != "" {
			b.add("ADR;TYPE=" + kind + ":" + joined("", "", parts[0], parts[1], parts[2], parts[4], parts[3]))
		}
	}
	b.text("TEL;TYPE=WORK", text(fts.TagBusinessPhone))
	b.text("TEL;TYPE=HOME", text(fts.TagHomePhone))
	b.text("TEL;TYPE=CELL", text(fts.TagMobilePhone))
	b.text("TITLE", text(fts.TagTitle))
	if t, ok := m.Properties.Value(fts.TagBirthday).(time.Time); ok {
		b.add("BDAY;VALUE=DATE:" + t.UTC().Format("2006-01-02"))
	}
	b.add("END:VCARD")
	return b.String()
}

// joined is the value of a line that has several parts.
func joined(parts ...string) string {
	for i := range parts {
		parts[i] = escaped(parts[i])
	}
	return strings.Join(parts, ";")
}
