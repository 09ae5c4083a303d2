package ewstest

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"strings"

	"github.com/google/uuid"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
)

// An id is base64 of: 0 (not compressed), 3 (by mailbox GUID), length and text of the GUID, 0, length and MAPI entry
// id. A folder's entry id has 46 bytes, an item's 70; an attachment's id is the item's and what tells it apart.
const (
	folderEntry   = 46
	itemEntry     = 70
	attachmentExt = 21
)

// id is a decoded id; item is 0 for a folder, attachment is one more than its number.
type id struct {
	mailbox    uuid.UUID
	folder     uint64
	item       uint64
	attachment int
}

// FolderID is the id the endpoint gives a folder.
func FolderID(m *exchangetest.Mailbox, folder uint64) string {
	return encodeID(m.GUID, entryID(m, 1, folder), nil)
}

// ItemID is the id the endpoint gives an item.
func ItemID(m *exchangetest.Mailbox, it exchangetest.Item) string {
	return encodeID(m.GUID, itemEntryID(m, it), nil)
}

func itemEntryID(m *exchangetest.Mailbox, it exchangetest.Item) []byte {
	return appendCounter(entryID(m, 7, it.Folder), m, it.ID)
}

func attachmentID(m *exchangetest.Mailbox, it exchangetest.Item, number int) string {
	ext := []byte{1, 18, 0, 16, 0}
	ext = append(ext, m.GUID[:12]...)
	ext = binary.BigEndian.AppendUint32(ext, uint32(number))
	return encodeID(m.GUID, itemEntryID(m, it), ext)
}

// entryID is MS-OXCDATA 2.2.4: flags, provider, type, database GUID, counter, pad.
func entryID(m *exchangetest.Mailbox, kind byte, folder uint64) []byte {
	b := append(make([]byte, 4, itemEntry), m.GUID[:]...)
	return appendCounter(append(b, kind, 0), m, folder)
}

func appendCounter(b []byte, m *exchangetest.Mailbox, n uint64) []byte {
	db := uuid.NewSHA1(m.GUID, []byte("database"))
	b = append(b, db[:]...)
	b = append(b, binary.BigEndian.AppendUint64(nil, n)[2:]...)
	return append(b, 0, 0)
}

func encodeID(mailbox uuid.UUID, entry, ext []byte) string {
	b := []byte{0, 3, 36, 0}
	b = append(b, mailbox.String()...)
	b = append(b, 0, byte(len(entry)), 0)
	return base64.StdEncoding.EncodeToString(append(append(b, entry...), ext...))
}

// decodeID reads an id; ok is false when it is not one.
func decodeID(s string) (x id, ok bool) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil || len(b) < 43+folderEntry || b[0] != 0 || b[1] != 3 || b[2] != 36 || b[3] != 0 || b[40] != 0 || b[42] != 0 {
		return id{}, false
	}
	if x.mailbox, err = uuid.ParseBytes(b[4:40]); err != nil {
		return id{}, false
	}
	entry, n := b[43:], int(b[41])
	switch {
	case n == folderEntry && len(entry) == folderEntry:
		x.folder = counter(entry[38:])
	case n == itemEntry && len(entry) == itemEntry:
		x.folder, x.item = counter(entry[38:]), counter(entry[62:])
	case n == itemEntry && len(entry) == itemEntry+attachmentExt:
		x.folder, x.item = counter(entry[38:]), counter(entry[62:])
		x.attachment = int(binary.BigEndian.Uint32(entry[itemEntry+17:]))
	default:
		return id{}, false
	}
	return x, true
}

func counter(b []byte) uint64 {
	return binary.BigEndian.Uint64(append([]byte{0, 0}, b[:6]...))
}

// changeKey is the object's type, a length, and the store's change key of 22 bytes.
func changeKey(m *exchangetest.Mailbox, kind byte, n uint64) string {
	b := binary.LittleEndian.AppendUint32(nil, uint32(kind))
	b = binary.LittleEndian.AppendUint32(b, 22)
	b = append(b, m.GUID[:]...)
	return base64.StdEncoding.EncodeToString(append(b, binary.BigEndian.AppendUint64(nil, n)[2:]...))
}

// ChangeKey is the change key that the endpoint gives an item.
func ChangeKey(m *exchangetest.Mailbox, it exchangetest.Item) string {
	return changeKey(m, kindOf(it.Summary.Class).code, it.Change)
}

// changeOf returns a change key's number; ok is false when it is not one.
func changeOf(key string) (n uint64, ok bool) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(key))
	if err != nil || len(b) != 30 || binary.LittleEndian.Uint32(b[4:]) != 22 {
		return 0, false
	}
	return counter(b[24:]), true
}

// folderChangeKey changes when a folder's name, class or place does.
func folderChangeKey(m *exchangetest.Mailbox, f exchangetest.Folder) string {
	return changeKey(m, folderKindOf(f.Class).code, folderStamp(f)>>16)
}

func folderStamp(f exchangetest.Folder) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, f.ID), f.Parent))
	_, _ = h.Write([]byte(f.Name + "\x00" + f.Class))
	return h.Sum64()
}
