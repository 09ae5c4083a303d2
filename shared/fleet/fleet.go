// Package fleet makes limits that belong to an account hold for all instances together. An instance that is told to back
// off writes a row to the ledger; every instance reads it before it opens a mailbox of that account.
package fleet

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/pace"
)

// Accounts says which account serves a source mailbox.
type Accounts interface {
	mailbox.Sources
	Account(address string) (name string, fence *pace.Fence) // the name holds no user name
}

// Sources opens source mailboxes while their account is not fenced by any instance.
type Sources struct {
	Accounts
	Ledger *ledger.Ledger
	Clock  clockwork.Clock
	Log    *slog.Logger
}

// Source implements mailbox.Sources. It is a *mailbox.Throttled while another instance's fence is up.
func (s *Sources) Source(ctx context.Context, address string) (mailbox.Source, error) {
	name, fence := s.Account(address)
	row, err := s.Ledger.FenceOf(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read fence: %w", err)
	}
	if row.Until.After(s.Clock.Now()) {
		fence.Raise(row.Until, row.Why)
		return nil, &mailbox.Throttled{Until: row.Until, By: row.Why}
	}
	inner, err := s.Accounts.Source(ctx, address)
	if err != nil {
		return nil, s.tell(ctx, name, fence, err)
	}
	return &source{inner, s, name, fence}, nil
}

// tell writes the account's fence to the ledger when it is up after an error, and returns the error.
func (s *Sources) tell(ctx context.Context, name string, fence *pace.Fence, err error) error {
	until, why := fence.Until()
	if err == nil || !until.After(s.Clock.Now()) {
		return err
	}
	told := s.Ledger.RaiseFence(context.WithoutCancel(ctx), ledger.Fence{Account: name, Until: until.UTC(), Why: why})
	if told != nil {
		s.Log.Warn("fence not told", "account", name, "reason", told.Error())
		return err
	}
	s.Log.Info("fenced", "account", name, "until", until.UTC(), "seconds", until.Sub(s.Clock.Now()).Seconds(), "reason", why)
	return err
}

// source passes an account's back-off on.
type source struct {
	mailbox.Source
	s     *Sources
	name  string
	fence *pace.Fence
}

func (x *source) Folders(ctx context.Context) ([]mailbox.Folder, error) {
	out, err := x.Source.Folders(ctx)
	return out, x.s.tell(ctx, x.name, x.fence, err)
}

func (x *source) Items(ctx context.Context, f mailbox.FolderID) iter.Seq2[mailbox.Item, error] {
	return func(yield func(mailbox.Item, error) bool) {
		for it, err := range x.Source.Items(ctx, f) {
			if !yield(it, x.s.tell(ctx, x.name, x.fence, err)) {
				return
			}
		}
	}
}

func (x *source) Export(ctx context.Context, ids []mailbox.ItemID, each func(i int, r io.Reader, err error) error) error {
	return x.s.tell(ctx, x.name, x.fence, x.Source.Export(ctx, ids, each))
}
