package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"
)

// Decode reads one value from the start of b and returns what follows it.
func Decode(b []byte) (v any, rest []byte, err error) {
	d := decoder{b: b, items: MaxItems}
	if v, err = d.value(0); err != nil {
		return nil, nil, err
	}
	return v, d.b[d.off:], nil
}

type decoder struct {
	b     []byte
	off   int
	items int // how many more values may come
}

func (d *decoder) fail(format string, args ...any) error {
	return &Error{d.off, fmt.Sprintf(format, args...)}
}

func (d *decoder) take(n int) ([]byte, error) {
	if n < 0 || n > len(d.b)-d.off {
		return nil, d.fail("%d bytes wanted, %d left", n, len(d.b)-d.off)
	}
	p := d.b[d.off : d.off+n]
	d.off += n
	return p, nil
}

func (d *decoder) byte() (byte, error) {
	p, err := d.take(1)
	if err != nil {
		return 0, err
	}
	return p[0], nil
}

func (d *decoder) value(depth int) (any, error) {
	code, err := d.byte()
	if err != nil {
		return nil, err
	}
	if code != codeDescribed {
		return d.body(code, depth)
	}
	if depth >= MaxDepth {
		return nil, d.fail("nested deeper than %d", MaxDepth)
	}
	desc, err := d.value(depth + 1)
	if err != nil {
		return nil, err
	}
	v, err := d.value(depth + 1)
	return Described{desc, v}, err
}

// body reads what follows a constructor.
func (d *decoder) body(code byte, depth int) (any, error) {
	if d.items--; d.items < 0 {
		return nil, d.fail("more than %d items", MaxItems)
	}
	switch code >> 4 {
	case 0x4:
		return d.empty(code)
	case 0xa, 0xb:
		return d.text(code)
	case 0xc, 0xd, 0xe, 0xf:
		if depth >= MaxDepth {
			return nil, d.fail("nested deeper than %d", MaxDepth)
		}
		return d.compound(code, depth+1)
	}
	return d.fixed(code)
}

func (d *decoder) empty(code byte) (any, error) {
	switch code {
	case codeNull:
		return nil, nil
	case codeTrue:
		return true, nil
	case codeFalse:
		return false, nil
	case codeUint0:
		return uint32(0), nil
	case codeUlong0:
		return uint64(0), nil
	case codeList0:
		return []any{}, nil
	}
	return nil, d.fail("unknown constructor 0x%02x", code)
}

func (d *decoder) fixed(code byte) (any, error) {
	if code < 0x50 || code >= 0xa0 {
		return nil, d.fail("unknown constructor 0x%02x", code)
	}
	width := 1 << (code>>4 - 5)
	p, err := d.take(width)
	if err != nil {
		return nil, err
	}
	switch width {
	case 1:
		return d.fixed1(code, p[0])
	case 2:
		return d.fixed2(code, binary.BigEndian.Uint16(p))
	case 4:
		return d.fixed4(code, binary.BigEndian.Uint32(p))
	case 8:
		return d.fixed8(code, binary.BigEndian.Uint64(p))
	}
	switch code {
	case codeUUID:
		return UUID(p), nil
	case codeDecimal16:
		return Decimal{code, [16]byte(p)}, nil
	}
	return nil, d.fail("unknown constructor 0x%02x", code)
}

func (d *decoder) fixed1(code, x byte) (any, error) {
	switch code {
	case codeUbyte:
		return x, nil
	case codeByte:
		return int8(x), nil
	case codeSmallUint:
		return uint32(x), nil
	case codeSmallUlng:
		return uint64(x), nil
	case codeSmallInt:
		return int32(int8(x)), nil
	case codeSmallLong:
		return int64(int8(x)), nil
	case codeBool:
		if x > 1 {
			return nil, d.fail("boolean is 0x%02x", x)
		}
		return x == 1, nil
	}
	return nil, d.fail("unknown constructor 0x%02x", code)
}

func (d *decoder) fixed2(code byte, x uint16) (any, error) {
	switch code {
	case codeUshort:
		return x, nil
	case codeShort:
		return int16(x), nil
	}
	return nil, d.fail("unknown constructor 0x%02x", code)
}

func (d *decoder) fixed4(code byte, x uint32) (any, error) {
	switch code {
	case codeUint:
		return x, nil
	case codeInt:
		return int32(x), nil
	case codeFloat:
		return math.Float32frombits(x), nil
	case codeChar:
		return Char(x), nil
	case codeDecimal32:
		v := Decimal{Code: code}
		binary.BigEndian.PutUint32(v.Bits[:], x)
		return v, nil
	}
	return nil, d.fail("unknown constructor 0x%02x", code)
}

