package graphtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
)

// syncState is what a delta or skip token stands for: how far a client has come in one collection.
type syncState struct {
	Path   string `json:"p"` // the collection, so that a token serves no other
	Epoch  int    `json:"e"`
	Made   int64  `json:"t"`
	Gen    int    `json:"g"` // how many links the collection had given when it gave this one
	Select string `json:"s,omitempty"`
	Top    int    `json:"n,omitempty"`
	Skip   bool   `json:"k,omitempty"` // a skip token

	// Of items: the first round lists what is there, later ones read the log from After to Until.
	Round bool   `json:"r,omitempty"` // not the first
	After uint64 `json:"a,omitempty"`
	Until uint64 `json:"u,omitempty"`
	Done  int    `json:"d,omitempty"` // entries already shown; in the first round the last item's id
	Last  uint64 `json:"l,omitempty"`

	// Of folders: names of snapshots.
	Old string `json:"o,omitempty"`
	New string `json:"w,omitempty"`
}

// snapshot is a folder tree as a client was told it.
type snapshot map[uint64]exchangetest.Folder

func (s *Server) encodeState(st syncState) string {
	b, err := json.Marshal(st)
	if err != nil {
		return ""
	}
	mac := s.mac(string(b))[:12]
	return base64.RawURLEncoding.EncodeToString(append(mac, b...))
}

func (s *Server) decodeState(token string) (st syncState, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < 12 || !hmac.Equal(b[:12], s.mac(string(b[12:]))[:12]) {
		return st, false
	}
	return st, json.Unmarshal(b[12:], &st) == nil
}

// openState reads the token of a delta request, or begins a first round for one without.
func (c *call) openState(path string) (syncState, error) {
	q, now := c.query, c.s.clock.Now()
	epoch := state(c, func(b *box) int { return b.epoch })
	if q.token == "" {
		return syncState{Path: path, Epoch: epoch, Select: strings.Join(q.selected, ","), Top: q.top}, nil
	}
	st, ok := c.s.decodeState(q.token)
	if !ok || st.Path != path || st.Skip != (q.tokenFor == optSkipTok) {
		return st, badRequest("Badly formed token.")
	}
	if st.Epoch != epoch || c.s.o.DeltaLife > 0 && now.Sub(time.Unix(0, st.Made)) >= c.s.o.DeltaLife {
		return st, refuse(http.StatusGone, "SyncStateNotFound", "The sync state generation is not found; perform a full synchronization.")
	}
	if highest := state(c, func(b *box) int { return b.links[path] }); c.s.o.DeltaKept > 0 && st.Gen <= highest-c.s.o.DeltaKept {
		return st, refuse(http.StatusGone, "SyncStateNotFound", "The sync state generation is not found; generation=%d;[highest=%d].", st.Gen, highest)
	}
	if q.selected != nil || q.top != 0 {
		return st, badRequest("Query options are part of the state token and cannot be given with it.")
	}
	if st.Select != "" {
		q.selected = strings.Split(st.Select, ",")
	}
	q.top = st.Top
	return st, nil
}

// pageSize is that of $top in the first request, or what this request prefers.
func (c *call) pageSize() int {
	if c.query.top > 0 {
		return c.query.top
	}
	return c.preferred()
}

// replyDelta answers a page with the link to what follows.
func (c *call) replyDelta(set, path string, value []object, st syncState) error {
	st.Made = c.s.clock.Now().UnixNano()
	st.Gen = state(c, func(b *box) int { b.links[st.Path]++; return b.links[st.Path] })
	link, opt := "@odata.deltaLink", optDelta
	if st.Skip {
		link, opt = "@odata.nextLink", optSkipTok
	}
	if value == nil {
		value = []object{}
	}
	return c.reply(http.StatusOK, object{
		{"@odata.context", c.context("Collection(" + set + ")")},
		{link, c.base() + "/" + path + "/delta?" + opt + "=" + url.QueryEscape(c.s.encodeState(st))},
		{"value", value},
	})
}

func removed(id string) object {
	return object{{"@removed", object{{"reason", "deleted"}}}, {"id", id}}
}

func (c *call) deltaItems() error {
	if err := c.parse(itemEntity(), optSelect, optTop, optSkipTok, optDelta); err != nil {
		return err
	}
	f, err := c.target()
	if err != nil {
		return err
	}
	st, err := c.openState(c.itemsPath())
	if err != nil {
		return err
	}
	var value []object
	if st.Round {
		value, st = c.itemChanges(f.ID, st)
	} else {
		value, st = c.itemsAtFirst(f.ID, st)
	}
	return c.replyDelta("mailboxItem", c.itemsPath(), value, st)
}

