package compose

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// EventOptions describe an event of a calendar.
type EventOptions struct {
	UID            string // makes the global object id and the search key; events that differ have different ones
	Subject        string
	Location, Body string
	Start, End     time.Time
	AllDay         bool
	Busy           int32 // 0 free, 1 tentative, 2 busy, 3 away
	Organizer      Address
	Attendees      []Address     // with any, it is a meeting
	Reminder       time.Duration // before the start; negative is none
	Private        bool
	Categories     []string
	Created        time.Time // zero takes the start
}

// Event makes an IPM.Appointment without recurrence.
func Event(o EventOptions) *fts.Message {
	created := first(o.Created, o.Start)
	ps := item("IPM.Appointment", o.Subject, o.Body, o.UID, created)
	start, end := wireTime(o.Start), wireTime(o.End)
	ps = append(ps, eventTimes(start, end, o.AllDay)...)
	ps = append(ps, globalObject(o.UID, created)...)
	ps = append(ps,
		fts.Appointment(fts.LidBusyStatus).Prop(o.Busy),
		fts.Appointment(fts.LidLocation).Prop(o.Location),
		fts.Appointment(fts.LidRecurring).Prop(false),
		fts.Appointment(fts.LidSequence).Prop(int32(0)),
		fts.Common(fts.LidPrivate).Prop(o.Private),
		fts.Common(fts.LidReminderSet).Prop(o.Reminder >= 0),
		fts.Common(fts.LidSideEffects).Prop(int32(369)), // what a client may do with an appointment (MS-OXCMSG 2.2.1.16)
		fts.Prop(fts.TagSensitivity, sensitivity(o.Private)),
	)
	if o.Reminder >= 0 {
		ps = append(ps, fts.Common(fts.LidReminderDelta).Prop(int32(o.Reminder/time.Minute)),
			fts.Common(fts.LidReminderTime).Prop(start), fts.Common(fts.LidReminderSignal).Prop(wireTime(start.Add(-o.Reminder))))
	}
	ps = append(ps, categories(o.Categories)...)
	return meetingOf(o, ps)
}

// meetingOf adds organizer and attendees.
func meetingOf(o EventOptions, ps fts.Properties) *fts.Message {
	m, state, response := &fts.Message{}, int32(0), int32(0)
	var names []string
	for i, a := range o.Attendees {
		m.Recipients = append(m.Recipients, recipientRow(i, 1, a))
		names = append(names, a.display())
		state, response = 1, 1 // a meeting, and this is the organizer's
	}
	if o.Organizer != (Address{}) {
		ps = append(ps, senderProperties(o.Organizer, o.Organizer)...)
	}
	m.Properties = ordered(append(ps,
		fts.Appointment(fts.LidStateFlags).Prop(state),
		fts.Appointment(fts.LidResponseStatus).Prop(response),
		fts.Appointment(fts.LidAllAttendees).Prop(strings.Join(names, "; "))))
	return m
}

func eventTimes(start, end time.Time, allDay bool) fts.Properties {
	return fts.Properties{
		fts.Prop(fts.TagStartDate, start),
		fts.Prop(fts.TagEndDate, end),
		fts.Common(fts.LidCommonStart).Prop(start),
		fts.Common(fts.LidCommonEnd).Prop(end),
		fts.Appointment(fts.LidStartWhole).Prop(start),
		fts.Appointment(fts.LidEndWhole).Prop(end),
		fts.Appointment(fts.LidDuration).Prop(int32(end.Sub(start) / time.Minute)),
		fts.Appointment(fts.LidSubType).Prop(allDay),
	}
}

// globalObject makes the ids that all copies of a meeting share (MS-OXOCAL 2.2.1.27).
func globalObject(uid string, created time.Time) fts.Properties {
	b := []byte("\x04\x00\x00\x00\x82\x00\xE0\x00\x74\xC5\xB7\x10\x1A\x82\xE0\x08\x00\x00\x00\x00")
	b = binary.LittleEndian.AppendUint64(b, uint64(max(0, created.Unix()+11644473600))*1e7)
	b = binary.LittleEndian.AppendUint32(append(b, make([]byte, 8)...), 16)
	b = append(b, key(uid)...)
	return fts.Properties{fts.Meeting(fts.LidGlobalObject).Prop(b), fts.Meeting(fts.LidCleanGlobalObject).Prop(b)}
}

