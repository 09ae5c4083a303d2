package fts_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	messages := []*fts.Message{note(), {}}
	for seed := range uint64(300) {
		messages = append(messages, random{rand.New(rand.NewPCG(seed, 1))}.message(3))
	}
	for i, m := range messages {
		b := write(t, m)
		got, err := fts.Read(iotest.HalfReader(bytes.NewReader(b)))
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if !reflect.DeepEqual(got, m) {
			t.Fatalf("message %d: read\n%+v\nwant\n%+v", i, got, m)
		}
		if size, err := fts.Size(m); err != nil || size != int64(len(b)) {
			t.Errorf("message %d: size %d, %v, want %d", i, size, err, len(b))
		}
		framing, err := fts.Check(bytes.NewReader(b))
		if err != nil || framing.Bytes != int64(len(b)) {
			t.Errorf("message %d: checked as %+v, %v", i, framing, err)
		}
	}
}

// The golden file is a dump of the stream of note(), read by a person against MS-OXCFXICS.
func TestStreamIsTheGoldenOne(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("testdata/note.hex")
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.Dump(write(t, note())); got != string(want) {
		t.Errorf("stream of note() is\n%s", got)
	}
}

func TestSummaryTellsWhatAListingTells(t *testing.T) {
	t.Parallel()
	got := summarize(t, write(t, note()))
	p := got.Properties
	at := time.Date(2024, 3, 1, 9, 30, 0, 0, time.UTC)
	if p.Class != "IPM.Note" || p.Subject != "Re: Zażółć 📎" || p.Sender != "ada@example.org" || p.MessageID != "<1@example.org>" {
		t.Errorf("texts %+v", p)
	}
	if p.To != "Bo; Cy" || p.Cc != "di@example.org" || p.Bcc != "Eve" {
		t.Errorf("recipients %q, %q, %q", p.To, p.Cc, p.Bcc)
	}
	if !p.Submitted.Equal(at) || !p.Received.Equal(at.Add(time.Minute)) || string(p.SearchKey) != "0123456789abcdef" {
		t.Errorf("times or key %+v", p)
	}
	if p.Flags != 1 || p.FlagStatus != 2 || p.Importance != 2 || !p.Attachments {
		t.Errorf("numbers %+v", p)
	}
	if got.Recipients != 4 || got.Attachments != 2 || got.Version.String() != "15.20.4566.6022" || got.Buffers != 1 {
		t.Errorf("summary %+v", got)
	}
}

// Only the outermost message's recipients and files count.
func TestSummaryLooksAtTheOutermostMessage(t *testing.T) {
	t.Parallel()
	m := note()
	in := note()
	in.Properties.Set(fts.Prop(fts.TagMessageClass, "IPM.Other"))
	m.Attachments = []fts.Attachment{{Properties: fts.Properties{fts.Prop(fts.TagAttachmentHidden, true)}, Embedded: in}}
	m.Recipients = m.Recipients[:1]
	got := summarize(t, write(t, m))
	if got.Recipients != 1 || got.To != "Bo" || got.Cc != "" || got.Attachments != 1 || got.Class != "IPM.Note" || got.Properties.Attachments {
		t.Errorf("summary %+v", got)
	}
}

func TestSummaryOfABareMessage(t *testing.T) {
	t.Parallel()
	got := summarize(t, write(t, &fts.Message{Properties: fts.Properties{
		fts.Prop(fts.TagSubjectPrefix, "AW: "), fts.Prop(fts.TagNormalizedSubject, "Plan")}}))
	if got.Subject != "AW: Plan" || got.Importance != 1 || got.Properties.Attachments {
		t.Errorf("summary %+v", got)
	}
}

