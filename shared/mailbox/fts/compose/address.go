package compose

import (
	"cmp"
	"encoding/binary"
	"strings"
	"unicode/utf16"

	"github.com/jhillyerd/enmime/v2"

	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// Address is a person as mail names one.
type Address struct{ Name, Email string }

// addresses reads all fields of a name. What cannot be parsed still gives an address, so that nobody is left out.
func (h header) addresses(name string) (all []Address) {
	for _, v := range h.all(name) {
		list, err := enmime.ParseAddressList(v)
		for _, a := range list {
			all = append(all, clean(Address{Name: a.Name, Email: a.Address}))
		}
		if err != nil {
			all = append(all, looseAddresses(v)...)
		}
	}
	return all
}

// looseAddresses reads a list that no grammar accepts.
func looseAddresses(list string) (all []Address) {
	list = decodeWords(list)
	if strings.HasSuffix(strings.TrimSpace(list), ":;") { // a group without members, such as undisclosed-recipients
		return nil
	}
	for one := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' || r == ';' }) {
		name, rest, ok := strings.Cut(one, "<")
		a := Address{Name: strings.Trim(name, " \t\"'")}
		if ok {
			a.Email = strings.Trim(rest, " \t>")
		} else if strings.Contains(name, "@") {
			a.Email = a.Name
		}
		if a = clean(a); a != (Address{}) {
			all = append(all, a)
		}
	}
	return all
}

func clean(a Address) Address {
	return Address{Name: strings.TrimSpace(text([]byte(a.Name))), Email: strings.TrimSpace(text([]byte(a.Email)))}
}

func (a Address) display() string { return cmp.Or(a.Name, a.Email) }

// searchKey is how a directory finds an address: type and address in upper case.
func (a Address) searchKey() []byte { return append([]byte("SMTP:"+strings.ToUpper(a.Email)), 0) }

// oneOff is a one-off entry id (MS-OXCDATA 2.2.5.1): an address that stands for itself, in Unicode, without rich text.
func (a Address) oneOff() []byte {
	b := make([]byte, 4, 128)
	b = append(b, "\x81\x2B\x1F\xA4\xBE\xA3\x10\x19\x9D\x6E\x00\xDD\x01\x0F\x54\x02"...)
	b = append(b, 0, 0, 0x01, 0x90)
	for _, s := range []string{a.display(), "SMTP", a.Email} {
		for _, u := range utf16.Encode([]rune(s)) {
			b = binary.LittleEndian.AppendUint16(b, u)
		}
		b = append(b, 0, 0)
	}
	return b
}

// sender is who wrote the mail (From, "sent representing") and who sent it (Sender, else From).
func (m *mail) sender() fts.Properties {
	from, sender := m.header.addresses("From"), m.header.addresses("Sender")
	if len(from) == 0 {
		from = sender
	}
	if len(sender) == 0 {
		sender = from
	}
	if len(from) == 0 {
		return nil
	}
	return senderProperties(from[0], sender[0])
}

func senderProperties(from, sender Address) fts.Properties {
	return fts.Properties{
		fts.Prop(fts.TagSentRepresentingName, from.display()),
		fts.Prop(fts.TagSentRepresentingType, "SMTP"),
		fts.Prop(fts.TagSentRepresentingEmail, from.Email),
		fts.Prop(fts.TagSentRepresentingEntry, from.oneOff()),
		fts.Prop(fts.TagSentRepresentingSearch, from.searchKey()),
		fts.Prop(fts.TagSenderName, sender.display()),
		fts.Prop(fts.TagSenderType, "SMTP"),
		fts.Prop(fts.TagSenderEmail, sender.Email),
		fts.Prop(fts.TagSenderEntry, sender.oneOff()),
		fts.Prop(fts.TagSenderSearch, sender.searchKey()),
	}
}

func (m *mail) recipients() (rows []fts.Properties) {
	for i, name := range []string{"To", "Cc", "Bcc"} {
		for _, a := range m.header.addresses(name) {
			rows = append(rows, recipientRow(len(rows), int32(i+1), a))
		}
	}
	return rows
}

// recipientRow makes one recipient; kind is 1 To, 2 Cc, 3 Bcc.
func recipientRow(row int, kind int32, a Address) fts.Properties {
	return fts.Properties{
		fts.Prop(fts.TagRowID, int32(row)),
		fts.Prop(fts.TagRecipientType, kind),
		fts.Prop(fts.TagResponsibility, true),
		fts.Prop(fts.TagObjectType, int32(6)), // a mail user
		fts.Prop(fts.TagEntry, a.oneOff()),
		fts.Prop(fts.TagDisplayName, a.display()),
		fts.Prop(fts.TagAddressType, "SMTP"),
		fts.Prop(fts.TagEmailAddress, a.Email),
		fts.Prop(fts.TagSearchKey, a.searchKey()),
		fts.Prop(fts.TagDisplayType, int32(0)), // a mail user
		fts.Prop(fts.TagSMTPAddress, a.Email),
		fts.Prop(fts.TagRecipientDisplayName, a.display()),
		fts.Prop(fts.TagRecipientEntry, a.oneOff()),
		fts.Prop(fts.TagRecipientFlags, int32(1)), // can be sent to
		fts.Prop(fts.TagRecipientTrackStatus, int32(0)),
	}
}
