package ewstest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/text/encoding/charmap"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// view is an item as one answer shows it.
type view struct {
	m    *exchangetest.Mailbox
	it   exchangetest.Item
	list bool // FindItem: strings are cut, bodies are not there
	sh   *shape
	msg  *fts.Message // the whole item, once it is loaded
}

// load reads the whole item.
func (v *view) load(ctx context.Context) error {
	if v.msg != nil {
		return nil
	}
	r, err := v.it.Stream.Open(ctx)
	if err != nil {
		return fmt.Errorf("open item: %w", err)
	}
	defer func() { _ = r.Close() }()
	v.msg, err = fts.Read(r)
	return err
}

func (v *view) prop(id uint16) any {
	if v.msg != nil && v.it.Properties.Value(id) == nil {
		if p := v.msg.Properties.Value(id); p != nil {
			return p
		}
	}
	switch id {
	case fts.TagEntry, fts.TagRecordKey:
		return itemEntryID(v.m, v.it)
	case fts.TagParentEntry:
		return entryID(v.m, 1, v.it.Folder)
	case fts.TagObjectType:
		return int32(5) // a message
	case fts.TagConversation:
		return v.conversation()
	case fts.TagLastModifierName, fts.TagCreatorName:
		return displayName(v.m.Address)
	}
	return v.m.Property(v.it, id)
}

func (v *view) named(n fts.Name) any {
	if v.msg != nil {
		return v.msg.Properties.Named(n)
	}
	return v.it.Properties.Named(n)
}

func (v *view) extended(x *extended) any {
	if x.name != nil {
		return v.cut(x.fits(v.named(*x.name)))
	}
	if x.tag == fts.TagBody || x.tag == fts.TagHTML || x.tag == fts.TagRTF {
		if v.list && x.tag != fts.TagBody {
			return nil
		}
	}
	return v.cut(x.fits(v.prop(x.tag)))
}

func (v *view) cut(a any) any {
	if v.list {
		return cutList(a)
	}
	return a
}

func (v *view) text(id uint16) string    { s, _ := v.prop(id).(string); return s }
func (v *view) number(id uint16) int32   { n, _ := v.prop(id).(int32); return n }
func (v *view) has(flag int32) bool      { return v.number(fts.TagMessageFlags)&flag != 0 }
func (v *view) time(id uint16) time.Time { t, _ := v.prop(id).(time.Time); return t }

// conversation is the id of MS-OXOMSG 2.2.1.2: from the index when there is one, else from the topic.
func (v *view) conversation() []byte {
	if ix, ok := v.it.Properties.Value(fts.TagConversationIndex).([]byte); ok && len(ix) >= 22 {
		return ix[6:22]
	}
	topic := v.topic()
	if topic == "" {
		return nil
	}
	h := sha256.Sum256([]byte(strings.ToUpper(topic)))
	return h[:16]
}

func (v *view) topic() string {
	if s, ok := v.it.Properties.Value(fts.TagConversationTopic).(string); ok {
		return s
	}
	s := v.text(fts.TagSubject)
	if i := strings.Index(s, ": "); i > 0 && i <= 3 {
		return s[i+2:]
	}
	return s
}

func (v *view) read() bool { return v.has(mailbox.FlagRead) }

// properties of the loaded item, or what the store keeps.
func (v *view) properties() fts.Properties {
	if v.msg != nil {
		return v.msg.Properties
	}
	return v.it.Properties
}

func (v *view) recipients() []fts.Properties {
	if v.msg != nil {
		return v.msg.Recipients
	}
	return v.it.Recipients
}

// htmlBody and textBody return what the item holds.
func htmlBody(ps fts.Properties) string {
	switch h := ps.Value(fts.TagHTML).(type) {
	case []byte:
		if utf8.Valid(h) {
			return string(h)
		}
		s, _ := charmap.Windows1252.NewDecoder().Bytes(h)
		return string(s)
	case string:
		return h
	}
	return ""
}

func textBody(ps fts.Properties) string {
	s, _ := ps.Value(fts.TagBody).(string)
	return s
}

// body returns the body in the form asked for, converted when the item has only the other one.
func body(ps fts.Properties, want string) (kind, text string) {
	h, t := htmlBody(ps), textBody(ps)
	switch {
	case want == "Best" && h == "", want == "Text" && (t != "" || h == ""):
		return "Text", t
	case want == "Text":
		return "Text", plain(h)
	case h == "":
		return "HTML", "<html><body><div>" + strings.ReplaceAll(html.EscapeString(t), "\n", "<br>\n") + "</div></body></html>"
	}
	return "HTML", h
}

// plain is the text of an HTML body.
func plain(h string) string {
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(h))
	skip := 0
	for {
		switch z.Next() {
		case html.ErrorToken:
			return strings.TrimSpace(b.String())
		case html.TextToken:
			if skip == 0 {
				b.Write(z.Text())
			}
		case html.StartTagToken:
			skip += hidden(z)
		case html.EndTagToken:
			skip = max(skip-hidden(z), 0)
		}
	}
}

func hidden(z *html.Tokenizer) int {
	name, _ := z.TagName()
	if s := string(name); s == "style" || s == "script" || s == "title" {
		return 1
	}
	return 0
}

// person is a mailbox in an answer.
type person struct{ name, address, kind string }

func (v *view) person(name, address, kind uint16) *person {
	p := &person{v.text(name), v.text(address), v.text(kind)}
	if p.name == "" && p.address == "" {
		return nil
	}
	return p
}

// to returns the recipients of a kind: 1 To, 2 Cc, 3 Bcc.
func (v *view) to(kind int32) []person {
	var out []person
	for _, r := range v.recipients() {
		if k, _ := r.Value(fts.TagRecipientType).(int32); k&0xF == kind {
			out = append(out, recipient(r))
		}
	}
	return out
}

func recipient(r fts.Properties) person {
	p := person{kind: "SMTP"}
	p.name, _ = r.Value(fts.TagDisplayName).(string)
	if p.address, _ = r.Value(fts.TagSMTPAddress).(string); p.address == "" {
		p.address, _ = r.Value(fts.TagEmailAddress).(string)
		if k, _ := r.Value(fts.TagAddressType).(string); k != "" {
			p.kind = k
		}
	}
	return p
}

func (w *writer) mailbox(p person) {
	w.open("t:Mailbox")
	w.text("t:Name", orText(p.name, p.address))
	if p.address != "" {
		w.text("t:EmailAddress", p.address)
	}
	w.text("t:RoutingType", orText(p.kind, "SMTP"))
	w.text("t:MailboxType", "OneOff")
	w.close("t:Mailbox")
}

func orText(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
