package fts_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

var le = binary.LittleEndian

// body builds a property stream by hand, byte by byte.
type body []byte

func (b body) tag(tag uint32) body   { return le.AppendUint32(b, tag) }
func (b body) u16(n uint16) body     { return le.AppendUint16(b, n) }
func (b body) u32(n uint32) body     { return le.AppendUint32(b, n) }
func (b body) raw(p string) body     { return append(b, p...) }
func (b body) sized(p string) body   { return b.u32(uint32(len(p))).raw(p) }
func (b body) subject(s string) body { return b.tag(0x003784B0).sized(wide(s)) }
func (b body) row(n uint32) body     { return b.tag(0x30000003).u32(n) }

func wide(s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = le.AppendUint16(b, u)
	}
	return string(append(b, 0, 0))
}

const (
	newAttach, startEmbed, endEmbed   = 0x40000003, 0x40010003, 0x40020003
	startRecip, endRecip, endAttach   = 0x40030003, 0x40040003, 0x400E0003
	delProp, errorInfo, attachNumber  = 0x40160003, 0x40180003, 0x0E210003
	recipientsTable, attachmentsTable = 0x0E12000D, 0x0E13000D
)

// prefix is the three records before the first transfer buffer.
func prefix() []byte {
	b := body(nil).u32(1).u32(8).u32(0).u32(1)
	b = b.u32(3).u32(24).u32(1).raw("\x07\x03\x02\x00\x00\x00\x00\x00\xC0\x00\x00\x00\x00\x00\x00\x46").u32(0x80002400)
	return b.u32(4).u32(6).raw("\x01\x0e\x8b\x80\x00\x00")
}

// stream wraps a property stream into transfer buffers of at most size bytes.
func stream(content body, size int) []byte {
	b := body(prefix())
	for len(content) > 0 {
		n := min(size, len(content))
		b, content = b.u32(2).sized(string(content[:n])), content[n:]
	}
	return b
}

