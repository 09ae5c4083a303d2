package compose

import (
	"bytes"
	"cmp"
	"fmt"
	"mime"
	"path"
	"strings"

	"github.com/jhillyerd/enmime/v2"

	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// parse reads the body's parts into bodies and attachments. A body that has no readable structure is one plain text.
func (m *mail) parse() {
	root, err := m.parts()
	if err != nil {
		body := text(m.body)
		m.plain = &body
		m.keepOriginal()
		return
	}
	if root.FirstChild == nil && strings.HasPrefix(root.ContentType, "multipart/") {
		body := text(m.body) // no boundary was found
		m.plain = &body
		return
	}
	m.secure(root)
	m.walk(root)
	m.settleInline()
	if lost(root) {
		m.keepOriginal()
	}
}

// parts parses the body. The parser sees only the fields that describe it: the rest of the header is ours to read.
func (m *mail) parts() (*enmime.Part, error) {
	var b bytes.Buffer
	for _, name := range []string{"Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "Content-Id", "Content-Location"} {
		if v := m.header.first(name); v != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", name, v)
		}
	}
	b.WriteString("\r\n")
	b.Write(m.body)
	parser := enmime.NewParser(enmime.DisableTextConversion(true), enmime.DisableCharacterDetection(true),
		enmime.MultipartWOBoundaryAsSinglePart(true))
	return parser.ReadParts(&b)
}

// lost says whether the parser dropped something, or a text has characters that its declared character set does not have.
func lost(p *enmime.Part) bool {
	for ; p != nil; p = p.NextSibling {
		if strings.HasPrefix(p.ContentType, "text/") && bytes.Contains(p.Content, []byte("\uFFFD")) {
			return true
		}
		for _, err := range p.Errors {
			if err.Severe {
				return true
			}
		}
		if lost(p.FirstChild) {
			return true
		}
	}
	return false
}

func (m *mail) keepOriginal() {
	m.attachments = append(m.attachments, file("original.eml", "message/rfc822", m.raw))
}

// secure marks signed and encrypted mail, whose one attachment holds the body as it was (MS-OXOSMIME 2.1.3).
func (m *mail) secure(root *enmime.Part) {
	switch root.ContentType {
	case "multipart/signed":
		m.class = "IPM.Note.SMIME.MultipartSigned"
		whole := fmt.Appendf(nil, "Content-Type: %s\r\n\r\n%s", m.header.first("Content-Type"), m.body)
		m.attachments = append(m.attachments, file("smime.p7m", "multipart/signed", whole))
	case "application/pkcs7-mime", "application/x-pkcs7-mime":
		m.class = "IPM.Note.SMIME"
	}
}

// walk sorts a part and what is below it into bodies and attachments.
func (m *mail) walk(p *enmime.Part) {
	if p.FirstChild != nil {
		for c := p.FirstChild; c != nil; c = c.NextSibling {
			m.walk(c)
		}
		return
	}
	if m.asBody(p) {
		return
	}
	if m.class == "IPM.Note.SMIME.MultipartSigned" { // its files are inside its one attachment
		return
	}
	if len(p.Content) == 0 && p.FileName == "" && p.Parent != nil { // what a bad boundary leaves behind
		return
	}
	m.attachments = append(m.attachments, m.attachment(p))
}

// asBody takes the first plain and the first HTML text that is not a file as the bodies.
func (m *mail) asBody(p *enmime.Part) bool {
	if isRequest(p) && m.calendar == nil && m.class == "" {
		m.class, m.calendar = "IPM.Schedule.Meeting.Request", p.Content
		return false
	}
	if p.Disposition == "attachment" || p.FileName != "" {
		return false
	}
	content := text(p.Content)
	switch {
	case p.ContentType == "text/html" && m.html == nil:
		m.html = &content
	case (p.ContentType == "text/plain" || p.ContentType == "") && m.plain == nil:
		m.plain = &content
	default:
		return false
	}
	return true
}

func isRequest(p *enmime.Part) bool {
	return p.ContentType == "text/calendar" && strings.EqualFold(p.ContentTypeParams["method"], "REQUEST") ||
		p.ContentType == "text/calendar" && bytes.Contains(p.Content, []byte("METHOD:REQUEST"))
}

