package ewstest

import (
	"cmp"
	"strings"

	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// place is where a contact keeps a value: a tag, or a number of the set Address.
type place struct {
	tag uint16
	lid uint32
}

func (p place) of(v *view) string {
	if p.lid != 0 {
		s, _ := v.named(fts.Address(p.lid)).(string)
		return s
	}
	return v.text(p.tag)
}

func (p place) property(s string) fts.Property {
	if p.lid != 0 {
		return fts.Address(p.lid).Prop(s)
	}
	return fts.Prop(p.tag, s)
}

// contactTexts are the fields of a contact that are one string.
func contactTexts() map[string]place {
	return map[string]place{
		"contacts:FileAs": {lid: fts.LidFileUnder}, "contacts:DisplayName": {tag: fts.TagDisplayName}, "contacts:GivenName": {tag: fts.TagGivenName},
		"contacts:Initials": {tag: 0x3A0A}, "contacts:MiddleName": {tag: fts.TagMiddleName}, "contacts:Nickname": {tag: 0x3A4F},
		"contacts:CompanyName": {tag: fts.TagCompanyName}, "contacts:AssistantName": {tag: 0x3A30}, "contacts:BusinessHomePage": {tag: 0x3A51},
		"contacts:Department": {tag: fts.TagDepartment}, "contacts:Generation": {tag: 0x3A05}, "contacts:JobTitle": {tag: fts.TagTitle},
		"contacts:Manager": {tag: 0x3A4E}, "contacts:OfficeLocation": {tag: 0x3A19}, "contacts:Profession": {tag: 0x3A46},
		"contacts:SpouseName": {tag: 0x3A48}, "contacts:Surname": {tag: fts.TagSurname},
	}
}

// phones are the keys of PhoneNumbers, as the schema orders them.
func phones() []entry {
	return []entry{{"AssistantPhone", 0x3A2E}, {"BusinessFax", 0x3A24}, {"BusinessPhone", fts.TagBusinessPhone}, {"BusinessPhone2", 0x3A1B},
		{"Callback", 0x3A02}, {"CarPhone", 0x3A1E}, {"CompanyMainPhone", 0x3A57}, {"HomeFax", 0x3A25}, {"HomePhone", fts.TagHomePhone},
		{"HomePhone2", 0x3A2F}, {"Isdn", 0x3A2D}, {"MobilePhone", fts.TagMobilePhone}, {"OtherFax", 0x3A23}, {"OtherTelephone", 0x3A1F},
		{"Pager", 0x3A21}, {"PrimaryPhone", 0x3A1A}, {"RadioPhone", 0x3A1D}, {"Telex", 0x3A2C}, {"TtyTddPhone", 0x3A4B}}
}

type entry struct {
	key string
	tag uint16
}

// emails are the keys of EmailAddresses with the first number of each address: display name, type at +2, address at +3.
func emails() []struct {
	key string
	lid uint32
} {
	return []struct {
		key string
		lid uint32
	}{{"EmailAddress1", fts.LidEmail1Display}, {"EmailAddress2", 0x8090}, {"EmailAddress3", 0x80A0}}
}

// addressParts are the elements of a PhysicalAddress in order, as at work, at home and elsewhere.
func addressParts() []struct {
	element               string
	business, home, other place
} {
	return []struct {
		element               string
		business, home, other place
	}{
		{"Street", place{lid: fts.LidWorkStreet}, place{tag: 0x3A5D}, place{tag: 0x3A63}},
		{"City", place{lid: fts.LidWorkCity}, place{tag: 0x3A59}, place{tag: 0x3A5F}},
		{"State", place{lid: fts.LidWorkState}, place{tag: 0x3A5C}, place{tag: 0x3A62}},
		{"CountryOrRegion", place{lid: fts.LidWorkCountry}, place{tag: 0x3A5A}, place{tag: 0x3A60}},
		{"PostalCode", place{lid: fts.LidWorkPostalCode}, place{tag: 0x3A5B}, place{tag: 0x3A61}},
	}
}

func contactFields() []field {
	places := contactTexts()
	text := func(uri string, in int) field {
		at := places[uri]
		return field{uri: uri, in: in, of: isContact, value: func(v *view) any {
			if s := at.of(v); s != "" {
				return s
			}
			return nil
		}}
	}
	return []field{
		text("contacts:FileAs", shown),
		{uri: "contacts:FileAsMapping", in: inAll, of: isContact, value: func(v *view) any {
			if n, _ := v.named(fts.Address(fts.LidFileUnderID)).(int32); n == fileLastFirst {
				return "LastCommaFirst"
			}
			return nil
		}},
		text("contacts:DisplayName", shown),
		text("contacts:GivenName", inAll),
		text("contacts:Initials", inAll),
		text("contacts:MiddleName", inAll),
		text("contacts:Nickname", inAll),
		{uri: "contacts:CompleteName", in: inAll, of: isContact, write: completeName},
		text("contacts:CompanyName", shown),
		{uri: "contacts:EmailAddresses", in: shown, of: isContact, indexed: "contacts:EmailAddress", write: emailAddresses},
		{uri: "contacts:PhysicalAddresses", in: inAll, of: isContact, indexed: "contacts:PhysicalAddress:", write: physicalAddresses},
		{uri: "contacts:PhoneNumbers", in: shown, of: isContact, indexed: "contacts:PhoneNumber", write: phoneNumbers},
		text("contacts:AssistantName", inAll),
		{uri: "contacts:Birthday", in: inAll, of: isContact, value: timeOfTag(fts.TagBirthday)},
		text("contacts:BusinessHomePage", inAll),
		{uri: "contacts:Children", in: inAll, of: isContact, value: func(v *view) any { return v.prop(tagChildren) }},
		{uri: "contacts:Companies", in: inAll, of: isContact, value: common(lidCompanies)},
		text("contacts:Department", inAll),
		text("contacts:Generation", inAll),
		text("contacts:JobTitle", shown),
		text("contacts:Manager", inAll),
		{uri: "contacts:Mileage", in: inAll, of: isContact, value: common(lidMileage)},
		text("contacts:OfficeLocation", inAll),
		{uri: "contacts:PostalAddressIndex", in: inAll, of: isContact, value: func(v *view) any {
			n, _ := v.named(fts.Address(lidPostalAddress)).(int32)
			return pick(n, "None", "Home", "Business", "Other")
		}},
		text("contacts:Profession", inAll),
		text("contacts:SpouseName", inAll),
		text("contacts:Surname", inAll),
		{uri: "contacts:WeddingAnniversary", in: inAll, of: isContact, value: timeOfTag(tagWedding)},
	}
}

func common(lid uint32) func(*view) any {
	return func(v *view) any { return v.named(fts.Common(lid)) }
}

const (
	tagWedding       uint16 = 0x3A41 // PidTagWeddingAnniversary
	lidPostalAddress uint32 = 0x8022 // PidLidPostalAddressId: which one is the mailing address
)

func completeName(v *view, w *writer) {
	w.open("t:CompleteName")
	for _, n := range []struct {
		element string
		id      uint16
	}{{"t:FirstName", fts.TagGivenName}, {"t:MiddleName", fts.TagMiddleName}, {"t:LastName", fts.TagSurname}, {"t:FullName", fts.TagDisplayName}} {
		if s := v.text(n.id); s != "" {
			w.text(n.element, s)
		}
	}
	w.close("t:CompleteName")
}

// list writes the elements that inside writes within another one, which is there only when any of them is.
func (w *writer) list(name string, inside func(begin func())) {
	begun := false
	inside(func() {
		if !begun {
			w.open(name)
			begun = true
		}
	})
	if begun {
		w.close(name)
	}
}

func emailAddresses(v *view, w *writer) {
	shown := v.entries("contacts:EmailAddresses", shown)
	w.list("t:EmailAddresses", func(begin func()) {
		for _, e := range emails() {
			s := place{lid: e.lid + 3}.of(v)
			if s == "" || !shown("contacts:EmailAddress", e.key) {
				continue
			}
			begin()
			w.text("t:Entry", s, "Key", e.key, "Name", place{lid: e.lid}.of(v),
				"RoutingType", cmp.Or(place{lid: e.lid + 2}.of(v), "SMTP"), "MailboxType", "Contact")
		}
	})
}

func physicalAddresses(v *view, w *writer) {
	shown := v.entries("contacts:PhysicalAddresses", inAll)
	w.list("t:PhysicalAddresses", func(begin func()) {
		for i, key := range []string{"Business", "Home", "Other"} {
			var parts [][2]string
			for _, p := range addressParts() {
				s := []place{p.business, p.home, p.other}[i].of(v)
				if s != "" && shown("contacts:PhysicalAddress:"+p.element, key) {
					parts = append(parts, [2]string{"t:" + p.element, s})
				}
			}
			if len(parts) == 0 {
				continue
			}
			begin()
			w.open("t:Entry", "Key", key)
			for _, p := range parts {
				w.text(p[0], p[1])
			}
			w.close("t:Entry")
		}
	})
}

func phoneNumbers(v *view, w *writer) {
	shown := v.entries("contacts:PhoneNumbers", shown)
	w.list("t:PhoneNumbers", func(begin func()) {
		for _, p := range phones() {
			if s := v.text(p.tag); s != "" && shown("contacts:PhoneNumber", p.key) {
				begin()
				w.text("t:Entry", s, "Key", p.key)
			}
		}
	})
}

// contactEntry is where an IndexedFieldURI of a contact keeps its value; ok is false when there is no such place.
func contactEntry(uri, index string) (at place, ok bool) {
	switch {
	case uri == "contacts:PhoneNumber":
		for _, p := range phones() {
			if p.key == index {
				return place{tag: p.tag}, true
			}
		}
	case uri == "contacts:EmailAddress":
		for _, e := range emails() {
			if e.key == index {
				return place{lid: e.lid + 3}, true
			}
		}
	case strings.HasPrefix(uri, "contacts:PhysicalAddress:"):
		for _, p := range addressParts() {
			if "contacts:PhysicalAddress:"+p.element == uri {
				at, ok = map[string]place{"Business": p.business, "Home": p.home, "Other": p.other}[index]
				return at, ok
			}
		}
	}
	return place{}, false
}
