package ewstest

import (
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// setEventTime moves one end of an event, in all the properties that hold it.
func (d *edits) setEventTime(uri string, value *element) *problem {
	t, err := parseTime(value.value())
	if err != nil {
		return newProblem("ErrorInvalidPropertySet")
	}
	tag, common, whole := fts.TagStartDate, fts.LidCommonStart, fts.LidStartWhole
	if uri == "calendar:End" {
		tag, common, whole = fts.TagEndDate, fts.LidCommonEnd, fts.LidEndWhole
	}
	d.then(func(m *fts.Message) {
		for _, p := range []fts.Property{fts.Prop(tag, t.UTC()), fts.Common(common).Prop(t.UTC()), fts.Appointment(whole).Prop(t.UTC())} {
			m.Properties.Set(p)
		}
		start, _ := m.Properties.Named(fts.Appointment(fts.LidStartWhole)).(time.Time)
		end, _ := m.Properties.Named(fts.Appointment(fts.LidEndWhole)).(time.Time)
		m.Properties.Set(fts.Appointment(fts.LidDuration).Prop(int32(end.Sub(start) / time.Minute)))
	})
	return nil
}

// endSeries makes a series a single event or task.
func endSeries(m *fts.Message) {
	dropProperty(m, fts.Appointment(fts.LidRecur).Prop(""))
	dropProperty(m, fts.Task(lidTaskRecurrence).Prop(""))
	for _, n := range []fts.Name{fts.Appointment(fts.LidRecurring), fts.Task(fts.LidTaskRecurring)} {
		if m.Properties.Named(n) != nil {
			m.Properties.Set(n.Prop(false))
		}
	}
}

// setTaskState keeps status, percentage and completion in step, as the server does.
func (d *edits) setTaskState(uri string, value *element) *problem {
	n, ok := oneOf("NotStarted", "InProgress", "Completed", "WaitingOnOthers", "Deferred")(value)
	if uri == "task:CompleteDate" {
		n, ok = int32(2), true
	}
	t, err := parseTime(value.value())
	if !ok || uri == "task:CompleteDate" && err != nil {
		return newProblem("ErrorInvalidPropertySet")
	}
	d.then(func(m *fts.Message) {
		done := n == int32(2)
		m.Properties.Set(fts.Task(fts.LidTaskStatus).Prop(n))
		m.Properties.Set(fts.Task(fts.LidTaskComplete).Prop(done))
		if done {
			m.Properties.Set(fts.Task(fts.LidPercentComplete).Prop(1.0))
		}
		if err == nil {
			m.Properties.Set(fts.Task(fts.LidTaskDateCompleted).Prop(t.UTC()))
		}
	})
	return nil
}

// entries sets a contact's whole list of addresses or numbers.
func (d *edits) entries(uri string, list *element) *problem {
	for _, e := range list.kids {
		key := e.attr("Key")
		var p *problem
		switch uri {
		case "contacts:EmailAddresses":
			p = d.keep("contacts:EmailAddress", key, e)
		case "contacts:PhoneNumbers":
			p = d.keep("contacts:PhoneNumber", key, e)
		default:
			for _, part := range e.kids {
				p = firstProblem(p, d.keep("contacts:PhysicalAddress:"+part.name.Local, key, part))
			}
		}
		if p != nil {
			return p
		}
	}
	return nil
}

// entry sets or deletes one entry by its IndexedFieldURI. The value repeats the list with that entry in it.
func (d *edits) entry(of path, value *element) *problem {
	at, ok := contactEntry(of.uri, of.index)
	switch {
	case !ok && value == nil:
		return newProblem("ErrorInvalidPropertyDelete")
	case !ok:
		return newProblem("ErrorInvalidPropertySet")
	case value == nil:
		d.then(func(m *fts.Message) { dropProperty(m, at.property("")) })
		return nil
	}
	e := value.kids0()
	if len(e.kids) > 0 {
		e = e.kids0()
	}
	return d.keep(of.uri, of.index, e)
}

func (d *edits) keep(uri, index string, e *element) *problem {
	at, ok := contactEntry(uri, index)
	if !ok {
		return newProblem("ErrorInvalidPropertySet")
	}
	d.then(func(m *fts.Message) {
		m.Properties.Set(at.property(e.text))
		if uri == "contacts:EmailAddress" {
			m.Properties.Set(place{lid: at.lid - 3}.property(orText(e.attr("Name"), e.text)))
			m.Properties.Set(place{lid: at.lid - 1}.property(orText(e.attr("RoutingType"), "SMTP")))
		}
	})
	return nil
}