// Two ways to write the same item: another order, code pages instead of Unicode, tiny buffers, other ids of named
// properties, no meta-properties.
func TestDigestIsAboutTheContent(t *testing.T) {
	t.Parallel()
	m := &fts.Message{
		Properties: fts.Properties{
			fts.Prop(fts.TagSubject, "Größe"),
			fts.Prop(fts.TagBody, strings.Repeat("naïve ", 9000)),
			fts.Prop(fts.TagReplyRequested, true),
			fts.Public("Keywords").Prop([]string{"é"}),
		},
		Recipients: []fts.Properties{{fts.Prop(fts.TagRowID, int32(0)), fts.Prop(fts.TagDisplayName, "Bø")}},
	}
	other := body(nil).tag(0x9ABC94E4).raw("\x29\x03\x02\x00\x00\x00\x00\x00\xC0\x00\x00\x00\x00\x00\x00\x46\x01").
		raw(wide("Keywords")).u32(1).sized("\xE9\x00")
	other = other.tag(0x0C17000B).u16(0xFF00)
	other = other.tag(0x1000001E).sized(strings.Repeat("na\xEFve ", 9000))
	other = other.tag(0x400884E4).sized("/O=FIRST ORGANIZATION\x00")
	other = other.tag(0x003784E4).sized("Gr\xF6\xDFe\x00")
	other = other.tag(startRecip).row(7).tag(0x3001FDE9).sized("B\xC3\xB8\x00").tag(endRecip)
	a, b := summarize(t, write(t, m)), summarize(t, stream(other, 1000))
	if a.Digest != b.Digest {
		t.Error("another encoding of the same item has another digest")
	}
	if a.Subject != b.Subject || a.Buffers >= b.Buffers {
		t.Errorf("summaries %+v, %+v", a, b)
	}
}

// Digests are kept and compared across versions of this program.
func TestDigestStaysTheSame(t *testing.T) {
	t.Parallel()
	const want = "321772198a692a8afdfad49d5cee0b1312f06a2cf8dbf95a628cc28e7640afb0"
	if got := fmt.Sprintf("%x", summarize(t, write(t, note())).Digest); got != want {
		t.Errorf("digest of note() is %s", got)
	}
}

