package ewstest

import (
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// embedded is an item that lives in another one: enough of a store's item for a view.
func embedded(v *view, m *fts.Message) exchangetest.Item {
	it := exchangetest.Item{ID: v.it.ID, Folder: v.it.Folder, Created: v.it.Created, Modified: v.it.Modified, Properties: m.Properties, Recipients: m.Recipients, Attachments: len(m.Attachments)}
	it.Summary.Class, _ = m.Properties.Value(fts.TagMessageClass).(string)
	it.Summary.Subject, _ = m.Properties.Value(fts.TagSubject).(string)
	it.Summary.Properties.Attachments = len(m.Attachments) > 0
	return it
}

// mimeWriter makes MIME of a message. Boundaries are counted: the same item gives the same bytes.
type mimeWriter struct {
	w     io.Writer
	depth string
	count int
}

// writeMIMEOf writes what Exchange would convert a message to: the transport headers when the item has them, else
// headers made of its properties; both bodies; the attachments. Meeting requests have iCalendar within.
func writeMIMEOf(m *fts.Message, w io.Writer) { (&mimeWriter{w: w, depth: "x"}).message(m) }

func (o *mimeWriter) line(format string, args ...any) {
	_, _ = fmt.Fprintf(o.w, format+"\r\n", args...)
}

func (o *mimeWriter) message(m *fts.Message) {
	if block, _ := m.Properties.Value(fts.TagTransportHeaders).(string); block != "" {
		o.transportHeaders(block)
	} else {
		o.headers(m)
	}
	o.line("MIME-Version: 1.0")
	o.content(m)
}

// transportHeaders repeats what the mail came with, except for what describes its old body.
func (o *mimeWriter) transportHeaders(block string) {
	for _, l := range headerLines(block) {
		name, _, ok := strings.Cut(l, ":")
		n := strings.ToLower(name)
		if !ok || strings.HasPrefix(n, "content-") || n == "mime-version" {
			continue
		}
		o.line("%s", fold(l))
	}
}

func (o *mimeWriter) headers(m *fts.Message) {
	text := func(id uint16) string { s, _ := m.Properties.Value(id).(string); return s }
	header := func(name, value string) {
		if value != "" {
			o.line("%s: %s", name, value)
		}
	}
	header("From", addressOf(text(fts.TagSentRepresentingName), text(fts.TagSentRepresentingEmail)))
	if text(fts.TagSenderEmail) != text(fts.TagSentRepresentingEmail) {
		header("Sender", addressOf(text(fts.TagSenderName), text(fts.TagSenderEmail)))
	}
	for i, name := range []string{"To", "Cc", "Bcc"} {
		header(name, addressList(m.Recipients, int32(i+1)))
	}
	header("Subject", mime.QEncoding.Encode("utf-8", text(fts.TagSubject)))
	if t, ok := m.Properties.Value(fts.TagClientSubmitTime).(time.Time); ok {
		header("Date", t.UTC().Format("Mon, 2 Jan 2006 15:04:05 -0700"))
	}
	header("Message-ID", text(fts.TagMessageID))
	header("In-Reply-To", text(fts.TagInReplyTo))
	header("References", text(fts.TagReferences))
	if n, ok := m.Properties.Value(fts.TagImportance).(int32); ok && n != 1 {
		header("Importance", map[int32]string{0: "low", 2: "high"}[n])
	}
}

func addressList(recipients []fts.Properties, kind int32) string {
	var list []string
	for _, r := range recipients {
		if k, _ := r.Value(fts.TagRecipientType).(int32); k&0xF == kind {
			p := recipient(r)
			list = append(list, addressOf(p.name, p.address))
		}
	}
	return strings.Join(list, ",\r\n\t")
}

func addressOf(name, address string) string {
	switch {
	case address == "":
		return mime.QEncoding.Encode("utf-8", name)
	case name == "" || name == address:
		return "<" + address + ">"
	}
	q := mime.QEncoding.Encode("utf-8", name)
	if q == name {
		q = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	}
	return q + " <" + address + ">"
}

// fold breaks a long header line at spaces.
func fold(l string) string {
	var b strings.Builder
	col := 0
	for i, w := range strings.Split(l, " ") {
		if i > 0 {
			if col > 0 && col+len(w) > 76 {
				b.WriteString("\r\n ")
				col = 1
			} else {
				b.WriteByte(' ')
				col++
			}
		}
		b.WriteString(w)
		col += len(w)
	}
	return b.String()
}

func (o *mimeWriter) boundary() string {
	o.count++
	return fmt.Sprintf("_%03d_%s_", o.count, o.depth)
}

// multi writes a multipart of that kind around parts.
func (o *mimeWriter) multi(kind string, parts ...func()) {
	b := o.boundary()
	o.line("Content-Type: multipart/%s;\r\n\tboundary=\"%s\"\r\n", kind, b)
	for _, p := range parts {
		o.line("--%s", b)
		p()
	}
	o.line("--%s--\r\n", b)
}

// content writes the headers and the text of the whole body.
func (o *mimeWriter) content(m *fts.Message) {
	var inline, files []func()
	for i := range m.Attachments {
		a := &m.Attachments[i]
		cid, _ := a.Properties.Value(fts.TagAttachContentID).(string)
		part := func() { o.attachment(a) }
		if cid != "" && a.Embedded == nil && htmlBody(m.Properties) != "" {
			inline = append(inline, part)
		} else {
			files = append(files, part)
		}
	}
	body := func() { o.bodies(m) }
	if len(inline) > 0 {
		bare := body
		body = func() { o.multi("related", append([]func(){bare}, inline...)...) }
	}
	if len(files) > 0 {
		o.multi("mixed", append([]func(){body}, files...)...)
		return
	}
	body()
}

func (o *mimeWriter) bodies(m *fts.Message) {
	var parts []func()
	t, h, cal := textBody(m.Properties), htmlBody(m.Properties), calendarBody(m)
	if t != "" || h == "" {
		parts = append(parts, func() { o.text("plain", t) })
	}
	if h != "" {
		parts = append(parts, func() { o.text("html", h) })
	}
	if cal != "" {
		parts = append(parts, func() { o.text("calendar; method=REQUEST", cal) })
	}
	if len(parts) == 1 {
		parts[0]()
		return
	}
	o.multi("alternative", parts...)
}

func (o *mimeWriter) text(kind, s string) {
	o.line("Content-Type: text/%s; charset=\"utf-8\"\r\nContent-Transfer-Encoding: quoted-printable\r\n", kind)
	q := quotedprintable.NewWriter(o.w)
	_, _ = io.WriteString(q, strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n"))
	_ = q.Close()
	o.line("")
}

func (o *mimeWriter) attachment(a *fts.Attachment) {
	if a.Embedded != nil {
		o.line("Content-Type: message/rfc822\r\nContent-Disposition: attachment\r\n")
		o.count++
		inner := &mimeWriter{w: o.w, depth: fmt.Sprintf("%s%d", o.depth, o.count)}
		inner.message(a.Embedded)
		o.line("")
		return
	}
	kind, _ := a.Properties.Value(fts.TagAttachMimeTag).(string)
	name := mime.QEncoding.Encode("utf-8", strings.NewReplacer("\r", "", "\n", "", `"`, "'").Replace(attachmentName(a)))
	o.line("Content-Type: %s; name=\"%s\"", orText(kind, "application/octet-stream"), name)
	disposition := "attachment"
	if cid, _ := a.Properties.Value(fts.TagAttachContentID).(string); cid != "" {
		disposition = "inline"
		o.line("Content-ID: <%s>", strings.Trim(cid, "<>"))
	}
	o.line("Content-Disposition: %s; filename=\"%s\"\r\nContent-Transfer-Encoding: base64\r\n", disposition, name)
	b, _ := a.Properties.Value(fts.TagAttachData).([]byte)
	o.base64(b)
}

func (o *mimeWriter) base64(b []byte) {
	for len(b) > 0 {
		n := min(57, len(b))
		o.line("%s", base64.StdEncoding.EncodeToString(b[:n]))
		b = b[n:]
	}
	o.line("")
}