// ContactOptions describe a person.
type ContactOptions struct {
	UID                         string // makes the search key
	Given, Middle, Surname      string
	Email                       string
	Company, Department, Title  string
	Business, Home, Mobile      string // telephone numbers
	Street, City, State, Postal string // at work
	Country                     string
	Birthday                    time.Time // zero is unknown
	Notes                       string
	Photo                       []byte // JPEG
	Categories                  []string
	Created                     time.Time
}

// Contact makes an IPM.Contact.
func Contact(o ContactOptions) *fts.Message {
	name := strings.Join(strings.Fields(o.Given+" "+o.Middle+" "+o.Surname), " ")
	fileAs := strings.Trim(o.Surname+", "+o.Given, ", ")
	ps := item("IPM.Contact", name, o.Notes, o.UID, o.Created)
	ps = append(ps, fts.Prop(fts.TagDisplayName, name), fts.Address(fts.LidFileUnder).Prop(fileAs),
		fts.Address(fts.LidFileUnderID).Prop(int32(0x8017))) // surname, given and middle name
	for id, v := range map[uint16]string{
		fts.TagGivenName: o.Given, fts.TagMiddleName: o.Middle, fts.TagSurname: o.Surname, fts.TagCompanyName: o.Company,
		fts.TagDepartment: o.Department, fts.TagTitle: o.Title, fts.TagBusinessPhone: o.Business, fts.TagHomePhone: o.Home,
		fts.TagMobilePhone: o.Mobile, fts.TagStreetAddress: o.Street, fts.TagLocality: o.City,
		fts.TagStateOrProvince: o.State, fts.TagPostalCode: o.Postal, fts.TagCountry: o.Country,
	} {
		if v != "" {
			ps = append(ps, fts.Prop(id, v))
		}
	}
	for lid, v := range map[uint32]string{fts.LidWorkStreet: o.Street, fts.LidWorkCity: o.City, fts.LidWorkState: o.State,
		fts.LidWorkPostalCode: o.Postal, fts.LidWorkCountry: o.Country} {
		if v != "" {
			ps = append(ps, fts.Address(lid).Prop(v))
		}
	}
	if !o.Birthday.IsZero() {
		ps = append(ps, fts.Prop(fts.TagBirthday, wireTime(o.Birthday)))
	}
	ps = append(ps, contactEmail(Address{Name: name, Email: o.Email})...)
	ps = append(ps, categories(o.Categories)...)
	return withPhoto(&fts.Message{Properties: ordered(ps)}, o.Photo)
}

func contactEmail(a Address) fts.Properties {
	if a.Email == "" {
		return nil
	}
	return fts.Properties{
		fts.Address(fts.LidEmail1Display).Prop(a.display() + " (" + a.Email + ")"),
		fts.Address(fts.LidEmail1Type).Prop("SMTP"),
		fts.Address(fts.LidEmail1Address).Prop(a.Email),
		fts.Address(fts.LidEmail1Original).Prop(a.Email),
		fts.Address(fts.LidEmail1Entry).Prop(a.oneOff()),
	}
}

func withPhoto(m *fts.Message, jpeg []byte) *fts.Message {
	if len(jpeg) > 0 {
		a := file("ContactPicture.jpg", "image/jpeg", jpeg)
		a.Properties = append(a.Properties, fts.Prop(fts.TagContactPhoto, true))
		m.Attachments = numbered([]fts.Attachment{a})
	}
	return m
}

// TaskOptions describe a task.
type TaskOptions struct {
	UID        string // makes the search key
	Subject    string
	Body       string
	Start, Due time.Time // zero is none
	Completed  time.Time // zero is not completed
	Percent    int       // done, 0 to 100
	Owner      string
	Importance int32 // 0 low, 1 normal, 2 high
	Categories []string
	Created    time.Time
}