func TestDigestSeesEveryChange(t *testing.T) {
	t.Parallel()
	seen := map[[32]byte]string{summarize(t, write(t, note())).Digest: "unchanged"}
	changes := map[string]func(m *fts.Message){
		"value":            func(m *fts.Message) { m.Properties[0].Value = int32(1) },
		"text":             func(m *fts.Message) { m.Properties.Set(fts.Prop(fts.TagBody, "Hello\r\n\x00")) },
		"type":             func(m *fts.Message) { m.Properties.Set(fts.Prop(fts.TagImportance, int16(2))) },
		"property gone":    func(m *fts.Message) { m.Properties = m.Properties[1:] },
		"property twice":   func(m *fts.Message) { m.Properties = append(m.Properties, m.Properties[0]) },
		"category":         func(m *fts.Message) { m.Properties.Set(fts.Public("Keywords").Prop([]string{"BlueRed"})) },
		"category order":   func(m *fts.Message) { m.Properties.Set(fts.Public("Keywords").Prop([]string{"Red", "Blue"})) },
		"named flag":       func(m *fts.Message) { m.Properties.Set(fts.Common(fts.LidPrivate).Prop(false)) },
		"another name":     func(m *fts.Message) { m.Properties[12] = fts.Common(fts.LidReminderSet).Prop(true) },
		"recipient":        func(m *fts.Message) { m.Recipients[3][2].Value = "Ev" },
		"recipient gone":   func(m *fts.Message) { m.Recipients = m.Recipients[:3] },
		"recipient order":  func(m *fts.Message) { swapRows(m) },
		"attachment byte":  func(m *fts.Message) { m.Attachments[0].Properties[2].Value = []byte{1, 2, 4} },
		"attachment gone":  func(m *fts.Message) { m.Attachments = m.Attachments[:1] },
		"embedded subject": func(m *fts.Message) { m.Attachments[1].Embedded.Properties[0].Value = "inne" },
		"embedded gone":    func(m *fts.Message) { m.Attachments[1].Embedded = nil },
		"embedded in other": func(m *fts.Message) {
			m.Attachments[0].Embedded, m.Attachments[1].Embedded = m.Attachments[1].Embedded, nil
		},
		"attachment as body": func(m *fts.Message) { m.Properties = append(m.Properties, m.Attachments[0].Properties...) },
	}
	for name, change := range changes {
		m := note()
		change(m)
		d := summarize(t, write(t, m)).Digest
		if other, ok := seen[d]; ok {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[d] = name
	}
}

func swapRows(m *fts.Message) {
	m.Recipients[0][0].Value, m.Recipients[1][0].Value = int32(1), int32(0)
}

func TestDigestIgnoresWhatAServerChanges(t *testing.T) {
	t.Parallel()
	want := summarize(t, write(t, note())).Digest
	changes := map[string]func(m *fts.Message){
		"modified":      func(m *fts.Message) { m.Properties.Set(fts.Prop(fts.TagLastModified, time.Unix(9, 0))) },
		"change key":    func(m *fts.Message) { m.Properties.Set(fts.Prop(fts.TagChangeKey, []byte("k"))) },
		"size":          func(m *fts.Message) { m.Properties.Set(fts.Prop(fts.TagMessageSize, int32(7))) },
		"display to":    func(m *fts.Message) { m.Properties.Set(fts.Prop(fts.TagDisplayTo, "Bo; Cy")) },
		"rows from 1":   func(m *fts.Message) { renumber(m) },
		"files from 10": func(m *fts.Message) { m.Attachments[0].Number, m.Attachments[1].Number = 10, 11 },
		"file size":     func(m *fts.Message) { m.Attachments[0].Properties.Set(fts.Prop(fts.TagAttachSize, int32(7))) },
		"rows reversed": func(m *fts.Message) { slices.Reverse(m.Recipients) },
		"row ids alike": func(m *fts.Message) { m.Recipients[3][0].Value = int32(900) },
	}
	for name, change := range changes {
		m := note()
		change(m)
		if summarize(t, write(t, m)).Digest != want {
			t.Errorf("%s changed the digest", name)
		}
	}
}

func renumber(m *fts.Message) {
	for i, r := range m.Recipients {
		r[0].Value = int32(i + 1)
	}
}

// Every beginning of a stream but the whole is refused by all three, as cut.
func TestACutStreamIsNeverAccepted(t *testing.T) {
	t.Parallel()
	m := note()
	m.Properties.Set(fts.Prop(fts.TagHTML, bytes.Repeat([]byte("x"), 700)))
	m.Properties.Set(fts.Prop(fts.TagReplyRecipientNames, "n"))
	b := write(t, m)
	for n := range len(b) {
		_, err := fts.Check(bytes.NewReader(b[:n]))
		var bad *fts.FormatError
		if !errors.As(err, &bad) || !bad.Cut {
			t.Fatalf("%d of %d bytes: %v", n, len(b), err)
		}
		if bad.Offset > int64(n) {
			t.Errorf("%d of %d bytes: offset %d is behind the end", n, len(b), bad.Offset)
		}
		agree(t, b[:n])
	}
}

// A stream may end only where a message is complete, wherever the buffers end.
func TestACutContentInWholeBuffersIsNotAccepted(t *testing.T) {
	t.Parallel()
	content := body(nil).subject("s").tag(startRecip).row(0).tag(endRecip).tag(newAttach).tag(attachNumber).u32(0).
		tag(startEmbed).subject("in").tag(endEmbed).tag(endAttach)
	var whole []int
	for n := 1; n <= len(content); n++ {
		if _, err := fts.Check(bytes.NewReader(stream(content[:n], 5))); err == nil {
			whole = append(whole, n)
		}
	}
	subject := len(body(nil).subject("s"))
	if want := []int{subject, subject + 16, len(content)}; !slices.Equal(whole, want) {
		t.Errorf("complete after %d bytes, want %d", whole, want)
	}
}

func TestTheServersTruncationIsFound(t *testing.T) {
	t.Parallel()
	const mark = "=== Truncated Data ==="
	b := write(t, note())
	half := b[:len(b)/2]
	inValue := stream(body(nil).subject("s").tag(0x10130102).sized("abc"+mark), 31680)
	for name, cut := range map[string][]byte{
		"after the last record":  append(slices.Clone(b), mark...),
		"with a new line":        append(slices.Clone(b), "\r\n"+mark+"\r\n"...),
		"inside a buffer":        append(slices.Clone(half), mark...),
		"as the end of a value":  inValue,
		"inside the first bytes": []byte(mark),
	} {
		_, err := fts.Check(bytes.NewReader(cut))
		var bad *fts.FormatError
		if !errors.As(err, &bad) || !bad.Cut || !strings.Contains(bad.Reason, mark) {
			t.Errorf("%s: %v", name, err)
		}
		agree(t, cut)
	}
}

func TestBrokenStreamsAreRefused(t *testing.T) {
	t.Parallel()
	good := stream(body(nil).subject("s"), 100)
	change := func(at int, b byte) []byte {
		bad := slices.Clone(good)
		bad[at] = b
		return bad
	}
	in := func(b body) []byte { return stream(b, 31680) }
	deep := body(nil)
	for range 70 {
		deep = deep.tag(newAttach).tag(attachNumber).u32(0).tag(startEmbed)
	}
	for name, test := range map[string]struct {
		stream []byte
		want   string
	}{
		"empty":                {nil, "before its Config"},
		"text":                 {[]byte("From: a@example.org\r\n\r\nhello"), "where Config"},
		"config flags":         {change(8, 1), "CopyTo"},
		"transfer method":      {change(12, 2), "CopyTo"},
		"order":                {change(16, 4), "where IsInterfaceOk"},
		"interface":            {change(28, 8), "IID_IMessage"},
		"version too old":      {change(57, 8), "older than 14.0"},
		"opcode 5 after":       {append(slices.Clone(good), 5, 0, 0, 0, 0, 0, 0, 0), "record 5"},
		"second config":        {append(slices.Clone(good), prefix()[:16]...), "record 1"},
		"no buffer":            {prefix(), "no transfer buffer"},
		"empty buffer":         {append(prefix(), 2, 0, 0, 0, 0, 0, 0, 0), "before its first property"},
		"unknown type":         {in(body(nil).tag(0x00370001).u32(0)), "type"},
		"several booleans":     {in(body(nil).tag(0x0C17100B).u32(0)), "type"},
		"name kind":            {in(body(nil).tag(0x8000000B).raw(strings.Repeat("g", 16) + "\x02")), "kind 2"},
		"empty name":           {in(body(nil).tag(0x8000000B).raw(strings.Repeat("g", 16) + "\x01\x00\x00")), "empty"},
		"endless name":         {in(body(nil).tag(0x8000000B).raw(strings.Repeat("g", 16) + "\x01" + strings.Repeat("n", 4000))), "longer"},
		"end without start":    {in(body(nil).subject("s").tag(endRecip)), "not open"},
		"end of embedded":      {in(body(nil).subject("s").tag(endEmbed)), "not open"},
		"recipient without id": {in(body(nil).tag(startRecip).subject("s").tag(endRecip)), "row id"},
		"empty recipient":      {in(body(nil).tag(startRecip).tag(endRecip)), "not open"},
		"recipient in itself":  {in(body(nil).tag(startRecip).row(0).tag(startRecip)), "must not stand here"},
		"property after rows":  {in(body(nil).tag(startRecip).row(0).tag(endRecip).subject("s")), "after the message's"},
		"property after del":   {in(body(nil).tag(delProp).u32(recipientsTable).subject("s")), "after the message's"},
		"row after file":       {in(body(nil).tag(newAttach).tag(attachNumber).u32(0).tag(endAttach).tag(startRecip)), "must not stand here"},
		"row after del":        {in(body(nil).tag(delProp).u32(attachmentsTable).tag(startRecip)), "must not stand here"},
		"file without number":  {in(body(nil).tag(newAttach).subject("s").tag(endAttach)), "number"},
		"file in file":         {in(body(nil).tag(newAttach).tag(attachNumber).u32(0).tag(newAttach)), "must not stand here"},
		"crossed ends":         {in(body(nil).tag(newAttach).tag(attachNumber).u32(0).tag(startEmbed).tag(endAttach)), "not open"},
		"two embedded": {in(body(nil).tag(newAttach).tag(attachNumber).u32(0).tag(startEmbed).subject("s").tag(endEmbed).
			tag(startEmbed)), "must not stand here"},
		"property after embedded": {in(body(nil).tag(newAttach).tag(attachNumber).u32(0).tag(startEmbed).subject("s").
			tag(endEmbed).subject("s")), "after the attachment's"},
		"error of the server": {in(body(nil).subject("s").tag(errorInfo)), "FXErrorInfo"},
		"too deep":            {in(deep), "64 messages"},
		"del in a file":       {in(body(nil).tag(newAttach).tag(attachNumber).u32(0).tag(delProp).u32(0)), "outside a message"},
		"a claim of values":   {in(body(nil).tag(0x00371003).u32(1 << 31)), "more than"},
		"a claim of bytes":    {in(body(nil).tag(0x10130102).u32(1<<32 - 1).raw("x")), "inside a value"},
	} {
		_, err := fts.Check(bytes.NewReader(test.stream))
		var bad *fts.FormatError
		if !errors.As(err, &bad) || !strings.Contains(bad.Reason, test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		agree(t, test.stream)
	}
}

func TestAnErrorTellsWhere(t *testing.T) {
	t.Parallel()
	good := stream(body(nil).subject("s"), 100)
	for _, test := range []struct {
		stream []byte
		at     int64
	}{
		{append(slices.Clone(good), 5, 0, 0, 0, 0, 0, 0, 0), int64(len(good))},
		{stream(body(nil).subject("s").tag(endRecip).raw("more"), 100), int64(len(good)) + 4},
		{good[:len(good)-3], int64(len(good)) - 3},
	} {
		_, err := fts.Check(bytes.NewReader(test.stream))
		var bad *fts.FormatError
		if !errors.As(err, &bad) || bad.Offset != test.at {
			t.Errorf("%v, want offset %d", err, test.at)
		}
	}
}

func TestReadersOwnErrorsStayThemselves(t *testing.T) {
	t.Parallel()
	b, lost := write(t, note()), errors.New("connection lost")
	for _, n := range []int{0, 10, 100, len(b)} {
		r := io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(lost))
		_, err := fts.Check(r)
		var bad *fts.FormatError
		if !errors.Is(err, lost) || errors.As(err, &bad) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

// Strings come as the code page says; what cannot be decoded is kept and written back as it was.
func TestStringsInCodePages(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		typ  uint32
		wire string
		want any
	}{
		{0x001F, wide("žluť"), "žluť"},
		{0x84B0, wide("žluť"), "žluť"},
		{0x84B0, "a\x00", "a"},
		{0x84B0, "", ""},
		{0x84B0, "a\x00b", []byte("a\x00b")},
		{0x84B1, "\x01\x7E\x00\x00", "ž"},
		{0x84E4, "\x80\x00", "€"},
		{0x84E2, "\x9E\x00", "ž"},
		{0x84E3, "\xE6\x00", "ж"},
		{0x001E, "\x80\x00", "€"},
		{0x83A4, "\x8A\xBF\x00", "漢"},
		{0xFDE9, "\xC5\xBE\x00", "ž"},
		{0xD182, "\xD6\x00", "ж"}, // KOI8-R, whose number has the bit of multi-value types
		{0xFDE8, "+AX4-\x00", []byte("+AX4-\x00")},
		{0x101E, "\x02\x00\x00\x00\x02\x00\x00\x00a\x00\x01\x00\x00\x00\x80", []string{"a", "€"}},
		{0x94E3, "\x01\x00\x00\x00\x02\x00\x00\x00\xE6\x00", []string{"ж"}},
	} {
		content := body(nil).tag(0x0E1D<<16 | test.typ)
		if _, multi := test.want.([]string); multi {
			content = content.raw(test.wire)
		} else {
			content = content.sized(test.wire)
		}
		m := read(t, stream(content, 31680))
		if got := m.Properties.Value(0x0E1D); !reflect.DeepEqual(got, test.want) {
			t.Errorf("type 0x%04X: %#v, want %#v", test.typ, got, test.want)
		}
		if again := read(t, write(t, m)); !reflect.DeepEqual(again, m) {
			t.Errorf("type 0x%04X: written and read again %+v", test.typ, again)
		}
	}
}

func TestBuffersEndBetweenAtomsOrInsideAValue(t *testing.T) {
	t.Parallel()
	m := &fts.Message{}
	for i := range 4000 {
		m.Properties = append(m.Properties, fts.Prop(uint16(i), int32(i)), fts.Prop(uint16(i), [16]byte{}), fts.Prop(uint16(i), true))
	}
	m.Properties = append(m.Properties, fts.Prop(fts.TagAttachData, make([]byte, 200000)))
	b := write(t, m)[62:]
	for i := 0; len(b) > 0; i++ {
		size := int(le.Uint32(b[4:]))
		buffer := b[8 : 8+size]
		b = b[8+size:]
		if size > 31680 || len(b) > 0 && size < 31680-300 {
			t.Errorf("buffer %d has %d bytes", i, size)
		}
		for len(buffer) >= 4 && i < 3 {
			n := map[uint16]int{3: 8, 0x48: 20, 0xB: 6}[le.Uint16(buffer)]
			if n == 0 || n > len(buffer) {
				t.Fatalf("buffer %d ends inside an atom", i)
			}
			buffer = buffer[n:]
		}
	}
}

func TestWriteRefusesWhatAStreamCannotHold(t *testing.T) {
	t.Parallel()
	one := func(p fts.Property) *fts.Message { return &fts.Message{Properties: fts.Properties{p}} }
	short := fts.Large{Size: 10, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("short")), nil }}
	deep := &fts.Message{}
	for range 70 {
		deep = &fts.Message{Attachments: []fts.Attachment{{Embedded: deep}}}
	}
	for name, m := range map[string]*fts.Message{
		"int":                  one(fts.Prop(fts.TagImportance, 1)),
		"text as binary":       one(fts.Property{ID: fts.TagHTML, Type: fts.Binary, Value: "x"}),
		"binary as text":       one(fts.Property{ID: fts.TagBody, Type: fts.Unicode, Value: []byte("x")}),
		"wrong number":         one(fts.Property{ID: fts.TagImportance, Type: fts.Int32, Value: int16(1)}),
		"wrong list":           one(fts.Property{ID: fts.TagImportance, Type: fts.Int32 | fts.Multi, Value: []int16{1}}),
		"no list":              one(fts.Property{ID: fts.TagImportance, Type: fts.Int32 | fts.Multi, Value: int32(1)}),
		"no value":             one(fts.Property{ID: fts.TagSubject, Type: fts.Unicode}),
		"not UTF-8":            one(fts.Prop(fts.TagSubject, "\xFF")),
		"time too far":         one(fts.Prop(fts.TagDeliveryTime, time.Unix(1<<40, 0))),
		"named below 0x8000":   one(fts.Property{ID: 1, Name: &fts.Name{LID: 1}, Type: fts.Bool, Value: true}),
		"nameless from 0x8000": one(fts.Prop(0x8001, true)),
		"NUL in a name":        one(fts.Public("a\x00").Prop(true)),
		"long name":            one(fts.Public(strings.Repeat("n", 2000)).Prop(true)),
		"marker":               one(fts.Prop(0x4000, int32(1))),
		"short large value":    one(fts.Prop(fts.TagAttachData, short)),
		"recipient without id": {Recipients: []fts.Properties{{fts.Prop(fts.TagDisplayName, "Bo")}}},
		"empty recipient":      {Recipients: []fts.Properties{{}}},
		"too deep":             deep,
	} {
		if err := fts.Write(io.Discard, m, fts.Version{Major: 15}); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	if err := fts.Write(io.Discard, note(), fts.Version{Major: 8}); err == nil {
		t.Error("a stream of Exchange 2007 was written")
	}
}

// Exactly the memory for its buffers is needed for an item of 120 MB, whoever reads it.
func TestALargeItemNeedsLittleMemory(t *testing.T) {
	const size = 120 << 20
	m := note()
	m.Attachments[0].Properties.Set(fts.Prop(fts.TagAttachData, fts.Large{Size: size, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.LimitReader(pattern{}, size)), nil
	}}))
	wantSize, err := fts.Size(m)
	if err != nil {
		t.Fatal(err)
	}
	var digests [][32]byte
	for name, consume := range map[string]func(r io.Reader) (int64, error){
		"check": func(r io.Reader) (int64, error) { f, err := fts.Check(r); return f.Bytes, err },
		"summarize": func(r io.Reader) (int64, error) {
			s, err := fts.Summarize(r)
			digests = append(digests, s.Digest)
			return s.Bytes, err
		},
	} {
		r, w := io.Pipe()
		go func() { w.CloseWithError(fts.Write(w, m, fts.Version{Major: 15})) }()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		n, err := consume(r)
		runtime.ReadMemStats(&after)
		if err != nil || n != wantSize {
			t.Errorf("%s: %d bytes, %v, want %d", name, n, err, wantSize)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 2<<20 {
			t.Errorf("%s allocated %d bytes", name, used)
		}
	}
	if len(digests) != 1 || digests[0] == summarize(t, write(t, note())).Digest {
		t.Error("the large value is not in the digest")
	}
}

