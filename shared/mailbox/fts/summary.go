package fts

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// Summary is what one pass over a stream says about its item.
type Summary struct {
	mailbox.Properties
	Framing
	Recipients  int
	Attachments int
	// Digest is a SHA-256 over everything in the item but what a server may change on import (see volatile.go).
	// The order of properties, the sizes of the buffers and the encoding of strings do not change it.
	Digest [32]byte
}

// maxList bounds To, Cc and Bcc of a summary, in bytes: names that would go beyond are left out. Listings cut them at 255
// characters.
const maxList = 32 << 10

// Summarize reads a stream once in constant memory, whatever its values weigh, and verifies it as [Check] does. Its errors
// are those of [Check].
func Summarize(r io.Reader) (Summary, error) {
	s := summarizer{d: NewReader(r), stack: []*digest{newDigest(inMessage)}}
	s.sum.Importance = 1 // normal, which a store may leave out
	for {
		tok, err := s.d.Next()
		if err == io.EOF {
			return s.summary(), nil
		}
		if err == nil {
			err = s.take(tok)
		}
		if err != nil {
			return Summary{}, err
		}
	}
}

type summarizer struct {
	d       *Reader
	stack   []*digest
	sum     Summary
	subject [2]string // prefix and normalized subject
	visible bool      // an attachment that is not hidden was seen
	row     row
}

// row is what a recipient shows in To, Cc or Bcc.
type row struct {
	kind                 int32
	name, display, email string
}

func (s *summarizer) top() *digest { return s.stack[len(s.stack)-1] }

func (s *summarizer) push(d *digest) { s.stack = append(s.stack, d) }

func (s *summarizer) pop() *digest {
	d := s.top()
	s.stack = s.stack[:len(s.stack)-1]
	return d
}

func (s *summarizer) take(tok Token) error {
	switch tok.Kind {
	case PropertyToken:
		return s.property(tok)
	case RecipientStart:
		s.push(newDigest(inRecipient))
		s.row = row{}
	case AttachmentStart:
		d := newDigest(inAttachment)
		d.order = tok.Number
		s.push(d)
	case EmbeddedStart:
		s.push(newDigest(inMessage))
	case RecipientEnd:
		d := s.pop()
		s.top().recipients = append(s.top().recipients, d.child())
		s.listed()
	case AttachmentEnd:
		d := s.pop()
		s.top().attachments = append(s.top().attachments, d.child())
		if len(s.stack) == 1 {
			s.sum.Attachments++
			s.visible = s.visible || !d.hidden
		}
	case EmbeddedEnd:
		d := s.pop()
		s.top().attachments = append(s.top().attachments, d.child())
	}
	return nil
}

// property adds a property to the digest and keeps its value when the summary wants it.
func (s *summarizer) property(tok Token) error {
	var keep *bytes.Buffer
	if tok.Property.Name == nil && s.wanted(tok.Property.ID) {
		keep = &bytes.Buffer{}
	}
	sum, err := s.d.canonical(keep)
	if err != nil {
		return err
	}
	d := s.top()
	if !volatile(d.in, tok.Property.ID, tok.Property.Name != nil) {
		d.props = append(d.props, hashed{key: propertyKey(tok.Property), sum: sum})
	}
	if keep != nil {
		s.keep(d, tok.Property, keep.Bytes())
	}
	return nil
}

// wanted says whether the summary needs the value of an unnamed property where the walk is now.
func (s *summarizer) wanted(id uint16) bool {
	if len(s.stack) == 1 {
		return wantedOfMessage(id)
	}
	if len(s.stack) > 2 && s.top().in != inRecipient {
		return false
	}
	switch id {
	case TagRowID, TagRecipientType, TagDisplayName, TagRecipientDisplayName, TagSMTPAddress, TagEmailAddress:
		return s.top().in == inRecipient
	case TagAttachmentHidden:
		return s.top().in == inAttachment
	}
	return false
}

func wantedOfMessage(id uint16) bool {
	switch id {
	case TagMessageClass, TagSearchKey, TagMessageID, TagSubject, TagSubjectPrefix, TagNormalizedSubject, TagSenderEmail,
		TagClientSubmitTime, TagDeliveryTime, TagMessageFlags, TagFlagStatus, TagImportance, TagHasAttachments:
		return true
	}
	return false
}

