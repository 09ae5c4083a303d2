// Package compose makes FastTransfer messages from what other systems keep: mail in MIME, and folders of it on disk. It
// also makes events, contacts, tasks and sticky notes. Simulators are filled with it; it is no part of a migration.
//
//	read the header block leniently; parse the body's parts
//	first plain and first HTML text   -> bodies
//	message/rfc822                    -> embedded message, by the same rules
//	every other part                  -> attachment
//	anything that was lost in parsing -> the whole mail once more as an attachment "original.eml"
//
// Only what stands between the parts of a multipart body (its preamble and epilogue) is left out, as mail programs do.
package compose

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

const (
	// maxMail is the bytes of one mail. Exchange Online takes messages of 150 MB; base64 and the header make more of it.
	maxMail = 210 << 20
	// maxNested is mails inside mails; deeper ones stay attachments as they are.
	maxNested = 20
)

// Options are what a mail's bytes do not say.
type Options struct {
	Received                       time.Time // when it was delivered; zero takes the newest Received header, else Date
	Read, Flagged, Answered, Draft bool
	Categories                     []string
	Seed                           string // goes into the search key, so that the same bytes can be different items
}

// MIME turns a mail into a message. However awkward, a mail gives a message; the error is that r fails, is empty or has
// more than 210 MiB.
func MIME(r io.Reader, o Options) (*fts.Message, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxMail+1))
	if err != nil {
		return nil, fmt.Errorf("read mail: %w", err)
	}
	if len(raw) == 0 {
		return nil, errors.New("read mail: it is empty")
	}
	if len(raw) > maxMail {
		return nil, fmt.Errorf("read mail: more than %d bytes", maxMail)
	}
	return compose(raw, o, 0), nil
}

func compose(raw []byte, o Options, depth int) *fts.Message {
	block, body := split(raw)
	h := parseHeader(block)
	m := mail{raw: raw, body: body, header: h, options: o, depth: depth}
	m.parse()
	ps := m.envelope()
	ps = append(ps, m.sender()...)
	ps = append(ps, m.bodies()...)
	ps = append(ps, m.state()...)
	ps = append(ps, m.meeting()...)
	return &fts.Message{Properties: ordered(ps), Recipients: m.recipients(), Attachments: numbered(m.attachments)}
}

// mail is one mail on its way to a message.
type mail struct {
	raw, body []byte
	header    header
	options   Options
	depth     int

	class       string
	plain, html *string
	calendar    []byte // of a meeting request
	attachments []fts.Attachment
}

// envelope is what the header says about the mail as a whole.
func (m *mail) envelope() fts.Properties {
	h := m.header
	subject := h.text("Subject")
	prefix, topic := splitSubject(subject)
	ps := fts.Properties{
		fts.Prop(fts.TagMessageClass, cmp.Or(m.class, "IPM.Note")),
		fts.Prop(fts.TagSubject, subject),
		fts.Prop(fts.TagSubjectPrefix, prefix),
		fts.Prop(fts.TagNormalizedSubject, topic),
		fts.Prop(fts.TagConversationTopic, topic),
		fts.Prop(fts.TagConversationIndex, m.conversation(topic)),
		fts.Prop(fts.TagTransportHeaders, h.raw),
		fts.Prop(fts.TagImportance, h.importance()),
		fts.Prop(fts.TagPriority, h.importance()-1),
		fts.Prop(fts.TagSensitivity, h.sensitivity()),
		fts.Prop(fts.TagLocale, int32(1033)),
		fts.Prop(fts.TagMessageCodepage, int32(1252)),
		fts.Prop(fts.TagSearchKey, m.searchKey()),
	}
	for id, name := range map[uint16]string{fts.TagMessageID: "Message-Id", fts.TagReferences: "References", fts.TagInReplyTo: "In-Reply-To"} {
		if v := h.first(name); v != "" {
			ps = append(ps, fts.Prop(id, v))
		}
	}
	return append(ps, m.times()...)
}

