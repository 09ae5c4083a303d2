package ews

import (
	"context"
	"fmt"
	"iter"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/ews/soap"
)

// itemPage is how many items one request asks for; Exchange hands out at most 1000.
const itemPage = 512

// Items lists a folder by FindItem. What is added meanwhile in front of the page being read is left to
// [Source.Changes].
func (s *Source) Items(ctx context.Context, f mailbox.FolderID) iter.Seq2[mailbox.Item, error] {
	return func(yield func(mailbox.Item, error) bool) {
		l := listing{
			s: s, size: itemPage,
			request: func(offset int) string {
				return fmt.Sprintf(findItem, itemProperties(), itemPage, offset, folderID(f))
			},
			id: func(e soap.Entry) string { return e.Item.ID },
		}
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

func (s *Source) item(e soap.Entry) mailbox.Item {
	it := mailbox.Item{ID: mailbox.ItemID(e.Item.ID), Change: e.Item.ChangeKey, Size: e.Number(tagSize, 64)}
	it.Properties = mailbox.Properties{
		Class:       e.Kind,
		SearchKey:   e.Binary(tagSearchKey),
		MessageID:   e.Text(tagMessageID),
		Subject:     e.Text(tagSubject),
		Sender:      e.Text(tagSender),
		Submitted:   e.Time(tagSubmitted),
		Received:    e.Time(tagReceived),
		To:          e.Text(tagTo),
		Cc:          e.Text(tagCc),
		Bcc:         e.Text(tagBcc),
		Flags:       int32(e.Number(tagFlags, 32)),
		FlagStatus:  int32(e.Number(tagFlagStatus, 32)),
		Importance:  int32(e.Number(tagImportance, 32)),
		Attachments: e.Yes(tagAttachments),
	}
	s.sizes.add(it.ID, it.Size)
	return it
}
