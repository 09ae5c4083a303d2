package ews

import (
	"context"
	"fmt"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// changePage is the most that SyncFolderItems takes for MaxChangesReturned.
const changePage = 512

// Delta is one page of what has changed in a folder.
type Delta struct {
	Changed []mailbox.ItemID // created or updated, also by a move into the folder
	Read    []mailbox.ItemID // only the read flag changed
	Gone    []mailbox.ItemID // deleted, or moved out of the folder
	State   string           // to be given to the next call, whole: it has up to some KB
	More    bool             // call again at once
}

// Changes says what has changed in a folder since a state, "" for everything in it. A state that Exchange refuses is
// mailbox.ErrStartAgain.
func (s *Source) Changes(ctx context.Context, f mailbox.FolderID, state string) (Delta, error) {
	messages, err := s.ask(ctx, fmt.Sprintf(syncFolderItems, folderID(f), syncState(state), changePage))
	if err != nil {
		return Delta{}, fmt.Errorf("list changes: %w", err)
	}
	m := messages[0]
	if m.State == "" || !m.Last && m.State == state {
		return Delta{}, fmt.Errorf("list changes: %w: the answer has no new state", mailbox.ErrUnavailable)
	}
	d := Delta{State: m.State, More: !m.Last}
	for _, e := range m.Entries {
		id := mailbox.ItemID(e.Item.ID)
		switch e.Change {
		case "Create", "Update":
			d.Changed = append(d.Changed, id)
		case "ReadFlagChange":
			d.Read = append(d.Read, id)
		case "Delete":
			d.Gone = append(d.Gone, id)
		}
	}
	return d, nil
}

// Changed implements mailbox.Side.
func (s *Source) Changed(ctx context.Context, f mailbox.FolderID, since mailbox.SyncState) (bool, mailbox.SyncState, error) {
	changed := false
	for state := string(since); ; {
		d, err := s.Changes(ctx, f, state)
		if err != nil {
			return false, "", err
		}
		changed = changed || len(d.Changed)+len(d.Read)+len(d.Gone) > 0
		if state = d.State; !d.More {
			return changed, mailbox.SyncState(state), nil
		}
	}
}
