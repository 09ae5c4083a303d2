package fts

import "time"

// width returns the wire bytes of one value of a fixed-size type, 0 for strings, binaries and objects, -1 for a type
// that a stream cannot carry. t has no flags.
func width(t Type) int {
	switch t {
	case Int16, Bool:
		return 2
	case Int32, Float32, Error:
		return 4
	case Float64, Currency, AppTime, Int64, Time:
		return 8
	case GUID:
		return 16
	case string8, Unicode, Binary, Object, ServerID:
		return 0
	}
	return -1
}

// wire is what a property type on the wire says about the bytes that follow.
type wire struct {
	base  Type // the type without flags; Unicode for every string that can be decoded
	multi bool
	width int // of one value, 0 when a length stands before it
	page  int // code page of a string
}

// string8 is a string in the store's code page. Only the wire has it: the reader turns it into [Unicode].
const string8 Type = 0x001E

// wireOf reads a wire type; false means that it is no type of a FastTransfer stream.
func wireOf(t Type) (wire, bool) {
	if t&CodePage != 0 {
		return codePageWire(t), true
	}
	w := wire{base: t &^ Multi, multi: t&Multi != 0}
	w.width = width(w.base)
	switch w.base {
	case Unicode:
		w.page = utf16LE
	case string8:
		w.base, w.page = Unicode, windows1252
	case Bool, Error, Object, ServerID:
		return w, !w.multi
	}
	return w, w.width >= 0
}

// codePageWire reads a type with the CodePage flag. The multi-value flag is also a bit of some code page numbers: a known
// code page wins, and what is unknown is one string.
func codePageWire(t Type) wire {
	if page, ok := knownPage(t &^ CodePage); ok {
		return wire{base: Unicode, page: page}
	}
	if page, ok := knownPage(t &^ CodePage &^ Multi); ok && t&Multi != 0 {
		return wire{base: Unicode, multi: true, page: page}
	}
	return wire{base: t}
}

// typeOf returns the property type of a Go value, 0 when there is none.
func typeOf(v any) Type {
	switch v.(type) {
	case int16:
		return Int16
	case int32:
		return Int32
	case int64:
		return Int64
	case uint32:
		return Error
	case float32:
		return Float32
	case float64:
		return Float64
	case bool:
		return Bool
	case string:
		return Unicode
	case time.Time:
		return Time
	case [16]byte:
		return GUID
	case []byte, Large:
		return Binary
	}
	return multiTypeOf(v)
}

func multiTypeOf(v any) Type {
	switch v.(type) {
	case []int16:
		return Multi | Int16
	case []int32:
		return Multi | Int32
	case []int64:
		return Multi | Int64
	case []float32:
		return Multi | Float32
	case []float64:
		return Multi | Float64
	case []string:
		return Multi | Unicode
	case []time.Time:
		return Multi | Time
	case [][16]byte:
		return Multi | GUID
	case [][]byte:
		return Multi | Binary
	}
	return 0
}

// filetimeEpoch is 1601-01-01 in Unix seconds.
const filetimeEpoch = -11644473600

func fromFiletime(ticks int64) time.Time {
	sec, rest := ticks/1e7, ticks%1e7
	return time.Unix(filetimeEpoch+sec, rest*100).UTC()
}

// toFiletime cuts t to 100 ns; false means that it does not fit into 64 bits.
func toFiletime(t time.Time) (int64, bool) {
	const most = 922337203686 // seconds; the product below may wrap around at the edge, and the sum wraps back
	sec := t.Unix() - filetimeEpoch
	ticks := sec*1e7 + int64(t.Nanosecond()/100)
	return ticks, sec >= -most && sec < most && (ticks < 0) == (sec < 0)
}
