package ewstest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"io"
	"slices"
	"sort"

	"github.com/google/uuid"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
)

// Kinds of sync states.
const (
	stateItems   = 1
	stateFolders = 2
)

// syncState is what a client gets back with its changes. It is bound to one folder of one mailbox.
type syncState struct {
	kind    byte
	mailbox uuid.UUID
	folder  uint64
	// of items: while Before is not 0 the first listing is under way and has come down to that id. Then changes in
	// (Base, End] are being reported and those up to Pos were.
	before, base, pos, end uint64
	epoch                  uint64            // how often states of the mailbox were forgotten before it was made
	folders                map[uint64]uint64 // of folders: stamp by id
}

// maxState is more than any state made here.
const maxState = 8 << 20

func (s syncState) encode() string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	put := func(ns ...uint64) {
		for _, n := range ns {
			_, _ = z.Write(binary.LittleEndian.AppendUint64(nil, n))
		}
	}
	_, _ = z.Write(append([]byte{'E', 'W', 's', s.kind}, s.mailbox[:]...))
	put(s.folder, s.before, s.base, s.pos, s.end, s.epoch)
	ids := make([]uint64, 0, len(s.folders))
	for id := range s.folders {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool { return ids[i] < ids[j] })
	for _, id := range ids {
		put(id, s.folders[id])
	}
	_ = z.Close()
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

func decodeState(text string) (syncState, bool) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return syncState{}, false
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return syncState{}, false
	}
	raw, err := io.ReadAll(io.LimitReader(z, maxState))
	if err != nil || len(raw) < 68 || len(raw)%16 != 4 || string(raw[:3]) != "EWs" {
		return syncState{}, false
	}
	s := syncState{kind: raw[3], mailbox: uuid.UUID(raw[4:20]), folders: map[uint64]uint64{}}
	for i, to := range []*uint64{&s.folder, &s.before, &s.base, &s.pos, &s.end, &s.epoch} {
		*to = binary.LittleEndian.Uint64(raw[20+8*i:])
	}
	for rest := raw[68:]; len(rest) >= 16; rest = rest[16:] {
		s.folders[binary.LittleEndian.Uint64(rest)] = binary.LittleEndian.Uint64(rest[8:])
	}
	return s, true
}

// state reads the request's sync state, or starts a new one.
func (c *call) state(kind byte, r ref) (syncState, bool, *problem) {
	fresh := syncState{kind: kind, mailbox: r.m.GUID, folder: r.folder.ID, epoch: c.s.faults.epoch(r.m)}
	text := c.op.child("SyncState").value()
	if text == "" {
		return fresh, true, nil
	}
	s, ok := decodeState(text)
	if !ok || s.kind != kind || s.mailbox != r.m.GUID || s.folder != r.folder.ID || s.epoch != fresh.epoch {
		if ok && s.epoch != fresh.epoch {
			c.s.faults.strikes(IsForgotten)
		}
		return fresh, false, newProblem("ErrorInvalidSyncStateData")
	}
	return s, false, nil
}

func (c *call) syncHierarchy() *fault {
	return c.respond(func() {
		sh, bad := readShape(c.op.child("FolderShape"))
		root := c.op.child("SyncFolderId")
		e := distinguishedID("root")
		if root != nil {
			e = root.kids0()
		}
		r, p := c.folder(e)
		if p != nil && p.code == "ErrorFolderNotFound" {
			p = newProblem("ErrorSyncFolderNotFound")
		}
		if p = firstProblem(bad, p); p != nil {
			c.refuse(p, c.noFolderState)
			return
		}
		c.foldersSince(r, &sh)
	})
}

// noFolderState and noItemState are what an error has in place of changes.
func (c *call) noFolderState() {
	c.w.empty("m:SyncState")
	c.w.flag("m:IncludesLastFolderInRange", true)
}

func (c *call) noItemState() {
	c.w.empty("m:SyncState")
	c.w.flag("m:IncludesLastItemInRange", true)
}

