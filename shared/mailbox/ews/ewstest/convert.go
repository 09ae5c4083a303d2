package ewstest

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
)

// convertID turns ids of one form into another. EwsLegacyId and StoreId are not simulated.
func (c *call) convertID() *fault {
	return c.respond(func() {
		format := c.op.attr("DestinationFormat")
		for _, e := range c.op.child("SourceIds").kids {
			out, p := c.converted(e, format)
			if p != nil {
				c.refuse(p, nil)
				continue
			}
			c.success(func() {
				c.w.empty("m:AlternateId", "xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance", "xsi:type", "t:AlternateIdType",
					"Format", format, "Id", out, "Mailbox", e.attr("Mailbox"))
			})
		}
	})
}

func (c *call) converted(e *element, format string) (string, *problem) {
	if e.name.Local != "AlternateId" {
		return "", newProblem("ErrorInvalidOperation")
	}
	ews, ok := c.toEWS(e.attr("Format"), e.attr("Id"), e.attr("Mailbox"))
	if !ok {
		return "", newProblem("ErrorInvalidIdMalformed")
	}
	raw, _ := base64.StdEncoding.DecodeString(ews)
	entry := raw[43:]
	switch format {
	case "EwsId":
		return ews, nil
	case "OwaId":
		return url.QueryEscape(ews), nil
	case "EntryId":
		return base64.StdEncoding.EncodeToString(entry), nil
	case "HexEntryId":
		return strings.ToUpper(hex.EncodeToString(entry)), nil
	}
	return "", newProblem("ErrorUnsupportedTypeForConversion")
}

func (c *call) toEWS(format, s, address string) (string, bool) {
	var entry []byte
	var err error
	switch format {
	case "OwaId":
		if s, err = url.QueryUnescape(s); err != nil {
			return "", false
		}
		_, ok := decodeID(s)
		return s, ok
	case "EntryId":
		entry, err = base64.StdEncoding.DecodeString(s)
	case "HexEntryId":
		entry, err = hex.DecodeString(s)
	default:
		_, ok := decodeID(s)
		return s, ok && format == "EwsId"
	}
	m := c.s.mailbox(address)
	if err != nil || m == nil {
		return "", false
	}
	return withEntry(m, entry)
}

func withEntry(m *exchangetest.Mailbox, entry []byte) (string, bool) {
	s := encodeID(m.GUID, entry, nil)
	_, ok := decodeID(s)
	return s, ok && len(entry) <= itemEntry
}