// Task makes an IPM.Task without recurrence.
func Task(o TaskOptions) *fts.Message {
	ps := item("IPM.Task", o.Subject, o.Body, o.UID, o.Created)
	done, status, percent := !o.Completed.IsZero(), int32(0), float64(o.Percent)/100
	switch {
	case done:
		status, percent = 2, 1
		ps = append(ps, fts.Task(fts.LidTaskDateCompleted).Prop(wireTime(o.Completed)), fts.Prop(fts.TagFlagStatus, int32(1)))
	case o.Percent > 0:
		status = 1
	}
	for task, t := range map[[2]uint32]time.Time{
		{fts.LidTaskStartDate, fts.LidCommonStart}: o.Start, {fts.LidTaskDueDate, fts.LidCommonEnd}: o.Due} {
		if !t.IsZero() {
			ps = append(ps, fts.Task(task[0]).Prop(wireTime(t)), fts.Common(task[1]).Prop(wireTime(t)))
		}
	}
	ps = append(ps,
		fts.Task(fts.LidTaskStatus).Prop(status),
		fts.Task(fts.LidPercentComplete).Prop(percent),
		fts.Task(fts.LidTaskComplete).Prop(done),
		fts.Task(fts.LidTaskRecurring).Prop(false),
		fts.Task(fts.LidTaskOwner).Prop(o.Owner),
		fts.Common(fts.LidTaskMode).Prop(int32(0)),
		fts.Common(fts.LidReminderSet).Prop(false))
	ps.Set(fts.Prop(fts.TagImportance, o.Importance))
	return &fts.Message{Properties: ordered(append(ps, categories(o.Categories)...))}
}

// NoteOptions describe a sticky note.
type NoteOptions struct {
	UID        string // makes the search key
	Text       string // its first line becomes the subject
	Color      int32  // 0 blue, 1 green, 2 pink, 3 yellow, 4 white
	Categories []string
	Created    time.Time
}

// Note makes an IPM.StickyNote.
func Note(o NoteOptions) *fts.Message {
	subject, _, _ := strings.Cut(strings.ReplaceAll(o.Text, "\r", "\n"), "\n")
	ps := item("IPM.StickyNote", subject, o.Text, o.UID, o.Created)
	ps = append(ps,
		fts.Note(fts.LidNoteColor).Prop(o.Color),
		fts.Note(fts.LidNoteWidth).Prop(int32(200)),
		fts.Note(fts.LidNoteHeight).Prop(int32(166)),
		fts.Note(fts.LidNoteX).Prop(int32(80)),
		fts.Note(fts.LidNoteY).Prop(int32(80)),
		fts.Prop(fts.TagIconIndex, 0x300+o.Color))
	return &fts.Message{Properties: ordered(append(ps, categories(o.Categories)...))}
}

// item is what items of every class have.
func item(class, subject, body, uid string, created time.Time) fts.Properties {
	prefix, topic := splitSubject(subject)
	ps := fts.Properties{
		fts.Prop(fts.TagImportance, int32(1)),
		fts.Prop(fts.TagMessageClass, class),
		fts.Prop(fts.TagSubject, subject),
		fts.Prop(fts.TagSubjectPrefix, prefix),
		fts.Prop(fts.TagNormalizedSubject, topic),
		fts.Prop(fts.TagConversationTopic, topic),
		fts.Prop(fts.TagMessageFlags, int32(mailbox.FlagRead)),
		fts.Prop(fts.TagBody, body),
		fts.Prop(fts.TagNativeBody, int32(1)),
		fts.Prop(fts.TagSearchKey, key(class+"\x00"+uid+"\x00"+subject)),
		fts.Prop(fts.TagLocale, int32(1033)),
		fts.Prop(fts.TagMessageCodepage, int32(1252)),
	}
	if created.IsZero() {
		return ps
	}
	for _, id := range []uint16{fts.TagClientSubmitTime, fts.TagDeliveryTime, fts.TagCreationTime, fts.TagLastModified} {
		ps = append(ps, fts.Prop(id, wireTime(created)))
	}
	return ps
}

func key(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:16]
}

func first(a, b time.Time) time.Time {
	if a.IsZero() {
		return b
	}
	return a
}

func sensitivity(private bool) int32 {
	if private {
		return 2
	}
	return 0
}

func categories(all []string) fts.Properties {
	if len(all) == 0 {
		return nil
	}
	return fts.Properties{fts.Public("Keywords").Prop(all)}
}
