package invoke

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Message is what a serviceBusTrigger delivers. What the sender did not set is empty.
type Message struct {
	Function       string
	Body           []byte
	ID             string
	SessionID      string
	CorrelationID  string
	LockToken      string
	DeliveryCount  int // 1 at the first delivery
	SequenceNumber int64
	Enqueued       time.Time // UTC, whole seconds; zero when absent

	// Properties are the sender's: strings, bools, int64, float64, or nested. A dead letter's reason and
	// description, which the service keeps among them, stand in their own fields as well.
	Properties            map[string]any
	DeadLetterReason      string
	DeadLetterDescription string

	Trace string // W3C traceparent of this invocation, empty when the host traces nothing
}

// Tick is what a timerTrigger delivers. Both times are zero when the schedule is not monitored, which is so when
// it occurs more than once a minute.
type Tick struct {
	PastDue bool      // this run makes up for one that was missed while no host ran
	Last    time.Time // UTC, the run before this one; zero at the first
	Next    time.Time // UTC, when this run was due: the host reckons the one after it only when this one has ended
}

// envelope is the body of an invocation.
type envelope struct {
	Data     map[string]json.RawMessage
	Metadata map[string]json.RawMessage
}

func readEnvelope(r *http.Request, limit int64) (envelope, error) {
	b, err := readAll(r, limit)
	if err != nil {
		return envelope{}, err
	}
	return parseEnvelope(b)
}

func parseEnvelope(b []byte) (envelope, error) {
	var e envelope
	err := json.Unmarshal(b, &e)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return e, fmt.Errorf("byte %d: %w", syntax.Offset, err)
	case errors.As(err, &kind) && kind.Field == "":
		return e, fmt.Errorf("want an object, got %s", kind.Value)
	case errors.As(err, &kind):
		return e, fmt.Errorf("%s: want an object, got %s", kind.Field, kind.Value)
	}
	return e, err
}

// only returns the value of the one binding there is, and its name.
func (e envelope) only() (string, json.RawMessage, error) {
	if len(e.Data) != 1 {
		return "", nil, fmt.Errorf("Data: want one binding, got %d", len(e.Data))
	}
	for name, v := range e.Data {
		return "Data." + name, v, nil
	}
	panic("unreachable")
}

func readMessage(r *http.Request, limit int64) (Message, error) {
	e, err := readEnvelope(r, limit)
	if err != nil {
		return Message{}, err
	}
	return e.message()
}

func (e envelope) message() (Message, error) {
	name, v, err := e.only()
	if err != nil {
		return Message{}, err
	}
	body, err := binary(v)
	if err != nil {
		return Message{}, fmt.Errorf("%s: %w", name, err)
	}
	f := fields{values: e.Metadata}
	m := Message{
		Body:           body,
		ID:             f.text("MessageId"),
		SessionID:      f.text("SessionId"),
		CorrelationID:  f.text("CorrelationId"),
		LockToken:      f.text("LockToken"),
		DeliveryCount:  int(f.number("DeliveryCount", 31)),
		SequenceNumber: f.number("SequenceNumber", 63),
		Enqueued:       f.date("EnqueuedTimeUtc", "EnqueuedTime"),
		Properties:     f.object("ApplicationProperties", "UserProperties"),
	}
	m.DeadLetterReason, _ = m.Properties["DeadLetterReason"].(string)
	m.DeadLetterDescription, _ = m.Properties["DeadLetterErrorDescription"].(string)
	return m, f.err
}

func readTick(r *http.Request, limit int64) (Tick, error) {
	e, err := readEnvelope(r, limit)
	if err != nil {
		return Tick{}, err
	}
	return e.tick()
}

func (e envelope) tick() (Tick, error) {
	name, v, err := e.only()
	if err != nil {
		return Tick{}, err
	}
	var timer struct {
		ScheduleStatus map[string]json.RawMessage
		IsPastDue      bool
	}
	if err := json.Unmarshal(v, &timer); err != nil {
		return Tick{}, fmt.Errorf("%s: %w", name, err)
	}
	f := fields{at: name + ".ScheduleStatus", values: timer.ScheduleStatus}
	t := Tick{PastDue: timer.IsPastDue, Last: f.date("Last"), Next: f.date("Next")}
	return t, f.err
}

// binary decodes the value of a binding with dataType binary.
func binary(v json.RawMessage) ([]byte, error) {
	var s *string
	if err := json.Unmarshal(v, &s); err != nil || s == nil {
		return nil, fmt.Errorf("want a base64 string, got %s", kind(v))
	}
	b, err := base64.StdEncoding.DecodeString(*s)
	if err != nil {
		return nil, fmt.Errorf("%w; is dataType binary set in function.json?", err)
	}
	return b, nil
}

// fields reads metadata by name. It keeps the first error, and reads a missing key or null as zero.
type fields struct {
	at     string // what the values belong to, Metadata when empty
	values map[string]json.RawMessage
	err    error
}

func (f *fields) fail(name string, format string, a ...any) {
	if f.err == nil {
		at := f.at
		if at == "" {
			at = "Metadata"
		}
		f.err = fmt.Errorf("%s.%s: %w", at, name, fmt.Errorf(format, a...))
	}
}

func (f *fields) text(name string) string {
	v, ok := f.values[name]
	if !ok {
		return ""
	}
	s, err := text(v)
	if err != nil {
		f.fail(name, "%w", err)
	}
	return s
}

func (f *fields) number(name string, bits int) int64 {
	s := f.text(name)
	if s == "" {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		f.fail(name, "want a whole number below 2^%d", bits)
		return 0
	}
	return int64(n)
}

// date reads the first of the names that is there. The host writes some dates without a zone; they are UTC.
func (f *fields) date(names ...string) time.Time {
	for _, name := range names {
		s := f.text(name)
		if s == "" {
			continue
		}
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
			if t, err := time.Parse(layout, s); err == nil {
				return t.UTC()
			}
		}
		f.fail(name, "want a date like 2006-01-02T15:04:05 with or without a zone")
	}
	return time.Time{}
}

func (f *fields) object(names ...string) map[string]any {
	for _, name := range names {
		v, ok := f.values[name]
		if !ok || string(v) == "null" {
			continue
		}
		d := json.NewDecoder(bytes.NewReader(v))
		d.UseNumber()
		var o map[string]any
		if err := d.Decode(&o); err != nil {
			f.fail(name, "want an object, got %s", kind(v))
			return nil
		}
		for k := range o {
			o[k] = plain(o[k])
		}
		return o
	}
	return nil
}

// plain turns the numbers inside v into int64, or float64 when they are not whole.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			return v.String() // beyond a float64
		}
		return f
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	}
	return v
}

// text reads a metadata value. The host encodes everything that is not a date or an object as a string that
// holds JSON: abc is "\"abc\"", 1 is "1". Documentation shows plain strings, so those are read as well; a
// second layer is taken off once and never more.
func text(v json.RawMessage) (string, error) {
	var s *string
	if err := json.Unmarshal(v, &s); err != nil {
		if k := kind(v); k != "number" && k != "bool" {
			return "", fmt.Errorf("want a string, got %s", k)
		}
		return string(v), nil
	}
	if s == nil {
		return "", nil
	}
	if strings.HasPrefix(*s, `"`) {
		var inner string
		if json.Unmarshal([]byte(*s), &inner) == nil {
			return inner, nil
		}
	}
	return *s, nil
}

func kind(v json.RawMessage) string {
	if len(v) == 0 {
		return "nothing"
	}
	switch v[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "bool"
	case 'n':
		return "null"
	}
	return "number"
}
