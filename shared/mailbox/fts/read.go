package fts

import "io"

// maxMemory is the wire bytes of values that Read holds. Exchange Online takes items of 150 MB; strings and properties
// around them need a little more.
const maxMemory = 192 << 20

// Check verifies a whole stream in constant memory: the envelope tiles exactly to the end, the property stream is
// complete, and the server did not cut it short. A stream that fails is a [*FormatError]; any other error is r's own.
func Check(r io.Reader) (Framing, error) {
	d := NewReader(r)
	for {
		switch _, err := d.Next(); err {
		case nil:
		case io.EOF:
			return d.Framing(), nil
		default:
			return d.Framing(), err
		}
	}
}

// Read reads one item into memory. It accepts what [Check] accepts, up to 192 MiB of values; a larger one is
// [ErrTooLarge].
func Read(r io.Reader) (*Message, error) {
	t := tree{d: NewReader(r), budget: maxMemory}
	m := &Message{}
	end, err := t.message(m)
	if err == nil && end == 0 {
		return m, nil
	}
	return nil, err
}

// tree builds messages from tokens.
type tree struct {
	d      *Reader
	budget int64
}

// message fills m up to the token that ends it, 0 for the end of the stream.
func (t *tree) message(m *Message) (end Kind, err error) {
	for {
		tok, err := t.d.Next()
		if err == io.EOF {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		switch tok.Kind {
		case PropertyToken:
			err = t.add(&m.Properties, tok)
		case RecipientStart:
			err = t.recipient(m)
		case AttachmentStart:
			err = t.attachment(m, tok.Number)
		default:
			return tok.Kind, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

func (t *tree) recipient(m *Message) error {
	ps := Properties{}
	for {
		tok, err := t.d.Next()
		if err != nil {
			return err
		}
		if tok.Kind == RecipientEnd {
			m.Recipients = append(m.Recipients, ps)
			return nil
		}
		if err := t.add(&ps, tok); err != nil {
			return err
		}
	}
}

func (t *tree) attachment(m *Message, number int32) error {
	a := Attachment{Number: number}
	for {
		tok, err := t.d.Next()
		if err != nil {
			return err
		}
		switch tok.Kind {
		case AttachmentEnd:
			m.Attachments = append(m.Attachments, a)
			return nil
		case EmbeddedStart:
			a.Embedded = &Message{}
			_, err = t.message(a.Embedded)
		default:
			err = t.add(&a.Properties, tok)
		}
		if err != nil {
			return err
		}
	}
}

func (t *tree) add(ps *Properties, tok Token) error {
	v, err := t.d.spendOn(&t.budget)
	if err != nil {
		return err
	}
	tok.Property.Value = v
	*ps = append(*ps, tok.Property)
	return nil
}