type pattern struct{}

func (pattern) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i * 7)
	}
	return len(p), nil
}

func TestTokensOfAMail(t *testing.T) {
	t.Parallel()
	d := fts.NewReader(bytes.NewReader(write(t, note())))
	var got []string
	for {
		tok, err := d.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case tok.Kind == fts.PropertyToken && tok.Property.ID == fts.TagAttachData:
			b, err := io.ReadAll(d.Bytes())
			got = append(got, fmt.Sprint(tok.Size, b, err))
		case tok.Kind == fts.PropertyToken && tok.Property.ID == fts.TagSubject:
			_, tooLarge := d.Value(3)
			v, err := d.Value(100)
			got = append(got, fmt.Sprint(tooLarge, v, err))
		case tok.Kind != fts.PropertyToken:
			got = append(got, fmt.Sprint(tok.Kind, tok.Number))
		}
	}
	want := []string{fmt.Sprint(fts.ErrTooLarge, "Re: Zażółć 📎", nil),
		"2 0", "3 0", "2 0", "3 0", "2 0", "3 0", "2 0", "3 0",
		"4 0", "3 [1 2 3] <nil>", "5 0", "4 1", "6 0", fmt.Sprint(fts.ErrTooLarge, "inner", nil), "7 0", "5 0"}
	if !slices.Equal(got, want) {
		t.Errorf("tokens\n%q\nwant\n%q", got, want)
	}
}

