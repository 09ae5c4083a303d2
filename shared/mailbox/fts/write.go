package fts

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Write writes m as a server of version v exports it. Strings go out as Unicode. What a stream cannot hold is an error
// that names the property: a value whose Go type is not the one beside its [Type], a named property below id 0x8000, a
// recipient whose first property is not PidTagRowid, text that is not UTF-8. On an error w holds a part of a stream.
// [Read] gives back what Write was given.
func Write(w io.Writer, m *Message, v Version) error {
	_, err := encode(w, m, v, false)
	return err
}

// Size returns the exact number of bytes that [Write] writes. It does not open [Large] values.
func Size(m *Message) (int64, error) {
	return encode(io.Discard, m, Version{Major: 15}, true)
}

func encode(w io.Writer, m *Message, v Version, dry bool) (int64, error) {
	if v.Major > math.MaxUint8 || v.Minor > math.MaxUint8 || v.Build >= normalized || v.Major < oldest>>8 {
		return 0, fmt.Errorf("write stream: no server has version %s", v)
	}
	e := encoder{chunks: chunks{w: w, buf: make([]byte, 0, maxChunk)}, dry: dry}
	e.envelope(v)
	if err := e.message(m, 1); err != nil {
		return e.n, err
	}
	e.flush()
	return e.n, e.err
}

// encoder writes messages as atoms and values.
type encoder struct {
	chunks
	dry     bool
	scratch []byte
}

func (e *encoder) envelope(v Version) {
	le := binary.LittleEndian
	e.record(opConfig, []byte{0, 0, 0, 0, copyTo, 0, 0, 0})
	ok := append([]byte{copyTo, 0, 0, 0}, iidMessage...)
	e.record(opInterfaceOk, le.AppendUint32(ok, 0x80002400)) // the flags of every published stream
	version := []byte{byte(v.Minor), byte(v.Major)}
	version = le.AppendUint16(version, v.Build|normalized)
	e.record(opVersion, le.AppendUint16(version, v.Revision))
}

func (e *encoder) mark(marks ...uint32) {
	var b []byte
	for _, m := range marks {
		b = binary.LittleEndian.AppendUint32(b, m)
	}
	e.atom(b)
}

func (e *encoder) message(m *Message, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("write message: more than %d messages inside each other", maxDepth)
	}
	if max(len(m.Recipients), len(m.Attachments)) > maxChildren {
		return fmt.Errorf("write message: more than %d recipients or attachments", maxChildren)
	}
	if err := e.properties(m.Properties); err != nil {
		return err
	}
	e.mark(markDelete, tagRecipients)
	for i, ps := range m.Recipients {
		if err := e.recipient(ps); err != nil {
			return fmt.Errorf("write recipient %d: %w", i, err)
		}
	}
	e.mark(markDelete, tagAttachments)
	for i := range m.Attachments {
		if err := e.attachment(&m.Attachments[i], depth); err != nil {
			return fmt.Errorf("write attachment %d: %w", i, err)
		}
	}
	return e.err
}

func (e *encoder) recipient(ps Properties) error {
	if len(ps) == 0 || ps[0].ID != TagRowID || ps[0].Type != Int32 {
		return errors.New("its first property must be PidTagRowid (0x3000), an Int32")
	}
	e.mark(markStartRecip)
	if err := e.properties(ps); err != nil {
		return err
	}
	e.mark(markEndRecip)
	return e.err
}

func (e *encoder) attachment(a *Attachment, depth int) error {
	e.mark(markNewAttach)
	e.mark(tagNumber, uint32(a.Number))
	if err := e.properties(a.Properties); err != nil {
		return err
	}
	if a.Embedded != nil {
		e.mark(markStartEmbed)
		if err := e.message(a.Embedded, depth+1); err != nil {
			return err
		}
		e.mark(markEndEmbed)
	}
	e.mark(markEndAttach)
	return e.err
}

func (e *encoder) properties(ps Properties) error {
	if len(ps) > maxProperties {
		return fmt.Errorf("more than %d properties in one object", maxProperties)
	}
	for i := range ps {
		if err := e.property(&ps[i]); err != nil {
			return fmt.Errorf("write property 0x%04X of type 0x%04X: %w", ps[i].ID, uint16(ps[i].Type), err)
		}
	}
	return e.err
}

func (e *encoder) property(p *Property) error {
	head, err := e.header(p)
	if err != nil {
		return err
	}
	if p.Type&CodePage != 0 {
		return e.sized(head, p.Value)
	}
	if p.Type&Multi != 0 {
		return e.multi(head, p)
	}
	return e.value(head, p.Type, p.Value)
}

