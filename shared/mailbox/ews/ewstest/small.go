package ewstest

import (
	"slices"
	"strings"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
)

// resolveNames finds mailboxes whose address or name begins with the entry.
func (c *call) resolveNames() *fault {
	return c.respond(func() {
		entry := strings.ToLower(strings.TrimPrefix(strings.TrimPrefix(c.op.child("UnresolvedEntry").value(), "smtp:"), "="))
		var found []*exchangetest.Mailbox
		for _, m := range c.s.all() {
			if strings.HasPrefix(strings.ToLower(m.Address), entry) || strings.HasPrefix(strings.ToLower(displayName(m.Address)), entry) {
				found = append(found, m)
			}
		}
		if entry == "" || len(found) == 0 {
			c.refuse(newProblem("ErrorNameResolutionNoResults"), nil)
			return
		}
		if len(found) > 1 {
			p := newProblem("ErrorNameResolutionMultipleResults")
			p.warning = true
			c.refuse(p, func() { c.resolutions(found) })
			return
		}
		c.success(func() { c.resolutions(found) })
	})
}

func (c *call) resolutions(found []*exchangetest.Mailbox) {
	found = found[:min(len(found), 100)]
	c.w.open("m:ResolutionSet", "TotalItemsInView", textValue(len(found)), "IncludesLastItemInRange", "true")
	full := c.op.attr("ReturnFullContactData") == "true" || c.op.attr("ReturnFullContactData") == "1"
	for _, m := range found {
		c.w.open("t:Resolution")
		c.w.open("t:Mailbox")
		c.w.text("t:Name", displayName(m.Address))
		c.w.text("t:EmailAddress", m.Address)
		c.w.text("t:RoutingType", "SMTP")
		c.w.text("t:MailboxType", "Mailbox")
		c.w.close("t:Mailbox")
		if full {
			c.contact(m)
		}
		c.w.close("t:Resolution")
	}
	c.w.close("m:ResolutionSet")
}

func (c *call) contact(m *exchangetest.Mailbox) {
	c.w.open("t:Contact")
	c.w.text("t:DisplayName", displayName(m.Address))
	c.w.open("t:EmailAddresses")
	c.w.text("t:Entry", "SMTP:"+m.Address, "Key", "EmailAddress1")
	c.w.close("t:EmailAddresses")
	c.w.text("t:ContactSource", "ActiveDirectory")
	c.w.close("t:Contact")
}

func (s *Server) all() []*exchangetest.Mailbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*exchangetest.Mailbox
	for _, m := range s.mailboxes {
		out = append(out, m)
	}
	sortMailboxes(out)
	return out
}

// zones are the time zones known here: id, name, bias in minutes as xs:duration.
func zones() [][3]string {
	return [][3]string{
		{"UTC", "(UTC) Coordinated Universal Time", "PT0S"},
		{"GMT Standard Time", "(UTC+00:00) Dublin, Edinburgh, Lisbon, London", "PT0S"},
		{"W. Europe Standard Time", "(UTC+01:00) Amsterdam, Berlin, Bern, Rome, Stockholm, Vienna", "-PT1H"},
		{"Eastern Standard Time", "(UTC-05:00) Eastern Time (US & Canada)", "PT5H"},
	}
}

// serverTimeZones answers with standard time only; rules for summer time are not simulated.
func (c *call) serverTimeZones() *fault {
	return c.respond(func() {
		c.success(func() {
			full := c.op.attr("ReturnFullTimeZoneData") != "false" && c.op.attr("ReturnFullTimeZoneData") != "0"
			c.w.open("m:TimeZoneDefinitions")
			for _, z := range zones() {
				if c.wantsZone(z[0]) {
					c.zone(z, full)
				}
			}
			c.w.close("m:TimeZoneDefinitions")
		})
	})
}

func (c *call) wantsZone(id string) bool {
	ids := c.op.child("Ids")
	if ids == nil {
		return true
	}
	for _, k := range ids.kids {
		if k.value() == id {
			return true
		}
	}
	return false
}

func (c *call) zone(z [3]string, full bool) {
	if !full {
		c.w.empty("t:TimeZoneDefinition", "Id", z[0], "Name", z[1])
		return
	}
	c.w.open("t:TimeZoneDefinition", "Id", z[0], "Name", z[1])
	c.w.open("t:Periods")
	c.w.empty("t:Period", "Bias", z[2], "Name", "Standard", "Id", "trule:Microsoft/Registry/"+z[0]+"/1-Standard")
	c.w.close("t:Periods")
	c.w.open("t:TransitionsGroups")
	c.w.open("t:TransitionsGroup", "Id", "0")
	c.w.open("t:Transition")
	c.w.text("t:To", "trule:Microsoft/Registry/"+z[0]+"/1-Standard", "Kind", "Period")
	c.w.close("t:Transition")
	c.w.close("t:TransitionsGroup")
	c.w.close("t:TransitionsGroups")
	c.w.open("t:Transitions")
	c.w.open("t:Transition")
	c.w.text("t:To", "0", "Kind", "Group")
	c.w.close("t:Transition")
	c.w.close("t:Transitions")
	c.w.close("t:TimeZoneDefinition")
}

// userConfiguration: nobody has stored any.
func (c *call) userConfiguration() *fault {
	return c.respond(func() { c.refuse(newProblem("ErrorItemNotFound"), nil) })
}

// delegate: nobody has any. This answer has no list of messages around it.
func (c *call) delegate() *fault {
	_, p := c.mailboxOf(c.op.path("Mailbox", "EmailAddress").value())
	class, code := "Success", "NoError"
	if p != nil {
		class, code = "Error", p.code
	}
	c.w.open("m:GetDelegateResponse", "xmlns:m", nsMessages, "xmlns:t", nsTypes, "ResponseClass", class)
	if p != nil {
		c.w.text("m:MessageText", p.text)
	}
	c.w.text("m:ResponseCode", code)
	if p != nil {
		c.w.text("m:DescriptiveLinkKey", "0")
	} else {
		c.w.text("m:DeliverMeetingRequests", "DelegatesAndMe")
	}
	c.w.close("m:GetDelegateResponse")
	return nil
}

func sortMailboxes(ms []*exchangetest.Mailbox) {
	slices.SortFunc(ms, func(a, b *exchangetest.Mailbox) int { return strings.Compare(a.Address, b.Address) })
}