// The published streams are cut short after some properties.
func TestPublishedStreamsBegin(t *testing.T) {
	t.Parallel()
	f, err := os.Open("../../../../shared/data/fts/samples.tsv")
	if err != nil {
		t.Skip("published samples are not here: ", err)
	}
	defer f.Close()
	first := map[string]string{
		"graph-import-item": "0x0017=1",
		"ews-export-item-3": "0x4008=/O=FIRST ORGANIZATION/OU",
		"ews-upload-item-1": "0x4008=/O=FIRST ORGANIZATION/OU",
	}
	lines, n := bufio.NewScanner(f), 0
	for lines.Scan() {
		field := strings.Split(lines.Text(), "\t")
		if len(field) != 4 {
			continue
		}
		n++
		b, err := base64.RawStdEncoding.DecodeString(field[3])
		if err != nil {
			b, _ = base64.RawStdEncoding.DecodeString(field[3][:len(field[3])/4*4])
		}
		checkSample(t, field, b, first[field[0]])
	}
	if n != 3 {
		t.Errorf("%d samples, want 3", n)
	}
}

func checkSample(t *testing.T, field []string, b []byte, first string) {
	var buffer int
	fmt.Sscanf(field[2], "first transfer buffer %d bytes", &buffer)
	if got := int(le.Uint32(b[66:])); got != buffer {
		t.Errorf("%s: first buffer has %d bytes, want %d", field[0], got, buffer)
	}
	d := fts.NewReader(bytes.NewReader(b))
	tok, err := d.Next()
	if err != nil {
		t.Fatalf("%s: %v", field[0], err)
	}
	v, err := d.Value(100)
	if err != nil { // the sample ends inside it
		var bad *fts.FormatError
		if !errors.As(err, &bad) || !bad.Cut {
			t.Errorf("%s: %v", field[0], err)
		}
		v = string(b[len(b)-len("/O=FIRST ORGANIZATION/OU"):])
	}
	if got := fmt.Sprintf("0x%04X=%v", tok.Property.ID, v); got != first {
		t.Errorf("%s: first property %s, want %s", field[0], got, first)
	}
	if got := d.Framing().Version.String(); strings.TrimSuffix(got, ".0") != strings.TrimPrefix(field[1], "version ") {
		t.Errorf("%s: version %s, want %s", field[0], got, field[1])
	}
	if _, err := fts.Check(bytes.NewReader(b)); err == nil {
		t.Errorf("%s: a beginning was accepted as a whole", field[0])
	}
}