func (d *decoder) fixed8(code byte, x uint64) (any, error) {
	switch code {
	case codeUlong:
		return x, nil
	case codeLong:
		return int64(x), nil
	case codeDouble:
		return math.Float64frombits(x), nil
	case codeTimestamp:
		return Timestamp(x), nil
	case codeDecimal64:
		v := Decimal{Code: code}
		binary.BigEndian.PutUint64(v.Bits[:], x)
		return v, nil
	}
	return nil, d.fail("unknown constructor 0x%02x", code)
}

// length reads a length or count of one byte (codes below 0xb0, 0xc. and 0xe.) or four.
func (d *decoder) length(code byte) (int, error) {
	if code>>4 == 0xa || code>>4 == 0xc || code>>4 == 0xe {
		n, err := d.byte()
		return int(n), err
	}
	p, err := d.take(4)
	if err != nil {
		return 0, err
	}
	return int(binary.BigEndian.Uint32(p)), nil
}

func (d *decoder) text(code byte) (any, error) {
	n, err := d.length(code)
	if err != nil {
		return nil, err
	}
	p, err := d.take(n)
	if err != nil {
		return nil, err
	}
	switch code {
	case codeBinary8, codeBinary32:
		return append(make([]byte, 0, n), p...), nil
	case codeString8, codeString32:
		if !utf8.Valid(p) {
			return nil, d.fail("string is not UTF-8")
		}
		return string(p), nil
	case codeSymbol8, codeSymbol32:
		return d.symbol(p)
	}
	return nil, d.fail("unknown constructor 0x%02x", code)
}

func (d *decoder) symbol(p []byte) (any, error) {
	for _, c := range p {
		if c >= 0x80 {
			return nil, d.fail("symbol is not ASCII")
		}
	}
	return Symbol(p), nil
}

// compound reads a list, map or array inside its own bounds.
func (d *decoder) compound(code byte, depth int) (any, error) {
	size, err := d.length(code)
	if err != nil {
		return nil, err
	}
	if _, err := d.take(size); err != nil {
		return nil, err
	}
	in := decoder{b: d.b[:d.off], off: d.off - size, items: d.items}
	n, err := in.length(code)
	if err != nil {
		return nil, err
	}
	if n > in.items {
		return nil, in.fail("more than %d items", MaxItems)
	}
	v, err := in.content(code, n, depth)
	if err != nil {
		return nil, err
	}
	if in.off != d.off {
		return nil, in.fail("%d bytes too many in a compound value", d.off-in.off)
	}
	d.items = in.items
	return v, nil
}

func (d *decoder) content(code byte, n, depth int) (any, error) {
	switch code {
	case codeList8, codeList32:
		return d.list(n, depth)
	case codeMap8, codeMap32:
		return d.pairs(n, depth)
	case codeArray8, codeArray32:
		return d.array(n, depth)
	}
	return nil, d.fail("unknown constructor 0x%02x", code)
}

func (d *decoder) list(n, depth int) (any, error) {
	if n > len(d.b)-d.off { // every item has a constructor of at least one byte
		return nil, d.fail("%d items in %d bytes", n, len(d.b)-d.off)
	}
	out := make([]any, n)
	for i := range out {
		var err error
		if out[i], err = d.value(depth); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (d *decoder) pairs(n, depth int) (any, error) {
	if n%2 != 0 {
		return nil, d.fail("map of %d items", n)
	}
	if n > len(d.b)-d.off {
		return nil, d.fail("%d items in %d bytes", n, len(d.b)-d.off)
	}
	out := make(Map, n/2)
	seen := make(map[any]bool, n/2)
	for i := range out {
		k, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		if simpleKey(k) {
			if seen[k] {
				return nil, d.fail("map key comes twice")
			}
			seen[k] = true
		}
		v, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		out[i] = Pair{k, v}
	}
	return out, nil
}

// simpleKey tells the keys that occur in practice, which can be compared.
func simpleKey(k any) bool {
	switch k.(type) {
	case string, Symbol, uint64, int64, uint32, int32:
		return true
	}
	return false
}

func (d *decoder) array(n, depth int) (any, error) {
	code, err := d.byte()
	if err != nil {
		return nil, err
	}
	out := Array{Code: code}
	if code == codeDescribed {
		if out.Descriptor, err = d.value(depth); err != nil {
			return nil, err
		}
		if out.Code, err = d.byte(); err != nil {
			return nil, err
		}
	}
	if n > d.items { // items without width cost no bytes, so the count itself is what is bounded
		return nil, d.fail("more than %d items", MaxItems)
	}
	for range n {
		v, err := d.body(out.Code, depth)
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, v)
	}
	return out, nil
}
