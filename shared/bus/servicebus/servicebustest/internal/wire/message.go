package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Header is the header section (3.2.1), and whether it was there.
type MessageHeader struct {
	Durable  bool
	Priority any     // uint8, nil when absent
	TTL      *uint32 // milliseconds
}

// Properties are the fields of the properties section (3.2.4) that a broker looks at.
type Properties struct {
	MessageID     any // string, uint64, UUID or []byte
	ReplyTo       string
	CorrelationID any
	To            string
	Subject       string
	ContentType   string
	Expiry        *Timestamp // absolute-expiry-time
	Created       *Timestamp
	GroupID       *string
}

// Message is an annotated message (3.2). It does not change once made, so it may be shared.
type Message struct {
	Header      MessageHeader
	Annotations Map // message annotations
	Properties  Properties

	properties, app []byte // sections as the sender wrote them, empty when absent
	body            []byte // body sections and footer, likewise
	appMap          Map    // what app says
	value           []byte // encoded amqp-value
}

// ParseMessage reads a message. It keeps parts of b, which must not change afterwards.
func ParseMessage(b []byte) (*Message, error) {
	m, last := &Message{}, uint64(0)
	for rest := b; len(rest) > 0; {
		offset := len(b) - len(rest)
		code, value, after, err := section(rest)
		if err != nil {
			return nil, fmt.Errorf("message at byte %d: %w", offset, err)
		}
		if !follows(last, code) {
			return nil, &Error{offset, fmt.Sprintf("section 0x%02x after 0x%02x", code, last)}
		}
		if code >= codeData && last < codeData {
			m.body = rest
		}
		if err := m.add(code, rest[:len(rest)-len(after)], value); err != nil {
			return nil, fmt.Errorf("message section 0x%02x at byte %d: %w", code, offset, err)
		}
		last, rest = code, after
	}
	return m, nil
}

// follows tells the order of sections: ascending, the body of one kind, only data and sequences more than once.
func follows(last, code uint64) bool {
	switch {
	case code < codeHeader || code > codeFooter:
		return false
	case code == last:
		return code == codeData || code == codeSequence
	case last >= codeData && code != codeFooter:
		return false
	}
	return code > last
}

// section splits off the first section: its code, its encoded value and what follows.
func section(b []byte) (code uint64, value, rest []byte, err error) {
	d := decoder{b: b, items: 4}
	if c, err := d.byte(); err != nil || c != codeDescribed {
		return 0, nil, nil, d.fail("section without descriptor")
	}
	desc, err := d.value(MaxDepth)
	if err != nil {
		return 0, nil, nil, err
	}
	start := d.off
	if err := d.skip(); err != nil {
		return 0, nil, nil, err
	}
	return descriptorCode(desc), b[start:d.off], b[d.off:], nil
}

// skip steps over a value by its constructor, without looking inside.
func (d *decoder) skip() error {
	code, err := d.byte()
	if err != nil {
		return err
	}
	switch {
	case code == codeDescribed:
		if d.items--; d.items < 0 {
			return d.fail("too many descriptors")
		}
		if err := d.skip(); err != nil {
			return err
		}
		return d.skip()
	case code < 0x40:
		return d.fail("unknown constructor 0x%02x", code)
	case code < 0x50:
		return nil
	case code < 0xa0:
		_, err = d.take(1 << (code>>4 - 5))
		return err
	}
	n, err := d.length(code)
	if err != nil {
		return err
	}
	_, err = d.take(n)
	return err
}

func (m *Message) add(code uint64, whole, value []byte) error {
	switch code {
	case codeHeader:
		return m.addHeader(whole)
	case codeMessageAnn:
		return decodeInto(value, &m.Annotations)
	case codeProperties:
		m.properties = whole
		return m.addProperties(whole)
	case codeAppProperties:
		m.app = whole
		return decodeInto(value, &m.appMap)
	case codeData:
		if value[0] != codeBinary8 && value[0] != codeBinary32 {
			return &Error{0, "data is not binary"}
		}
	case codeAMQPValue:
		m.value = value
	}
	return nil // delivery annotations say something about the last hop only, the footer nothing to a broker
}

func decodeInto[T any](b []byte, to *T) error {
	v, rest, err := Decode(b)
	if err != nil {
		return err
	}
	if v == nil && len(rest) == 0 {
		return nil
	}
	t, ok := v.(T)
	if !ok || len(rest) > 0 {
		return &Error{0, fmt.Sprintf("%T where %T is wanted", v, t)}
	}
	*to = t
	return nil
}

func (m *Message) addHeader(whole []byte) error {
	c, _, err := ReadComposite(whole)
	if err != nil {
		return err
	}
	m.Header.Durable = Or(c, 0, false)
	if p := Maybe[uint8](c, 1); p != nil {
		m.Header.Priority = *p
	}
	m.Header.TTL = Maybe[uint32](c, 2)
	return c.Err
}

