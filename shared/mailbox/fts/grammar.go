package fts

// place is the kind of object that the walk is in.
type place uint8

const (
	inMessage place = iota
	inRecipient
	inAttachment
)

// phase is how far a message has come: its grammar is properties, recipients, attachments, in this order.
type phase uint8

const (
	properties phase = iota
	recipients
	attachments
)

// frame is one open object.
type frame struct {
	in         place
	phase      phase
	begun      bool // an element was read
	embedded   bool // of an attachment: its message was read, only its end may follow
	props      int
	recipients int
	attached   int
}

func (f *frame) where() string {
	switch f.in {
	case inRecipient:
		return "inside a recipient"
	case inAttachment:
		return "inside an attachment"
	}
	if !f.begun {
		return "before its first property"
	}
	return "inside an embedded message"
}

// property counts a property in, or says why it must not stand here.
func (f *frame) property(tag uint32) (reason string) {
	f.props++
	switch {
	case f.props > maxProperties:
		return "is one too many of its object"
	case f.in == inRecipient && f.props == 1 && tag != tagRowID:
		return "stands where a recipient's row id (0x30000003) must stand"
	case f.in == inMessage && f.phase != properties:
		return "stands after the message's recipients or attachments"
	case f.in == inAttachment && f.embedded:
		return "stands after the attachment's embedded message"
	}
	return ""
}

// child counts an object in that begins here, or says why it must not.
func (f *frame) child(tag uint32) (reason string) {
	switch {
	case tag == markStartEmbed && f.in == inAttachment && !f.embedded:
		f.embedded = true
	case tag == markStartRecip && f.in == inMessage && f.phase <= recipients:
		f.phase, f.recipients = recipients, f.recipients+1
	case tag == markNewAttach && f.in == inMessage:
		f.phase, f.attached = attachments, f.attached+1
	default:
		return "must not stand here"
	}
	if max(f.recipients, f.attached) > maxChildren {
		return "begins one recipient or attachment too many"
	}
	return ""
}

func (d *Reader) top() *frame { return &d.stack[len(d.stack)-1] }

// open begins a recipient, an attachment or an embedded message.
func (d *Reader) open(tag uint32) (Token, error) {
	if reason := d.top().child(tag); reason != "" {
		return Token{}, d.in.broken("marker 0x%08X %s", tag, reason)
	}
	if len(d.stack) > 2*maxDepth { // a message and the attachment around it
		return Token{}, d.in.broken("more than %d messages inside each other", maxDepth)
	}
	switch tag {
	case markStartRecip:
		d.stack = append(d.stack, frame{in: inRecipient})
		return Token{Kind: RecipientStart, Size: -1}, nil
	case markStartEmbed:
		d.stack = append(d.stack, frame{in: inMessage})
		return Token{Kind: EmbeddedStart, Size: -1}, nil
	}
	d.stack = append(d.stack, frame{in: inAttachment})
	number, err := d.number()
	return Token{Kind: AttachmentStart, Number: number, Size: -1}, err
}

// number reads the PidTagAttachNumber that must follow NewAttach.
func (d *Reader) number() (int32, error) {
	tag, err := d.tag()
	if err != nil {
		return 0, err
	}
	if tag != tagNumber {
		return 0, d.in.broken("property 0x%08X where an attachment's number (0x0E210003) must stand", tag)
	}
	n, err := d.u32("an attachment's number")
	return int32(n), err
}

// close ends the object that is open.
func (d *Reader) close(tag uint32) (Token, error) {
	f, kind := d.top(), Kind(0)
	switch {
	case tag == markEndRecip && f.in == inRecipient && f.props > 0:
		kind = RecipientEnd
	case tag == markEndAttach && f.in == inAttachment:
		kind = AttachmentEnd
	case tag == markEndEmbed && f.in == inMessage && len(d.stack) > 1:
		kind = EmbeddedEnd
	default:
		return Token{}, d.in.broken("marker 0x%08X ends what is not open", tag)
	}
	d.stack = d.stack[:len(d.stack)-1]
	return Token{Kind: kind, Size: -1}, nil
}

// deletion reads the value of MetaTagFXDelProp and forgets it: it tells a receiver that merges to empty a table first, and
// an import makes a new item.
func (d *Reader) deletion() error {
	f := d.top()
	if f.in != inMessage {
		return d.in.broken("MetaTagFXDelProp outside a message")
	}
	if err := d.spend(1); err != nil {
		return err
	}
	table, err := d.u32("MetaTagFXDelProp")
	if table == tagAttachments {
		f.phase = attachments
	}
	f.phase = max(f.phase, recipients)
	return err
}
