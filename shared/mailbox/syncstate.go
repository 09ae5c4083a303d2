package mailbox

import (
	"context"
	"errors"
	"log/slog"
)

// SyncState is a point in a folder's history, in the words of its side: an EWS sync state, a Graph delta link. It has up to
// some KB and belongs to one folder of one mailbox. It is kept, but never shown: a link may hold an address.
type SyncState string

// String implements fmt.Stringer.
func (SyncState) String() string { return "***" }

// GoString implements fmt.GoStringer.
func (SyncState) GoString() string { return "***" }

// LogValue implements slog.LogValuer.
func (SyncState) LogValue() slog.Value { return slog.StringValue("***") }

// Changed says whether a folder has changed since the state, and brings the state up to date. A state that there is not, or
// that the side refuses, says nothing, so the folder counts as changed; it is left empty.
func (s *SyncState) Changed(ctx context.Context, side Side, f FolderID) (bool, error) {
	if *s == "" {
		return true, nil
	}
	changed, now, err := side.Changed(ctx, f, *s)
	if errors.Is(err, ErrStartAgain) {
		*s = ""
		return true, nil
	}
	if err != nil {
		return false, err
	}
	*s = now
	return changed, nil
}

// Begin makes a state if there is none.
func (s *SyncState) Begin(ctx context.Context, side Side, f FolderID) (err error) {
	if *s == "" {
		_, *s, err = side.Changed(ctx, f, "")
	}
	return err
}
