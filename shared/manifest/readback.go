package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/migration"
)

// ReadBacks are contents of items of either side that were read to compare them, one file of several. They need not be read
// again while the items are listed with the same change keys and flags, and are summed up by the same release.
type ReadBacks struct {
	Version int                 `json:"v"`
	Mailbox migration.MailboxID `json:"mailbox"`
	Release string              `json:"release"` // Mailferry's version, which decides what a digest covers
	Count   int                 `json:"items"`
	Items   []ReadBack          `json:"-"`
}

// ReadBack is the content of one item in one state.
type ReadBack struct {
	Item        ContentID `json:"item"`
	Digest      string    `json:"digest"` // SHA-256, hexadecimal
	Recipients  int       `json:"recipients,omitempty"`
	Attachments int       `json:"attachments,omitempty"`
	Bytes       int64     `json:"bytes"` // of the stream
}

// ContentID names an item in one state.
type ContentID string

// IDOfContent is the name of an item as its side, source or target, lists it, "" for one without a change key. The flags are part of it: a change key
// need not move when only the read state does.
func IDOfContent(side string, it mailbox.Item) ContentID {
	if it.Change == "" {
		return ""
	}
	h := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%d %d", side, it.ID, it.Change, it.Flags, it.FlagStatus))
	return ContentID(hex.EncodeToString(h[:16]))
}

// maxReadBacks is above what one delivery reads back.
const maxReadBacks = 1_000_000

// ReadBacksName is the blob name of a file of read-backs; the files of a mailbox begin with ReadBacksOf.
func ReadBacksName(m migration.MailboxID, id string) string { return ReadBacksOf(m) + id }

// ReadBacksOf is what the names of a mailbox's files of read-backs begin with.
func ReadBacksOf(m migration.MailboxID) string { return string(m) + "/read/" }

// EncodeReadBacks writes a file. Version and Count are filled in.
func EncodeReadBacks(r ReadBacks) ([]byte, error) {
	r.Version, r.Count = Version, len(r.Items)
	return encode(r, r.Items)
}

// DecodeReadBacks reads a file and checks it. An error is [ErrDamaged] or the reader's own.
func DecodeReadBacks(r io.Reader) (ReadBacks, error) {
	l := newLines(r)
	var out ReadBacks
	if err := l.next(&out); err != nil {
		return out, err
	}
	if err := checkHead(out.Version, out.Count, maxReadBacks); err != nil {
		return out, err
	}
	for range out.Count {
		var it ReadBack
		if err := l.next(&it); err != nil {
			return out, err
		}
		if len(it.Item) != 32 || len(it.Digest) != 64 || it.Bytes < 0 || it.Recipients < 0 || it.Attachments < 0 {
			return out, fmt.Errorf("%w: line %d: not a content", ErrDamaged, l.line)
		}
		out.Items = append(out.Items, it)
	}
	return out, l.end()
}
