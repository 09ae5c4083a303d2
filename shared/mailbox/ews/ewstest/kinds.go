package ewstest

import "strings"

// kind is what an item of a class is on the wire.
type kind struct {
	element string
	code    byte // first byte of its change keys
	fields  kinds
}

type kinds uint8

const (
	isMessage kinds = 1 << iota
	isMeeting
	isRequest
	isCalendar
	isContact
	isList
	isTask
	isPost
	everyKind = 0xFF
)

// kindOf maps a message class; what has no type of its own is a Message.
func kindOf(class string) kind {
	c := strings.ToLower(class)
	is := func(prefix string) bool { return c == prefix || strings.HasPrefix(c, prefix+".") }
	switch {
	case is("ipm.appointment"):
		return kind{"CalendarItem", 15, isCalendar}
	case is("ipm.schedule.meeting.request"):
		return kind{"MeetingRequest", 9, isMessage | isMeeting | isRequest}
	case is("ipm.schedule.meeting.resp"):
		return kind{"MeetingResponse", 9, isMessage | isMeeting}
	case is("ipm.schedule.meeting.canceled"):
		return kind{"MeetingCancellation", 9, isMessage | isMeeting}
	case is("ipm.contact"):
		return kind{"Contact", 17, isContact}
	case is("ipm.distlist"):
		return kind{"DistributionList", 18, isList}
	case is("ipm.task"):
		return kind{"Task", 19, isTask}
	case is("ipm.post"):
		return kind{"PostItem", 13, isPost}
	}
	return kind{"Message", 9, isMessage}
}

// folderKindOf maps a container class.
func folderKindOf(class string) kind {
	c := strings.ToLower(class)
	is := func(prefix string) bool { return c == prefix || strings.HasPrefix(c, prefix+".") }
	switch {
	case is("ipf.appointment"):
		return kind{element: "CalendarFolder", code: 2}
	case is("ipf.contact"):
		return kind{element: "ContactsFolder", code: 3}
	case is("ipf.task"):
		return kind{element: "TasksFolder", code: 4}
	}
	return kind{element: "Folder", code: 1}
}