func write(t testing.TB, m *fts.Message) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := fts.Write(&b, m, fts.Version{Major: 15, Minor: 20, Build: 4566, Revision: 6022}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(t testing.TB, b []byte) *fts.Message {
	t.Helper()
	m, err := fts.Read(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func summarize(t testing.TB, b []byte) fts.Summary {
	t.Helper()
	s, err := fts.Summarize(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// note is an ordinary mail with two recipients, a file and a forwarded mail.
func note() *fts.Message {
	at := time.Date(2024, 3, 1, 9, 30, 0, 0, time.UTC)
	recipient := func(row, kind int32, name, email string) fts.Properties {
		return fts.Properties{fts.Prop(fts.TagRowID, row), fts.Prop(fts.TagRecipientType, kind),
			fts.Prop(fts.TagDisplayName, name), fts.Prop(fts.TagSMTPAddress, email)}
	}
	return &fts.Message{
		Properties: fts.Properties{
			fts.Prop(fts.TagImportance, int32(2)),
			fts.Prop(fts.TagMessageClass, "IPM.Note"),
			fts.Prop(fts.TagSubject, "Re: Zażółć 📎"),
			fts.Prop(fts.TagClientSubmitTime, at),
			fts.Prop(fts.TagDeliveryTime, at.Add(time.Minute)),
			fts.Prop(fts.TagSenderEmail, "ada@example.org"),
			fts.Prop(fts.TagMessageFlags, int32(1)),
			fts.Prop(fts.TagFlagStatus, int32(2)),
			fts.Prop(fts.TagMessageID, "<1@example.org>"),
			fts.Prop(fts.TagSearchKey, []byte("0123456789abcdef")),
			fts.Prop(fts.TagBody, "Hello\r\n"),
			fts.Public("Keywords").Prop([]string{"Blue", "Red"}),
			fts.Common(fts.LidPrivate).Prop(true),
		},
		Recipients: []fts.Properties{
			recipient(0, 1, "Bo", "bo@example.org"),
			recipient(1, 1, "Cy", "cy@example.org"),
			recipient(2, 2, "", "di@example.org"),
			recipient(3, 3, "Eve", "eve@example.org"),
		},
		Attachments: []fts.Attachment{
			{Number: 0, Properties: fts.Properties{fts.Prop(fts.TagAttachMethod, int32(1)),
				fts.Prop(fts.TagAttachLongFilename, "a.bin"), fts.Prop(fts.TagAttachData, []byte{1, 2, 3})}},
			{Number: 1, Properties: fts.Properties{fts.Prop(fts.TagAttachMethod, int32(5))},
				Embedded: &fts.Message{Properties: fts.Properties{fts.Prop(fts.TagSubject, "inner")}}},
		},
	}
}

// random makes any message that a stream can hold.
type random struct{ *rand.Rand }

func (r random) message(depth int) *fts.Message {
	m := &fts.Message{Properties: r.properties(r.IntN(12))}
	for i := range r.IntN(4) {
		row := fts.Properties{fts.Prop(fts.TagRowID, int32(i))}
		m.Recipients = append(m.Recipients, append(row, r.properties(r.IntN(5))...))
	}
	for i := range r.IntN(3) {
		a := fts.Attachment{Number: int32(i), Properties: r.properties(r.IntN(5))}
		if depth > 0 && r.IntN(2) == 0 {
			a.Embedded = r.message(depth - 1)
		}
		m.Attachments = append(m.Attachments, a)
	}
	return m
}

func (r random) properties(n int) fts.Properties {
	var ps fts.Properties
	for i := range n {
		p := fts.Prop(uint16(0x1000+i), r.value())
		if r.IntN(3) == 0 {
			p = fts.Name{Set: [16]byte{byte(i)}, LID: r.Uint32()}.Prop(p.Value)
		} else if r.IntN(3) == 0 {
			p = fts.Public("name é " + fmt.Sprint(i)).Prop(p.Value)
		}
		switch {
		case p.Type == fts.Binary && r.IntN(2) == 0:
			p.Type = []fts.Type{fts.Object, fts.ServerID, fts.CodePage | 0x0FFF}[r.IntN(3)]
		case p.Type&^fts.Multi == fts.Int64 && r.IntN(2) == 0:
			p.Type = p.Type&fts.Multi | fts.Currency
		case p.Type&^fts.Multi == fts.Float64 && r.IntN(2) == 0:
			p.Type = p.Type&fts.Multi | fts.AppTime
		}
		ps = append(ps, p)
	}
	return ps
}

func (r random) value() any {
	switch r.IntN(20) {
	case 0:
		return int16(r.Uint32())
	case 1:
		return int32(r.Uint32())
	case 2:
		return r.Uint32()
	case 3:
		return int64(r.Uint64())
	case 4:
		return r.Float32()
	case 5:
		return math.Inf(1)
	case 6:
		return r.IntN(2) == 0
	case 7, 8:
		return r.text()
	case 9:
		return r.time()
	case 10:
		return [16]byte(r.bytes(16))
	case 11:
		return r.bytes(r.IntN(40000))
	case 12:
		return many(r, func() int16 { return int16(r.Uint32()) })
	case 13:
		return many(r, func() int32 { return int32(r.Uint32()) })
	case 14:
		return many(r, func() int64 { return int64(r.Uint64()) })
	case 15:
		return many(r, r.Float64)
	case 16:
		return many(r, r.text)
	case 17:
		return many(r, r.time)
	case 18:
		return many(r, func() [16]byte { return [16]byte(r.bytes(16)) })
	}
	return many(r, func() []byte { return r.bytes(r.IntN(300)) })
}

func many[T any](r random, one func() T) []T {
	all := []T{}
	for range r.IntN(5) {
		all = append(all, one())
	}
	return all
}

func (r random) time() time.Time {
	return time.Unix(r.Int64N(1<<39)-1<<38, 100*r.Int64N(1e7)).UTC()
}

func (r random) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func (r random) text() string {
	alphabet := []rune("aZ 0\x00é\uFEFFß漢\U0001F4CE\uFFFD")
	text := []rune{}
	for range r.IntN(60) {
		text = append(text, alphabet[r.IntN(len(alphabet))])
	}
	return string(text)
}
