package wire

import (
	"fmt"
	"math"
)

// Descriptors of performatives, delivery states, SASL frames and message sections.
const (
	CodeOpen           = 0x10
	CodeBegin          = 0x11
	CodeAttach         = 0x12
	CodeFlow           = 0x13
	CodeTransfer       = 0x14
	CodeDisposition    = 0x15
	CodeDetach         = 0x16
	CodeEnd            = 0x17
	CodeClose          = 0x18
	CodeError          = 0x1d
	CodeReceived       = 0x23
	CodeAccepted       = 0x24
	CodeRejected       = 0x25
	CodeReleased       = 0x26
	CodeModified       = 0x27
	CodeSource         = 0x28
	CodeTarget         = 0x29
	CodeCoordinator    = 0x30
	CodeSASLMechanisms = 0x40
	CodeSASLInit       = 0x41
	CodeSASLOutcome    = 0x44
	codeHeader         = 0x70
	codeDeliveryAnn    = 0x71
	codeMessageAnn     = 0x72
	codeProperties     = 0x73
	codeAppProperties  = 0x74
	codeData           = 0x75
	codeSequence       = 0x76
	codeAMQPValue      = 0x77
	codeFooter         = 0x78
)

// named finds a descriptor that is written as a symbol.
func named(s Symbol) uint64 {
	switch s {
	case "amqp:open:list":
		return CodeOpen
	case "amqp:begin:list":
		return CodeBegin
	case "amqp:attach:list":
		return CodeAttach
	case "amqp:flow:list":
		return CodeFlow
	case "amqp:transfer:list":
		return CodeTransfer
	case "amqp:disposition:list":
		return CodeDisposition
	case "amqp:detach:list":
		return CodeDetach
	case "amqp:end:list":
		return CodeEnd
	case "amqp:close:list":
		return CodeClose
	case "amqp:error:list":
		return CodeError
	case "amqp:received:list":
		return CodeReceived
	case "amqp:accepted:list":
		return CodeAccepted
	case "amqp:rejected:list":
		return CodeRejected
	case "amqp:released:list":
		return CodeReleased
	case "amqp:modified:list":
		return CodeModified
	case "amqp:source:list":
		return CodeSource
	case "amqp:target:list":
		return CodeTarget
	case "amqp:coordinator:list":
		return CodeCoordinator
	case "amqp:sasl-init:list":
		return CodeSASLInit
	}
	return namedSection(s)
}

func namedSection(s Symbol) uint64 {
	switch s {
	case "amqp:header:list":
		return codeHeader
	case "amqp:delivery-annotations:map":
		return codeDeliveryAnn
	case "amqp:message-annotations:map":
		return codeMessageAnn
	case "amqp:properties:list":
		return codeProperties
	case "amqp:application-properties:map":
		return codeAppProperties
	case "amqp:data:binary":
		return codeData
	case "amqp:amqp-sequence:list":
		return codeSequence
	case "amqp:amqp-value:*":
		return codeAMQPValue
	case "amqp:footer:map":
		return codeFooter
	}
	return 0
}

func descriptorCode(d any) uint64 {
	switch d := d.(type) {
	case uint64:
		return d
	case Symbol:
		return named(d)
	}
	return 0
}

// Composite is a described list, whose fields a reader takes one by one. The first field of a wrong type, or a
// mandatory field that is absent, makes Err, and everything read after it is zero.
type Composite struct {
	Code   uint64
	Fields []any
	Err    error
}

// ReadComposite reads a composite value from the start of b and returns what follows it.
func ReadComposite(b []byte) (*Composite, []byte, error) {
	v, rest, err := Decode(b)
	if err != nil {
		return nil, nil, err
	}
	c, ok := AsComposite(v)
	if !ok {
		return nil, nil, &Error{0, "not a described list"}
	}
	return c, rest, nil
}

// AsComposite sees a decoded value as a composite.
func AsComposite(v any) (*Composite, bool) {
	d, ok := v.(Described)
	if !ok {
		return nil, false
	}
	list, ok := d.Value.([]any)
	if !ok {
		return nil, false
	}
	return &Composite{Code: descriptorCode(d.Descriptor), Fields: list}, true
}

// AppendComposite writes a composite; nil fields at the end are left out.
func AppendComposite(b []byte, code uint64, fields ...any) []byte {
	return Append(b, NewComposite(code, fields...))
}

