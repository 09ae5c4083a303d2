package mailboxtest

import (
	"context"
	"io"
	"iter"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// Hooked is a World in which a test stands between its mailboxes and whoever uses them. Each hook that is set is called
// before what it is named for, unless it says otherwise; its error takes the place of that. Hooks may be called concurrently, and are changed only
// while nobody uses the World.
type Hooked struct {
	World
	Open    func(address string) error
	Folders func() error
	List    func(f mailbox.FolderID) error
	Listed  func(it *mailbox.Item)                                                         // changes what a listing shows
	Changes func(f mailbox.FolderID, since mailbox.SyncState, page *mailbox.Changes) error // comes after what it is named for
	Export  func(id mailbox.ItemID) error                                                  // an *ItemError is a finding about the item; any other error ends the export
	Stream  func(id mailbox.ItemID, r io.Reader) io.Reader
	After   func(id mailbox.ItemID) error // comes after the item was handed over, before the end of the answer
	Create  func(f mailbox.Folder) error
	Import  func(ctx context.Context, s mailbox.Stream, do Do) (mailbox.ItemID, error)
	Replace func(ctx context.Context, old mailbox.Item, do Do) (mailbox.ItemID, error)
}

// Do carries an import or a replacement out.
type Do func() (mailbox.ItemID, error)

// Source implements mailbox.Sources.
func (h *Hooked) Source(_ context.Context, address string) (mailbox.Source, error) {
	return h.hooked(address)
}

// Target implements mailbox.Targets.
func (h *Hooked) Target(_ context.Context, address string) (mailbox.Target, error) {
	return h.hooked(address)
}

func (h *Hooked) hooked(address string) (*hooked, error) {
	if h.Open != nil {
		if err := h.Open(address); err != nil {
			return nil, err
		}
	}
	m, err := h.World.open(address)
	if err != nil {
		return nil, err
	}
	return &hooked{m, h}, nil
}

type hooked struct {
	*Memory
	h *Hooked
}

func (s *hooked) Folders(ctx context.Context) ([]mailbox.Folder, error) {
	if s.h.Folders != nil {
		if err := s.h.Folders(); err != nil {
			return nil, err
		}
	}
	return s.Memory.Folders(ctx)
}

func (s *hooked) Items(ctx context.Context, f mailbox.FolderID) iter.Seq2[mailbox.Item, error] {
	return func(yield func(mailbox.Item, error) bool) {
		if s.h.List != nil {
			if err := s.h.List(f); err != nil {
				yield(mailbox.Item{}, err)
				return
			}
		}
		for it, err := range s.Memory.Items(ctx, f) {
			if s.h.Listed != nil && err == nil {
				s.h.Listed(&it)
			}
			if !yield(it, err) {
				return
			}
		}
	}
}

func (s *hooked) Changes(ctx context.Context, f mailbox.FolderID, since mailbox.SyncState) (mailbox.Changes, error) {
	page, err := s.Memory.Changes(ctx, f, since)
	if s.h.Changes != nil && err == nil {
		err = s.h.Changes(f, since, &page)
	}
	return page, err
}

func (s *hooked) Export(ctx context.Context, ids []mailbox.ItemID, each func(i int, r io.Reader, err error) error) error {
	for i, id := range ids {
		if err := s.exportOne(ctx, i, id, each); err != nil {
			return err
		}
	}
	return nil
}

func (s *hooked) exportOne(ctx context.Context, i int, id mailbox.ItemID, each func(i int, r io.Reader, err error) error) error {
	if s.h.Export != nil {
		err := s.h.Export(id)
		if _, finding := err.(*mailbox.ItemError); finding {
			return each(i, nil, err)
		}
		if err != nil {
			return err
		}
	}
	err := s.export(ctx, i, id, func(i int, r io.Reader, err error) error {
		if s.h.Stream != nil && err == nil {
			r = s.h.Stream(id, r)
		}
		return each(i, r, err)
	})
	if s.h.After != nil && err == nil {
		return s.h.After(id)
	}
	return err
}

func (s *hooked) CreateFolder(ctx context.Context, f mailbox.Folder) (mailbox.Folder, error) {
	if s.h.Create != nil {
		if err := s.h.Create(f); err != nil {
			return f, err
		}
	}
	return s.Memory.CreateFolder(ctx, f)
}

func (s *hooked) Import(ctx context.Context, f mailbox.FolderID, st mailbox.Stream) (mailbox.ItemID, error) {
	do := func() (mailbox.ItemID, error) { return s.Memory.Import(ctx, f, st) }
	if s.h.Import != nil {
		return s.h.Import(ctx, st, do)
	}
	return do()
}

func (s *hooked) Replace(ctx context.Context, f mailbox.FolderID, old mailbox.Item, st mailbox.Stream) (mailbox.ItemID, error) {
	do := func() (mailbox.ItemID, error) { return s.Memory.Replace(ctx, f, old, st) }
	if s.h.Replace != nil {
		return s.h.Replace(ctx, old, do)
	}
	return do()
}
