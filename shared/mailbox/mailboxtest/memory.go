// Package mailboxtest is the contract of mailbox.Source and mailbox.Target as a test suite, and an implementation of
// both in memory for tests that need no protocol.
package mailboxtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
)

// World is a set of mailboxes by address, as sources and as targets. It is filled before it is used.
type World map[string]*exchangetest.Mailbox

// Source implements mailbox.Sources.
func (w World) Source(_ context.Context, address string) (mailbox.Source, error) {
	return w.open(address)
}

// Target implements mailbox.Targets.
func (w World) Target(_ context.Context, address string) (mailbox.Target, error) {
	return w.open(address)
}

func (w World) open(address string) (*Memory, error) {
	m, ok := w[strings.ToLower(address)]
	if !ok {
		return nil, mailbox.ErrNoMailbox
	}
	return &Memory{m}, nil
}

// Memory is a mailbox of the store as source and target, without a protocol in between.
type Memory struct{ Mailbox *exchangetest.Mailbox }

// leftOut are the well-known folders that no adapter lists, with what is below them.
var leftOut = map[string]bool{"searchfolders": true, "syncissues": true, "recoverableitemsroot": true}

// Folders implements mailbox.Side.
func (s *Memory) Folders(ctx context.Context) ([]mailbox.Folder, error) {
	root, err := s.Mailbox.Known("msgfolderroot")
	if err != nil {
		return nil, err
	}
	var out []mailbox.Folder
	var walk func(parent uint64)
	walk = func(parent uint64) {
		for _, f := range s.Mailbox.Folders(parent, false) {
			if f.Hidden || leftOut[f.Known] {
				continue
			}
			n, _, _ := s.Mailbox.Count(f.ID)
			out = append(out, mailbox.Folder{ID: folderID(f.ID), Parent: folderID(f.Parent), Name: f.Name, Class: f.Class, Known: f.Known, Items: n})
			walk(f.ID)
		}
	}
	walk(root.ID)
	return out, ctx.Err()
}

// Items implements mailbox.Side.
func (s *Memory) Items(ctx context.Context, f mailbox.FolderID) iter.Seq2[mailbox.Item, error] {
	return func(yield func(mailbox.Item, error) bool) {
		id, err := number(string(f))
		if err == nil {
			_, err = s.Mailbox.Folder(id)
		}
		if err != nil {
			yield(mailbox.Item{}, mailbox.ErrNoFolder)
			return
		}
		for _, it := range s.Mailbox.Items(id) {
			if err := ctx.Err(); err != nil {
				yield(mailbox.Item{}, err)
				return
			}
			if !yield(s.item(it), nil) {
				return
			}
		}
	}
}

func (s *Memory) item(it exchangetest.Item) mailbox.Item {
	p := it.Summary.Properties
	p.Attachments = it.Attachments > 0
	p.Received, p.Submitted = p.Received.Truncate(time.Second), p.Submitted.Truncate(time.Second)
	return mailbox.Item{ID: mailbox.ItemID(strconv.FormatUint(it.ID, 10)), Change: strconv.FormatUint(it.Change, 10), Size: it.Stream.Size, Properties: p}
}

// Changes implements mailbox.Side. Its states are the folder and a point in its log.
func (s *Memory) Changes(ctx context.Context, f mailbox.FolderID, since mailbox.SyncState) (mailbox.Changes, error) {
	id, err := number(string(f))
	if err == nil {
		_, err = s.Mailbox.Folder(id)
	}
	if err != nil {
		return mailbox.Changes{}, mailbox.ErrNoFolder
	}
	var of, after uint64
	if since != "" {
		if n, err := fmt.Sscanf(string(since), "%d.%d", &of, &after); err != nil || n != 2 || of != id {
			return mailbox.Changes{}, mailbox.ErrStartAgain
		}
	}
	log, now := s.Mailbox.Changes(id, after)
	return mailbox.Changes{Items: len(log), State: mailbox.SyncState(fmt.Sprintf("%d.%d", id, now))}, ctx.Err()
}

// Export implements mailbox.Side.
func (s *Memory) Export(ctx context.Context, ids []mailbox.ItemID, each func(i int, r io.Reader, err error) error) error {
	for i, id := range ids {
		if err := s.export(ctx, i, id, each); err != nil {
			return err
		}
	}
	return nil
}

