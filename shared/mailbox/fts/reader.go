package fts

import (
	"errors"
	"io"
	"math"
	"time"
	"unicode/utf16"
)

// Limits of the grammar walk. They bound what a hostile stream can make a caller keep, far above real items.
const (
	// maxDepth is messages inside messages. Exchange itself refuses mail nested some thirty deep.
	maxDepth = 64
	// maxProperties counts the properties of one object. Ids have 16 bits, so no store holds more.
	maxProperties = 1 << 16
	// maxElements counts properties and values of multi-value properties in one stream.
	maxElements = 1 << 22
	// maxChildren counts the recipients, and apart from them the attachments, of one message.
	maxChildren = 1 << 18
	// maxName is the UTF-16 units of a property's name; Exchange takes 127.
	maxName = 1024
)

// The markers, as tags. They never have a value.
const (
	markNewAttach  = 0x40000003
	markStartEmbed = 0x40010003
	markEndEmbed   = 0x40020003
	markStartRecip = 0x40030003
	markEndRecip   = 0x40040003
	markEndAttach  = 0x400E0003
	markErrorInfo  = 0x40180003
	markDelete     = 0x40160003 // MetaTagFXDelProp: a meta-property, its value is the tag of the table to empty

	tagRecipients  = 0x0E12000D // the table of recipients, as MetaTagFXDelProp names it
	tagAttachments = 0x0E13000D
	tagRowID       = 0x30000003
	tagNumber      = 0x0E210003
)

// Kind says what a [Token] is.
type Kind uint8

const (
	PropertyToken   Kind = iota + 1 // its value can be read until the next call of Next
	RecipientStart                  // properties follow, the row id first
	RecipientEnd                    //
	AttachmentStart                 // Number is set; properties follow
	AttachmentEnd                   //
	EmbeddedStart                   // a message follows, the value of the attachment
	EmbeddedEnd                     //
)

// Token is one element of the property stream.
type Token struct {
	Kind     Kind
	Property Property // of a PropertyToken: ID, Type and Name; [Reader.Value] reads the value
	Number   int32    // of an AttachmentStart
	Size     int64    // wire bytes of a value that is one string, binary or object; -1 of any other
}

// Reader walks the elements of a stream in constant memory. It verifies the envelope and the grammar on the way: when
// Next returns io.EOF, the stream is complete. Errors about the stream are [*FormatError] and stay.
type Reader struct {
	in       *envelope
	begun    bool
	err      error
	stack    []frame
	wire     wire // of the current value
	typ      Type // of the current value as [Token] tells it
	left     int64
	count    uint32 // values of a multi-value property that are not begun yet
	elements int
}

// NewReader returns a reader of r's stream. It reads ahead of what it has returned.
func NewReader(r io.Reader) *Reader {
	return &Reader{in: newEnvelope(r), stack: []frame{{in: inMessage}}}
}

// Framing is what the envelope says.
type Framing struct {
	Version Version
	Bytes   int64 // of the whole stream
	Buffers int   // number of transfer buffers
}

// Framing returns what was read so far.
func (d *Reader) Framing() Framing {
	return Framing{Version: d.in.version, Bytes: d.in.offset, Buffers: d.in.buffers}
}

// Next skips what is left of the current value and returns the next element, io.EOF after the last one.
func (d *Reader) Next() (Token, error) {
	if d.err != nil {
		return Token{}, d.err
	}
	t, err := d.next()
	d.err = err
	return t, err
}

func (d *Reader) next() (Token, error) {
	if !d.begun {
		d.begun = true
		if err := d.in.open(); err != nil {
			return Token{}, err
		}
	}
	if err := d.skip(); err != nil {
		return Token{}, err
	}
	for {
		tag, err := d.tag()
		if err != nil {
			return Token{}, err
		}
		if tag != markDelete {
			return d.element(tag)
		}
		if err := d.deletion(); err != nil {
			return Token{}, err
		}
	}
}

// tag reads the four bytes that begin an element; io.EOF is the good end.
func (d *Reader) tag() (uint32, error) {
	var b [4]byte
	n, err := io.ReadFull(d.in, b[:])
	if err == io.EOF && n == 0 && len(d.stack) == 1 && d.stack[0].begun {
		return 0, io.EOF
	}
	if err != nil {
		return 0, d.short(err, "property stream ends "+d.top().where())
	}
	d.top().begun = true
	return u32(b[:]), nil
}