// agree fails when Check, Read and Summarize do not all accept or all refuse b, at the same place. Only Read refuses, before
// it looks, a value that claims to be too large for memory.
func agree(t *testing.T, b []byte) error {
	t.Helper()
	_, err := fts.Check(bytes.NewReader(b))
	_, readErr := fts.Read(bytes.NewReader(b))
	_, sumErr := fts.Summarize(iotest.OneByteReader(bytes.NewReader(b)))
	if fmt.Sprint(err) != fmt.Sprint(readErr) && !errors.Is(readErr, fts.ErrTooLarge) || fmt.Sprint(err) != fmt.Sprint(sumErr) {
		t.Fatalf("check: %v\nread: %v\nsummarize: %v", err, readErr, sumErr)
	}
	return err
}

func FuzzStream(f *testing.F) {
	f.Add(write(f, note()))
	f.Add(prefix())
	for seed := range uint64(20) {
		f.Add(write(f, random{rand.New(rand.NewPCG(seed, 2))}.message(1)))
	}
	f.Fuzz(func(t *testing.T, b []byte) { acceptedStreamSurvives(t, b) })
}

// FuzzContent spares the fuzzer the envelope.
func FuzzContent(f *testing.F) {
	f.Add([]byte(body(nil).subject("s").tag(startRecip).row(0).tag(endRecip).tag(newAttach).tag(attachNumber).u32(0).
		tag(startEmbed).subject("in").tag(endEmbed).tag(endAttach)), 7)
	f.Add([]byte(body(nil).tag(0x9ABC94E4).raw("0123456789abcdef\x01").raw(wide("Keywords")).u32(1).sized("\xE9\x00")), 100)
	f.Add([]byte(body(nil).tag(0x0037001E).sized("\x81\x00").tag(0x00371003).u32(2).u32(1).u32(2)), 100)
	f.Add([]byte(body(nil).tag(0x003783A4).sized("\x8A\xBF\x00").tag(0x0037C42C).sized("\x1b$B4A\x00")), 100)
	f.Fuzz(func(t *testing.T, content []byte, size int) {
		acceptedStreamSurvives(t, stream(content, max(size%5000, len(content)/100+1)))
	})
}

