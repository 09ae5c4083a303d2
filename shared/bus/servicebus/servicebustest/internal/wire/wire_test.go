package wire

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
)

// values has one of every type, at the edges of every encoding.
func values() []any {
	return []any{nil, true, false, uint8(200), int8(-3), uint16(65535), int16(-300), uint32(0), uint32(255), uint32(256),
		uint64(0), uint64(255), uint64(math.MaxUint64), int32(-128), int32(128), int64(127), int64(math.MinInt64),
		float32(1.5), float64(-2.25), Char('ü'), Timestamp(-1), UUID{1, 2, 3}, []byte{}, []byte(strings.Repeat("b", 256)),
		"", strings.Repeat("ü", 200), Symbol("sym"), Symbol(strings.Repeat("s", 300)), []any{}, []any{nil, []any{"deep"}},
		Map{}, Map{{Key: "k", Value: int32(1)}, {Key: Symbol("s"), Value: Map{}}}, []any{strings.Repeat("x", 300)},
		Described{uint64(0x24), []any{}}, Described{Symbol("a:b"), "v"}, Decimal{codeDecimal32, [16]byte{1, 2, 3, 4}},
		Decimal{codeDecimal64, [16]byte{8: 0}}, Decimal{codeDecimal16, [16]byte{15: 9}},
		Array{Code: ArrayOfLong, Items: []any{int64(1), int64(-1)}}, Array{Code: ArrayOfUUID, Items: []any{UUID{9}}},
		Array{Code: ArrayOfSymbol, Items: []any{Symbol("x")}}, Array{Code: codeTrue, Items: []any{true, true}},
		Array{Code: codeList32, Items: []any{[]any{"a"}, []any{}}}, Array{Code: codeBool, Items: []any{true, false}},
		Array{Code: codeString8, Descriptor: uint64(7), Items: []any{"x"}}, Array{Code: codeUbyte}}
}

