package mailbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// SyncState is a point in a folder's history, in the words of its side: an EWS sync state, a Graph delta link. It has up to
// some KB and belongs to one folder of one mailbox. It is kept, but never shown: a link may hold an address.
type SyncState string

// maxSyncState is more than any state that is worth keeping.
const maxSyncState = 128 << 10

// Changes is a page of what has changed in a folder.
type Changes struct {
	Items int       // how many items it names
	State SyncState // after it
	More  bool      // another page follows
}

// String implements fmt.Stringer.
func (SyncState) String() string { return "***" }

// GoString implements fmt.GoStringer.
func (SyncState) GoString() string { return "***" }

// LogValue implements slog.LogValuer.
func (SyncState) LogValue() slog.Value { return slog.StringValue("***") }

// Feed is a side that is not asked for changes again once it did not answer: what takes its time to fail would take it for
// every folder. It is for one delivery, and not for concurrent use.
func Feed(of Side) Side { return &feed{Side: of} }

type feed struct {
	Side
	silent error
}

func (f *feed) Changes(ctx context.Context, of FolderID, since SyncState) (Changes, error) {
	if f.silent != nil {
		return Changes{}, f.silent
	}
	page, err := f.Side.Changes(ctx, of, since)
	if err != nil && !errors.Is(err, ErrStartAgain) && waits(ctx, err) == nil {
		f.silent = err
	}
	return page, err
}

// Unchanged says whether nothing has changed in a folder since the state. It asks for one page. Whatever is not a clear
// answer counts as a change, so that the folder is listed and the listing meets the true error; the only errors are
// [*Throttled] and the end of ctx.
func (s SyncState) Unchanged(ctx context.Context, side Side, f FolderID) (bool, error) {
	if s == "" {
		return false, nil
	}
	page, err := side.Changes(ctx, f, s)
	if err != nil {
		return false, waits(ctx, err)
	}
	return page.Items == 0 && !page.More, nil
}

// Advance brings the state up to date, and says whether nothing has changed since it was made. Where there is none, or the
// side does not take it, it makes a new one, for which the side names every item of the folder. When that cannot be done
// the state is left empty: the next pass lists the folder and tries again. The only errors are those of Unchanged.
func (s *SyncState) Advance(ctx context.Context, side Side, f FolderID) (unchanged bool, err error) {
	if *s != "" {
		changed, err := s.read(ctx, side, f)
		if err == nil {
			return !changed, nil
		}
		if err := waits(ctx, err); err != nil {
			return false, err
		}
		if !errors.Is(err, ErrStartAgain) {
			return false, nil // it is still good
		}
		*s = ""
	}
	if _, err = s.read(ctx, side, f); err != nil {
		*s = ""
	}
	return false, waits(ctx, err)
}

// read reads all pages that follow the state and puts it behind them.
func (s *SyncState) read(ctx context.Context, side Side, f FolderID) (changed bool, err error) {
	for at := *s; ; {
		page, err := side.Changes(ctx, f, at)
		if err != nil {
			return false, err
		}
		if len(page.State) > maxSyncState {
			return false, fmt.Errorf("a sync state of %d bytes, at most %d", len(page.State), maxSyncState)
		}
		changed = changed || page.Items > 0
		if at = page.State; !page.More {
			*s = at
			return changed, nil
		}
	}
}

// waits is the error if it says to come back later, nil otherwise.
func waits(ctx context.Context, err error) error {
	if _, throttled := errors.AsType[*Throttled](err); throttled || ctx.Err() != nil {
		return err
	}
	return nil
}
