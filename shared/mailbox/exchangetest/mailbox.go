package exchangetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// Errors of the store; each simulator turns them into its protocol's codes.
var (
	ErrNoFolder     = errors.New("no such folder")
	ErrNoItem       = errors.New("no such item")
	ErrFolderExists = errors.New("a folder of this name is already there")
	ErrFolderName   = errors.New("folder name refused")
	ErrFolderPlace  = errors.New("a folder cannot be put below itself")
	ErrChanged      = errors.New("the change key is not the current one")
	ErrQuota        = errors.New("mailbox is full")
)

// Options say what kind of mailbox to make. The zero Options are a user's mailbox in English.
type Options struct {
	Clock    clockwork.Clock   // nil is the real clock
	Names    map[string]string // display names of well-known folders, by well-known name; the rest are English
	Quota    int64             // bytes of all streams together; 0 is no limit
	Restamp  *fts.Version      // what a server writes anew on import: version, modification time, change key; nil keeps streams as they come
	SpillDir string            // where streams above 1 MiB wait; "" is the system's temporary folder
}

// Mailbox is one mailbox: a folder tree, items, and a log of what changed. It is safe for concurrent use.
type Mailbox struct {
	Address string
	GUID    uuid.UUID // stable for an address

	o       Options
	mu      sync.Mutex
	next    uint64
	seq     uint64
	used    int64
	folders map[uint64]*Folder
	items   map[uint64]*Item
	inside  map[uint64]*contents // by folder
}

// contents is what a folder holds and what happened in it.
type contents struct {
	ids    []uint64 // ascending
	size   int64
	unread int
	log    []Change
}

// Folder is one folder. Root has no parent.
type Folder struct {
	ID, Parent uint64
	Name       string
	Class      string
	Known      string // well-known name, lower case
	Hidden     bool   // PidTagAttributeHidden
	Created    time.Time
}

// Item is one item as the store keeps it.
type Item struct {
	ID, Folder  uint64
	Change      uint64 // grows with every change to the mailbox
	Created     time.Time
	Modified    time.Time
	Stream      mailbox.Stream
	Summary     fts.Summary
	Properties  fts.Properties // as in the stream; of streams above 8 MiB only what Summary holds
	Recipients  []fts.Properties
	Attachments int
	Digest      [32]byte // SHA-256 of the stream's bytes as they were added
}

// Kind of a change.
type Kind int

// What happened to an item in a folder. A move is Deleted in one folder and Created, under a new id, in another.
const (
	Created Kind = iota + 1
	Updated
	Deleted
	ReadFlag
)

// Change is one line of the mailbox's log.
type Change struct {
	Seq    uint64
	Kind   Kind
	Folder uint64
	Item   uint64
}

// well-known folders of a new mailbox: name, display name, class, parent.
var wellKnown = [][4]string{
	{"root", "", "", ""},
	{"msgfolderroot", "Top of Information Store", "IPF.Note", "root"},
	{"searchfolders", "Finder", "IPF.Note", "root"},
	{"inbox", "Inbox", "IPF.Note", "msgfolderroot"},
	{"outbox", "Outbox", "IPF.Note", "msgfolderroot"},
	{"sentitems", "Sent Items", "IPF.Note", "msgfolderroot"},
	{"deleteditems", "Deleted Items", "IPF.Note", "msgfolderroot"},
	{"drafts", "Drafts", "IPF.Note", "msgfolderroot"},
	{"junkemail", "Junk Email", "IPF.Note", "msgfolderroot"},
	{"calendar", "Calendar", "IPF.Appointment", "msgfolderroot"},
	{"contacts", "Contacts", "IPF.Contact", "msgfolderroot"},
	{"tasks", "Tasks", "IPF.Task", "msgfolderroot"},
	{"notes", "Notes", "IPF.StickyNote", "msgfolderroot"},
	{"journal", "Journal", "IPF.Journal", "msgfolderroot"},
	{"syncissues", "Sync Issues", "IPF.Note", "msgfolderroot"},
	{"conflicts", "Conflicts", "IPF.Note", "syncissues"},
	{"localfailures", "Local Failures", "IPF.Note", "syncissues"},
	{"serverfailures", "Server Failures", "IPF.Note", "syncissues"},
	{"recoverableitemsroot", "Recoverable Items", "IPF.Note", "root"},
	{"recoverableitemsdeletions", "Deletions", "IPF.Note", "recoverableitemsroot"},
	{"recoverableitemsversions", "Versions", "IPF.Note", "recoverableitemsroot"},
	{"recoverableitemspurges", "Purges", "IPF.Note", "recoverableitemsroot"},
}

