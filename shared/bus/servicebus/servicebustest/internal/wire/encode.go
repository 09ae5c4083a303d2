package wire

import (
	"encoding/binary"
	"math"
)

// Append writes v in its shortest encoding. A value of a type that is not listed at [Symbol] is written as null.
func Append(b []byte, v any) []byte {
	switch v := v.(type) {
	case bool:
		if v {
			return append(b, codeTrue)
		}
		return append(b, codeFalse)
	case uint32:
		return appendUint(b, v)
	case uint64:
		return appendUlong(b, v)
	case int32:
		if v == int32(int8(v)) {
			return append(b, codeSmallInt, byte(v))
		}
	case int64:
		if v == int64(int8(v)) {
			return append(b, codeSmallLong, byte(v))
		}
	case string:
		return appendText(b, codeString8, v)
	case Symbol:
		return appendText(b, codeSymbol8, string(v))
	case []byte:
		return appendText(b, codeBinary8, string(v))
	case []any:
		if len(v) == 0 {
			return append(b, codeList0)
		}
		return appendList(b, v)
	case Map:
		return appendMap(b, v)
	case Array:
		return appendArray(b, v)
	case Described:
		return Append(Append(append(b, codeDescribed), v.Descriptor), v.Value)
	}
	if code := fixedCode(v); code != 0 {
		return appendBody(append(b, code), code, v)
	}
	return append(b, codeNull)
}

func appendUint(b []byte, v uint32) []byte {
	switch {
	case v == 0:
		return append(b, codeUint0)
	case v < 256:
		return append(b, codeSmallUint, byte(v))
	}
	return binary.BigEndian.AppendUint32(append(b, codeUint), v)
}

func appendUlong(b []byte, v uint64) []byte {
	switch {
	case v == 0:
		return append(b, codeUlong0)
	case v < 256:
		return append(b, codeSmallUlng, byte(v))
	}
	return binary.BigEndian.AppendUint64(append(b, codeUlong), v)
}

// appendText writes variable-width data; the long constructor is the short one plus 0x10.
func appendText(b []byte, short byte, s string) []byte {
	if len(s) < 256 {
		b = append(b, short, byte(len(s)))
	} else {
		b = binary.BigEndian.AppendUint32(append(b, short+0x10), uint32(len(s)))
	}
	return append(b, s...)
}

// fixedCode is the constructor of a value of fixed width, 0 for others.
func fixedCode(v any) byte {
	switch v := v.(type) {
	case uint8:
		return codeUbyte
	case int8:
		return codeByte
	case uint16:
		return codeUshort
	case int16:
		return codeShort
	case int32:
		return codeInt
	case int64:
		return codeLong
	case float32:
		return codeFloat
	case float64:
		return codeDouble
	case Char:
		return codeChar
	case Timestamp:
		return codeTimestamp
	case UUID:
		return codeUUID
	case Decimal:
		return v.Code
	}
	return 0
}

// compound writes a compound value whose items write puts there; short is its one-byte constructor.
func compound(b []byte, short byte, count int, write func([]byte) []byte) []byte {
	const head = 9 // constructor, size and count at their longest
	start := len(b)
	b = write(append(b, make([]byte, head)...))
	body := len(b) - start - head
	if body+1 < 256 && count < 256 {
		b[start], b[start+1], b[start+2] = short, byte(body+1), byte(count)
		copy(b[start+3:], b[start+head:])
		return b[:start+3+body]
	}
	b[start] = short + 0x10
	binary.BigEndian.PutUint32(b[start+1:], uint32(body+4))
	binary.BigEndian.PutUint32(b[start+5:], uint32(count))
	return b
}

func appendList(b []byte, v []any) []byte {
	return compound(b, codeList8, len(v), func(b []byte) []byte {
		for _, x := range v {
			b = Append(b, x)
		}
		return b
	})
}

func appendMap(b []byte, v Map) []byte {
	return compound(b, codeMap8, 2*len(v), func(b []byte) []byte {
		for _, p := range v {
			b = Append(Append(b, p.Key), p.Value)
		}
		return b
	})
}

func appendArray(b []byte, v Array) []byte {
	return compound(b, codeArray8, len(v.Items), func(b []byte) []byte {
		if v.Descriptor != nil {
			b = Append(append(b, codeDescribed), v.Descriptor)
		}
		b = append(b, v.Code)
		for _, x := range v.Items {
			b = appendBody(b, v.Code, x)
		}
		return b
	})
}

// appendBody writes v as what follows the constructor code. An item that does not fit its array's constructor
// is written as zeros, so that the array stays well formed.
func appendBody(b []byte, code byte, v any) []byte {
	switch code >> 4 {
	case 0x4:
		return b
	case 0x5:
		return append(b, byte(bits(v)))
	case 0x6:
		return binary.BigEndian.AppendUint16(b, uint16(bits(v)))
	case 0x7:
		return binary.BigEndian.AppendUint32(b, uint32(bits(v)))
	case 0x8:
		return binary.BigEndian.AppendUint64(b, bits(v))
	case 0x9:
		wide := wideBits(v)
		return append(b, wide[:]...)
	case 0xa, 0xb:
		return appendTextBody(b, code, textOf(v))
	}
	return appendCompoundBody(b, code, v)
}

func bits(v any) uint64 {
	switch v := v.(type) {
	case bool:
		if v {
			return 1
		}
	case uint8:
		return uint64(v)
	case int8:
		return uint64(v)
	case uint16:
		return uint64(v)
	case int16:
		return uint64(v)
	case uint32:
		return uint64(v)
	case int32:
		return uint64(v)
	case uint64:
		return v
	case int64:
		return uint64(v)
	case Char:
		return uint64(v)
	case Timestamp:
		return uint64(v)
	case float32:
		return uint64(math.Float32bits(v))
	case float64:
		return math.Float64bits(v)
	case Decimal:
		if v.Code == codeDecimal32 {
			return uint64(binary.BigEndian.Uint32(v.Bits[:]))
		}
		return binary.BigEndian.Uint64(v.Bits[:])
	}
	return 0
}

func wideBits(v any) [16]byte {
	switch v := v.(type) {
	case UUID:
		return v
	case Decimal:
		return v.Bits
	}
	return [16]byte{}
}

func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case Symbol:
		return string(v)
	case []byte:
		return string(v)
	}
	return ""
}

func appendTextBody(b []byte, code byte, s string) []byte {
	if code>>4 == 0xa {
		s = s[:min(len(s), 255)]
		return append(append(b, byte(len(s))), s...)
	}
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// appendCompoundBody writes an item of an array of lists, maps or arrays in the width the array's constructor
// asks for.
func appendCompoundBody(b []byte, code byte, v any) []byte {
	one := Append(nil, v)
	if len(one) == 0 || (one[0]|0x10) != (code|0x10) {
		one = []byte{code &^ 0x10, 1, 0}
		if code>>4 >= 0xe {
			one = []byte{code &^ 0x10, 2, 0, codeNull}
		}
	}
	if one[0] == code {
		return append(b, one[1:]...)
	}
	if code&0x10 == 0 { // too long for the array's one-byte items; does not come from a decoded array
		return append(b, 1, 0)
	}
	size, count, body := int(one[1]), one[2], one[3:]
	b = binary.BigEndian.AppendUint32(b, uint32(size+3))
	b = binary.BigEndian.AppendUint32(b, uint32(count))
	return append(b, body...)
}
