package ewstest

import (
	"fmt"
	"math"
	"sort"
	"sync"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// finding is a FindItem, decoded.
type finding struct {
	sh    shape
	where condition
	order []sortKey
	pg    page
}

type sortKey struct {
	of         path
	descending bool
}

func (c *call) readFinding() (finding, *problem) {
	var f finding
	var ps [4]*problem
	f.sh, ps[0] = readShape(c.op.child("ItemShape"))
	f.where, ps[1] = readRestriction(c.op.child("Restriction"))
	f.pg, ps[2] = readPage(c.op, "IndexedPageItemView", "FractionalPageItemView")
	f.order, ps[3] = c.s.readOrder(c.op.child("SortOrder"))
	if p := firstProblem(ps[:]...); p != nil {
		return f, p
	}
	if c.op.child("QueryString").value() != "" {
		return f, newProblem("ErrorContentIndexingNotEnabled")
	}
	if c.op.child("GroupBy") != nil || c.op.child("DistinguishedGroupBy") != nil || c.op.child("SeekToConditionPageItemView") != nil {
		return f, newProblem("ErrorInvalidOperation") // not simulated
	}
	for uri := range f.sh.uris {
		if d := c.s.byURI[uri]; d != nil && d.heavy || f.sh.mime {
			return f, newProblem("ErrorInvalidPropertyRequest")
		}
	}
	return f, f.calendar(c.op.child("CalendarView"))
}

// calendar turns a CalendarView into a restriction and an order. Series are not expanded.
func (f *finding) calendar(e *element) *problem {
	if e == nil {
		return nil
	}
	start, err1 := parseTime(e.attr("StartDate"))
	end, err2 := parseTime(e.attr("EndDate"))
	if err1 != nil || err2 != nil || end.Before(start) {
		return newProblem("ErrorCalendarEndDateIsEarlierThanStartDate")
	}
	if n, ok := decimal(e.attr("MaxEntriesReturned")); ok {
		f.pg = page{view: "indexed", max: n}
	}
	f.order = []sortKey{{of: path{uri: "calendar:Start"}}}
	f.where = func(l lookup) bool {
		a, ok1 := l(path{uri: "calendar:Start"}).(time.Time)
		b, ok2 := l(path{uri: "calendar:End"}).(time.Time)
		return ok1 && ok2 && a.Before(end) && b.After(start)
	}
	return nil
}

func (s *Server) readOrder(e *element) ([]sortKey, *problem) {
	if e == nil {
		return nil, nil
	}
	var keys []sortKey
	for _, k := range e.kids {
		of, p := readPath(k.kids0())
		if p != nil {
			return nil, p
		}
		if f := s.byURI[of.uri]; of.extended == nil && (of.index != "" || f == nil || f.value == nil || f.heavy) {
			return nil, newProblem("ErrorUnsupportedPathForSortGroup")
		}
		keys = append(keys, sortKey{of, k.attr("Order") == "Descending"})
	}
	return keys, nil
}

func (c *call) findItem() *fault {
	f, bad := c.readFinding()
	return c.respond(func() {
		for _, e := range c.op.child("ParentFolderIds").kids {
			r, p := c.folder(e)
			if p = firstProblem(bad, p); p != nil {
				c.refuse(p, nil)
				continue
			}
			c.foundItems(c.s.chosen(r, f, c.op.attr("Traversal")), r, f)
		}
	})
}

func (c *call) foundItems(ids []uint64, r ref, f finding) {
	from, to, p := c.window(f.pg, len(ids))
	if p != nil {
		c.refuse(p, nil)
		return
	}
	c.success(func() {
		c.w.open("m:RootFolder", f.pg.attrs(from, to, len(ids))...)
		c.w.open("t:Items")
		for _, id := range ids[from:to] {
			if it, err := r.m.Item(id); err == nil {
				c.writeItem(&view{m: r.m, it: it, list: true, sh: &f.sh})
			}
		}
		c.w.close("t:Items")
		c.w.close("m:RootFolder")
	})
}

// chosen returns the ids of a folder's items that match, in order: newest delivery first when none is asked for.
func (s *Server) chosen(r ref, f finding, traversal string) []uint64 {
	if traversal != "Shallow" {
		return nil // no associated and no soft-deleted items are kept
	}
	if f.where == nil && len(f.order) == 0 {
		f.order = []sortKey{{path{uri: "item:DateTimeReceived"}, true}}
	}
	cached := f.where == nil
	if cached {
		if ids := s.sorted.load(r, f.order); ids != nil {
			return ids
		}
	}
	_, seq := r.m.Changes(r.folder.ID, math.MaxUint64)
	var rows []sortRow
	for _, it := range r.m.Items(r.folder.ID) {
		l := s.lookup(r.m, it)
		if f.where != nil && !f.where(l) {
			continue
		}
		row := sortRow{id: it.ID, keys: make([]any, len(f.order))}
		for i, k := range f.order {
			row.keys[i] = l(k.of)
		}
		rows = append(rows, row)
	}
	sort.SliceStable(rows, func(i, j int) bool { return less(rows[i], rows[j], f.order) })
	ids := make([]uint64, len(rows))
	for i := range rows {
		ids[i] = rows[i].id
	}
	if cached {
		s.sorted.store(r, f.order, sorting{seq: seq, ids: ids})
	}
	return ids
}

// sortedFolders remembers the order of folders from page to page, until their mailbox changes.
type sortedFolders struct {
	mu    sync.Mutex
	known map[string]sorting
}

type sorting struct {
	seq uint64
	ids []uint64
}

func sortingKey(r ref, order []sortKey) string {
	k := fmt.Sprint(r.m.GUID, r.folder.ID)
	for _, o := range order {
		k += fmt.Sprintf("|%s %v", o.of.uri, o.descending)
		if x := o.of.extended; x != nil {
			k += fmt.Sprint(x.attrs)
		}
	}
	return k
}

func (c *sortedFolders) load(r ref, order []sortKey) []uint64 {
	_, seq := r.m.Changes(r.folder.ID, math.MaxUint64)
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.known[sortingKey(r, order)]; ok && s.seq == seq {
		return s.ids
	}
	return nil
}

func (c *sortedFolders) store(r ref, order []sortKey, s sorting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[string]sorting{}
	}
	c.known[sortingKey(r, order)] = s
}

type sortRow struct {
	id   uint64
	keys []any
}

// less orders absent values first, ascending; ties go by id in the first key's direction.
func less(a, b sortRow, order []sortKey) bool {
	for i, k := range order {
		n := compareKeys(a.keys[i], b.keys[i])
		if n != 0 {
			return (n < 0) != k.descending
		}
	}
	if len(order) > 0 && order[0].descending {
		return a.id > b.id
	}
	return a.id < b.id
}

func compareKeys(a, b any) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	n, _ := compare(a, b)
	return n
}

// lookup finds values of an item for restrictions and sorting.
func (s *Server) lookup(m *exchangetest.Mailbox, it exchangetest.Item) lookup {
	v := &view{m: m, it: it}
	return func(p path) any {
		if p.extended != nil {
			return v.extended(p.extended)
		}
		if p.uri == "item:Body" {
			return textBody(fts.Properties(it.Properties))
		}
		if f := s.byURI[p.uri]; f != nil && f.value != nil {
			return f.value(v)
		}
		return nil
	}
}
