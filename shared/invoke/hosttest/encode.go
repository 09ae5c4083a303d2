package hosttest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// object is a JSON object.
type object map[string]any

// envelope is the body of an invocation.
type envelope struct {
	Data     object
	Metadata object
}

// newEnvelope makes the envelope of a trigger's value. What was bound beside it is metadata.
func (h *Host) newEnvelope(f *function, value any, metadata object) envelope {
	m := object{}
	for k, v := range metadata {
		m[k] = v
	}
	m["sys"] = object{"MethodName": f.name, "UtcNow": stamp(h.clock.Now()), "RandGuid": uuid.NewString()}
	if s, ok := value.(string); ok {
		poison(s, m)
	}
	e := envelope{object{f.trigger.Name: wire(value)}, object{}}
	for k, v := range m {
		if v != nil && !strings.HasSuffix(strings.ToLower(k), "trigger") {
			e.Metadata[k] = wire(v)
		}
	}
	return e
}

// poison copies the properties of a JSON object in a string value over the metadata, as the host does: all
// but arrays and nulls, scalars as strings. Bytes are left alone, which is why triggers bind them.
func poison(value string, metadata object) {
	if !strings.HasPrefix(strings.TrimSpace(value), "{") || !json.Valid([]byte(value)) {
		return
	}
	d := json.NewDecoder(strings.NewReader(value))
	d.UseNumber()
	var doc object
	if d.Decode(&doc) != nil {
		return
	}
	for k, v := range doc {
		switch v := v.(type) {
		case nil, []any:
		case map[string]any:
			metadata[k] = object(v)
		case bool:
			metadata[k] = map[bool]string{true: "True", false: "False"}[v]
		case string:
			metadata[k] = invariantDate(v)
		default:
			metadata[k] = fmt.Sprint(v)
		}
	}
}

// invariantDate rewrites a date as the host's JSON reader does on the way to a string.
func invariantDate(s string) string {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC().Format("01/02/2006 15:04:05")
		}
	}
	return s
}

// utc is a .NET DateTime, which the wire shows without a zone; a time.Time is a DateTimeOffset. Both lose
// what is below a second.
type utc time.Time

// wire encodes a value as the host does: bytes as base64, dates as dates, objects as they are, and everything
// else as a string of JSON.
func wire(v any) any {
	switch v := v.(type) {
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case utc:
		return time.Time(v).UTC().Format("2006-01-02T15:04:05")
	case time.Time:
		return v.UTC().Format("2006-01-02T15:04:05-07:00")
	case object:
		return v
	}
	return encode(v)
}

func encode(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "null"
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// stamp writes a date of full precision as the host's JSON writer does.
func stamp(t time.Time) string { return t.UTC().Truncate(100).Format(time.RFC3339Nano) }

// local writes a date in the zone of the instance, which is UTC.
func local(t time.Time) string {
	if t.IsZero() {
		return "0001-01-01T00:00:00"
	}
	return t.UTC().Truncate(100).Format("2006-01-02T15:04:05.999999999-07:00")
}
