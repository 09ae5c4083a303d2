// Package mailbox says what a mailbox is: folders, items, what identifies an item, and the two sides a
// mailbox is moved between. Adapters live below it, one folder each.
package mailbox

import (
	"context"
	"io"
	"iter"
	"time"
)

// FolderID and ItemID are the ids one side gives; they mean nothing on the other side.
type (
	FolderID string
	ItemID   string
)

// Folder is one folder of a mailbox.
type Folder struct {
	ID     FolderID
	Parent FolderID // the root's id for a folder directly below the root
	Name   string   // display name, as the user sees it
	Class  string   // PidTagContainerClass, "IPF.Note" when the side does not say
	Known  string   // well-known name in lower case ("inbox", "sentitems", …), "" for a user's own folder
	Items  int      // items in it, not counting subfolders; what the side says, may be stale
}

// Item is one line of a folder's listing.
type Item struct {
	ID     ItemID
	Change string // change key, "" when the side has none
	Size   int64  // bytes, as the side counts them; the two sides may differ by some percent
	Properties
}

// Properties are what a listing says about an item. They identify it ([Item.Identity]) and they are what
// verification compares. The tags are MS-OXPROPS property tags.
type Properties struct {
	Class       string    // 0x001A PidTagMessageClass
	SearchKey   []byte    // 0x300B PidTagSearchKey: kept by moves and shared by copies
	MessageID   string    // 0x1035 PidTagInternetMessageId
	Subject     string    // 0x0037 PidTagSubject; a listing may cut it at 255 characters
	Sender      string    // 0x0C1F PidTagSenderEmailAddress
	Submitted   time.Time // 0x0039 PidTagClientSubmitTime, zero when absent
	Received    time.Time // 0x0E06 PidTagMessageDeliveryTime, zero when absent
	To, Cc, Bcc string    // 0x0E04, 0x0E03, 0x0E02: display names joined by "; "; may be cut at 255 characters
	Flags       int32     // 0x0E07 PidTagMessageFlags
	FlagStatus  int32     // 0x1090 PidTagFlagStatus: 0 none, 1 complete, 2 flagged
	Importance  int32     // 0x0017 PidTagImportance: 0 low, 1 normal, 2 high
	Attachments bool      // 0x0E1B PidTagHasAttachments
}

// Bits of PidTagMessageFlags (MS-OXCMSG 2.2.1.6).
const (
	FlagRead           = 0x1
	FlagUnsent         = 0x8
	FlagHasAttachments = 0x10
)

// Side is one mailbox as it can be read. It is safe for concurrent use.
type Side interface {
	// Folders returns every folder below the visible root, parents before children. Search folders and
	// folders for synchronisation errors are left out.
	Folders(ctx context.Context) ([]Folder, error)
	// Items lists a folder in no promised order. It stops at the first error, which it yields last.
	Items(ctx context.Context, f FolderID) iter.Seq2[Item, error]
	// Changes reads a page of the items of a folder that were added, changed or taken away since a state; without a state,
	// of all that are there. A state that the side does not know any more is [ErrStartAgain].
	Changes(ctx context.Context, f FolderID, since SyncState) (Changes, error)
	// Export reads items and calls each once per id, in the order of ids. With a nil err, r yields the
	// item's FastTransfer stream and is valid only until each returns; what each leaves unread is skipped.
	// An err that is an [ItemError] concerns this item alone. An error from each ends the export and is
	// returned; so is an error that concerns the mailbox or the connection, after which the remaining ids
	// were not called.
	Export(ctx context.Context, ids []ItemID, each func(i int, r io.Reader, err error) error) error
}

// Source is a mailbox that items come from.
type Source interface {
	Side
	// Expect says how large an item is that another process has listed, for Export to pack its requests by.
	Expect(id ItemID, size int64)
}

// Target is a mailbox that items go to.
type Target interface {
	Side
	// CreateFolder makes f below f.Parent with f's name and class, and returns it with its id. When a
	// folder of that name is already there, it is returned and nothing is made.
	CreateFolder(ctx context.Context, f Folder) (Folder, error)
	// Import adds one item to a folder and returns its id. Import is not idempotent. After an
	// [ErrUnknown] the item may or may not be there; after any other error it is not.
	Import(ctx context.Context, f FolderID, s Stream) (ItemID, error)
	// Replace overwrites an item that is there with the stream, on the condition that its change key is
	// still the one given.
	Replace(ctx context.Context, f FolderID, old Item, s Stream) (ItemID, error)
}

// Stream is the FastTransfer stream of one item, which can be opened any number of times.
type Stream struct {
	Size int64 // exact number of bytes that Open yields
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// Sources opens source mailboxes, Targets target mailboxes, by SMTP address. An unknown mailbox is
// [ErrNoMailbox], refused credentials are [ErrAccess].
type (
	Sources interface {
		Source(ctx context.Context, address string) (Source, error)
	}
	Targets interface {
		Target(ctx context.Context, address string) (Target, error)
	}
)

// List reads a folder's whole listing and gives the items their keys, sorted by key.
func List(ctx context.Context, side Side, f FolderID) ([]Keyed, error) {
	var items []Item
	for it, err := range side.Items(ctx, f) {
		if err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	return Keys(items), nil
}
