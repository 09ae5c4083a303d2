package graph

import (
	"context"
	"fmt"
	"hash/maphash"
	"net/url"
	"strconv"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// mostBacks is how often a listing goes back before it gives up, to be tried again later: someone is emptying the folder.
const mostBacks = 100

// listing reads a folder's items by position, as the service pages them. Positions shift while the mailbox is in use, so
// each page begins with the last item of the page before: when another item stands there, something was deleted or moved
// away meanwhile and items have moved up, and the listing goes back until it meets an item that it knows. So every item that
// is there all the time is yielded, once.
type listing struct {
	m        *Mailbox
	first    ask
	link     string // the page to read next, "" for the first
	skip     int    // its position, when known
	overlaps bool   // it begins with an item that was seen before
	backs    int

	seed maphash.Seed
	seen map[uint64]struct{} // ids in 8 bytes each: a folder can hold a million items
}

func newListing(m *Mailbox, first ask) *listing {
	return &listing{m: m, first: first, seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}}
}

// page reads a page and goes to the next. It returns the items not seen before, and whether the listing is complete.
func (l *listing) page(ctx context.Context) ([]itemAnswer, bool, error) {
	a := l.first
	a.link = l.link
	page, err := l.m.itemPage(ctx, a)
	if err != nil {
		return nil, false, err
	}
	if l.gap(page) {
		return nil, false, l.back()
	}
	var fresh []itemAnswer
	for _, it := range page.Value {
		if !l.before(it.ID) {
			fresh = append(fresh, it)
		}
	}
	if page.Next == "" {
		return fresh, true, nil
	}
	return fresh, false, l.advance(page)
}

// gap says whether items may be missing between the pages before and this one.
func (l *listing) gap(p itemPage) bool {
	if !l.overlaps {
		return false
	}
	if len(p.Value) == 0 {
		return true
	}
	_, known := l.seen[l.hash(p.Value[0].ID)]
	return !known
}

// advance goes to the page after p. It repeats an item, except after a page of only one, when that would stand still, and
// when the link does not say its position.
func (l *listing) advance(p itemPage) error {
	link, skip, err := moved(p.Next, -1)
	if err != nil {
		return err
	}
	l.link, l.skip, l.overlaps = p.Next, skip+1, false
	if skip > 0 && len(p.Value) > 1 {
		l.link, l.skip, l.overlaps = link, skip, true
	}
	return nil
}

// back goes one page back.
func (l *listing) back() (err error) {
	if l.backs++; l.backs > mostBacks {
		return fmt.Errorf("%w: items keep moving while they are listed", mailbox.ErrUnavailable)
	}
	if l.skip <= l.first.top {
		l.link, l.skip, l.overlaps = "", 0, false
		return nil
	}
	l.link, l.skip, err = moved(l.link, -l.first.top)
	return err
}

// moved is a link with its $skip changed by so many, and the new $skip; -1 when it has none.
func moved(link string, by int) (string, int, error) {
	u, err := url.Parse(link)
	if err != nil {
		return "", 0, fmt.Errorf("read the link to a page: %w", bare(err))
	}
	q := u.Query()
	skip, err := strconv.Atoi(q.Get("$skip"))
	if err != nil || skip+by < 0 {
		return link, -1, nil
	}
	q.Set("$skip", strconv.Itoa(skip+by))
	u.RawQuery = q.Encode()
	return u.String(), skip + by, nil
}

func (l *listing) hash(id string) uint64 { return maphash.String(l.seed, id) }

// before says whether an id was seen before, and remembers it.
func (l *listing) before(id string) bool {
	h := l.hash(id)
	_, ok := l.seen[h]
	l.seen[h] = struct{}{}
	return ok
}
