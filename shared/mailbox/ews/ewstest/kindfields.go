package ewstest

import (
	"fmt"
	"strings"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// kindFields follow itemFields; a kind shows those of its own, in this order.
func kindFields() []field {
	var all []field
	for _, list := range [][]field{messageFields(), meetingFields(), calendarFields(), contactFields(), listFields(), taskFields(), postFields()} {
		all = append(all, list...)
	}
	return all
}

func messageFields() []field {
	return []field{
		{uri: "message:Sender", in: opened, of: isMessage, value: textOfTag(fts.TagSenderName), write: onePerson("t:Sender", fts.TagSenderName, fts.TagSenderEmail, fts.TagSenderType)},
		{uri: "message:ToRecipients", in: opened, of: isMessage, heavy: true, write: people("t:ToRecipients", 1)},
		{uri: "message:CcRecipients", in: opened, of: isMessage, heavy: true, write: people("t:CcRecipients", 2)},
		{uri: "message:BccRecipients", in: opened, of: isMessage, heavy: true, write: people("t:BccRecipients", 3)},
		{uri: "message:IsReadReceiptRequested", in: opened, of: isMessage, value: boolTag(tagReadReceipt)},
		{uri: "message:IsDeliveryReceiptRequested", in: opened, of: isMessage, value: boolTag(tagDeliveryReceipt)},
		{uri: "message:ConversationIndex", in: inAll, of: isMessage, value: func(v *view) any { return v.it.Properties.Value(fts.TagConversationIndex) }},
		{uri: "message:ConversationTopic", in: inAll, of: isMessage, value: func(v *view) any { return v.topic() }},
		{uri: "message:From", in: shown, of: isMessage, value: textOfTag(fts.TagSentRepresentingName), write: onePerson("t:From", fts.TagSentRepresentingName, fts.TagSentRepresentingEmail, fts.TagSentRepresentingType)},
		{uri: "message:InternetMessageId", in: opened, of: isMessage, value: textOfTag(fts.TagMessageID)},
		{uri: "message:IsRead", in: shown, of: isMessage, value: func(v *view) any { return v.read() }},
		{uri: "message:IsResponseRequested", in: inAll, of: isMessage, value: boolTag(fts.TagReplyRequested)},
		{uri: "message:References", in: opened, of: isMessage, value: textOfTag(fts.TagReferences)},
		{uri: "message:ReplyTo", in: opened, of: isMessage, write: replyTo},
		{uri: "message:ReceivedBy", in: inAll, of: isMessage, write: onePerson("t:ReceivedBy", 0x0040, 0x0076, 0x0075)},
		{uri: "message:ReceivedRepresenting", in: inAll, of: isMessage, write: onePerson("t:ReceivedRepresenting", 0x0044, 0x0078, 0x0077)},
	}
}

// replyTo writes the people that PidTagReplyRecipientNames names; their addresses are known when the names are addresses.
func replyTo(v *view, w *writer) {
	names := strings.FieldsFunc(v.text(fts.TagReplyRecipientNames), func(r rune) bool { return r == ';' })
	w.list("t:ReplyTo", func(begin func()) {
		for _, n := range names {
			p := person{name: strings.TrimSpace(n)}
			if strings.Contains(n, "@") {
				p.address = p.name
			}
			begin()
			w.mailbox(p)
		}
	})
}

func boolTag(id uint16) func(*view) any {
	return func(v *view) any { b, _ := v.prop(id).(bool); return b }
}

func onePerson(element string, name, address, kind uint16) func(*view, *writer) {
	return func(v *view, w *writer) {
		if p := v.person(name, address, kind); p != nil {
			w.open(element)
			w.mailbox(*p)
			w.close(element)
		}
	}
}

func people(element string, kind int32) func(*view, *writer) {
	return func(v *view, w *writer) {
		list := v.to(kind)
		if len(list) == 0 {
			return
		}
		w.open(element)
		for _, p := range list {
			w.mailbox(p)
		}
		w.close(element)
	}
}

func meetingFields() []field {
	return []field{
		{uri: "meeting:IsDelegated", in: opened, of: isMeeting, value: never},
		{uri: "meeting:IsOutOfDate", in: opened, of: isMeeting, value: never},
		{uri: "meeting:HasBeenProcessed", in: opened, of: isMeeting, value: never},
		{uri: "meeting:ResponseType", in: opened, of: isMeeting, value: func(*view) any { return "Unknown" }},
		{uri: "calendar:UID", element: "UID", in: inAll, of: isMeeting, value: uid},
		{uri: "meetingRequest:MeetingRequestType", in: opened, of: isRequest, value: func(*view) any { return "NewMeetingRequest" }},
		{uri: "calendar:Start", in: opened, of: isRequest, value: appointment(fts.LidStartWhole)},
		{uri: "calendar:End", in: opened, of: isRequest, value: appointment(fts.LidEndWhole)},
		{uri: "calendar:Location", in: opened, of: isRequest, value: appointment(fts.LidLocation)},
	}
}

func appointment(lid uint32) func(*view) any {
	return func(v *view) any { return v.named(fts.Appointment(lid)) }
}

func appointmentFlag(lid uint32) func(*view) any {
	return func(v *view) any { b, _ := v.named(fts.Appointment(lid)).(bool); return b }
}

func calendarFields() []field {
	return []field{
		{uri: "calendar:UID", in: inAll, of: isCalendar, value: uid},
		{uri: "calendar:Start", in: shown, of: isCalendar, value: appointment(fts.LidStartWhole)},
		{uri: "calendar:End", in: shown, of: isCalendar, value: appointment(fts.LidEndWhole)},
		{uri: "calendar:IsAllDayEvent", in: opened, of: isCalendar, value: appointmentFlag(fts.LidSubType)},
		{uri: "calendar:LegacyFreeBusyStatus", in: shown, of: isCalendar, value: busyStatus},
		{uri: "calendar:Location", in: shown, of: isCalendar, value: appointment(fts.LidLocation)},
		{uri: "calendar:IsMeeting", in: opened, of: isCalendar, value: stateFlag(1)},
		{uri: "calendar:IsCancelled", in: opened, of: isCalendar, value: stateFlag(4)},
		{uri: "calendar:IsRecurring", in: opened, of: isCalendar, value: never}, // true only of an occurrence
		{uri: "calendar:MeetingRequestWasSent", in: opened, of: isCalendar, value: never},
		{uri: "calendar:IsResponseRequested", in: opened, of: isCalendar, value: boolTag(fts.TagReplyRequested)},
		{uri: "calendar:CalendarItemType", in: shown, of: isCalendar, value: calendarType},
		{uri: "calendar:MyResponseType", in: opened, of: isCalendar, value: func(v *view) any {
			n, _ := v.named(fts.Appointment(fts.LidResponseStatus)).(int32)
			return pick(n, "Unknown", "Organizer", "Tentative", "Accept", "Decline", "NoResponseReceived")
		}},
		{uri: "calendar:Organizer", in: opened, of: isCalendar, value: textOfTag(fts.TagSentRepresentingName), write: onePerson("t:Organizer", fts.TagSentRepresentingName, fts.TagSentRepresentingEmail, fts.TagSentRepresentingType)},
		{uri: "calendar:RequiredAttendees", in: opened, of: isCalendar, heavy: true, write: attendees("t:RequiredAttendees", 1)},
		{uri: "calendar:OptionalAttendees", in: opened, of: isCalendar, heavy: true, write: attendees("t:OptionalAttendees", 2)},
		{uri: "calendar:Resources", in: opened, of: isCalendar, heavy: true, write: attendees("t:Resources", 3)},
		{uri: "calendar:Duration", in: opened, of: isCalendar, value: duration},
		{uri: "calendar:AppointmentSequenceNumber", in: inAll, of: isCalendar, value: appointment(fts.LidSequence)},
		{uri: "calendar:AppointmentState", in: inAll, of: isCalendar, value: appointment(fts.LidStateFlags)},
		{uri: "calendar:ConferenceType", in: inAll, of: isCalendar, value: appointment(lidConferenceType)},
		{uri: "calendar:AllowNewTimeProposal", in: inAll, of: isCalendar, value: func(v *view) any { no, _ := v.named(fts.Appointment(lidNoProposal)).(bool); return !no }},
		{uri: "calendar:IsOnlineMeeting", in: inAll, of: isCalendar, value: appointment(lidOnline)},
		{uri: "calendar:MeetingWorkspaceUrl", in: inAll, of: isCalendar, value: appointment(lidWorkspace)},
		{uri: "calendar:NetShowUrl", in: inAll, of: isCalendar, value: appointment(lidNetShow)},
	}
}

func attendees(element string, kind int32) func(*view, *writer) {
	return func(v *view, w *writer) {
		list := v.to(kind)
		if len(list) == 0 {
			return
		}
		w.open(element)
		for _, p := range list {
			w.open("t:Attendee")
			w.mailbox(p)
			w.text("t:ResponseType", "Unknown")
			w.close("t:Attendee")
		}
		w.close(element)
	}
}

func busyStatus(v *view) any {
	n, ok := v.named(fts.Appointment(fts.LidBusyStatus)).(int32)
	if !ok {
		n = 2
	}
	return pick(n, "Free", "Tentative", "Busy", "OOF")
}

func stateFlag(bit int32) func(*view) any {
	return func(v *view) any {
		n, _ := v.named(fts.Appointment(fts.LidStateFlags)).(int32)
		return n&bit != 0
	}
}

func calendarType(v *view) any {
	if b, _ := v.named(fts.Appointment(fts.LidRecurring)).(bool); b {
		return "RecurringMaster"
	}
	return "Single"
}

func duration(v *view) any {
	a, ok1 := v.named(fts.Appointment(fts.LidStartWhole)).(time.Time)
	b, ok2 := v.named(fts.Appointment(fts.LidEndWhole)).(time.Time)
	if !ok1 || !ok2 {
		return nil
	}
	m := int(b.Sub(a).Minutes())
	if m == 0 {
		return "PT0S"
	}
	return fmt.Sprintf("PT%dH%dM", m/60, m%60)
}

func uid(v *view) any {
	if b, ok := v.named(fts.Meeting(fts.LidGlobalObject)).([]byte); ok {
		return fmt.Sprintf("%X", b)
	}
	return nil
}

func listFields() []field {
	return []field{
		{uri: "contacts:DisplayName", in: shown, of: isList, value: textOfTag(fts.TagDisplayName)},
		{uri: "contacts:FileAs", in: shown, of: isList, value: func(v *view) any { return v.named(fts.Address(fts.LidFileUnder)) }},
	}
}

func task(lid uint32) func(*view) any {
	return func(v *view) any { return v.named(fts.Task(lid)) }
}

func taskFields() []field {
	return []field{
		{uri: "task:ActualWork", in: inAll, of: isTask, value: task(lidActualWork)},
		{uri: "task:BillingInformation", in: inAll, of: isTask, value: common(lidBilling)},
		{uri: "task:Companies", in: inAll, of: isTask, value: common(lidCompanies)},
		{uri: "task:CompleteDate", in: opened, of: isTask, value: task(fts.LidTaskDateCompleted)},
		{uri: "task:Contacts", in: inAll, of: isTask, value: common(lidContacts)},
		{uri: "task:DueDate", in: shown, of: isTask, value: task(fts.LidTaskDueDate)},
		{uri: "task:IsComplete", in: opened, of: isTask, value: func(v *view) any { b, _ := v.named(fts.Task(fts.LidTaskComplete)).(bool); return b }},
		{uri: "task:IsRecurring", in: opened, of: isTask, value: func(v *view) any { b, _ := v.named(fts.Task(fts.LidTaskRecurring)).(bool); return b }},
		{uri: "task:Mileage", in: inAll, of: isTask, value: common(lidMileage)},
		{uri: "task:Owner", in: inAll, of: isTask, value: task(fts.LidTaskOwner)},
		{uri: "task:PercentComplete", in: opened, of: isTask, value: percent},
		{uri: "task:StartDate", in: shown, of: isTask, value: task(fts.LidTaskStartDate)},
		{uri: "task:Status", in: shown, of: isTask, value: func(v *view) any {
			n, _ := v.named(fts.Task(fts.LidTaskStatus)).(int32)
			return pick(n, "NotStarted", "InProgress", "Completed", "WaitingOnOthers", "Deferred")
		}},
		{uri: "task:TotalWork", in: inAll, of: isTask, value: task(lidTotalWork)},
	}
}

func percent(v *view) any {
	f, _ := v.named(fts.Task(fts.LidPercentComplete)).(float64)
	return f * 100
}

func postFields() []field {
	return []field{
		{uri: "message:ConversationTopic", in: inAll, of: isPost, value: func(v *view) any { return v.topic() }},
		{uri: "message:From", in: shown, of: isPost, value: textOfTag(fts.TagSentRepresentingName), write: onePerson("t:From", fts.TagSentRepresentingName, fts.TagSentRepresentingEmail, fts.TagSentRepresentingType)},
		{uri: "message:InternetMessageId", in: opened, of: isPost, value: textOfTag(fts.TagMessageID)},
		{uri: "message:IsRead", in: shown, of: isPost, value: func(v *view) any { return v.read() }},
		{uri: "postitem:PostedTime", in: opened, of: isPost, value: received},
		{uri: "message:References", in: opened, of: isPost, value: textOfTag(fts.TagReferences)},
		{uri: "message:Sender", in: opened, of: isPost, value: textOfTag(fts.TagSenderName), write: onePerson("t:Sender", fts.TagSenderName, fts.TagSenderEmail, fts.TagSenderType)},
	}
}
