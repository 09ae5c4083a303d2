package ews

import (
	"context"
	"encoding/base64"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// itemPage is how many items one request asks for; Exchange hands out at most 1000.
const itemPage = 512

// Items lists a folder by FindItem. What is added meanwhile in front of the page being read is left to
// [Source.Changes].
func (s *Source) Items(ctx context.Context, f mailbox.FolderID) iter.Seq2[mailbox.Item, error] {
	l := listing{
		s: s, size: itemPage,
		request: func(offset int) string {
			return fmt.Sprintf(findItem, itemProperties(), itemPage, offset, folderID(f))
		},
		id: func(e entry) string { return e.Item.ID },
	}
	return func(yield func(mailbox.Item, error) bool) {
		for e, err := range l.rows(ctx) {
			if err != nil {
				yield(mailbox.Item{}, fmt.Errorf("list items: %w", err))
				return
			}
			if !yield(s.item(e), nil) {
				return
			}
		}
	}
}

func (s *Source) item(e entry) mailbox.Item {
	it := mailbox.Item{ID: mailbox.ItemID(e.Item.ID), Change: e.Item.ChangeKey, Size: e.number(tagSize, 64)}
	it.Properties = mailbox.Properties{
		Class:       e.Kind,
		SearchKey:   e.binary(tagSearchKey),
		MessageID:   e.text(tagMessageID),
		Subject:     e.text(tagSubject),
		Sender:      e.text(tagSender),
		Submitted:   e.time(tagSubmitted),
		Received:    e.time(tagReceived),
		To:          e.text(tagTo),
		Cc:          e.text(tagCc),
		Bcc:         e.text(tagBcc),
		Flags:       int32(e.number(tagFlags, 32)),
		FlagStatus:  int32(e.number(tagFlagStatus, 32)),
		Importance:  int32(e.number(tagImportance, 32)),
		Attachments: e.yes(tagAttachments),
	}
	s.sizes.add(it.ID, it.Size)
	return it
}

// text is an extended property as Exchange writes it, "" when absent. The readers below take what they cannot read
// for absent: one odd property must not stop a mailbox.
func (e entry) text(tag uint64) string {
	for _, x := range e.Extended {
		if n, err := strconv.ParseUint(x.URI.Tag, 0, 32); err == nil && n == tag {
			return x.Value
		}
	}
	return ""
}

func (e entry) yes(tag uint64) bool { return strings.EqualFold(e.text(tag), "true") }

func (e entry) number(tag uint64, bits int) int64 {
	n, err := strconv.ParseInt(e.text(tag), 10, bits)
	if err != nil {
		return 0
	}
	return n
}

func (e entry) binary(tag uint64) []byte {
	b, err := base64.StdEncoding.DecodeString(e.text(tag))
	if err != nil || len(b) == 0 {
		return nil
	}
	return b
}

func (e entry) time(tag uint64) time.Time {
	t, err := time.Parse(time.RFC3339Nano, e.text(tag))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