func (m *mail) times() (ps fts.Properties) {
	sent := m.header.sent()
	received := m.options.Received
	if received.IsZero() {
		received = m.header.received()
	}
	if received.IsZero() {
		received = sent
	}
	if !sent.IsZero() {
		ps = append(ps, fts.Prop(fts.TagClientSubmitTime, wireTime(sent)))
	}
	if !received.IsZero() {
		for _, id := range []uint16{fts.TagDeliveryTime, fts.TagCreationTime, fts.TagLastModified} {
			ps = append(ps, fts.Prop(id, wireTime(received)))
		}
	}
	return ps
}

// wireTime is t as a stream gives it back.
func wireTime(t time.Time) time.Time {
	return time.Unix(t.Unix(), int64(t.Nanosecond()/100*100)).UTC()
}

func (m *mail) searchKey() []byte {
	sum := sha256.Sum256(append([]byte(m.options.Seed+"\x00"), m.raw...))
	return sum[:16]
}

// conversation is the mail's Thread-Index, else the index of a new conversation (MS-OXOMSG 2.2.1.3): a reserved byte, five
// bytes of time and an identifier made from the topic, so that mails about one topic stand together.
func (m *mail) conversation(topic string) []byte {
	if b := m.header.threadIndex(); b != nil {
		return b
	}
	var ticks uint64
	if sent := m.header.sent(); !sent.IsZero() {
		ticks = uint64(sent.Unix()+11644473600) * 1e7
	}
	b := []byte{1}
	for shift := 48; shift > 8; shift -= 8 {
		b = append(b, byte(ticks>>shift))
	}
	sum := sha256.Sum256([]byte(topic))
	return append(b, sum[:16]...)
}

// state is what the mailbox knows about the mail.
func (m *mail) state() fts.Properties {
	o, flags := m.options, int32(0)
	if o.Read {
		flags |= mailbox.FlagRead
	}
	if o.Draft {
		flags |= mailbox.FlagUnsent
	}
	if len(m.attachments) > 0 {
		flags |= mailbox.FlagHasAttachments
	}
	ps := fts.Properties{fts.Prop(fts.TagMessageFlags, flags)}
	if o.Flagged {
		ps = append(ps, fts.Prop(fts.TagFlagStatus, int32(2)), fts.Prop(fts.TagFollowupIcon, int32(6)),
			fts.Common(fts.LidFlagRequest).Prop("Follow up"))
	}
	if o.Answered {
		ps = append(ps, fts.Prop(fts.TagLastVerb, int32(102)), fts.Prop(fts.TagIconIndex, int32(261)))
	}
	categories := slices.Concat(o.Categories, m.header.keywords())
	if len(categories) > 0 {
		ps = append(ps, fts.Public("Keywords").Prop(categories))
	}
	return ps
}

// bodies are the text of the mail. Native body says which of them is the original.
func (m *mail) bodies() (ps fts.Properties) {
	native := int32(1)
	if m.html != nil {
		native = 3
		ps = append(ps, fts.Prop(fts.TagHTML, []byte(*m.html)))
	}
	if m.plain != nil || m.html == nil {
		ps = append(ps, fts.Prop(fts.TagBody, value(m.plain)))
	}
	return append(ps, fts.Prop(fts.TagNativeBody, native), fts.Prop(fts.TagInternetCodepage, int32(65001)))
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// ordered sorts properties by id, named ones last, as a server exports them.
func ordered(ps fts.Properties) fts.Properties {
	slices.SortStableFunc(ps, func(a, b fts.Property) int { return cmp.Compare(a.ID, b.ID) })
	return ps
}

func numbered(as []fts.Attachment) []fts.Attachment {
	for i := range as {
		as[i].Number = int32(i)
		as[i].Properties = ordered(as[i].Properties)
	}
	return as
}
