package ews

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/ews/soap"
)

// A listing gives up, to be tried again later, after so many answers in a row without rows, or after it had to go
// back so often, which is a folder that someone is emptying.
const (
	mostStuck = 3
	mostBacks = 100
)

// listing reads rows by position. Positions shift while the mailbox is in use, so each page begins with the last row
// of the page before: when another row stands there, something was deleted meanwhile and rows have moved up, and the
// listing goes back until it meets a row that it knows. Each row is yielded once.
type listing struct {
	s       *Source
	size    int                     // rows that one request asks for
	request func(offset int) string // the body of the request for a page
	id      func(soap.Entry) string

	seen     map[[16]byte]bool
	offset   int
	overlaps bool // the page at offset begins with a row that was seen before
	stuck    int
	backs    int
}

// rows yields every row, or an error last.
func (l *listing) rows(ctx context.Context) iter.Seq2[soap.Entry, error] {
	return func(yield func(soap.Entry, error) bool) {
		l.seen = map[[16]byte]bool{}
		for last := false; !last; {
			fresh, end, err := l.page(ctx)
			for _, e := range fresh {
				if !yield(e, nil) {
					return
				}
			}
			if err != nil {
				yield(soap.Entry{}, err)
				return
			}
			last = end
		}
	}
}

// page reads a page and goes to the next. It returns the rows not seen before, and whether the listing is complete.
func (l *listing) page(ctx context.Context) ([]soap.Entry, bool, error) {
	messages, err := l.s.ask(ctx, l.request(l.offset))
	if err != nil {
		return nil, false, err
	}
	m := messages[0]
	if l.gap(m) {
		return nil, false, l.back()
	}
	var fresh []soap.Entry
	for _, e := range m.Entries {
		if id := l.id(e); id != "" && !l.seen[digest(id)] {
			l.seen[digest(id)] = true
			fresh = append(fresh, e)
		}
	}
	if m.Last {
		return fresh, true, nil
	}
	return fresh, false, l.advance(m)
}

// gap says whether rows may be missing between the pages before and m.
func (l *listing) gap(m soap.Message) bool {
	if l.offset == 0 || !l.overlaps {
		return false
	}
	if len(m.Entries) == 0 {
		return m.Last
	}
	return !l.seen[digest(l.id(m.Entries[0]))]
}

// digest stands for an id in less memory: a folder may hold a million items.
func digest(id string) [16]byte {
	sum := sha256.Sum256([]byte(id))
	return [16]byte(sum[:16])
}

// advance goes to the page after m, which may be shorter than asked for. The next page repeats a row, except after a
// page of only one, when that would stand still.
func (l *listing) advance(m soap.Message) error {
	next := m.Next
	if next < 0 {
		next = l.offset + len(m.Entries)
	}
	if next <= l.offset {
		if l.stuck++; l.stuck >= mostStuck {
			return fmt.Errorf("%w: listing stands still at row %d", mailbox.ErrUnavailable, l.offset)
		}
		return nil
	}
	l.stuck = 0
	l.overlaps = next-1 > l.offset
	if l.overlaps {
		next--
	}
	l.offset = next
	return nil
}

// back goes one page back.
func (l *listing) back() error {
	if l.backs++; l.backs > mostBacks {
		return fmt.Errorf("%w: rows keep moving while they are listed", mailbox.ErrUnavailable)
	}
	l.offset = max(l.offset-l.size, 0)
	return nil
}