// New returns a mailbox with the well-known folders of a user's mailbox.
func New(address string, o Options) *Mailbox {
	if o.Clock == nil {
		o.Clock = clockwork.NewRealClock()
	}
	m := &Mailbox{
		Address: address,
		GUID:    uuid.NewSHA1(uuid.NameSpaceURL, []byte("mailto:"+strings.ToLower(address))),
		o:       o,
		folders: map[uint64]*Folder{},
		items:   map[uint64]*Item{},
		inside:  map[uint64]*contents{},
	}
	ids := map[string]uint64{}
	for _, w := range wellKnown {
		name := w[1]
		if n, ok := o.Names[w[0]]; ok {
			name = n
		}
		m.next++
		ids[w[0]] = m.next
		m.folders[m.next] = &Folder{ID: m.next, Parent: ids[w[3]], Name: name, Class: w[2], Known: w[0],
			Hidden: w[0] == "conflicts", Created: o.Clock.Now()}
	}
	return m
}

// Known returns the well-known folder of that name, which may be in any case.
func (m *Mailbox) Known(name string) (Folder, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.folders {
		if f.Known != "" && strings.EqualFold(f.Known, name) {
			return *f, nil
		}
	}
	return Folder{}, ErrNoFolder
}

// Folder returns a folder by id.
func (m *Mailbox) Folder(id uint64) (Folder, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.folders[id]
	if !ok {
		return Folder{}, ErrNoFolder
	}
	return *f, nil
}

// Folders returns the folders directly below a parent, or with deep the whole tree below it, oldest first.
func (m *Mailbox) Folders(parent uint64, deep bool) []Folder {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Folder
	for _, f := range m.folders {
		if f.Parent == parent || deep && m.below(f, parent) {
			out = append(out, *f)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out
}

func (m *Mailbox) below(f *Folder, root uint64) bool {
	for f != nil && f.Parent != 0 {
		if f.Parent == root {
			return true
		}
		f = m.folders[f.Parent]
	}
	return false
}

// Count returns how many items and how many subfolders a folder has, and the bytes of its items.
func (m *Mailbox) Count(folder uint64) (items, children int, size int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.in(folder)
	for _, f := range m.folders {
		if f.Parent == folder {
			children++
		}
	}
	return len(c.ids), children, c.size
}

// Unread returns how many items of a folder are not read.
func (m *Mailbox) Unread(folder uint64) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.in(folder).unread
}

// in returns a folder's contents.
func (m *Mailbox) in(folder uint64) *contents {
	c, ok := m.inside[folder]
	if !ok {
		c = &contents{}
		m.inside[folder] = c
	}
	return c
}

// enter and leave keep the counts of a folder.
func (c *contents) enter(it *Item) {
	if at, there := slices.BinarySearch(c.ids, it.ID); !there {
		c.ids = slices.Insert(c.ids, at, it.ID)
	}
	c.size += it.Stream.Size
	c.unread += unread(it)
}

func (c *contents) leave(it *Item) {
	if at, there := slices.BinarySearch(c.ids, it.ID); there {
		c.ids = slices.Delete(c.ids, at, at+1)
	}
	c.size -= it.Stream.Size
	c.unread -= unread(it)
}

func unread(it *Item) int {
	if it.Summary.Flags&mailbox.FlagRead != 0 {
		return 0
	}
	return 1
}

// CreateFolder makes a folder. Names are unique below a parent whatever their case, at most 255 characters long and
// without "/", as Exchange has it.
func (m *Mailbox) CreateFolder(parent uint64, name, class string) (Folder, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.folders[parent]; !ok {
		return Folder{}, ErrNoFolder
	}
	if !validName(name) {
		return Folder{}, ErrFolderName
	}
	for _, f := range m.folders {
		if f.Parent == parent && strings.EqualFold(f.Name, name) {
			return Folder{}, ErrFolderExists
		}
	}
	if class == "" {
		class = "IPF.Note"
	}
	m.next++
	f := &Folder{ID: m.next, Parent: parent, Name: name, Class: class, Created: m.o.Clock.Now()}
	m.folders[f.ID] = f
	return *f, nil
}

func validName(name string) bool {
	return strings.TrimSpace(name) != "" && len([]rune(name)) <= 255 && !strings.ContainsAny(name, "/\x00")
}

// RenameFolder gives a folder another name, under the rules of CreateFolder.
func (m *Mailbox) RenameFolder(id uint64, name string) (Folder, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.folders[id]
	if !ok {
		return Folder{}, ErrNoFolder
	}
	if !validName(name) {
		return Folder{}, ErrFolderName
	}
	for _, g := range m.folders {
		if g.ID != id && g.Parent == f.Parent && strings.EqualFold(g.Name, name) {
			return Folder{}, ErrFolderExists
		}
	}
	f.Name = name
	return *f, nil
}

// MoveFolder puts a folder with everything below it under another parent, where its name must be free. Its id stays.
// Well-known folders stay where they are.
func (m *Mailbox) MoveFolder(id, parent uint64) (Folder, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.folders[id]
	to, there := m.folders[parent]
	switch {
	case !ok, !there:
		return Folder{}, ErrNoFolder
	case f.Known != "":
		return Folder{}, ErrFolderName
	case id == parent || m.below(to, id):
		return Folder{}, ErrFolderPlace
	}
	for _, g := range m.folders {
		if g.ID != id && g.Parent == parent && strings.EqualFold(g.Name, f.Name) {
			return Folder{}, ErrFolderExists
		}
	}
	f.Parent = parent
	return *f, nil
}

// DeleteFolder removes a folder with everything in it. Well-known folders stay.
func (m *Mailbox) DeleteFolder(id uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.folders[id]
	if !ok {
		return ErrNoFolder
	}
	if f.Known != "" {
		return ErrFolderName
	}
	for gid, g := range m.folders {
		if m.below(g, id) {
			m.drop(gid)
		}
	}
	m.drop(id)
	return nil
}

func (m *Mailbox) drop(folder uint64) {
	c := m.in(folder)
	for _, id := range c.ids {
		m.used -= m.items[id].Stream.Size
		delete(m.items, id)
	}
	delete(m.inside, folder)
	delete(m.folders, folder)
}

// Keep reads r to its end and holds it: in memory up to 1 MiB, else in a file that is gone from its folder at once.
func (m *Mailbox) Keep(r io.Reader) (mailbox.Stream, error) {
	const inMemory = 1 << 20
	head, err := io.ReadAll(io.LimitReader(r, inMemory+1))
	if err != nil {
		return mailbox.Stream{}, fmt.Errorf("read stream: %w", err)
	}
	if len(head) <= inMemory {
		return Bytes(head), nil
	}
	f, err := os.CreateTemp(m.o.SpillDir, "stream-*")
	if err != nil {
		return mailbox.Stream{}, fmt.Errorf("spill stream: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return mailbox.Stream{}, fmt.Errorf("spill stream: %w", err)
	}
	n, err := io.Copy(f, io.MultiReader(bytes.NewReader(head), r))
	if err != nil {
		return mailbox.Stream{}, fmt.Errorf("spill stream: %w", err)
	}
	return mailbox.Stream{Size: n, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(f, 0, n)), nil
	}}, nil
}