// header returns what stands before the value: the tag and the name.
func (e *encoder) header(p *Property) ([]byte, error) {
	if (p.ID >= 0x8000) != (p.Name != nil) {
		return nil, errors.New("a property of 0x8000 and above needs a name, and no other has one")
	}
	t := p.Type
	if _, ok := wireOf(t); !ok || t&^Multi == string8 {
		return nil, fmt.Errorf("a stream cannot carry this type with a %T", p.Value)
	}
	if t == Unicode {
		t = CodePage | utf16LE // as Exchange Online writes it
	}
	tag := uint32(p.ID)<<16 | uint32(t)
	if reserved(tag) {
		return nil, errors.New("this id and type are a marker of the stream")
	}
	b := binary.LittleEndian.AppendUint32(e.scratch[:0], tag)
	if p.Name != nil {
		return appendName(b, p.Name)
	}
	return b, nil
}

func appendName(b []byte, n *Name) ([]byte, error) {
	b = append(b, n.Set[:]...)
	if n.Text == "" {
		return binary.LittleEndian.AppendUint32(append(b, 0), n.LID), nil
	}
	units := utf16.Encode([]rune(n.Text))
	if len(units) > maxName || n.LID != 0 {
		return nil, fmt.Errorf("a name has a number, or a text of at most %d characters", maxName)
	}
	b = append(b, 1)
	for _, u := range units {
		if u == 0 {
			return nil, errors.New("a name cannot contain NUL")
		}
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	if !utf8.ValidString(n.Text) {
		return nil, errors.New("the name is not UTF-8")
	}
	return append(b, 0, 0), nil
}

// reserved says whether a tag means something else to a reader than a property.
func reserved(tag uint32) bool {
	switch tag {
	case markNewAttach, markStartEmbed, markEndEmbed, markStartRecip, markEndRecip, markEndAttach, markErrorInfo, markDelete:
		return true
	}
	return false
}

// value writes one value behind head.
func (e *encoder) value(head []byte, t Type, v any) error {
	if width(t) == 0 {
		return e.sized(head, text(t, v))
	}
	b, ok := appendFixed(head, t, v)
	if !ok {
		return fmt.Errorf("a %T cannot be its value", v)
	}
	e.scratch = b
	e.atom(b)
	return e.err
}

// text turns the value of a string into its wire bytes and leaves any other value alone. A string of another type, or
// one that is not UTF-8, becomes nil.
func text(t Type, v any) any {
	s, isString := v.(string)
	if t != Unicode && !isString {
		return v
	}
	if t != Unicode || !isString || !utf8.ValidString(s) {
		return nil
	}
	b := make([]byte, 0, 2*len(s)+2)
	for _, r := range s {
		b = appendRune(b, r)
	}
	return append(b, 0, 0)
}

func appendRune(b []byte, r rune) []byte {
	if r < 0x10000 {
		return append(b, byte(r), byte(r>>8))
	}
	hi, lo := utf16.EncodeRune(r)
	return append(b, byte(hi), byte(hi>>8), byte(lo), byte(lo>>8))
}

// sized writes head, the length and the bytes of a value.
func (e *encoder) sized(head []byte, v any) error {
	switch v := v.(type) {
	case []byte:
		if int64(len(v)) > math.MaxUint32 {
			return errors.New("a value is smaller than 4 GiB")
		}
		e.scratch = binary.LittleEndian.AppendUint32(head, uint32(len(v)))
		e.atom(e.scratch)
		e.bytes(v)
		return e.err
	case Large:
		return e.large(head, v)
	}
	return errors.New("its value must be a string in UTF-8, bytes or Large, as the type says")
}

func (e *encoder) large(head []byte, v Large) error {
	if v.Size < 0 || v.Size > math.MaxUint32 {
		return errors.New("a value is smaller than 4 GiB")
	}
	e.scratch = binary.LittleEndian.AppendUint32(head, uint32(v.Size))
	e.atom(e.scratch)
	if e.dry {
		e.copy(nil, v.Size)
		return e.err
	}
	r, err := v.Open()
	if err != nil {
		return fmt.Errorf("open large value: %w", err)
	}
	defer r.Close()
	e.copy(r, v.Size)
	return e.err
}

// multi writes the count and the values of a multi-value property.
func (e *encoder) multi(head []byte, p *Property) error {
	switch all := p.Value.(type) {
	case []int16:
		return elements(e, head, p.Type, all)
	case []int32:
		return elements(e, head, p.Type, all)
	case []int64:
		return elements(e, head, p.Type, all)
	case []float32:
		return elements(e, head, p.Type, all)
	case []float64:
		return elements(e, head, p.Type, all)
	case []string:
		return elements(e, head, p.Type, all)
	case []time.Time:
		return elements(e, head, p.Type, all)
	case [][16]byte:
		return elements(e, head, p.Type, all)
	case [][]byte:
		return elements(e, head, p.Type, all)
	}
	return fmt.Errorf("a %T cannot be its value", p.Value)
}

func elements[T any](e *encoder, head []byte, t Type, all []T) error {
	e.scratch = binary.LittleEndian.AppendUint32(head, uint32(len(all)))
	e.atom(e.scratch)
	for _, v := range all {
		if err := e.value(e.scratch[:0], t&^Multi, v); err != nil {
			return err
		}
	}
	return e.err
}