func (d *Reader) element(tag uint32) (Token, error) {
	switch tag {
	case markStartRecip, markNewAttach, markStartEmbed:
		return d.open(tag)
	case markEndRecip, markEndAttach, markEndEmbed:
		return d.close(tag)
	case markErrorInfo:
		return Token{}, d.in.broken("the server reports an error inside the stream (FXErrorInfo)")
	}
	return d.property(tag)
}

// property reads a property's header and, of a string or binary, its length.
func (d *Reader) property(tag uint32) (Token, error) {
	if reason := d.top().property(tag); reason != "" {
		return Token{}, d.in.broken("property 0x%08X %s", tag, reason)
	}
	p := Property{ID: uint16(tag >> 16)}
	name, err := d.name(p.ID)
	if err != nil {
		return Token{}, err
	}
	p.Name = name
	w, ok := wireOf(Type(tag))
	if !ok {
		return Token{}, d.in.broken("property 0x%08X has a type that a stream cannot carry", tag)
	}
	p.Type = w.base
	if w.multi {
		p.Type |= Multi
	}
	if err := d.begin(w); err != nil {
		return Token{}, err
	}
	if w.page == utf16LE && !w.multi && d.left%2 != 0 { // cannot be decoded, is kept as it is
		p.Type, d.wire = CodePage|utf16LE, wire{base: CodePage | utf16LE}
	}
	d.typ = p.Type
	return Token{Kind: PropertyToken, Property: p, Size: d.size()}, nil
}

// size returns what Token.Size is for the value just begun.
func (d *Reader) size() int64 {
	if d.wire.multi || d.wire.width > 0 {
		return -1
	}
	return d.left
}

// begin goes to a value's first byte.
func (d *Reader) begin(w wire) error {
	d.wire, d.left, d.count = w, 0, 0
	if err := d.spend(1); err != nil {
		return err
	}
	if !w.multi {
		return d.value()
	}
	n, err := d.u32("a count of values")
	if err != nil {
		return err
	}
	d.count = n
	return d.spend(int64(n))
}

// value sets left to the bytes of the next value.
func (d *Reader) value() error {
	d.left = int64(d.wire.width)
	if d.wire.width > 0 {
		return nil
	}
	n, err := d.u32("the length of a value")
	d.left = int64(n)
	return err
}

func (d *Reader) spend(n int64) error {
	if d.elements += int(n); d.elements > maxElements {
		return d.in.broken("more than %d properties and values", maxElements)
	}
	return nil
}

// more goes on to the next value of a multi-value property, false after the last one.
func (d *Reader) more() (bool, error) {
	if d.count == 0 {
		return false, nil
	}
	d.count--
	return true, d.value()
}

func (d *Reader) skip() error {
	if d.count > 0 && d.wire.width > 0 {
		d.left += int64(d.count) * int64(d.wire.width)
		d.count = 0
	}
	for {
		if err := d.in.skip(d.left); err != nil {
			return d.short(err, "property stream ends inside a value")
		}
		d.left = 0
		if ok, err := d.more(); !ok || err != nil {
			return err
		}
	}
}

// name reads the name that follows an id of 0x8000 or above.
func (d *Reader) name(id uint16) (*Name, error) {
	if id < 0x8000 {
		return nil, nil
	}
	var b [17]byte
	if err := d.fill(b[:], "a property name"); err != nil {
		return nil, err
	}
	n := &Name{Set: [16]byte(b[:16])}
	var err error
	switch b[16] {
	case 0:
		n.LID, err = d.u32("a property name")
	case 1:
		n.Text, err = d.nameText()
	default:
		err = d.in.broken("property name of kind %d, neither number nor string", b[16])
	}
	return n, err
}

func (d *Reader) nameText() (string, error) {
	var units []uint16
	for len(units) <= maxName {
		var b [2]byte
		if err := d.fill(b[:], "a property name"); err != nil {
			return "", err
		}
		if u16(b[:]) != 0 {
			units = append(units, u16(b[:]))
			continue
		}
		if len(units) == 0 {
			return "", d.in.broken("property name is an empty string")
		}
		return string(utf16.Decode(units)), nil
	}
	return "", d.in.broken("property name is longer than %d characters", maxName)
}

func (d *Reader) u32(what string) (uint32, error) {
	var b [4]byte
	err := d.fill(b[:], what)
	return u32(b[:]), err
}