func (s *Memory) export(ctx context.Context, i int, id mailbox.ItemID, each func(i int, r io.Reader, err error) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n, err := number(string(id))
	if err != nil {
		return each(i, nil, &mailbox.ItemError{Reason: mailbox.Gone})
	}
	it, err := s.Mailbox.Item(n)
	if err != nil {
		return each(i, nil, &mailbox.ItemError{Reason: mailbox.Gone})
	}
	r, err := it.Stream.Open(ctx)
	if err != nil {
		return fmt.Errorf("open stream: %w", err)
	}
	defer r.Close()
	return each(i, r, nil)
}

// Expect implements mailbox.Source.
func (s *Memory) Expect(mailbox.ItemID, int64) {}

// CreateFolder implements mailbox.Target.
func (s *Memory) CreateFolder(ctx context.Context, f mailbox.Folder) (mailbox.Folder, error) {
	if err := ctx.Err(); err != nil {
		return f, err
	}
	parent, err := s.parent(f.Parent)
	if err != nil {
		return f, mailbox.ErrNoFolder
	}
	made, err := s.Mailbox.CreateFolder(parent, f.Name, f.Class)
	if errors.Is(err, exchangetest.ErrFolderExists) {
		for _, g := range s.Mailbox.Folders(parent, false) {
			if strings.EqualFold(g.Name, f.Name) {
				made, err = g, nil
			}
		}
	}
	return mailbox.Folder{ID: folderID(made.ID), Parent: folderID(made.Parent), Name: made.Name, Class: made.Class, Known: made.Known}, ours(err)
}

func (s *Memory) parent(f mailbox.FolderID) (uint64, error) {
	if f != "" {
		return number(string(f))
	}
	root, err := s.Mailbox.Known("msgfolderroot")
	return root.ID, err
}

// Import implements mailbox.Target.
func (s *Memory) Import(ctx context.Context, f mailbox.FolderID, st mailbox.Stream) (mailbox.ItemID, error) {
	id, err := number(string(f))
	if err != nil {
		return "", mailbox.ErrNoFolder
	}
	kept, err := s.keep(ctx, st)
	if err != nil {
		return "", err
	}
	it, err := s.Mailbox.Add(id, kept)
	return mailbox.ItemID(strconv.FormatUint(it.ID, 10)), ours(err)
}

// Replace implements mailbox.Target.
func (s *Memory) Replace(ctx context.Context, _ mailbox.FolderID, old mailbox.Item, st mailbox.Stream) (mailbox.ItemID, error) {
	id, err := number(string(old.ID))
	if err != nil {
		return "", mailbox.ErrChanged
	}
	change, err := number(old.Change)
	if err != nil {
		return "", mailbox.ErrChanged
	}
	kept, err := s.keep(ctx, st)
	if err != nil {
		return "", err
	}
	_, err = s.Mailbox.Replace(id, change, kept)
	return old.ID, ours(err)
}

func (s *Memory) keep(ctx context.Context, st mailbox.Stream) (mailbox.Stream, error) {
	if err := ctx.Err(); err != nil {
		return st, err
	}
	r, err := st.Open(ctx)
	if err != nil {
		return mailbox.Stream{}, fmt.Errorf("%w: open stream: %w", mailbox.ErrUnavailable, err)
	}
	defer r.Close()
	return s.Mailbox.Keep(r)
}

// ours turns the store's errors into the mailbox's.
func ours(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exchangetest.ErrNoFolder):
		return mailbox.ErrNoFolder
	case errors.Is(err, exchangetest.ErrFolderName):
		return mailbox.ErrFolderName
	case errors.Is(err, exchangetest.ErrQuota):
		return mailbox.ErrQuota
	case errors.Is(err, exchangetest.ErrChanged), errors.Is(err, exchangetest.ErrNoItem):
		return mailbox.ErrChanged
	}
	return &mailbox.ItemError{Reason: mailbox.Refused, Detail: err.Error()}
}

func folderID(n uint64) mailbox.FolderID { return mailbox.FolderID(strconv.FormatUint(n, 10)) }

func number(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) }