// itemsAtFirst lists a folder as it was when the round began. What has changed since comes in the next round.
func (c *call) itemsAtFirst(folder uint64, st syncState) ([]object, syncState) {
	if !st.Skip {
		_, st.Until = c.box.m.Changes(folder, 0)
	}
	size := c.pageSize()
	var value []object
	for _, it := range c.box.m.Items(folder) {
		if it.ID <= st.Last || it.Change > st.Until {
			continue
		}
		if len(value) == size {
			st.Skip = true
			return value, st
		}
		value = append(value, itemRow{c, it}.entry(true))
		st.Last = it.ID
	}
	return value, syncState{Path: st.Path, Epoch: st.Epoch, Select: st.Select, Top: st.Top, Round: true, After: st.Until}
}

// itemChanges reads the log between two points, each item once, at the place of its last change.
func (c *call) itemChanges(folder uint64, st syncState) ([]object, syncState) {
	log, until := c.box.m.Changes(folder, st.After)
	if !st.Skip {
		st.Until = until
	}
	lines := lastChanges(log, st.Until)
	from := min(st.Done, len(lines))
	to := min(from+c.pageSize(), len(lines))
	var value []object
	for _, id := range lines[from:to] {
		if it, err := c.box.m.Item(id); err == nil && it.Folder == folder {
			value = append(value, itemRow{c, it}.entry(true))
		} else {
			value = append(value, removed(c.box.ids.item(folder, id)))
		}
	}
	if to < len(lines) {
		st.Skip, st.Done = true, to
		return value, st
	}
	return value, syncState{Path: st.Path, Epoch: st.Epoch, Select: st.Select, Top: st.Top, Round: true, After: st.Until}
}

func lastChanges(log []exchangetest.Change, until uint64) []uint64 {
	var out []uint64
	seen := map[uint64]bool{}
	for _, ch := range slices.Backward(log) {
		if ch.Seq <= until && !seen[ch.Item] {
			seen[ch.Item] = true
			out = append(out, ch.Item)
		}
	}
	slices.Reverse(out)
	return out
}

// deltaFolders follows the whole tree below a folder.
func (c *call) deltaFolders() error {
	if err := c.parse(folderEntity(), optSelect, optSkipTok, optDelta); err != nil {
		return err
	}
	p, err := c.parent()
	if err != nil {
		return err
	}
	st, err := c.openState(c.foldersPath())
	if err != nil {
		return err
	}
	if !st.Skip {
		st.New, st.Done = c.takeSnapshot(p.ID), 0
	}
	value, more := c.folderChanges(&st)
	if !more {
		st = syncState{Path: st.Path, Epoch: st.Epoch, Select: st.Select, Old: st.New}
	}
	return c.replyDelta("mailboxFolder", c.foldersPath(), value, st)
}

// takeSnapshot remembers the tree below a folder under a name of its content: a tree that stays the same is kept once.
func (c *call) takeSnapshot(parent uint64) string {
	snap, h := snapshot{}, sha256.New()
	fmt.Fprintln(h, c.box.id, parent)
	for _, f := range c.box.m.Folders(parent, true) {
		if !f.Hidden {
			snap[f.ID] = f
			fmt.Fprintf(h, "%+v\n", f)
		}
	}
	name := base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.snapshots[name] = snap
	return name
}

// folderChanges is a page of the differences between two snapshots, new and changed folders before removed ones.
func (c *call) folderChanges(st *syncState) (value []object, more bool) {
	c.s.mu.Lock()
	older, newer := c.s.snapshots[st.Old], c.s.snapshots[st.New]
	c.s.mu.Unlock()
	var changed, gone []uint64
	for id, f := range newer {
		if was, ok := older[id]; !ok || was != f {
			changed = append(changed, id)
		}
	}
	for id := range older {
		if _, ok := newer[id]; !ok {
			gone = append(gone, id)
		}
	}
	slices.Sort(changed)
	slices.Sort(gone)
	ids := append(changed, gone...)
	from := min(st.Done, len(ids))
	to := min(from+c.pageSize(), len(ids))
	for i, id := range ids[from:to] {
		if from+i < len(changed) {
			value = append(value, folderRow{c, newer[id]}.entry(true))
		} else {
			value = append(value, removed(c.box.ids.folder(id)))
		}
	}
	st.Skip, st.Done = to < len(ids), to
	return value, st.Skip
}