// NewComposite is the value AppendComposite writes.
func NewComposite(code uint64, fields ...any) Described {
	for len(fields) > 0 && fields[len(fields)-1] == nil {
		fields = fields[:len(fields)-1]
	}
	return Described{code, fields}
}

// Any returns field i, nil when it is absent.
func (c *Composite) Any(i int) any {
	if c.Err != nil || i >= len(c.Fields) {
		return nil
	}
	return c.Fields[i]
}

func field[T any](c *Composite, i int) (v T, ok bool) {
	x := c.Any(i)
	if x == nil {
		return v, false
	}
	if v, ok = x.(T); !ok {
		c.Err = fmt.Errorf("decode composite 0x%02x: field %d is %T, want %T", c.Code, i, x, v)
	}
	return v, ok
}

// Or returns field i, or def when it is absent.
func Or[T any](c *Composite, i int, def T) T {
	if v, ok := field[T](c, i); ok {
		return v
	}
	return def
}

// Need returns a mandatory field.
func Need[T any](c *Composite, i int) T {
	v, ok := field[T](c, i)
	if !ok && c.Err == nil {
		c.Err = fmt.Errorf("decode composite 0x%02x: field %d is missing, want %T", c.Code, i, v)
	}
	return v
}

// Maybe returns field i, nil when it is absent.
func Maybe[T any](c *Composite, i int) *T {
	if v, ok := field[T](c, i); ok {
		return &v
	}
	return nil
}

// Open is the performative of 2.7.1.
type Open struct {
	ContainerID string
	MaxFrame    uint32
	ChannelMax  uint16
	IdleTimeout uint32 // milliseconds, 0 none
}

// ParseOpen reads an open.
func ParseOpen(c *Composite) (Open, error) {
	o := Open{Need[string](c, 0), Or(c, 2, uint32(math.MaxUint32)), Or(c, 3, uint16(math.MaxUint16)), Or(c, 4, uint32(0))}
	return o, c.Err
}

// Begin is the performative of 2.7.2.
type Begin struct {
	NextOutgoing, Incoming, Outgoing, HandleMax uint32
}

// ParseBegin reads a begin.
func ParseBegin(c *Composite) (Begin, error) {
	b := Begin{Need[uint32](c, 1), Need[uint32](c, 2), Need[uint32](c, 3), Or(c, 4, uint32(math.MaxUint32))}
	return b, c.Err
}

// Attach is the performative of 2.7.3.
type Attach struct {
	Name           string
	Handle         uint32
	Receiver       bool // the role of who sends the attach
	SndSettle      any  // uint8 or nil, as it came
	RcvSettle      any
	Source, Target *Composite // nil when null
	MaxMessage     uint64
	Properties     Map
}

// ParseAttach reads an attach.
func ParseAttach(c *Composite) (Attach, error) {
	a := Attach{Name: Need[string](c, 0), Handle: Need[uint32](c, 1), Receiver: Need[bool](c, 2)}
	if s := Maybe[uint8](c, 3); s != nil {
		a.SndSettle = *s
	}
	if s := Maybe[uint8](c, 4); s != nil {
		a.RcvSettle = *s
	}
	a.Source, a.Target = terminus(c, 5), terminus(c, 6)
	a.MaxMessage, a.Properties = Or(c, 10, uint64(0)), Or(c, 13, Map(nil))
	return a, c.Err
}

func terminus(c *Composite, i int) *Composite {
	v := c.Any(i)
	if v == nil {
		return nil
	}
	t, ok := AsComposite(v)
	if !ok {
		c.Err = fmt.Errorf("decode attach: field %d is not a terminus", i)
	}
	return t
}

// Address is the address of a source or target, "" when it has none.
func (c *Composite) Address() string {
	if c == nil || len(c.Fields) == 0 {
		return ""
	}
	s, _ := c.Fields[0].(string)
	return s
}

// Fields of a source (3.5.3).
const (
	sourceMode   = 6 // distribution-mode
	SourceFilter = 7
)

// Filter is the filter set of a source.
func (c *Composite) Filter() Map {
	if c == nil || len(c.Fields) <= SourceFilter {
		return nil
	}
	m, _ := c.Fields[SourceFilter].(Map)
	return m
}

