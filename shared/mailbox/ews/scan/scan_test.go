package scan_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/mailferry/mailferry/shared/mailbox/ews/scan"
)

const published = `<?xml version="1.0" encoding="utf-8"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header><h:ServerVersionInfo MajorVersion="15" xmlns:h="t"/></s:Header>
<s:Body><m:ExportItemsResponse xmlns:m="m" xmlns:t="t"><m:ResponseMessages>
 <m:ExportItemsResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>
   <m:ItemId Id="AAMk" ChangeKey="CQ"/><m:Data>aGVs
   bG8=</m:Data></m:ExportItemsResponseMessage>
 <m:ExportItemsResponseMessage ResponseClass="Error"><m:MessageText>The change key is invalid.</m:MessageText>
   <m:ResponseCode>ErrorInvalidChangeKey</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey></m:ExportItemsResponseMessage>
 <m:ExportItemsResponseMessage ResponseClass="Error"><m:MessageText>No mailbox with such guid.</m:MessageText>
   <m:ResponseCode>ErrorNonExistentMailbox</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey>
   <m:MessageXml><t:Value Name="MailboxGuid">f3f6</t:Value></m:MessageXml></m:ExportItemsResponseMessage>
</m:ResponseMessages></m:ExportItemsResponse></s:Body></s:Envelope>`

const busy = `<s:Envelope xmlns:s="s"><s:Body><s:Fault><faultcode xmlns:a="t">a:ErrorServerBusy</faultcode>
 <faultstring xml:lang="en-US">The server cannot service this request right now. Try again later.</faultstring>
 <detail><e:ResponseCode xmlns:e="e">ErrorServerBusy</e:ResponseCode><e:Message xmlns:e="e">Try again later.</e:Message>
  <t:MessageXml xmlns:t="t"><t:Value Name="BackOffMilliseconds">297749</t:Value></t:MessageXml></detail></s:Fault></s:Body></s:Envelope>`

// told is an answer as the Scanner tells it, one line per message, and how it ended.
func told(r io.Reader) (string, error) {
	var b strings.Builder
	s := scan.New(r)
	for {
		m, err := s.Next()
		if err == io.EOF {
			return b.String(), nil
		}
		if err != nil {
			return b.String(), err
		}
		fmt.Fprintf(&b, "%s %s", m.Class, m.Code)
		if m.Fault {
			b.WriteString(" fault")
		}
		if len(m.Values) > 0 {
			fmt.Fprintf(&b, " %v", m.Values)
		}
		if m.Data {
			data, err := io.ReadAll(s)
			fmt.Fprintf(&b, " data=%q", data)
			if err != nil {
				fmt.Fprintf(&b, " (%v)", err)
			}
		}
		b.WriteByte('\n')
	}
}

// answer wraps response messages in an envelope.
func answer(messages string) string {
	return `<s:Envelope><s:Body><m:ExportItemsResponse><m:ResponseMessages>` + messages +
		`</m:ResponseMessages></m:ExportItemsResponse></s:Body></s:Envelope>`
}

func success(data string) string {
	return `<m:ExportItemsResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:ItemId Id="a"/>` +
		data + `</m:ExportItemsResponseMessage>`
}

