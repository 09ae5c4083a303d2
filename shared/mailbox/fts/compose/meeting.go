package compose

import (
	"strings"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// meeting is what a meeting request says about its event. Times without a zone in the file itself (UTC) are left to the
// attached calendar file.
func (m *mail) meeting() fts.Properties {
	if m.calendar == nil {
		return nil
	}
	event := eventFields(text(m.calendar))
	ps := fts.Properties{fts.Appointment(fts.LidLocation).Prop(event["LOCATION"]), fts.Appointment(fts.LidBusyStatus).Prop(int32(1)),
		fts.Appointment(fts.LidStateFlags).Prop(int32(3)), fts.Meeting(fts.LidMeetingType).Prop(int32(1))}
	if uid := event["UID"]; uid != "" {
		ps = append(ps, globalObject(uid, m.header.sent())...)
	}
	start, end := utc(event["DTSTART"]), utc(event["DTEND"])
	if start.IsZero() || end.IsZero() {
		return ps
	}
	return append(ps, eventTimes(start, end, false)...)
}

// eventFields returns the properties of the first event of a calendar file, without their parameters.
func eventFields(file string) map[string]string {
	fields, inside := map[string]string{}, false
	file = strings.NewReplacer("\r\n ", "", "\n ", "", "\r\n\t", "", "\n\t", "").Replace(file)
	for line := range strings.Lines(file) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case line == "BEGIN:VEVENT":
			inside = true
		case line == "END:VEVENT":
			return fields
		case inside:
			name, value, _ := strings.Cut(line, ":")
			name, _, _ = strings.Cut(name, ";")
			fields[name] = strings.NewReplacer(`\n`, "\n", `\,`, ",", `\;`, ";", `\\`, `\`).Replace(value)
		}
	}
	return fields
}

func utc(s string) time.Time {
	t, err := time.Parse("20060102T150405Z", s)
	if err != nil {
		return time.Time{}
	}
	return wireTime(t)
}