// acceptedStreamSurvives reads, writes and reads b again: nothing changes, and the digest neither.
func acceptedStreamSurvives(t *testing.T, b []byte) {
	if agree(t, b) != nil {
		return
	}
	m := read(t, b)
	again := write(t, m)
	if third := write(t, read(t, again)); !bytes.Equal(again, third) {
		t.Fatalf("second writing differs:\n%s\n%s", hex.Dump(again), hex.Dump(third))
	}
	one, two := summarize(t, b), summarize(t, again)
	if one.Digest != two.Digest {
		t.Fatalf("digest changed when %+v was written again", m)
	}
	one.Framing, two.Framing = fts.Framing{}, fts.Framing{}
	if !reflect.DeepEqual(one, two) {
		t.Fatalf("summary %+v, written again %+v", one, two)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add(uint64(1), uint64(2), "text", []byte("bytes"))
	f.Fuzz(func(t *testing.T, a, b uint64, text string, data []byte) {
		m := random{rand.New(rand.NewPCG(a, b))}.message(2)
		m.Properties = append(m.Properties, fts.Prop(fts.TagSubject, strings.ToValidUTF8(text, "?")), fts.Prop(fts.TagHTML, data))
		if got := read(t, write(t, m)); !bytes.Equal(write(t, got), write(t, m)) || data != nil && !reflect.DeepEqual(got, m) {
			t.Fatalf("read\n%+v\nwant\n%+v", got, m)
		}
	})
}
