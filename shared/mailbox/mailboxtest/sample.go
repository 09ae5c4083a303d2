package mailboxtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// Letter returns the n-th of an endless row of different mails. change, when given, edits it: properties that a change
// sets make it differ from the letter of that number without making it another item, unless they are part of the key.
func Letter(t testing.TB, n int, change ...func(*fts.Message)) mailbox.Stream {
	t.Helper()
	at := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Minute)
	key := sha256.Sum256(fmt.Append(nil, "letter", n))
	m := &fts.Message{
		Properties: fts.Properties{
			fts.Prop(fts.TagImportance, int32(n%3)),
			fts.Prop(fts.TagMessageClass, "IPM.Note"),
			fts.Prop(fts.TagSubject, fmt.Sprintf("Letter %d: Grüße & <más> 😀", n)),
			fts.Prop(fts.TagClientSubmitTime, at),
			fts.Prop(fts.TagSenderEmail, fmt.Sprintf("sender%d@example.org", n%7)),
			fts.Prop(fts.TagDeliveryTime, at.Add(5*time.Second)),
			fts.Prop(fts.TagMessageFlags, int32(n%2)),
			fts.Prop(fts.TagBody, fmt.Sprintf("Body %d", n)),
			fts.Prop(fts.TagMessageID, fmt.Sprintf("<%d@example.org>", n)),
			{ID: fts.TagSearchKey, Type: fts.Binary, Value: key[:16]},
		},
		Recipients: []fts.Properties{recipient(0, 1, "Bob"), recipient(1, 1, "Cy"), recipient(2, 2, "Di")},
	}
	if n%4 == 3 {
		m.Attachments = []fts.Attachment{{Properties: fts.Properties{
			fts.Prop(fts.TagAttachMethod, int32(1)), fts.Prop(fts.TagAttachLongFilename, "a.txt"), fts.Prop(fts.TagAttachData, []byte("attached"))}}}
	}
	for _, f := range change {
		f(m)
	}
	return Stream(t, m)
}

// With sets a property of a letter.
func With(id uint16, v any) func(*fts.Message) {
	return func(m *fts.Message) { m.Properties.Set(fts.Prop(id, v)) }
}

func recipient(row, kind int32, name string) fts.Properties {
	return fts.Properties{fts.Prop(fts.TagRowID, row), fts.Prop(fts.TagRecipientType, kind), fts.Prop(fts.TagDisplayName, name),
		fts.Prop(fts.TagSMTPAddress, name+"@example.org")}
}

// Stream writes a message as an Exchange 2016 exports it.
func Stream(t testing.TB, m *fts.Message) mailbox.Stream {
	t.Helper()
	var b bytes.Buffer
	if err := fts.Write(&b, m, fts.Version{Major: 15, Minor: 1, Build: 2507, Revision: 6}); err != nil {
		t.Fatal(err)
	}
	return exchangetest.Bytes(b.Bytes())
}

// Fill adds letters from up to below to a well-known folder.
func Fill(t testing.TB, m *exchangetest.Mailbox, known string, from, to int) []exchangetest.Item {
	t.Helper()
	f, err := m.Known(known)
	if err != nil {
		t.Fatal(err)
	}
	var out []exchangetest.Item
	for n := from; n < to; n++ {
		it, err := m.Add(f.ID, Letter(t, n))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, it)
	}
	return out
}

// Summary reads a stream and summarises it.
func Summary(t testing.TB, ctx context.Context, s mailbox.Stream) fts.Summary {
	t.Helper()
	r, err := s.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return summarize(t, r)
}

func summarize(t testing.TB, r io.Reader) fts.Summary {
	t.Helper()
	sum, err := fts.Summarize(r)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}
