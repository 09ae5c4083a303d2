package ews

import (
	"context"
	"fmt"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// changePage is the most that SyncFolderItems takes for MaxChangesReturned.
const changePage = 512

// Changes implements mailbox.Side.
func (s *Source) Changes(ctx context.Context, f mailbox.FolderID, since mailbox.SyncState) (mailbox.Changes, error) {
	messages, err := s.ask(ctx, fmt.Sprintf(syncFolderItems, folderID(f), syncState(string(since)), changePage))
	if err != nil {
		return mailbox.Changes{}, fmt.Errorf("list changes: %w", err)
	}
	m := messages[0]
	if m.State == "" || !m.Last && m.State == string(since) {
		return mailbox.Changes{}, fmt.Errorf("list changes: %w: the answer has no new state", mailbox.ErrUnavailable)
	}
	return mailbox.Changes{Items: len(m.Entries), State: mailbox.SyncState(m.State), More: !m.Last}, nil
}