// Copies tells a source that is to keep what it gives.
func (c *Composite) Copies() bool {
	return c != nil && len(c.Fields) > sourceMode && c.Fields[sourceMode] == Symbol("copy")
}

// Flow is the performative of 2.7.4.
type Flow struct {
	NextIncoming  *uint32
	Incoming      uint32
	NextOutgoing  uint32
	Outgoing      uint32
	Handle        *uint32
	DeliveryCount *uint32
	LinkCredit    *uint32
	Available     *uint32
	Drain, Echo   bool
}

// ParseFlow reads a flow.
func ParseFlow(c *Composite) (Flow, error) {
	f := Flow{Maybe[uint32](c, 0), Need[uint32](c, 1), Need[uint32](c, 2), Need[uint32](c, 3), Maybe[uint32](c, 4),
		Maybe[uint32](c, 5), Maybe[uint32](c, 6), Maybe[uint32](c, 7), Or(c, 8, false), Or(c, 9, false)}
	return f, c.Err
}

// Append writes the flow.
func (f Flow) Append(b []byte) []byte {
	return AppendComposite(b, CodeFlow, opt(f.NextIncoming), f.Incoming, f.NextOutgoing, f.Outgoing, opt(f.Handle),
		opt(f.DeliveryCount), opt(f.LinkCredit), opt(f.Available), truth(f.Drain), truth(f.Echo))
}

func opt(p *uint32) any {
	if p == nil {
		return nil
	}
	return *p
}

// truth leaves out a boolean that has its default.
func truth(v bool) any {
	if v {
		return true
	}
	return nil
}

// Transfer is the performative of 2.7.5.
type Transfer struct {
	Handle        uint32
	DeliveryID    *uint32
	Tag           []byte
	Format        *uint32
	Settled, More bool
	Aborted       bool
	State         any
}

// ParseTransfer reads a transfer.
func ParseTransfer(c *Composite) (Transfer, error) {
	t := Transfer{Handle: Need[uint32](c, 0), DeliveryID: Maybe[uint32](c, 1), Tag: Or(c, 2, []byte(nil)),
		Format: Maybe[uint32](c, 3), Settled: Or(c, 4, false), More: Or(c, 5, false), State: c.Any(7),
		Aborted: Or(c, 9, false)}
	return t, c.Err
}

// Append writes the transfer without its payload.
func (t Transfer) Append(b []byte) []byte {
	var tag any
	if t.Tag != nil {
		tag = t.Tag
	}
	return AppendComposite(b, CodeTransfer, t.Handle, opt(t.DeliveryID), tag, opt(t.Format), truth(t.Settled), truth(t.More))
}

// Disposition is the performative of 2.7.6.
type Disposition struct {
	Receiver    bool
	First, Last uint32
	Settled     bool
	State       any
}

// ParseDisposition reads a disposition.
func ParseDisposition(c *Composite) (Disposition, error) {
	d := Disposition{Receiver: Need[bool](c, 0), First: Need[uint32](c, 1)}
	d.Last, d.Settled, d.State = Or(c, 2, d.First), Or(c, 3, false), c.Any(4)
	return d, c.Err
}

// Append writes the disposition.
func (d Disposition) Append(b []byte) []byte {
	return AppendComposite(b, CodeDisposition, d.Receiver, d.First, d.Last, d.Settled, d.State)
}

// Detach is the performative of 2.7.7.
type Detach struct {
	Handle uint32
	Closed bool
	Error  any
}

// ParseDetach reads a detach.
func ParseDetach(c *Composite) (Detach, error) {
	d := Detach{Need[uint32](c, 0), Or(c, 1, false), c.Any(2)}
	return d, c.Err
}

// Append writes the detach.
func (d Detach) Append(b []byte) []byte {
	return AppendComposite(b, CodeDetach, d.Handle, d.Closed, d.Error)
}

// NewError is an error of 2.8.14.
func NewError(condition, text string) Described {
	return NewComposite(CodeError, Symbol(condition), text)
}

// Accepted is the delivery state of 3.4.2.
func Accepted() Described { return NewComposite(CodeAccepted) }

// Rejected is the delivery state of 3.4.3.
func Rejected(condition, text string) Described {
	return NewComposite(CodeRejected, NewError(condition, text))
}