func TestValuesComeBack(t *testing.T) {
	t.Parallel()
	for _, v := range values() {
		b := Append(nil, v)
		got, rest, err := Decode(append(b, "rest"...))
		if err != nil || string(rest) != "rest" || !reflect.DeepEqual(got, v) {
			t.Errorf("%#v as % x came back as %#v, rest %q, %v", v, b, got, rest, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	deep := bytes.Repeat([]byte{0xc0, 0xff, 1}, MaxDepth+2)
	for i := range MaxDepth + 2 {
		deep[3*i+1] = byte(max(0, 3*(MaxDepth+2-i)-2))
	}
	for _, c := range []struct {
		name string
		in   []byte
		want string
	}{
		{"nothing", nil, "1 bytes wanted, 0 left"},
		{"unknown constructor", []byte{0x46}, "unknown constructor 0x46"},
		{"unknown fixed", []byte{0x57, 0}, "unknown constructor 0x57"},
		{"short string", []byte{0xa1, 5, 'a'}, "5 bytes wanted, 1 left"},
		{"long binary that is not there", []byte{0xb0, 0xff, 0xff, 0xff, 0xff}, "4294967295 bytes wanted, 0 left"},
		{"string not UTF-8", []byte{0xa1, 1, 0xff}, "not UTF-8"},
		{"symbol not ASCII", []byte{0xa3, 1, 0xff}, "not ASCII"},
		{"boolean", []byte{0x56, 2}, "boolean is 0x02"},
		{"list of more than it holds", []byte{0xc0, 2, 9, 0x40}, "9 items in 1 bytes"},
		{"list with something left", []byte{0xc0, 3, 1, 0x40, 0x40}, "1 bytes too many"},
		{"odd map", []byte{0xc1, 2, 1, 0x40}, "map of 1 items"},
		{"key twice", []byte{0xc1, 7, 4, 0xa1, 0, 0x40, 0xa1, 0, 0x40}, "map key comes twice"},
		{"array of 800 million nothings", []byte{0xf0, 0, 0, 0, 5, 0x30, 0, 0, 0, 0x40}, "more than 65536 items"},
		{"list of a thousand millions", []byte{0xd0, 0, 0, 0, 4, 0x40, 0, 0, 0}, "more than 65536 items"},
		{"too deep", deep, "nested deeper than 32"},
		{"descriptors without end", bytes.Repeat([]byte{0}, 100), "nested deeper than 32"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := Decode(c.in)
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(e.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range values() {
		f.Add(Append(nil, v))
	}
	f.Add([]byte{0xf0, 0, 0, 0, 5, 0x30, 0, 0, 0, 0x40})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, rest, err := Decode(b)
		if err != nil {
			return
		}
		if len(rest) > len(b) {
			t.Fatal("more left than there was")
		}
		again, rest, err := Decode(Append(nil, v))
		if err != nil || len(rest) > 0 || !same(v, again) {
			t.Fatalf("%#v came back as %#v, %v", v, again, err)
		}
	})
}

// same is DeepEqual but for NaN.
func same(a, b any) bool {
	return bytes.Equal(Append(nil, a), Append(nil, b))
}

func FuzzParseMessage(f *testing.F) {
	for _, m := range foreign() {
		b, err := m.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMessage(b)
		if err != nil {
			return
		}
		if m.Size() > len(b) {
			t.Fatalf("%d bytes kept of %d", m.Size(), len(b))
		}
		_, _ = m.Value()
		out := m.Append(nil, Envelope{DeliveryCount: 3, Annotations: m.Annotations})
		again, err := ParseMessage(out)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if !bytes.Equal(again.body, m.body) || !bytes.Equal(again.app, m.app) || !same(again.Properties.MessageID, m.Properties.MessageID) {
			t.Fatal("the bare message changed")
		}
		if id := m.WithMessageID("new"); id.Properties.MessageID != "new" {
			t.Fatal("id not set")
		}
		for range m.Data() {
		}
	})
}

func FuzzReadFrame(f *testing.F) {
	f.Add(AppendFrame(nil, FrameAMQP, 7, func(b []byte) []byte { return append(b, "body"...) }))
	f.Add([]byte{0, 0, 0, 8, 2, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 8, 9, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := ReadFrame(bytes.NewReader(b), 4096)
		if err == nil && len(frame.Body) > 4096-8 {
			t.Fatalf("%d bytes past the limit", len(frame.Body))
		}
		if err == nil && len(frame.Body) > 0 {
			readAll(frame.Body)
		}
	})
}

// readAll reads a body as every performative.
func readAll(b []byte) {
	for i := range 8 {
		c, _, err := ReadComposite(b)
		if err != nil {
			return
		}
		switch i {
		case 0:
			_, _ = ParseOpen(c)
		case 1:
			_, _ = ParseBegin(c)
		case 2:
			a, _ := ParseAttach(c)
			_, _ = a.Source.Address(), a.Source.Filter()
		case 3:
			_, _ = ParseFlow(c)
		case 4:
			_, _ = ParseTransfer(c)
		case 5:
			_, _ = ParseDisposition(c)
		case 6:
			_, _ = ParseDetach(c)
		}
	}
}

// foreign is messages as another library writes them.
func foreign() []*amqp.Message {
	text, count := "text", uint32(3)
	return []*amqp.Message{
		amqp.NewMessage([]byte("plain")),
		{Header: &amqp.MessageHeader{Durable: true, Priority: 7, TTL: time.Second}, Annotations: amqp.Annotations{"x-opt-partition-key": "p"},
			DeliveryAnnotations: amqp.Annotations{"gone": "x"}, Footer: amqp.Annotations{"foot": int64(1)},
			Properties:            &amqp.MessageProperties{MessageID: "id", GroupID: &text, ContentType: &text, GroupSequence: &count, UserID: []byte("u")},
			ApplicationProperties: map[string]any{"n": int64(1)}, Data: [][]byte{[]byte("one"), []byte("two")}},
		{Properties: &amqp.MessageProperties{MessageID: amqp.UUID{1}}, Value: map[string]any{"k": []int64{1, 2}}},
		{Sequence: [][]any{{"a"}, {"b"}}},
	}
}

func TestMessagesOfAnotherLibrary(t *testing.T) {
	t.Parallel()
	for _, want := range foreign() {
		b, err := want.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		m, err := ParseMessage(b)
		if err != nil {
			t.Fatal(err)
		}
		var got amqp.Message
		if err := got.UnmarshalBinary(m.Append(nil, Envelope{TTL: m.Header.TTL, Annotations: m.Annotations})); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Data, want.Data) || !reflect.DeepEqual(got.Value, want.Value) || !reflect.DeepEqual(got.Sequence, want.Sequence) ||
			!reflect.DeepEqual(got.ApplicationProperties, want.ApplicationProperties) || !reflect.DeepEqual(got.Footer, want.Footer) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if want.Header != nil && (*got.Header != *want.Header || !reflect.DeepEqual(got.Properties, want.Properties) || !reflect.DeepEqual(m.Data(), want.Data)) {
			t.Errorf("got %+v %+v", got.Header, got.Properties)
		}
	}
}

func TestMessageSectionsInOrder(t *testing.T) {
	t.Parallel()
	section := func(code uint64, v any) []byte { return Append(nil, Described{code, v}) }
	data, value := section(codeData, []byte("d")), section(codeAMQPValue, "v")
	props := section(codeProperties, []any{"id"})
	for _, c := range []struct {
		name string
		in   [][]byte
		ok   bool
	}{
		{"properties and data", [][]byte{props, data, data}, true},
		{"named section", [][]byte{Append(nil, Described{Symbol("amqp:data:binary"), []byte("d")})}, true},
		{"data before properties", [][]byte{data, props}, false},
		{"two values", [][]byte{value, value}, false},
		{"data and value", [][]byte{data, value}, false},
		{"unknown section", [][]byte{section(0x79, "x")}, false},
		{"data is a string", [][]byte{section(codeData, "d")}, false},
		{"properties are a map", [][]byte{section(codeProperties, Map{})}, false},
		{"message id is a list", [][]byte{section(codeProperties, []any{[]any{}})}, false},
		{"application properties are a list", [][]byte{section(codeAppProperties, []any{})}, false},
		{"no descriptor", [][]byte{{0x40}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if _, err := ParseMessage(bytes.Join(c.in, nil)); (err == nil) != c.ok {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestReadFrameRefuses(t *testing.T) {
	t.Parallel()
	for name, in := range map[string][]byte{
		"too long": {0, 0, 16, 1, 2, 0, 0, 0}, "offset below 2": {0, 0, 0, 8, 1, 0, 0, 0}, "offset past the end": {0, 0, 0, 8, 3, 0, 0, 0},
		"cut off": {0, 0, 0, 12, 2, 0, 0, 0, 1}, "too short to be": {0, 0, 0, 4, 2, 0, 0, 0},
	} {
		if f, err := ReadFrame(bytes.NewReader(in), 4096); err == nil {
			t.Errorf("%s: read %+v", name, f)
		}
	}
}