func TestScan(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, answer, want string }{
		{"the published answer", published, "Success NoError data=\"hello\"\nError ErrorInvalidChangeKey\n" +
			"Error ErrorNonExistentMailbox map[MailboxGuid:f3f6]\n"},
		{"a fault", busy, " ErrorServerBusy fault map[BackOffMilliseconds:297749]\n"},
		{"a fault with no more than its code", `<Envelope><Body><Fault><faultcode>soap:Server</faultcode></Fault></Body></Envelope>`,
			" Server fault\n"},
		{"other prefixes", strings.NewReplacer("<m:", "<x1:", "</m:", "</x1:", "<s:", "<", "</s:", "</").Replace(published),
			"Success NoError data=\"hello\"\nError ErrorInvalidChangeKey\nError ErrorNonExistentMailbox map[MailboxGuid:f3f6]\n"},
		{"other quotes and white space in tags", answer("<m:ExportItemsResponseMessage\n ResponseClass = 'Success' ><m:ResponseCode >NoError</m:ResponseCode ><m:Data\n>aGVsbG8=</m:Data\n></m:ExportItemsResponseMessage>"),
			"Success NoError data=\"hello\"\n"},
		{"a byte order mark, comments and declarations", "\uFEFF<?xml version='1.0'?><!-- <a> > -->" + answer(success("<m:Data>aGVsbG8=</m:Data>")+"<!-- end -->"),
			"Success NoError data=\"hello\"\n"},
		{"an end bracket in an attribute", answer(`<m:ExportItemsResponseMessage Name="ResponseClass='no'>" ResponseClass="Error"><m:ResponseCode>A</m:ResponseCode></m:ExportItemsResponseMessage>`),
			"Error A\n"},
		{"no data", answer(success("")), "Success NoError\n"},
		{"empty data", answer(success("<m:Data></m:Data>")), "Success NoError data=\"\"\n"},
		{"an empty-element tag", answer(success("<m:Data/>")), "Success NoError data=\"\"\n"},
		{"white space everywhere in data", answer(success("<m:Data>\r\n a G\tVs\n\nbG 8 = \r\n</m:Data>")), "Success NoError data=\"hello\"\n"},
		{"a batch that was stopped", answer(success("<m:Data>aGVsbG8=</m:Data>") + `<m:ExportItemsResponseMessage ResponseClass="Warning"><m:ResponseCode>ErrorBatchProcessingStopped</m:ResponseCode></m:ExportItemsResponseMessage>`),
			"Success NoError data=\"hello\"\nWarning ErrorBatchProcessingStopped\n"},
		{"no messages", answer(""), ""},
		{"data that is not base64 spoils one item", answer(success("<m:Data>aGVs*G8=</m:Data>") + success("<m:Data>aGk=</m:Data>")),
			"Success NoError data=\"\" (not base64 at character 4 of Data)\nSuccess NoError data=\"hi\"\n"},
		{"data that stops within four characters", answer(success("<m:Data>aGVsbG</m:Data>")), "Success NoError data=\"\" (not base64 at character 4 of Data)\n"},
		{"data after the padding", answer(success("<m:Data>aGk=aGk=</m:Data>")), "Success NoError data=\"\" (not base64 at character 4 of Data)\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, r := range []io.Reader{strings.NewReader(test.answer), iotest.OneByteReader(strings.NewReader(test.answer))} {
				if got, err := told(r); err != nil || got != test.want {
					t.Errorf("got %v\n%s\nwant\n%s", err, got, test.want)
				}
			}
		})
	}
}

// The Scanner decodes 32 KiB of base64 at a time; padding may end such a portion, and still nothing may follow.
func TestDataAfterThePaddingOfAPortion(t *testing.T) {
	t.Parallel()
	s := scan.New(strings.NewReader(answer(success("<m:Data>" + strings.Repeat("aGk9", 8191) + "aGk=aGk=</m:Data>"))))
	if _, err := s.Next(); err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, s)
	var encoding *scan.EncodingError
	if n != 8191*3+2 || !errors.As(err, &encoding) || encoding.Offset != 32<<10 {
		t.Fatalf("read %d bytes, %v", n, err)
	}
}

func TestScanRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, answer, want string }{
		{"a wrong end tag", `<a><b></a>`, "offset 10: </a> ends an element that is not open"},
		{"an end tag at the beginning", `</a>`, "offset 4: </a> ends an element that is not open"},
		{"markup inside data", answer(success("<m:Data>aGVs</s:Envelope>")), "</Envelope> ends an element that is not open"},
		{"an element inside data", answer(success("<m:Data>aGVs<b/></m:Data>")), "markup inside Data"},
		{"a comment inside data", answer(success("<m:Data>aGVs<!-- -->bG8=</m:Data>")), "markup inside Data"},
		{"CDATA", answer(success("<m:Data><![CDATA[aGVs]]></m:Data>")), "CDATA section"},
		{"nesting without end", strings.Repeat("<a>", 100), "nested deeper than 64"},
		{"a text without end", "<a>" + strings.Repeat("x", 100_000), "text is longer than 65536"},
		{"a tag without end", "<a " + strings.Repeat("x", 100_000), "tag is longer than 65536"},
		{"a tag without a name", "< >", "tag without a name"},
		{"an empty tag", "<>", "tag without a name"},
		{"values without end", `<aResponseMessage>` + strings.Repeat(`<Value Name="a">b</Value>`, 3) + strings.Repeat(`<Value>b</Value>`, 1) + manyValues(70), "more than 64 values"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := told(strings.NewReader(test.answer))
			var syntax *scan.SyntaxError
			if !errors.As(err, &syntax) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
		})
	}
}

func manyValues(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `<Value Name="%d">b</Value>`, i)
	}
	return b.String()
}

// An answer that breaks off anywhere is never taken for a complete one, and no item in it for more than it is.
func TestScanNoticesEveryCut(t *testing.T) {
	t.Parallel()
	for n := range len(published) {
		got, err := told(strings.NewReader(published[:n]))
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at %d: got %v\n%s", n, err, got)
		}
	}
}

func TestScanSkipsWhatIsNotRead(t *testing.T) {
	t.Parallel()
	text := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("mail "), 50_000))
	s := scan.New(strings.NewReader(answer(success("<m:Data>"+text+"</m:Data>") + success("<m:Data>"+text+"</m:Data>") + success("<m:Data>aGVsbG8=</m:Data>"))))
	for i, want := range []int{0, 7} {
		if m, err := s.Next(); err != nil || !m.Data {
			t.Fatalf("message %d: %+v, %v", i, m, err)
		}
		if n, err := io.ReadFull(s, make([]byte, want)); err != nil {
			t.Fatalf("read %d: %v", n, err)
		}
	}
	if _, err := s.Next(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(s); err != nil || string(b) != "hello" {
		t.Fatalf("got %q, %v", b, err)
	}
	if _, err := s.Next(); err != io.EOF {
		t.Fatalf("got %v, want the end", err)
	}
}

func TestScanKeepsSayingThatItBrokeOff(t *testing.T) {
	t.Parallel()
	before, _, _ := strings.Cut(answer(success("<m:Data>aGVsbG8=</m:Data>")), "</m:Data")
	s := scan.New(strings.NewReader(before))
	if _, err := s.Next(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := io.ReadAll(s); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("read: %v", err)
		}
	}
	for range 2 {
		if _, err := s.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("next: %v", err)
		}
	}
}

// FuzzScan holds the Scanner against the same text read in other portions, and its data against encoding/base64.
func FuzzScan(f *testing.F) {
	for _, s := range []string{published, busy, answer(success("<m:Data/>")), answer(success("<m:Data> a G k = </m:Data>")),
		answer(success("<m:Data>aGk=aGk=</m:Data>")), "<a b='>'/>", "<!-- --><a></a>", published[:500]} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		whole, err1 := told(strings.NewReader(s))
		parts, err2 := told(iotest.OneByteReader(strings.NewReader(s)))
		if whole != parts || fmt.Sprint(err1) != fmt.Sprint(err2) {
			t.Fatalf("read at once: %v\n%s\nread in bytes: %v\n%s", err1, whole, err2, parts)
		}
	})
}

func FuzzData(f *testing.F) {
	f.Add([]byte("hello"), uint8(3))
	f.Add(bytes.Repeat([]byte{0, 255}, 2_000), uint8(76))
	f.Fuzz(func(t *testing.T, want []byte, width uint8) {
		var text strings.Builder
		for i, c := range base64.StdEncoding.EncodeToString(want) {
			if width > 0 && i%int(width) == 0 {
				text.WriteString("\r\n ")
			}
			text.WriteRune(c)
		}
		s := scan.New(strings.NewReader(answer(success("<m:Data>" + text.String() + "</m:Data>"))))
		if _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %d bytes, %v; want %d", len(got), err, len(want))
		}
	})
}
