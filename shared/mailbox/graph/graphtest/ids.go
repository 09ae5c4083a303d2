package graphtest

import (
	"encoding/base64"
	"encoding/binary"

	"github.com/google/uuid"
)

// Ids have the shape of real ones: base64 with "-" for "/" and "_" for "+", over a type byte, the mailbox's GUID as
// text and a MAPI entry id (46 bytes for a folder, 70 for an item). They are case-sensitive and of one mailbox.
const idAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

const (
	folderEntry  = 46
	itemEntry    = 70
	maxIDLength  = 512
	changeHeader = 8
)

type ids struct {
	mailbox uuid.UUID
	replica uuid.UUID
	text    *base64.Encoding
}

func newIDs(m uuid.UUID) ids {
	return ids{mailbox: m, replica: uuid.NewSHA1(uuid.NameSpaceOID, m[:]), text: base64.NewEncoding(idAlphabet).Strict()}
}

func (i ids) head(entry int) []byte {
	b := append([]byte{0, 3, 36, 0}, i.mailbox.String()...)
	b = binary.LittleEndian.AppendUint16(b, uint16(entry))
	b = append(b, 0, 0, 0, 0)
	return append(b, i.mailbox[:]...)
}

func (i ids) counter(b []byte, n uint64) []byte {
	b = append(b, i.replica[:]...)
	return append(binary.BigEndian.AppendUint64(b, n<<16)[:len(b)+6], 0, 0)
}

func (i ids) folder(id uint64) string {
	b := i.counter(append(i.head(folderEntry), 1, 0), id)
	return i.text.EncodeToString(append(b, 0))
}

func (i ids) item(folder, id uint64) string {
	b := i.counter(append(i.head(itemEntry), 7, 0), folder)
	return i.text.EncodeToString(append(i.counter(b, id), 0))
}

// parse returns the counter at the end of an id of the given entry length. ok is false for an id that is malformed
// or of the other kind; known is false for one of another mailbox.
func (i ids) parse(s string, entry int) (id uint64, ok, known bool) {
	if len(s) > maxIDLength {
		return 0, false, false
	}
	b, err := i.text.DecodeString(s)
	if err != nil || len(b) != 4+36+2+entry+1 || b[1] != 3 || int(binary.LittleEndian.Uint16(b[40:])) != entry {
		return 0, false, false
	}
	c := b[len(b)-9 : len(b)-3]
	id = binary.BigEndian.Uint64(append([]byte{0, 0}, c...))
	return id, true, string(b[4:40]) == i.mailbox.String()
}

// change returns a change key as listings show it.
func (i ids) change(n uint64) string {
	return base64.StdEncoding.EncodeToString(append([]byte{9, 0, 0, 0, 22, 0, 0, 0}, i.changeTail(n)...))
}

// shortChange returns a change key as an import answers it.
func (i ids) shortChange(n uint64) string {
	return base64.StdEncoding.EncodeToString(i.changeTail(n))
}

func (i ids) changeTail(n uint64) []byte {
	b := append([]byte{}, i.replica[:]...)
	return binary.BigEndian.AppendUint64(b, n<<16)[:22]
}

// parseChange reads a change key in either shape.
func (i ids) parseChange(s string) (uint64, bool) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != 22 && len(b) != 22+changeHeader {
		return 0, false
	}
	b = b[len(b)-22:]
	if string(b[:16]) != string(i.replica[:]) {
		return 0, false
	}
	return binary.BigEndian.Uint64(append([]byte{0, 0}, b[16:]...)), true
}
