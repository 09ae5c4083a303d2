package compose

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

var version = fts.Version{Major: 15, Minor: 2, Build: 1544, Revision: 9}

// survives writes, reads and summarises m, which must come back as it was.
func survives(t testing.TB, m *fts.Message) fts.Summary {
	t.Helper()
	var b bytes.Buffer
	if err := fts.Write(&b, m, version); err != nil {
		t.Fatal(err)
	}
	got, err := fts.Read(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, m) {
		t.Fatalf("read back\n%+v\nwant\n%+v", got, m)
	}
	s, err := fts.Summarize(&b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func convert(t testing.TB, raw string, o Options) *fts.Message {
	t.Helper()
	m, err := MIME(strings.NewReader(raw), o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func TestAMailBecomesAMessage(t *testing.T) {
	t.Parallel()
	raw := crlf(`Return-Path: <ada@example.org>
Received: from b.example.org by c.example.org; Fri, 1 Mar 2024 10:00:05 +0100
Received: from a.example.org by b.example.org; Fri, 1 Mar 2024 10:00:01 +0100
From: =?utf-8?q?Ada_Byr=C3=B3n?= <ada@example.org>
Sender: office@example.org
To: Bo <bo@example.org>, "Cy, Dr." <cy@example.org>
Cc: di@example.org
Bcc: Eve <eve@example.org>
Subject: Re: =?iso-8859-1?q?Gr=FC=DFe?=
Date: Fri, 1 Mar 2024 09:59:00 +0100
Message-ID: <1@example.org>
In-Reply-To: <0@example.org>
References: <00@example.org>
 <0@example.org>
Importance: High
Keywords: red, blue
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=outer

--outer
Content-Type: multipart/related; boundary=inner

--inner
Content-Type: multipart/alternative; boundary=text

--text
Content-Type: text/plain; charset=utf-8

plain ü
--text
Content-Type: text/html; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

<p>=FC</p><img src=3D"cid:pic@1">
--text--
--inner
Content-Type: image/png
Content-ID: <pic@1>
Content-Transfer-Encoding: base64

iVBORw0KGgo=
--inner--
--outer
Content-Type: application/pdf; name="C:\docs\report.final.pdf"
Content-Disposition: attachment
Content-Transfer-Encoding: base64

JVBERi0=
--outer
Content-Type: message/rfc822

From: zoe@example.org
Subject: inner

deep
--outer--
`)
	o := Options{Read: true, Flagged: true, Answered: true, Categories: []string{"Mine"}}
	m := convert(t, raw, o)
	s := survives(t, m)
	ps := m.Properties
	for id, want := range map[uint16]any{
		fts.TagMessageClass:         "IPM.Note",
		fts.TagSubject:              "Re: Grüße",
		fts.TagSubjectPrefix:        "Re: ",
		fts.TagNormalizedSubject:    "Grüße",
		fts.TagConversationTopic:    "Grüße",
		fts.TagSentRepresentingName: "Ada Byrón", fts.TagSentRepresentingEmail: "ada@example.org",
		fts.TagSenderName: "office@example.org", fts.TagSenderEmail: "office@example.org",
		fts.TagMessageID: "<1@example.org>", fts.TagInReplyTo: "<0@example.org>", fts.TagReferences: "<00@example.org> <0@example.org>",
		fts.TagClientSubmitTime: time.Date(2024, 3, 1, 8, 59, 0, 0, time.UTC),
		fts.TagDeliveryTime:     time.Date(2024, 3, 1, 9, 0, 5, 0, time.UTC),
		fts.TagImportance:       int32(2), fts.TagPriority: int32(1),
		fts.TagBody: "plain ü", fts.TagHTML: []byte(`<p>ü</p><img src="cid:pic@1">`),
		fts.TagNativeBody: int32(3), fts.TagInternetCodepage: int32(65001),
		fts.TagMessageFlags: int32(0x11), fts.TagFlagStatus: int32(2), fts.TagLastVerb: int32(102),
		fts.TagTransportHeaders: raw[:strings.Index(raw, "\r\n\r\n")+2],
	} {
		if got := ps.Value(id); !reflect.DeepEqual(got, want) {
			t.Errorf("property 0x%04X is %#v, want %#v", id, got, want)
		}
	}
	if got := ps.Named(fts.Public("Keywords")); !reflect.DeepEqual(got, []string{"Mine", "red", "blue"}) {
		t.Errorf("categories %v", got)
	}
	if s.To != "Bo; Cy, Dr." || s.Cc != "di@example.org" || s.Bcc != "Eve" || len(s.SearchKey) != 16 {
		t.Errorf("summary %+v", s)
	}
	if got := files(m); !slices.Equal(got, []string{"attachment.png 8 hidden", "report.final.pdf 5", "inner.msg message"}) {
		t.Errorf("attachments %q", got)
	}
	if in := m.Attachments[2].Embedded; in.Properties.Value(fts.TagBody) != "deep" || in.Properties.Value(fts.TagSenderEmail) != "zoe@example.org" {
		t.Errorf("embedded %+v", in)
	}
}

// files lists attachments as name and size or kind.
func files(m *fts.Message) (list []string) {
	for _, a := range m.Attachments {
		name := a.Properties.Value(fts.TagAttachLongFilename)
		data, _ := a.Properties.Value(fts.TagAttachData).([]byte)
		switch {
		case a.Embedded != nil:
			list = append(list, fmt.Sprintf("%v message", name))
		case a.Properties.Value(fts.TagAttachmentHidden) == true:
			list = append(list, fmt.Sprintf("%v %d hidden", name, len(data)))
		default:
			list = append(list, fmt.Sprintf("%v %d", name, len(data)))
		}
	}
	return list
}

func TestClasses(t *testing.T) {
	t.Parallel()
	signed := "Content-Type: multipart/signed; boundary=b; protocol=\"application/pkcs7-signature\"\n\n--b\nContent-Type: text/plain\n\nhi\n" +
		"--b\nContent-Type: application/pkcs7-signature; name=smime.p7s\n\nsig\n--b--\n"
	request := "From: a@example.org\nDate: Fri, 1 Mar 2024 10:00:00 +0000\nContent-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\nhi\n" +
		"--b\nContent-Type: text/calendar; method=REQUEST\n\nBEGIN:VCALENDAR\nMETHOD:REQUEST\nBEGIN:VEVENT\nUID:u1\nDTSTART:20240301T100000Z\n" +
		"DTEND:20240301T113000Z\nLOCATION:Room 1\\, left\nEND:VEVENT\nEND:VCALENDAR\n--b--\n"
	for _, test := range []struct {
		name, raw, class string
		files            []string
	}{
		{"plain", "Subject: x\n\nhi\n", "IPM.Note", nil},
		{"signed", signed, "IPM.Note.SMIME.MultipartSigned", []string{fmt.Sprintf("smime.p7m %d", len(signed)+2)}},
		{"encrypted", "Content-Type: application/pkcs7-mime; name=smime.p7m\nContent-Transfer-Encoding: base64\n\nAAEC\n",
			"IPM.Note.SMIME", []string{"smime.p7m 3"}},
		{"request", request, "IPM.Schedule.Meeting.Request", []string{"attachment.ics 146"}},
		{"signed request", strings.Replace(request, "multipart/alternative", "multipart/signed", 1), "IPM.Note.SMIME.MultipartSigned", nil},
		{"publication", strings.ReplaceAll(request, "REQUEST", "PUBLISH"), "IPM.Note", []string{"attachment.ics 146"}},
	} {
		m := convert(t, test.raw, Options{})
		s := survives(t, m)
		if s.Class != test.class || test.files != nil && !slices.Equal(files(m), test.files) {
			t.Errorf("%s: class %s, attachments %q", test.name, s.Class, files(m))
		}
	}
	ps := convert(t, request, Options{}).Properties
	if got := ps.Named(fts.Appointment(fts.LidLocation)); got != "Room 1, left" {
		t.Errorf("location %v", got)
	}
	if got := ps.Named(fts.Appointment(fts.LidDuration)); got != int32(90) {
		t.Errorf("duration %v", got)
	}
}

// Awkward mail gives a message that still holds what the mail held.
func TestAwkwardMail(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, raw string
		subject   string
		body      string
		files     []string
	}{
		{"no header", "just text\n\nmore\n", "", "just text\n\nmore\n", nil},
		{"empty header", "\nbody\n", "", "body\n", nil},
		{"header only", "Subject: x\n", "x", "", nil},
		{"header without end", "Subject: x", "x", "", nil},
		{"one byte", "x", "", "x", nil},
		{"envelope line", "From a@example.org Fri Mar  1 10:00:00 2024\nSubject: x\n\nbody\n", "x", "body\n", nil},
		{"bad date", "Subject: x\nDate: tomorrow\n\nbody\n", "x", "body\n", nil},
		{"NULs", "Subject: a\x00b\n\nc\x00d\n", "a\x00b", "c\x00d\n", nil},
		{"raw latin-1", "Subject: Gr\xFC\xDFe\n\nb\xF6dy\n", "Grüße", "bödy\n", nil},
		{"unknown charset", "Subject: =?x-none?q?a?=\nContent-Type: text/plain; charset=x-none\n\nb\xF6dy\n", "=?x-none?q?a?=", "bödy\n", nil},
		{"no boundary", "Subject: x\nContent-Type: multipart/mixed\n\n--b\n\nbody\n", "x", "--b\n\nbody\n", nil},
		{"wrong boundary", "Subject: x\nContent-Type: multipart/mixed; boundary=c\n\n--b\n\nbody\n", "x", "--b\n\nbody\n", nil},
		{"cut boundary", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nbody\n", "", "body\n", nil},
		{"not indented", "Subject: x\nfolded\n\nbody\n", "x folded", "body\n", nil},
		{"bad content type", "Subject: x\nContent-Type: ;;;\n\nbody\n", "x", "body\n", nil},
		{"indented first field", " Subject: x\nTo: a@example.org\n\nbody\n", "x", "body\n", nil},
		{"two texts", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo\n--b--\n", "", "one", []string{"attachment.txt 3"}},
		{"unreadable nested mail", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\nContent-Type: message/rfc822\n\n\n--b--\n", "", "one", nil},
	} {
		m := convert(t, test.raw, Options{})
		s := survives(t, m)
		body, _ := m.Properties.Value(fts.TagBody).(string)
		if s.Subject != test.subject || strings.ReplaceAll(body, "\r", "") != test.body || test.files != nil && !slices.Equal(files(m), test.files) {
			t.Errorf("%s: subject %q, body %q, attachments %q", test.name, s.Subject, body, files(m))
		}
	}
}

func TestMailThatIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := MIME(strings.NewReader(""), Options{}); err == nil {
		t.Error("an empty mail was taken")
	}
	lost := errors.New("lost")
	if _, err := MIME(iotest.ErrReader(lost), Options{}); !errors.Is(err, lost) {
		t.Errorf("a reader's error became %v", err)
	}
	if _, err := MIME(io.LimitReader(zeros{}, maxMail+1), Options{}); err == nil {
		t.Error("a mail of 210 MiB was taken")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestMailsInsideMailsEnd(t *testing.T) {
	t.Parallel()
	raw := "Subject: in\n\nend\n"
	for i := range 40 {
		raw = fmt.Sprintf("Subject: %d\nContent-Type: message/rfc822\n\n%s", i, raw)
	}
	m, depth := convert(t, raw, Options{}), 0
	survives(t, m)
	for len(m.Attachments) > 0 && m.Attachments[0].Embedded != nil {
		m, depth = m.Attachments[0].Embedded, depth+1
	}
	if depth != maxNested || len(m.Attachments) != 1 {
		t.Errorf("depth %d, then %q", depth, files(m))
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		list string
		want []Address
	}{
		{"a@example.org", []Address{{"", "a@example.org"}}},
		{`"Last, First" <a@example.org>, b@example.org`, []Address{{"Last, First", "a@example.org"}, {"", "b@example.org"}}},
		{"=?utf-8?b?xb0=?= <z@example.org>", []Address{{"Ž", "z@example.org"}}},
		{"undisclosed-recipients:;", nil},
		{"Friends: a@example.org, b@example.org;", []Address{{"", "a@example.org"}, {"", "b@example.org"}}},
		{"Postmaster", []Address{{"Postmaster", ""}}},
		{"<broken@@example..org>; two@example.org", []Address{{"", "broken@@example..org"}, {"two@example.org", "two@example.org"}}},
		{"", nil},
	} {
		if got := parseHeader([]byte("To: " + test.list + "\n")).addresses("To"); !slices.Equal(got, test.want) {
			t.Errorf("%q: %+v, want %+v", test.list, got, test.want)
		}
	}
}

func TestSubjectPrefix(t *testing.T) {
	t.Parallel()
	for subject, want := range map[string]string{"Re: x": "Re: ", "WG: x": "WG: ", "Antw: x": "", "x": "", "Re:x": "", "1: x": "", "": "", "Ré: x": "Ré: "} {
		if got, rest := splitSubject(subject); got != want || got+rest != subject {
			t.Errorf("%q: prefix %q, rest %q", subject, got, rest)
		}
	}
}

func TestDates(t *testing.T) {
	t.Parallel()
	want := time.Date(2024, 3, 1, 9, 0, 0, 0, time.UTC)
	for s, ok := range map[string]bool{
		"Fri, 1 Mar 2024 10:00:00 +0100 (CET)": true,
		"1 Mar 2024 09:00 GMT":                 true,
		"2024-03-01T09:00:00Z":                 true,
		"Fri Mar  1 09:00:00 2024":             true,
		"Fri, 1 Mar 1300 10:00:00 +0100":       false,
		"yesterday":                            false,
		"":                                     false,
	} {
		if got := parseDate(s); got.Equal(want) != ok || !ok && !got.IsZero() {
			t.Errorf("%q is %v", s, got)
		}
	}
}

func TestOneOffEntryID(t *testing.T) {
	t.Parallel()
	b := Address{"Bo", "b@x.org"}.oneOff()
	want := "\x00\x00\x00\x00\x81\x2B\x1F\xA4\xBE\xA3\x10\x19\x9D\x6E\x00\xDD\x01\x0F\x54\x02\x00\x00\x01\x90" +
		"B\x00o\x00\x00\x00S\x00M\x00T\x00P\x00\x00\x00b\x00@\x00x\x00.\x00o\x00r\x00g\x00\x00\x00"
	if string(b) != want {
		t.Errorf("entry id % x", b)
	}
}

func TestOptionsDecideOverTheHeader(t *testing.T) {
	t.Parallel()
	at := time.Date(2020, 1, 2, 3, 4, 5, 600, time.UTC)
	raw := "Received: x; Fri, 1 Mar 2024 10:00:05 +0100\nDate: Fri, 1 Mar 2024 10:00:00 +0100\n\nhi\n"
	one, two := convert(t, raw, Options{Received: at, Draft: true}), convert(t, raw, Options{Seed: "2"})
	if got := one.Properties.Value(fts.TagDeliveryTime); got != at {
		t.Errorf("received %v", got)
	}
	if got := one.Properties.Value(fts.TagMessageFlags); got != int32(8) {
		t.Errorf("flags %v", got)
	}
	if reflect.DeepEqual(one.Properties.Value(fts.TagSearchKey), two.Properties.Value(fts.TagSearchKey)) {
		t.Error("the seed does not change the search key")
	}
}

func TestPropertiesAreInOrder(t *testing.T) {
	t.Parallel()
	m := convert(t, "Subject: x\nTo: a@example.org\nKeywords: k\n\nhi\n", Options{Flagged: true})
	inOrder := func(a, b fts.Property) int { return int(a.ID) - int(b.ID) }
	if !slices.IsSortedFunc(m.Properties, inOrder) {
		t.Error("properties are not sorted by id")
	}
}

// realMail is the directory of mails that the MIME parser is tested with.
func realMail(t testing.TB) string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/jhillyerd/enmime/v2").Output()
	dir := filepath.Join(strings.TrimSpace(string(out)), "testdata")
	if _, statErr := os.Stat(dir); err != nil || statErr != nil {
		t.Skip("the mails of github.com/jhillyerd/enmime/v2 are not here")
	}
	return dir
}

// The golden file was read by a person beside the mails.
func TestRealMail(t *testing.T) {
	t.Parallel()
	dir := realMail(t)
	var got strings.Builder
	for _, sub := range []string{"low-quality", "mail", "parts"} {
		paths, _ := filepath.Glob(filepath.Join(dir, sub, "*.raw"))
		for _, path := range paths {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			m := convert(t, string(raw), Options{})
			s := survives(t, m)
			html, _ := m.Properties.Value(fts.TagHTML).([]byte)
			body, _ := m.Properties.Value(fts.TagBody).(string)
			fmt.Fprintf(&got, "%s/%s\t%s\t%q\t%q\t%q\tplain %d\thtml %d\t%q\n", sub, filepath.Base(path), s.Class, s.Subject,
				s.Sender, s.To, len(body), len(html), files(m))
		}
	}
	want, err := os.ReadFile("testdata/enmime.tsv")
	if err != nil || got.String() != string(want) {
		t.Errorf("%v, converted:\n%s", err, got.String())
	}
}

func FuzzMIME(f *testing.F) {
	f.Add([]byte("Subject: x\nDate: Fri, 1 Mar 2024 10:00:00 +0100\nTo: a@b, c <d@e>\n\nhi\n"), "seed")
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\nContent-Type: message/rfc822\n\nSubject: in\n\n--b--\n"), "")
	f.Add([]byte("From x\nContent-Type: multipart/signed; boundary=\"b\"\n\n--b\nContent-Type: text/html; charset=x\n\n\xFF<p>\n--b--\n"), "")
	f.Add([]byte("Content-Type: text/calendar; method=request\nDate: x\n\nBEGIN:VEVENT\nUID:1\nDTSTART:20240301T100000Z\nDTEND:00010101T000000Z\n"), "")
	f.Fuzz(func(t *testing.T, raw []byte, seed string) {
		m, err := MIME(bytes.NewReader(raw), Options{Seed: seed})
		if err != nil {
			if len(raw) > 0 {
				t.Fatal(err)
			}
			return
		}
		survives(t, m)
	})
}

func TestItems(t *testing.T) {
	t.Parallel()
	start := time.Date(2024, 5, 2, 9, 0, 0, 0, time.UTC)
	person := Address{"Bo", "bo@example.org"}
	event := Event(EventOptions{UID: "1", Subject: "Plan", Location: "Room", Body: "b", Start: start, End: start.Add(time.Hour), Busy: 2,
		Organizer: Address{"Ada", "ada@example.org"}, Attendees: []Address{person}, Reminder: 15 * time.Minute, Categories: []string{"c"}})
	contact := Contact(ContactOptions{Given: "Ada", Surname: "Byron", Email: "ada@example.org", City: "London", Birthday: start, Photo: []byte("jpeg")})
	task := Task(TaskOptions{Subject: "Do", Due: start, Percent: 50, Importance: 2, Created: start})
	note := Note(NoteOptions{Text: "first\r\nsecond", Color: 3, Created: start})
	for _, test := range []struct {
		m                      *fts.Message
		class, subject         string
		recipients, attachment int
	}{
		{event, "IPM.Appointment", "Plan", 1, 0},
		{contact, "IPM.Contact", "Ada Byron", 0, 1},
		{task, "IPM.Task", "Do", 0, 0},
		{note, "IPM.StickyNote", "first", 0, 0},
		{Event(EventOptions{}), "IPM.Appointment", "", 0, 0},
	} {
		s := survives(t, test.m)
		if s.Class != test.class || s.Subject != test.subject || s.Recipients != test.recipients || s.Attachments != test.attachment || len(s.SearchKey) != 16 {
			t.Errorf("summary %+v", s)
		}
	}
	for _, test := range []struct {
		m    *fts.Message
		name fts.Name
		want any
	}{
		{event, fts.Appointment(fts.LidStartWhole), start},
		{event, fts.Appointment(fts.LidEndWhole), start.Add(time.Hour)},
		{event, fts.Appointment(fts.LidDuration), int32(60)},
		{event, fts.Appointment(fts.LidBusyStatus), int32(2)},
		{event, fts.Common(fts.LidReminderDelta), int32(15)},
		{event, fts.Appointment(fts.LidStateFlags), int32(1)},
		{contact, fts.Address(fts.LidEmail1Address), "ada@example.org"},
		{contact, fts.Address(fts.LidFileUnder), "Byron, Ada"},
		{task, fts.Task(fts.LidPercentComplete), 0.5},
		{task, fts.Task(fts.LidTaskDueDate), start},
		{note, fts.Note(fts.LidNoteColor), int32(3)},
	} {
		if got := test.m.Properties.Named(test.name); !reflect.DeepEqual(got, test.want) {
			t.Errorf("number 0x%X is %v, want %v", test.name.LID, got, test.want)
		}
	}
	id := event.Properties.Named(fts.Meeting(fts.LidGlobalObject)).([]byte)
	if len(id) != 56 || binary.LittleEndian.Uint32(id[36:]) != 16 {
		t.Errorf("global object id % x", id)
	}
}