func (m *mail) attachment(p *enmime.Part) fts.Attachment {
	if p.ContentType == "message/rfc822" && m.depth < maxNested && len(p.Content) > 0 {
		return embedded(compose(p.Content, Options{Read: true}, m.depth+1))
	}
	a := file(cmp.Or(fileName(p), "attachment"+extension(p.ContentType)), p.ContentType, p.Content)
	if p.ContentID != "" {
		a.Properties.Set(fts.Prop(fts.TagAttachContentID, text([]byte(p.ContentID))))
	}
	if v := p.Header.Get("Content-Location"); v != "" {
		a.Properties.Set(fts.Prop(fts.TagAttachContentLocation, text([]byte(v))))
	}
	return a
}

// fileName is the name of a part without the folders that some senders leave in it.
func fileName(p *enmime.Part) string {
	name := strings.ReplaceAll(text([]byte(p.FileName)), `\`, "/")
	return strings.TrimSpace(name[strings.LastIndexByte(name, '/')+1:])
}

// extension returns a usual file extension of a content type.
func extension(contentType string) string {
	switch contentType {
	case "text/plain", "":
		return ".txt"
	case "text/html":
		return ".html"
	case "text/calendar":
		return ".ics"
	case "message/rfc822":
		return ".eml"
	case "application/pkcs7-mime", "application/x-pkcs7-mime":
		return ".p7m"
	case "image/jpeg":
		return ".jpg"
	}
	if all, err := mime.ExtensionsByType(contentType); err == nil && len(all) > 0 {
		return all[0]
	}
	return ".dat"
}

// file makes an attachment by value.
func file(name, contentType string, content []byte) fts.Attachment {
	ext := path.Ext(name)
	ps := fts.Properties{
		fts.Prop(fts.TagAttachMethod, int32(1)),
		fts.Prop(fts.TagDisplayName, name),
		fts.Prop(fts.TagAttachLongFilename, name),
		fts.Prop(fts.TagAttachFilename, shortName(name, ext)),
		fts.Prop(fts.TagAttachExtension, ext),
		fts.Prop(fts.TagRenderingPosition, int32(-1)),
		fts.Prop(fts.TagAttachFlags, int32(0)),
		fts.Prop(fts.TagAttachmentHidden, false),
		fts.Prop(fts.TagAttachSize, int32(len(content))),
		fts.Prop(fts.TagAttachData, append([]byte{}, content...)),
	}
	if contentType != "" {
		ps = append(ps, fts.Prop(fts.TagAttachMimeTag, text([]byte(contentType))))
	}
	return fts.Attachment{Properties: ps}
}

// shortName is the name in eight characters and an extension of three.
func shortName(name, ext string) string {
	cut := func(s string, n int) string {
		r := []rune(s)
		return string(r[:min(n, len(r))])
	}
	return cut(strings.TrimSuffix(name, ext), 8) + cut(ext, 4)
}

// embedded makes an attachment that is a message.
func embedded(m *fts.Message) fts.Attachment {
	name, _ := m.Properties.Value(fts.TagSubject).(string)
	return fts.Attachment{Embedded: m, Properties: fts.Properties{
		fts.Prop(fts.TagAttachMethod, int32(5)),
		fts.Prop(fts.TagDisplayName, name),
		fts.Prop(fts.TagAttachLongFilename, name+".msg"),
		fts.Prop(fts.TagAttachExtension, ".msg"),
		fts.Prop(fts.TagAttachMimeTag, "message/rfc822"),
		fts.Prop(fts.TagRenderingPosition, int32(-1)),
		fts.Prop(fts.TagAttachFlags, int32(0)),
		fts.Prop(fts.TagAttachmentHidden, false),
	}}
}

// settleInline hides the files that the HTML body shows.
func (m *mail) settleInline() {
	if m.html == nil {
		return
	}
	for _, a := range m.attachments {
		id, _ := a.Properties.Value(fts.TagAttachContentID).(string)
		if id != "" && strings.Contains(*m.html, "cid:"+id) {
			a.Properties.Set(fts.Prop(fts.TagAttachFlags, int32(4)))
			a.Properties.Set(fts.Prop(fts.TagAttachmentHidden, true))
		}
	}
}