func (d *Reader) fill(p []byte, what string) error {
	if _, err := io.ReadFull(d.in, p); err != nil {
		return d.short(err, "property stream ends inside "+what)
	}
	return nil
}

// short turns the end of the property stream, where it must not end, into a finding.
func (d *Reader) short(err error, reason string) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return d.in.cut("%s", reason)
	}
	return err
}

// Bytes returns the wire bytes of a value that is one string, binary or object. It is valid until the next call of Next.
func (d *Reader) Bytes() io.Reader { return (*valueReader)(d) }

type valueReader Reader

func (v *valueReader) Read(p []byte) (int, error) {
	d := (*Reader)(v)
	if d.err != nil {
		return 0, d.err
	}
	if d.left == 0 || len(p) == 0 {
		return 0, zeroOrEOF(p)
	}
	n, err := d.in.Read(p[:min(int64(len(p)), d.left)])
	d.left -= int64(n)
	if err != nil {
		d.err = d.short(err, "property stream ends inside a value")
	}
	return n, d.err
}

func zeroOrEOF(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	return io.EOF
}

// ErrTooLarge says that a value or message does not fit into the memory allowed for it. It is no fault of the stream.
var ErrTooLarge = errors.New("fts: larger than the memory allowed for it")

// Value reads the current value into memory. One of more than limit wire bytes is [ErrTooLarge]; it can still be read as
// Bytes, or with a higher limit, unless it has several values.
func (d *Reader) Value(limit int64) (any, error) { return d.spendOn(&limit) }

// spendOn is Value with a limit that goes down by what was read.
func (d *Reader) spendOn(limit *int64) (any, error) {
	if d.err != nil {
		return nil, d.err
	}
	v, err := d.readValue(limit)
	if err != nil && !errors.Is(err, ErrTooLarge) {
		d.err = err
	}
	return v, err
}

func (d *Reader) readValue(limit *int64) (any, error) {
	if !d.wire.multi {
		return d.single(limit)
	}
	switch d.typ &^ Multi {
	case Int16:
		return list[int16](d, limit)
	case Int32:
		return list[int32](d, limit)
	case Float32:
		return list[float32](d, limit)
	case Float64, AppTime:
		return list[float64](d, limit)
	case Currency, Int64:
		return list[int64](d, limit)
	case Time:
		return list[time.Time](d, limit)
	case GUID:
		return list[[16]byte](d, limit)
	case Unicode:
		return list[string](d, limit)
	}
	return list[[]byte](d, limit)
}

// list reads the values of a multi-value property, never nil.
func list[T any](d *Reader, limit *int64) (any, error) {
	all := []T{}
	for {
		ok, err := d.more()
		if err != nil {
			return nil, err
		}
		if !ok {
			return all, nil
		}
		v, err := d.single(limit)
		if err != nil {
			return nil, err
		}
		all = append(all, v.(T))
	}
}

// single reads one value and takes its bytes from limit.
func (d *Reader) single(limit *int64) (any, error) {
	if d.left > *limit {
		return nil, ErrTooLarge
	}
	*limit -= d.left
	b, err := d.all()
	if err != nil {
		return nil, err
	}
	if d.wire.width > 0 {
		return fixedValue(d.typ&^Multi, b), nil
	}
	if d.wire.page != 0 {
		return decodeText(d.wire.page, b)
	}
	return b, nil
}

// all reads what is left of one value. It allocates as bytes arrive: a length is only a claim.
func (d *Reader) all() ([]byte, error) {
	const step = 1 << 20
	b := make([]byte, 0, min(d.left, step))
	for d.left > 0 {
		n := int(min(d.left, step))
		b = append(b, make([]byte, n)...)
		if err := d.fill(b[len(b)-n:], "a value"); err != nil {
			return nil, err
		}
		d.left -= int64(n)
	}
	return b, nil
}

// fixedValue decodes a value of a fixed-size type.
func fixedValue(t Type, b []byte) any {
	switch t {
	case Int16:
		return int16(u16(b))
	case Bool:
		return u16(b) != 0
	case Int32:
		return int32(u32(b))
	case Error:
		return u32(b)
	case Float32:
		return math.Float32frombits(u32(b))
	case Float64, AppTime:
		return math.Float64frombits(u64(b))
	case Time:
		return fromFiletime(int64(u64(b)))
	case GUID:
		return [16]byte(b)
	}
	return int64(u64(b))
}
