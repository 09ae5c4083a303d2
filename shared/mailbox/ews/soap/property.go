package soap

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// Text is a MAPI property as Exchange writes it, "" when absent. The readers below take what they cannot read for
// absent: one odd property must not stop a mailbox.
func (e Entry) Text(tag uint64) string {
	for _, x := range e.Extended {
		if n, err := strconv.ParseUint(x.URI.Tag, 0, 32); err == nil && n == tag {
			return x.Value
		}
	}
	return ""
}

// Yes is a boolean property.
func (e Entry) Yes(tag uint64) bool { return strings.EqualFold(e.Text(tag), "true") }

// Number is an integer property that fits into so many bits.
func (e Entry) Number(tag uint64, bits int) int64 {
	n, err := strconv.ParseInt(e.Text(tag), 10, bits)
	if err != nil {
		return 0
	}
	return n
}

// Binary is a binary property, nil when absent.
func (e Entry) Binary(tag uint64) []byte {
	b, err := base64.StdEncoding.DecodeString(e.Text(tag))
	if err != nil || len(b) == 0 {
		return nil
	}
	return b
}

// Time is a time property in UTC, zero when absent.
func (e Entry) Time(tag uint64) time.Time {
	t, err := time.Parse(time.RFC3339Nano, e.Text(tag))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
