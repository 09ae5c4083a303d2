package graph

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"sync"

	"github.com/mailferry/mailferry/shared/mailbox"
)

type itemPage struct {
	Value []itemAnswer `json:"value"`
	Next  string       `json:"@odata.nextLink"`
	Delta string       `json:"@odata.deltaLink"`
}

// Items lists a folder. What is there from the beginning of the listing to its end is yielded once, whatever comes and
// goes meanwhile. It ends with mailbox.ErrUnavailable when too much does.
func (m *Mailbox) Items(ctx context.Context, f mailbox.FolderID) iter.Seq2[mailbox.Item, error] {
	return func(yield func(mailbox.Item, error) bool) {
		l := newListing(m, ask{path: m.path("/folders/{folder}/items"), with: m.with("folder", string(f)),
			top: m.client.page, expand: listed, needs: "MailboxItem.Read.All"})
		for last := false; !last; {
			fresh, end, err := l.page(ctx)
			if err != nil {
				yield(mailbox.Item{}, fmt.Errorf("list items: %w", err))
				return
			}
			for _, answer := range fresh {
				if !yield(m.listed(ctx, answer), nil) {
					return
				}
			}
			last = end
		}
	}
}

func (m *Mailbox) itemPage(ctx context.Context, a ask) (itemPage, error) {
	var page itemPage
	if err := m.fetch(ctx, a, &page); err != nil {
		return page, err
	}
	if page.Next != "" && page.Next == a.link {
		return page, errors.New("a page of items that leads to itself")
	}
	return page, nil
}

func (m *Mailbox) listed(ctx context.Context, a itemAnswer) mailbox.Item {
	item, bad := a.item()
	for _, err := range bad {
		m.client.log.WarnContext(ctx, "graph listing", "problem", err.Error())
	}
	m.sizes.remember(item.ID, item.Size)
	return item
}

// Changes implements mailbox.Side. Its states are links.
func (m *Mailbox) Changes(ctx context.Context, f mailbox.FolderID, since mailbox.SyncState) (mailbox.Changes, error) {
	link := string(since)
	if link != "" && m.ours(link) != nil {
		return mailbox.Changes{}, fmt.Errorf("list changes: %w: the state is from another Graph", mailbox.ErrStartAgain)
	}
	page, err := m.itemPage(ctx, ask{path: m.path("/folders/{folder}/items/delta"), with: m.with("folder", string(f)),
		link: link, prefer: "odata.maxpagesize=" + strconv.Itoa(m.client.page), needs: "MailboxItem.Read.All"})
	if refused, ok := errors.AsType[*failure](err); ok && refused.status == http.StatusBadRequest && link != "" {
		err = fmt.Errorf("%w: %w", mailbox.ErrStartAgain, err)
	}
	if err != nil {
		return mailbox.Changes{}, fmt.Errorf("list changes: %w", err)
	}
	if page.Next == "" && page.Delta == "" {
		return mailbox.Changes{}, errors.New("list changes: neither nextLink nor deltaLink in the answer")
	}
	return mailbox.Changes{Items: len(page.Value), State: mailbox.SyncState(cmp.Or(page.Next, page.Delta)), More: page.Next != ""}, nil
}

// sizes remembers the sizes of listed items, for packing exports. It forgets some when there are too many.
type sizes struct {
	mu sync.Mutex
	of map[mailbox.ItemID]int64
}

// maxSizes bounds sizes to about 25 MB per mailbox.
const maxSizes = 100_000

func (s *sizes) remember(id mailbox.ItemID, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[mailbox.ItemID]int64{}
	}
	if len(s.of) >= maxSizes {
		for other := range s.of {
			delete(s.of, other)
			break
		}
	}
	s.of[id] = size
}

// size is the listed size, or what an item has on average when it was not listed here.
func (s *sizes) size(id mailbox.ItemID) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if size, ok := s.of[id]; ok {
		return size
	}
	return 100 << 10
}