func (m *Message) addProperties(whole []byte) error {
	c, _, err := ReadComposite(whole)
	if err != nil {
		return err
	}
	m.Properties = Properties{MessageID: c.Any(0), To: text(c.Any(2)), Subject: Or(c, 3, ""), ReplyTo: text(c.Any(4)),
		CorrelationID: c.Any(5), ContentType: string(Or(c, 6, Symbol(""))), Expiry: Maybe[Timestamp](c, 8),
		Created: Maybe[Timestamp](c, 9), GroupID: Maybe[string](c, 10)}
	switch m.Properties.MessageID.(type) {
	case nil, string, uint64, UUID, []byte:
	default:
		return fmt.Errorf("message-id is %T", m.Properties.MessageID)
	}
	return c.Err
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// MessageOf makes a message with an amqp-value body, as replies of a management node are.
func MessageOf(correlation any, app Map, value any) *Message {
	m := &Message{}
	m.properties = AppendComposite(nil, codeProperties, nil, nil, nil, nil, nil, correlation)
	m.body = Append(nil, Described{uint64(codeAMQPValue), value})
	return m.WithApplicationProperties(app)
}

// ApplicationProperties returns the application properties, which the caller must not change.
func (m *Message) ApplicationProperties() Map { return m.appMap }

// WithApplicationProperties returns a copy of m with other application properties.
func (m *Message) WithApplicationProperties(app Map) *Message {
	out := *m
	out.appMap = app
	out.app = Append(nil, Described{uint64(codeAppProperties), app})
	return &out
}

// WithMessageID returns a copy of m with another message id.
func (m *Message) WithMessageID(id string) *Message {
	out := m.withProperties(map[int]any{0: id})
	out.Properties.MessageID = id
	return out
}

// WithExpiry returns a copy of m that says when it was created and when it expires.
func (m *Message) WithExpiry(created, expires Timestamp) *Message {
	out := m.withProperties(map[int]any{8: expires, 9: created})
	out.Properties.Created, out.Properties.Expiry = &created, &expires
	return out
}

// withProperties returns a copy of m with some fields of its properties section replaced.
func (m *Message) withProperties(replace map[int]any) *Message {
	out := *m
	var fields []any
	if len(m.properties) > 0 {
		if c, _, err := ReadComposite(m.properties); err == nil {
			fields = slices.Clone(c.Fields)
		}
	}
	for i, v := range replace {
		for len(fields) <= i {
			fields = append(fields, nil)
		}
		fields[i] = v
	}
	out.properties = AppendComposite(nil, codeProperties, fields...)
	return &out
}

// Data returns the data sections of the body, none when the body is of another kind.
func (m *Message) Data() [][]byte {
	var out [][]byte
	for rest := m.body; len(rest) > 0; {
		code, value, after, err := section(rest)
		if err != nil || code != codeData {
			break
		}
		out, rest = append(out, value[binaryHead(value[0]):]), after
	}
	return out
}

// binaryHead is the number of bytes before the content of a binary.
func binaryHead(code byte) int {
	if code == codeBinary8 {
		return 2
	}
	return 5
}

// Value decodes an amqp-value body, nil when the body is of another kind.
func (m *Message) Value() (any, error) {
	if m.value == nil {
		return nil, nil
	}
	v, _, err := Decode(m.value)
	return v, err
}

// Size is the number of bytes of the parts that do not change on the way.
func (m *Message) Size() int { return len(m.properties) + len(m.app) + len(m.body) }

// PropertySize is the part of Size that is not body.
func (m *Message) PropertySize() int { return len(m.properties) + len(m.app) }

// Envelope is what a broker adds to a message when it delivers it.
type Envelope struct {
	DeliveryCount uint32
	TTL           *uint32 // replaces the sender's, nil for none
	Delivery      Map     // delivery annotations
	Annotations   Map     // message annotations
	NoBody        bool
}

// Append writes the message in its envelope.
func (m *Message) Append(b []byte, e Envelope) []byte {
	b = AppendComposite(b, codeHeader, m.Header.Durable, m.Header.Priority, opt(e.TTL), false, e.DeliveryCount)
	if len(e.Delivery) > 0 {
		b = Append(b, Described{uint64(codeDeliveryAnn), e.Delivery})
	}
	if len(e.Annotations) > 0 {
		b = Append(b, Described{uint64(codeMessageAnn), e.Annotations})
	}
	if len(m.properties) == 0 {
		b = AppendComposite(b, codeProperties)
	}
	b = append(append(b, m.properties...), m.app...)
	if e.NoBody {
		return Append(b, Described{uint64(codeData), []byte{}})
	}
	return append(b, m.body...)
}

// AppendBare writes the message without envelope, as a reply.
func (m *Message) AppendBare(b []byte) []byte {
	return append(append(append(b, m.properties...), m.app...), m.body...)
}

// MaxTTL is the longest time to live a header can say; longer ones stand in the properties.
const MaxTTL = math.MaxUint32

// GUID is a UUID in the byte order that .NET gives it, or back.
func GUID(u [16]byte) [16]byte {
	binary.LittleEndian.PutUint32(u[0:], binary.BigEndian.Uint32(u[0:]))
	binary.LittleEndian.PutUint16(u[4:], binary.BigEndian.Uint16(u[4:]))
	binary.LittleEndian.PutUint16(u[6:], binary.BigEndian.Uint16(u[6:]))
	return u
}