// Bytes returns b as a stream.
func Bytes(b []byte) mailbox.Stream {
	return mailbox.Stream{Size: int64(len(b)), Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b)), nil
	}}
}

// Add puts an item into a folder. A stream that is not a complete FastTransfer stream is a *fts.FormatError and
// nothing is added. Equal items are added as often as they come.
func (m *Mailbox) Add(folder uint64, s mailbox.Stream) (Item, error) {
	it, err := m.read(s)
	if err != nil {
		return Item{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.folders[folder]; !ok {
		return Item{}, ErrNoFolder
	}
	if m.o.Quota > 0 && m.used+it.Stream.Size > m.o.Quota {
		return Item{}, ErrQuota
	}
	m.next++
	it.ID, it.Folder, it.Created = m.next, folder, m.o.Clock.Now()
	m.put(it, Created)
	return *it, nil
}

// Replace gives an item another stream if change is still its change number (0 does not ask).
func (m *Mailbox) Replace(id, change uint64, s mailbox.Stream) (Item, error) {
	return m.replace(id, change, s, Updated)
}

func (m *Mailbox) replace(id, change uint64, s mailbox.Stream, kind Kind) (Item, error) {
	it, err := m.read(s)
	if err != nil {
		return Item{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old, ok := m.items[id]
	if !ok {
		return Item{}, ErrNoItem
	}
	if change != 0 && old.Change != change {
		return Item{}, ErrChanged
	}
	if m.o.Quota > 0 && m.used-old.Stream.Size+it.Stream.Size > m.o.Quota {
		return Item{}, ErrQuota
	}
	m.used -= old.Stream.Size
	m.in(old.Folder).leave(old)
	it.ID, it.Folder, it.Created = id, old.Folder, old.Created
	m.put(it, kind)
	return *it, nil
}

func (m *Mailbox) put(it *Item, k Kind) {
	m.seq++
	it.Change, it.Modified = m.seq, m.o.Clock.Now()
	m.used += it.Stream.Size
	m.items[it.ID] = it
	c := m.in(it.Folder)
	c.enter(it)
	c.log = append(c.log, Change{Seq: m.seq, Kind: k, Folder: it.Folder, Item: it.ID})
}

// read checks a stream and learns its properties.
func (m *Mailbox) read(s mailbox.Stream) (*Item, error) {
	r, err := s.Open(context.Background())
	if err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	defer r.Close()
	h := sha256.New()
	sum, err := fts.Summarize(io.TeeReader(r, h))
	if err != nil {
		return nil, err
	}
	it := &Item{Stream: s, Summary: sum, Attachments: sum.Attachments}
	h.Sum(it.Digest[:0])
	if s.Size > 8<<20 {
		it.Properties = listed(sum.Properties)
		return it, nil
	}
	return it, m.parse(it)
}

// parse keeps the whole property list of a small item and, where asked, stamps it as a server does.
func (m *Mailbox) parse(it *Item) error {
	r, err := it.Stream.Open(context.Background())
	if err != nil {
		return fmt.Errorf("open stream: %w", err)
	}
	defer r.Close()
	msg, err := fts.Read(r)
	if err != nil {
		return err
	}
	if m.o.Restamp != nil {
		if it.Stream, err = m.stamp(msg); err != nil {
			return err
		}
	}
	it.Properties, it.Recipients = msg.Properties, msg.Recipients
	return nil
}

func (m *Mailbox) stamp(msg *fts.Message) (mailbox.Stream, error) {
	m.mu.Lock()
	m.next++
	n := m.next
	m.mu.Unlock()
	key := append(append([]byte{}, m.GUID[:]...), binary.BigEndian.AppendUint64(nil, n)[2:]...)
	set(&msg.Properties, fts.Property{ID: 0x3008, Type: fts.Time, Value: m.o.Clock.Now().UTC().Truncate(100 * time.Nanosecond)})
	set(&msg.Properties, fts.Property{ID: 0x65E2, Type: fts.Binary, Value: key})
	var b bytes.Buffer
	if err := fts.Write(&b, msg, *m.o.Restamp); err != nil {
		return mailbox.Stream{}, fmt.Errorf("restamp item: %w", err)
	}
	return Bytes(b.Bytes()), nil
}

func set(ps *fts.Properties, p fts.Property) {
	for i := range *ps {
		if (*ps)[i].ID == p.ID && (*ps)[i].Name == nil {
			(*ps)[i] = p
			return
		}
	}
	*ps = append(*ps, p)
}

// Item returns an item by id.
func (m *Mailbox) Item(id uint64) (Item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	it, ok := m.items[id]
	if !ok {
		return Item{}, ErrNoItem
	}
	return *it, nil
}

// Items returns a folder's items, oldest first.
func (m *Mailbox) Items(folder uint64) []Item {
	m.mu.Lock()
	defer m.mu.Unlock()
	ids := m.in(folder).ids
	out := make([]Item, 0, len(ids))
	for _, id := range ids {
		out = append(out, *m.items[id])
	}
	return out
}

// IDs returns the ids of a folder's items, oldest first.
func (m *Mailbox) IDs(folder uint64) []uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.in(folder).ids)
}

// Delete removes an item.
func (m *Mailbox) Delete(id uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	it, ok := m.items[id]
	if !ok {
		return ErrNoItem
	}
	m.remove(it)
	return nil
}

func (m *Mailbox) remove(it *Item) {
	m.seq++
	m.used -= it.Stream.Size
	delete(m.items, it.ID)
	c := m.in(it.Folder)
	c.leave(it)
	c.log = append(c.log, Change{Seq: m.seq, Kind: Deleted, Folder: it.Folder, Item: it.ID})
}

// Move puts an item into another folder, where it has a new id; its search key stays.
func (m *Mailbox) Move(id, folder uint64) (Item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	moved, err := m.copy(id, folder)
	if err != nil {
		return Item{}, err
	}
	m.remove(m.items[id])
	return moved, nil
}

// Copy adds the same item to a folder; the copy shares its search key.
func (m *Mailbox) Copy(id, folder uint64) (Item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if it, ok := m.items[id]; ok && m.o.Quota > 0 && m.used+it.Stream.Size > m.o.Quota {
		return Item{}, ErrQuota
	}
	return m.copy(id, folder)
}

func (m *Mailbox) copy(id, folder uint64) (Item, error) {
	it, ok := m.items[id]
	if !ok {
		return Item{}, ErrNoItem
	}
	if _, ok := m.folders[folder]; !ok {
		return Item{}, ErrNoFolder
	}
	c := *it
	m.next++
	c.ID, c.Folder = m.next, folder
	m.put(&c, Created)
	return c, nil
}

// SetRead changes an item's read flag, as opening it does. Only items up to 8 MiB can be changed.
func (m *Mailbox) SetRead(id uint64, read bool) (Item, error) {
	return m.edit(id, ReadFlag, func(msg *fts.Message) {
		flags, _ := msg.Properties.Value(0x0E07).(int32)
		if flags &^= mailbox.FlagRead; read {
			flags |= mailbox.FlagRead
		}
		set(&msg.Properties, fts.Property{ID: 0x0E07, Type: fts.Int32, Value: flags})
	})
}

// Edit changes an item of up to 8 MiB in place.
func (m *Mailbox) Edit(id uint64, change func(*fts.Message)) (Item, error) {
	return m.edit(id, Updated, change)
}

func (m *Mailbox) edit(id uint64, kind Kind, change func(*fts.Message)) (Item, error) {
	it, err := m.Item(id)
	if err != nil {
		return Item{}, err
	}
	r, err := it.Stream.Open(context.Background())
	if err != nil {
		return Item{}, fmt.Errorf("open stream: %w", err)
	}
	defer r.Close()
	msg, err := fts.Read(r)
	if err != nil {
		return Item{}, err
	}
	change(msg)
	var b bytes.Buffer
	if err := fts.Write(&b, msg, fts.Version{Major: 15, Minor: 1, Build: 2507, Revision: 6}); err != nil {
		return Item{}, err
	}
	return m.replace(id, 0, Bytes(b.Bytes()), kind)
}

// Changes returns what happened in a folder after a point in the log, in order, and the point reached.
func (m *Mailbox) Changes(folder, after uint64) ([]Change, uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	log := m.in(folder).log
	at := sort.Search(len(log), func(i int) bool { return log[i].Seq > after })
	return slices.Clone(log[at:]), m.seq
}

// Property returns a property of an item as a listing shows it: what the stream holds and what a server computes
// (sizes, times, display names of recipients). It is nil when the item has none.
func (m *Mailbox) Property(it Item, id uint16) any {
	switch id {
	case 0x0E08: // PidTagMessageSize
		return int32(min(it.Stream.Size, 1<<31-1))
	case 0x3007: // PidTagCreationTime
		return it.Created.UTC()
	case 0x3008: // PidTagLastModificationTime
		return it.Modified.UTC()
	case 0x0E04: // PidTagDisplayTo
		return it.Summary.To
	case 0x0E03: // PidTagDisplayCc
		return it.Summary.Cc
	case 0x0E02: // PidTagDisplayBcc
		return it.Summary.Bcc
	case 0x0037: // PidTagSubject, which a stream may hold as prefix and normalized subject
		if it.Summary.Subject != "" {
			return it.Summary.Subject
		}
	case 0x0E1B: // PidTagHasAttachments
		return it.Summary.Properties.Attachments
	case 0x0E23: // PidTagInternetArticleNumber, the UID of IMAP
		return int32(it.ID)
	case 0x65E0: // PidTagSourceKey: unique per item
		return append(append([]byte{}, m.GUID[:]...), binary.BigEndian.AppendUint64(nil, it.ID)[2:]...)
	}
	return it.Properties.Value(id)
}

// listed turns a listing's properties back into a property list.
func listed(p mailbox.Properties) fts.Properties {
	ps := fts.Properties{
		{ID: 0x001A, Type: fts.Unicode, Value: p.Class},
		{ID: 0x0017, Type: fts.Int32, Value: p.Importance},
		{ID: 0x0E07, Type: fts.Int32, Value: p.Flags},
	}
	add := func(id uint16, t fts.Type, v any, there bool) {
		if there {
			ps = append(ps, fts.Property{ID: id, Type: t, Value: v})
		}
	}
	add(0x300B, fts.Binary, p.SearchKey, len(p.SearchKey) > 0)
	add(0x1035, fts.Unicode, p.MessageID, p.MessageID != "")
	add(0x0037, fts.Unicode, p.Subject, p.Subject != "")
	add(0x0C1F, fts.Unicode, p.Sender, p.Sender != "")
	add(0x0039, fts.Time, p.Submitted, !p.Submitted.IsZero())
	add(0x0E06, fts.Time, p.Received, !p.Received.IsZero())
	add(0x1090, fts.Int32, p.FlagStatus, p.FlagStatus != 0)
	return ps
}
