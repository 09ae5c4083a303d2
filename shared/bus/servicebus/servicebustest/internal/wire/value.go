package wire

import "fmt"

// Limits of every decoder in this package.
const (
	MaxDepth = 32      // a value inside a value inside …
	MaxItems = 1 << 16 // values below one decoded value, itself included
)

// The Go types of AMQP values: nil, bool, uint8 … uint64, int8 … int64, float32, float64, string, []byte, and
// the types below. A list is []any.
type (
	// Symbol is a string of ASCII.
	Symbol string
	// Timestamp is milliseconds since 1970 in UTC.
	Timestamp int64
	// Char is one UTF-32 character.
	Char uint32
	// UUID is in the order of RFC 4122.
	UUID [16]byte
	// Map keeps the order of its pairs. A key that comes twice is refused.
	Map []Pair
	// Pair is a key and its value.
	Pair struct{ Key, Value any }
	// Array holds items that share one constructor.
	Array struct {
		Code       byte // constructor of each item
		Descriptor any  // of each item, nil when they have none
		Items      []any
	}
	// Described is a value with a descriptor, a uint64 or a [Symbol].
	Described struct{ Descriptor, Value any }
	// Decimal is one of the decimal types, which nothing here computes with.
	Decimal struct {
		Code byte
		Bits [16]byte // the first 4, 8 or 16 count
	}
)

// Find returns the value of a key that is a string or a symbol, nil when it is not there.
func (m Map) Find(key string) any {
	for _, p := range m {
		if keyText(p.Key) == key {
			return p.Value
		}
	}
	return nil
}

// With returns a copy of m in which key has the value.
func (m Map) With(key, value any) Map {
	out := make(Map, 0, len(m)+1)
	for _, p := range m {
		if keyText(p.Key) != keyText(key) {
			out = append(out, p)
		}
	}
	return append(out, Pair{key, value})
}

// keyText is the text of a string or symbol key. Other keys get a text no such key has.
func keyText(k any) string {
	switch k := k.(type) {
	case string:
		return k
	case Symbol:
		return string(k)
	}
	return fmt.Sprintf("\x00%T %v", k, k)
}

// Error says where in the bytes a decoder stopped and why.
type Error struct {
	Offset int
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("decode amqp at byte %d: %s", e.Offset, e.Reason) }

// Constructors (1.6) that the code names.
const (
	codeDescribed = 0x00
	codeNull      = 0x40
	codeTrue      = 0x41
	codeFalse     = 0x42
	codeUint0     = 0x43
	codeUlong0    = 0x44
	codeList0     = 0x45
	codeUbyte     = 0x50
	codeByte      = 0x51
	codeSmallUint = 0x52
	codeSmallUlng = 0x53
	codeSmallInt  = 0x54
	codeSmallLong = 0x55
	codeBool      = 0x56
	codeUshort    = 0x60
	codeShort     = 0x61
	codeUint      = 0x70
	codeInt       = 0x71
	codeFloat     = 0x72
	codeChar      = 0x73
	codeDecimal32 = 0x74
	codeUlong     = 0x80
	codeLong      = 0x81
	codeDouble    = 0x82
	codeTimestamp = 0x83
	codeDecimal64 = 0x84
	codeDecimal16 = 0x94
	codeUUID      = 0x98
	codeBinary8   = 0xa0
	codeString8   = 0xa1
	codeSymbol8   = 0xa3
	codeBinary32  = 0xb0
	codeString32  = 0xb1
	codeSymbol32  = 0xb3
	codeList8     = 0xc0
	codeMap8      = 0xc1
	codeList32    = 0xd0
	codeMap32     = 0xd1
	codeArray8    = 0xe0
	codeArray32   = 0xf0
)

// Constructors a caller needs to write an [Array].
const (
	ArrayOfLong      = codeLong
	ArrayOfTimestamp = codeTimestamp
	ArrayOfUUID      = codeUUID
	ArrayOfSymbol    = codeSymbol32
	ArrayOfString    = codeString32
)