// keep stores a value that was wanted. A value of another type than MS-OXPROPS gives the property is left alone.
func (s *summarizer) keep(d *digest, p Property, b []byte) {
	switch {
	case p.Type == Unicode:
		s.keepText(d.in, p.ID, strings.ToValidUTF8(string(b), ""))
	case p.Type == Time && p.ID == TagClientSubmitTime:
		s.sum.Submitted = fixedValue(Time, b).(time.Time)
	case p.Type == Time && p.ID == TagDeliveryTime:
		s.sum.Received = fixedValue(Time, b).(time.Time)
	case p.Type == Binary && p.ID == TagSearchKey:
		s.sum.SearchKey = b
	case p.Type == Bool && p.ID == TagHasAttachments:
		s.visible = s.visible || u16(b) != 0
	case p.Type == Bool && p.ID == TagAttachmentHidden:
		d.hidden = u16(b) != 0
	case p.Type == Int32:
		s.keepNumber(d, p.ID, int32(u32(b)))
	}
}

func (s *summarizer) keepText(in place, id uint16, text string) {
	switch id {
	case TagMessageClass:
		s.sum.Class = text
	case TagMessageID:
		s.sum.MessageID = text
	case TagSubject:
		s.sum.Subject = text
	case TagSubjectPrefix:
		s.subject[0] = text
	case TagNormalizedSubject:
		s.subject[1] = text
	case TagSenderEmail:
		s.sum.Sender = text
	case TagDisplayName:
		s.row.name = text
	case TagRecipientDisplayName:
		s.row.display = text
	case TagSMTPAddress:
		s.row.email = text
	case TagEmailAddress:
		s.row.email = cmp.Or(s.row.email, text)
	}
}

func (s *summarizer) keepNumber(d *digest, id uint16, n int32) {
	switch id {
	case TagMessageFlags:
		s.sum.Flags = n
	case TagFlagStatus:
		s.sum.FlagStatus = n
	case TagImportance:
		s.sum.Importance = n
	case TagRowID:
		d.order = n
	case TagRecipientType:
		s.row.kind = n & 0xF // the high bits say whether the row was resent to or handled
	}
}

// listed counts the recipient that has ended and adds its name to its list.
func (s *summarizer) listed() {
	if len(s.stack) > 1 {
		return
	}
	s.sum.Recipients++
	lists := map[int32]*string{1: &s.sum.To, 2: &s.sum.Cc, 3: &s.sum.Bcc}
	name := cmp.Or(s.row.name, s.row.display, s.row.email)
	list := lists[s.row.kind]
	if list == nil || name == "" || len(*list)+len(name) > maxList {
		return
	}
	if *list != "" {
		*list += "; "
	}
	*list += name
}

func (s *summarizer) summary() Summary {
	s.sum.Framing = s.d.Framing()
	s.sum.Subject = cmp.Or(s.sum.Subject, s.subject[0]+s.subject[1])
	s.sum.Properties.Attachments = s.visible
	s.sum.Digest = s.top().sum()
	return s.sum
}

// propertyKey is what properties are sorted by: the id, or the name in the place of the id, which differs between
// mailboxes; then the type.
func propertyKey(p Property) string {
	var b []byte
	switch {
	case p.Name == nil:
		b = binary.BigEndian.AppendUint16([]byte{0}, p.ID)
	case p.Name.Text == "":
		b = binary.BigEndian.AppendUint32(append([]byte{1}, p.Name.Set[:]...), p.Name.LID)
	default:
		b = fmt.Appendf(append([]byte{2}, p.Name.Set[:]...), "%s\x00", p.Name.Text)
	}
	return string(binary.BigEndian.AppendUint16(b, uint16(p.Type)))
}

// sorted returns the sums of children in the order of their numbers, the stream's order where numbers are equal.
func sorted(all []child) []child {
	slices.SortStableFunc(all, func(a, b child) int { return cmp.Compare(a.order, b.order) })
	return all
}
