// Package manifest is the file that lists the items of one shard. It is written once and never changed.
//
// A manifest is lines of JSON: a header, one line per item in the order in which they are copied, and a last line with
// the SHA-256 of everything before it. A manifest that is cut short or damaged is refused as a whole. [Verified] and
// [ReadBacks] are files of the same form.
package manifest

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/migration"
)

// Manifest is one shard.
type Manifest struct {
	Version int                 `json:"v"`
	Mailbox migration.MailboxID `json:"mailbox"`
	Pass    int                 `json:"pass"`
	Plan    migration.PlanID    `json:"plan"`
	Shard   int                 `json:"shard"`
	Count   int                 `json:"items"`
	Bytes   int64               `json:"bytes"` // sum of the items' sizes as the source lists them
	Folders []Folder            `json:"folders"`
	Items   []Item              `json:"-"`
}

// Folder is a folder that items of the shard go to.
type Folder struct {
	Target mailbox.FolderID `json:"target"`
	Path   []string         `json:"path"` // names from the top, for people
}

// Item is one item to copy.
type Item struct {
	Key          mailbox.Key    `json:"key"`
	Source       mailbox.ItemID `json:"source"`
	SourceChange string         `json:"sourceChange,omitempty"` // its change key at the source when planned
	Folder       int            `json:"folder"`                 // index into Folders
	Size         int64          `json:"size"`
	Before       int            `json:"before,omitempty"`  // how many items of this identity the target folder held when planned
	Replace      mailbox.ItemID `json:"replace,omitempty"` // the target's item that this one overwrites, instead of being added
	Change       string         `json:"change,omitempty"`  // that item's change key
	Skip         mailbox.Reason `json:"skip,omitempty"`    // not to be copied, for this reason
	Class        string         `json:"class"`
	Received     time.Time      `json:"received"`
}

// Version is the format's version.
const Version = 1

// maxItems is the most of a manifest that is read: a shard has at most 4,000 items.
const maxItems = 100_000

// Name is the manifest's blob name.
func Name(m migration.MailboxID, pass int, plan migration.PlanID, shard int) string {
	return fmt.Sprintf("%s/%04d/%s/%05d", m, pass, plan, shard)
}

// RedoName is the blob name of what the verification of a plan wants to be copied again: a manifest of the items whose
// content differs although listings show no difference. Of an item it has only the key and the folder.
func RedoName(m migration.MailboxID, pass int, plan migration.PlanID) string {
	return fmt.Sprintf("%s/%04d/%s/redo", m, pass, plan)
}

// Encode writes a manifest. Version and Count are filled in.
func Encode(m Manifest) ([]byte, error) {
	m.Version, m.Count = Version, len(m.Items)
	return encode(m, m.Items)
}

// ErrDamaged says that a manifest is not what was written. It names the line.
var ErrDamaged = errors.New("manifest is damaged")

// Decode reads a manifest and checks it. An error is [ErrDamaged] or the reader's own.
func Decode(r io.Reader) (Manifest, error) {
	l := newLines(r)
	var m Manifest
	if err := l.next(&m); err != nil {
		return m, err
	}
	if err := checkHead(m.Version, m.Count, maxItems); err != nil {
		return m, err
	}
	for range m.Count {
		var it Item
		if err := l.next(&it); err != nil {
			return m, err
		}
		if it.Folder < 0 || it.Folder >= len(m.Folders) {
			return m, fmt.Errorf("%w: line %d: folder %d of %d", ErrDamaged, l.line, it.Folder, len(m.Folders))
		}
		m.Items = append(m.Items, it)
	}
	return m, l.end()
}
