package graph

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// listed asks for what identifies an item (mailbox.Properties). The class, 0x001A, is the item's own type field.
const listed = "singleValueExtendedProperties($filter=" +
	"(id eq 'Binary 0x300B') or (id eq 'String 0x1035') or (id eq 'String 0x0037') or (id eq 'String 0x0C1F') or " +
	"(id eq 'SystemTime 0x0039') or (id eq 'SystemTime 0x0E06') or " +
	"(id eq 'String 0x0E04') or (id eq 'String 0x0E03') or (id eq 'String 0x0E02') or " +
	"(id eq 'Integer 0x0E07') or (id eq 'Integer 0x1090') or (id eq 'Integer 0x0017') or (id eq 'Boolean 0x0E1B'))"

type itemAnswer struct {
	ID       string     `json:"id"`
	Change   string     `json:"changeKey"`
	Type     string     `json:"type"`
	Size     int64      `json:"size"`
	Extended []extended `json:"singleValueExtendedProperties"`
	Removed  *struct{}  `json:"@removed"`
}

// item returns what the answer says, and which properties had values that cannot be read; they are left zero.
func (a itemAnswer) item() (mailbox.Item, []error) {
	i := mailbox.Item{ID: mailbox.ItemID(a.ID), Change: a.Change, Size: a.Size}
	i.Class = a.Type
	var bad []error
	for _, p := range a.Extended {
		if err := set(&i.Properties, p); err != nil {
			bad = append(bad, err)
		}
	}
	return i, bad
}

// propertyTag reads the tag of an id such as "String 0x1035". The service leaves leading zeros out: 0x0037 comes
// back as "String 0x37".
func propertyTag(id string) (uint16, error) {
	_, hex, ok := strings.Cut(id, " ")
	hex = strings.ToLower(hex)
	if !ok || !strings.HasPrefix(hex, "0x") {
		return 0, fmt.Errorf("a property id without tag")
	}
	tag, err := strconv.ParseUint(hex[2:], 16, 16)
	if err != nil {
		return 0, fmt.Errorf("a property id without tag")
	}
	return uint16(tag), nil
}

// set stores one property. The error names the tag, never the value.
func set(p *mailbox.Properties, e extended) error {
	tag, err := propertyTag(e.ID)
	if err != nil {
		return err
	}
	switch tag {
	case 0x1035:
		p.MessageID = e.Value
	case 0x0037:
		p.Subject = e.Value
	case 0x0C1F:
		p.Sender = e.Value
	case 0x0E04:
		p.To = e.Value
	case 0x0E03:
		p.Cc = e.Value
	case 0x0E02:
		p.Bcc = e.Value
	case 0x300B:
		p.SearchKey, err = base64.StdEncoding.DecodeString(e.Value)
	case 0x0039:
		p.Submitted, err = moment(e.Value)
	case 0x0E06:
		p.Received, err = moment(e.Value)
	case 0x0E07:
		p.Flags, err = integer(e.Value)
	case 0x1090:
		p.FlagStatus, err = integer(e.Value)
	case 0x0017:
		p.Importance, err = integer(e.Value)
	case 0x0E1B:
		p.Attachments, err = strconv.ParseBool(strings.ToLower(e.Value))
	}
	if err != nil {
		return fmt.Errorf("property 0x%04X has a value that cannot be read", tag)
	}
	return nil
}

func moment(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	return t.UTC(), err
}

func integer(s string) (int32, error) {
	v, err := strconv.ParseInt(s, 10, 32)
	return int32(v), err
}
