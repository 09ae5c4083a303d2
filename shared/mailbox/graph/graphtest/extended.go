package graphtest

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// propID names an extended property as Graph does: "String 0x37", "Integer {set} Id 0x8208",
// "String {set} Name Keywords", each kind also as "StringArray" and so on.
type propID struct {
	kind  string
	typ   fts.Type
	multi bool
	tag   uint16
	name  *fts.Name
}

// kinds are the property types of singleValueLegacyExtendedProperty, in their canonical spelling.
func kindOf(s string) (string, fts.Type) {
	for _, k := range [...]struct {
		name string
		typ  fts.Type
	}{{"String", fts.Unicode}, {"Integer", fts.Int32}, {"Short", fts.Int16}, {"Long", fts.Int64}, {"Float", fts.Float32},
		{"Double", fts.Float64}, {"Boolean", fts.Bool}, {"SystemTime", fts.Time}, {"Binary", fts.Binary}, {"CLSID", fts.GUID},
		{"Currency", fts.Currency}, {"ApplicationTime", fts.AppTime}} {
		if strings.EqualFold(k.name, s) {
			return k.name, k.typ
		}
	}
	return "", 0
}

func parsePropID(s string) (propID, error) {
	kind, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	var p propID
	base := kind
	if n := len(kind) - len("Array"); n > 0 && strings.EqualFold(kind[n:], "Array") {
		base, p.multi = kind[:n], true
	}
	if p.kind, p.typ = kindOf(base); p.kind == "" {
		return p, badRequest("The property id '%s' is not valid: unknown type.", printable(s))
	}
	rest = strings.TrimSpace(rest)
	if strings.HasPrefix(rest, "{") {
		return p, p.parseName(s, rest)
	}
	tag, ok := parseHex(rest)
	if !ok || tag == 0 || tag >= 0x8000 {
		return p, badRequest("The property id '%s' is not valid: a tag is 0x1 to 0x7FFF.", printable(s))
	}
	p.tag = uint16(tag)
	return p, nil
}

func (p *propID) parseName(s, rest string) error {
	set, rest, ok := strings.Cut(rest[1:], "}")
	guid, err := uuid.Parse(set)
	if !ok || err != nil || len(set) != 36 {
		return badRequest("The property id '%s' is not valid: malformed property set.", printable(s))
	}
	word, value, _ := strings.Cut(strings.TrimSpace(rest), " ")
	p.name = &fts.Name{Set: wireGUID(guid)}
	switch {
	case strings.EqualFold(word, "Name") && value != "":
		p.name.Text = value
		return nil
	case strings.EqualFold(word, "Id"):
		if lid, ok := parseHex(strings.TrimSpace(value)); ok {
			p.name.LID = uint32(lid)
			return nil
		}
	}
	return badRequest("The property id '%s' is not valid: Name or Id expected.", printable(s))
}

func parseHex(s string) (uint64, bool) {
	if len(s) < 3 || s[0] != '0' || s[1]|0x20 != 'x' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[2:], 16, 32)
	return n, err == nil
}

// format returns the id as answers carry it.
func (p propID) format(upper bool) string {
	kind := p.kind
	if p.multi {
		kind += "Array"
	}
	verb := "0x%x"
	if upper {
		verb = "0x%X"
	}
	switch {
	case p.name == nil:
		return kind + " " + fmt.Sprintf(verb, p.tag)
	case p.name.Text != "":
		return fmt.Sprintf("%s {%s} Name %s", kind, wireGUID(p.name.Set), p.name.Text)
	}
	return fmt.Sprintf("%s {%s} Id "+verb, kind, wireGUID(p.name.Set), p.name.LID)
}

// wireGUID turns a GUID from text order to wire order and back.
func wireGUID(g [16]byte) uuid.UUID {
	o := uuid.UUID(g)
	binary.LittleEndian.PutUint32(o[0:], binary.BigEndian.Uint32(g[0:]))
	binary.LittleEndian.PutUint16(o[4:], binary.BigEndian.Uint16(g[4:]))
	binary.LittleEndian.PutUint16(o[6:], binary.BigEndian.Uint16(g[6:]))
	return o
}

// text formats a single value if it is of the property's kind. Any integer kind shows any integer.
func (p propID) text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, p.typ == fts.Unicode
	case bool:
		return strconv.FormatBool(v), p.typ == fts.Bool
	case time.Time:
		return v.UTC().Format("2006-01-02T15:04:05Z"), p.typ == fts.Time
	case []byte:
		return base64.StdEncoding.EncodeToString(v), p.typ == fts.Binary
	case [16]byte:
		return wireGUID(v).String(), p.typ == fts.GUID
	case float32:
		return strconv.FormatFloat(float64(v), 'g', -1, 32), p.typ == fts.Float32
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), p.typ == fts.Float64 || p.typ == fts.AppTime
	}
	n, ok := integer(v)
	return strconv.FormatInt(n, 10), ok && p.wantsInteger()
}

func (p propID) wantsInteger() bool {
	return p.typ == fts.Int16 || p.typ == fts.Int32 || p.typ == fts.Int64 || p.typ == fts.Currency
}

func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int16:
		return int64(v), true
	case int32:
		return int64(v), true
	case int64:
		return v, true
	case int:
		return int64(v), true
	}
	return 0, false
}

// texts formats a multiple value if it is of the property's kind.
func (p propID) texts(v any) ([]string, bool) {
	out := []string{}
	each := func(v any) bool {
		t, ok := p.text(v)
		out = append(out, t)
		return ok
	}
	var ok bool
	switch v := v.(type) {
	case []string:
		ok = all(v, each)
	case [][]byte:
		ok = all(v, each)
	case []int16:
		ok = all(v, each)
	case []int32:
		ok = all(v, each)
	case []int64:
		ok = all(v, each)
	case []time.Time:
		ok = all(v, each)
	case [][16]byte:
		ok = all(v, each)
	default:
		ok = false
	}
	return out, ok
}

func all[T any](vs []T, each func(any) bool) bool {
	for _, v := range vs {
		if !each(v) {
			return false
		}
	}
	return true
}

// printable keeps a client's text short and free of control characters, for error messages.
func printable(s string) string {
	if len(s) > 100 {
		s = s[:100]
	}
	if strconv.Quote(s) == `"`+s+`"` {
		return s
	}
	return hex.EncodeToString([]byte(s))
}