func distinguishedID(name string) *element {
	return &element{name: xml.Name{Space: nsTypes, Local: "DistinguishedFolderId"}, attrs: []xml.Attr{{Name: xml.Name{Local: "Id"}, Value: name}}}
}

func (c *call) foldersSince(r ref, sh *shape) {
	old, _, p := c.state(stateFolders, r)
	if p != nil {
		c.refuse(p, c.noFolderState)
		return
	}
	all := r.m.Folders(r.folder.ID, true)
	now := syncState{kind: stateFolders, mailbox: r.m.GUID, folder: r.folder.ID, epoch: c.s.faults.epoch(r.m), folders: map[uint64]uint64{}}
	for _, f := range all {
		now.folders[f.ID] = folderStamp(f)
	}
	c.success(func() {
		c.w.text("m:SyncState", now.encode())
		c.w.flag("m:IncludesLastFolderInRange", true)
		c.w.open("m:Changes")
		for _, f := range all {
			stamp, known := old.folders[f.ID]
			switch {
			case !known:
				c.folderChange("t:Create", ref{m: r.m, folder: f}, sh)
			case stamp != now.folders[f.ID]:
				c.folderChange("t:Update", ref{m: r.m, folder: f}, sh)
			}
		}
		c.foldersGone(r, old, now)
		c.w.close("m:Changes")
	})
}

func (c *call) folderChange(name string, r ref, sh *shape) {
	c.w.open(name)
	c.w.writeFolder(r, sh)
	c.w.close(name)
}

func (c *call) foldersGone(r ref, old, now syncState) {
	var gone []uint64
	for id := range old.folders {
		if _, there := now.folders[id]; !there {
			gone = append(gone, id)
		}
	}
	sort.Slice(gone, func(i, j int) bool { return gone[i] < gone[j] })
	for _, id := range gone {
		c.w.open("t:Delete")
		c.w.empty("t:FolderId", "Id", FolderID(r.m, id), "ChangeKey", changeKey(r.m, 1, id))
		c.w.close("t:Delete")
	}
}

// itemChange is one line of a SyncFolderItems answer.
type itemChange struct {
	kind exchangetest.Kind
	id   uint64
	seq  uint64 // of its last change
	it   exchangetest.Item
}

func (c *call) syncItems() *fault {
	return c.respond(func() {
		sh, bad := readShape(c.op.child("ItemShape"))
		r, p := c.folder(c.op.child("SyncFolderId").kids0())
		if p != nil && p.code == "ErrorFolderNotFound" {
			p = newProblem("ErrorSyncFolderNotFound")
		}
		var s syncState
		var fresh bool
		if p = firstProblem(bad, p); p == nil {
			s, fresh, p = c.state(stateItems, r)
		}
		if p != nil {
			c.refuse(p, c.noItemState)
			return
		}
		limit, _ := decimal(c.op.child("MaxChangesReturned").value())
		if fresh {
			_, s.base = r.m.Changes(r.folder.ID, ^uint64(0))
			s.before, s.pos, s.end = ^uint64(0), s.base, s.base
		}
		changes, next, last := nextChanges(r, s, limit)
		c.writeChanges(r, &sh, c.withoutIgnored(changes), next, last)
	})
}

// withoutIgnored leaves out the items that the client knows of already.
func (c *call) withoutIgnored(changes []itemChange) []itemChange {
	list := c.op.child("Ignore")
	if list == nil {
		return changes
	}
	ignored := c.named(list)
	return slices.DeleteFunc(changes, func(ch itemChange) bool { return slices.Contains(ignored, ch.id) })
}

// nextChanges returns up to limit changes, the state after them and whether they are all.
func nextChanges(r ref, s syncState, limit int) (out []itemChange, next syncState, last bool) {
	if s.before != 0 {
		if out, s, last = firstListing(r, s, limit); !last || len(out) > 0 {
			_, now := r.m.Changes(r.folder.ID, s.base)
			return out, s, last && now == s.base
		}
	}
	if s.pos == s.end { // the round is over: begin the next where it ended
		s.base, s.pos = s.end, s.end
		_, s.end = r.m.Changes(r.folder.ID, ^uint64(0))
	}
	all := netChanges(r, s)
	if len(all) > limit {
		s.pos = all[limit-1].seq
		return all[:limit], s, false
	}
	s.pos = s.end
	return all, s, true
}

// firstListing lists what is there, newest first.
func firstListing(r ref, s syncState, limit int) ([]itemChange, syncState, bool) {
	ids := r.m.IDs(r.folder.ID)
	n := sort.Search(len(ids), func(i int) bool { return ids[i] >= s.before })
	var out []itemChange
	for ; n > 0 && len(out) < limit; n-- {
		it, err := r.m.Item(ids[n-1])
		if err == nil && it.Folder == r.folder.ID {
			out = append(out, itemChange{kind: exchangetest.Created, id: it.ID, it: it})
		}
	}
	if n == 0 {
		s.before = 0
		return out, s, true
	}
	s.before = ids[n]
	return out, s, false
}

// netChanges folds the log of (base, end] to one change per item, in the order of their last ones, leaving out what
// was reported up to pos.
func netChanges(r ref, s syncState) []itemChange {
	log, _ := r.m.Changes(r.folder.ID, s.base)
	first, last := map[uint64]exchangetest.Kind{}, map[uint64]exchangetest.Change{}
	flagsOnly := map[uint64]bool{}
	for _, l := range log {
		if l.Seq > s.end {
			break
		}
		if _, seen := first[l.Item]; !seen {
			first[l.Item], flagsOnly[l.Item] = l.Kind, true
		}
		flagsOnly[l.Item] = flagsOnly[l.Item] && l.Kind == exchangetest.ReadFlag
		last[l.Item] = l
	}
	var out []itemChange
	for id, l := range last {
		ch := itemChange{id: id, seq: l.Seq, kind: l.Kind}
		if l.Seq > s.pos && ch.settle(r, first[id], flagsOnly[id]) {
			out = append(out, ch)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].seq < out[j].seq })
	return out
}

// settle decides what a change is by now; false when there is nothing to report.
func (ch *itemChange) settle(r ref, first exchangetest.Kind, flagsOnly bool) bool {
	if ch.kind == exchangetest.Deleted {
		return first != exchangetest.Created
	}
	it, err := r.m.Item(ch.id)
	if err != nil { // gone after the round's end: the next round says so
		return false
	}
	ch.it = it
	switch {
	case first == exchangetest.Created:
		ch.kind = exchangetest.Created
	case flagsOnly:
		ch.kind = exchangetest.ReadFlag
	default:
		ch.kind = exchangetest.Updated
	}
	return true
}

func (c *call) writeChanges(r ref, sh *shape, changes []itemChange, next syncState, last bool) {
	c.success(func() {
		c.w.text("m:SyncState", next.encode())
		c.w.flag("m:IncludesLastItemInRange", last)
		c.w.open("m:Changes")
		for _, ch := range changes {
			c.writeChange(r, sh, ch)
		}
		c.w.close("m:Changes")
	})
}

func (c *call) writeChange(r ref, sh *shape, ch itemChange) {
	v := &view{m: r.m, it: ch.it, sh: sh, list: true}
	switch ch.kind {
	case exchangetest.Deleted:
		c.w.open("t:Delete")
		c.w.empty("t:ItemId", "Id", ItemID(r.m, exchangetest.Item{ID: ch.id, Folder: r.folder.ID}), "ChangeKey", changeKey(r.m, 9, ch.seq))
		c.w.close("t:Delete")
	case exchangetest.ReadFlag:
		c.w.open("t:ReadFlagChange")
		c.w.empty("t:ItemId", "Id", ItemID(r.m, ch.it), "ChangeKey", ChangeKey(r.m, ch.it))
		c.w.flag("t:IsRead", v.read())
		c.w.close("t:ReadFlagChange")
	default:
		name := "t:Create"
		if ch.kind == exchangetest.Updated {
			name = "t:Update"
		}
		if c.s.wants(sh, false) {
			_ = v.load(c.r.Context())
		}
		c.w.open(name)
		c.writeItem(v)
		c.w.close(name)
	}
}
