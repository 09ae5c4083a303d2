// Package fleet makes limits that belong to an account hold for all instances together: an EWS service account, or the app
// registration that Graph counts. An instance that is told to back off writes a row to the ledger; every instance reads it
// before it opens a mailbox of that account.
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

// Apps says which app registration serves target mailboxes.
type Apps interface {
	mailbox.Targets
	App() (name string, fence *pace.Fence)
}

// Sources opens source mailboxes while their account is not fenced by any instance.
type Sources struct {
	Accounts
	Ledger *ledger.Ledger
	Clock  clockwork.Clock
	Log    *slog.Logger
}

// Targets opens target mailboxes while their app registration is not fenced by any instance.
type Targets struct {
	Apps
	Ledger *ledger.Ledger
	Clock  clockwork.Clock
	Log    *slog.Logger
}

// Source implements mailbox.Sources. It is a *mailbox.Throttled while another instance's fence is up.
func (s *Sources) Source(ctx context.Context, address string) (mailbox.Source, error) {
	a := account{ledger: s.Ledger, clock: s.Clock, log: s.Log}
	a.name, a.fence = s.Account(address)
	if err := a.read(ctx); err != nil {
		return nil, err
	}
	inner, err := s.Accounts.Source(ctx, address)
	if err != nil {
		return nil, a.tell(ctx, err)
	}
	return &source{side{inner, a}, inner}, nil
}

// Target implements mailbox.Targets. It is a *mailbox.Throttled while another instance's fence is up.
func (t *Targets) Target(ctx context.Context, address string) (mailbox.Target, error) {
	a := account{ledger: t.Ledger, clock: t.Clock, log: t.Log}
	a.name, a.fence = t.App()
	if err := a.read(ctx); err != nil {
		return nil, err
	}
	inner, err := t.Apps.Target(ctx, address)
	if err != nil {
		return nil, a.tell(ctx, err)
	}
	return &target{side{inner, a}, inner}, nil
}

// account is what has a limit, with the fence that this instance obeys.
type account struct {
	name   string
	fence  *pace.Fence
	ledger *ledger.Ledger
	clock  clockwork.Clock
	log    *slog.Logger
}

// read raises the fence to what any instance was told. It is a *mailbox.Throttled while that is up.
func (a account) read(ctx context.Context) error {
	row, err := a.ledger.FenceOf(ctx, a.name)
	if err != nil {
		return fmt.Errorf("read fence: %w", err)
	}
	if row.Until.After(a.clock.Now()) {
		a.fence.Raise(row.Until, row.Why)
		return &mailbox.Throttled{Until: row.Until, By: row.Why}
	}
	return nil
}

// tell writes the account's fence to the ledger when it is up after an error, and returns the error.
func (a account) tell(ctx context.Context, err error) error {
	until, why := a.fence.Until()
	if err == nil || !until.After(a.clock.Now()) {
		return err
	}
	told := a.ledger.RaiseFence(context.WithoutCancel(ctx), ledger.Fence{Account: a.name, Until: until.UTC(), Why: why})
	if told != nil {
		a.log.Warn("fence not told", "account", a.name, "reason", told.Error())
		return err
	}
	a.log.Info("fenced", "account", a.name, "until", until.UTC(), "seconds", until.Sub(a.clock.Now()).Seconds(), "reason", why)
	return err
}

// side passes an account's back-off on.
type side struct {
	mailbox.Side
	account account
}

func (x side) Folders(ctx context.Context) ([]mailbox.Folder, error) {
	out, err := x.Side.Folders(ctx)
	return out, x.account.tell(ctx, err)
}

func (x side) Items(ctx context.Context, f mailbox.FolderID) iter.Seq2[mailbox.Item, error] {
	return func(yield func(mailbox.Item, error) bool) {
		for it, err := range x.Side.Items(ctx, f) {
			if !yield(it, x.account.tell(ctx, err)) {
				return
			}
		}
	}
}

func (x side) Changes(ctx context.Context, f mailbox.FolderID, since mailbox.SyncState) (mailbox.Changes, error) {
	page, err := x.Side.Changes(ctx, f, since)
	return page, x.account.tell(ctx, err)
}

func (x side) Export(ctx context.Context, ids []mailbox.ItemID, each func(i int, r io.Reader, err error) error) error {
	return x.account.tell(ctx, x.Side.Export(ctx, ids, each))
}

type source struct {
	side
	inner mailbox.Source
}

func (x *source) Expect(id mailbox.ItemID, size int64) { x.inner.Expect(id, size) }

type target struct {
	side
	inner mailbox.Target
}

func (x *target) CreateFolder(ctx context.Context, f mailbox.Folder) (mailbox.Folder, error) {
	made, err := x.inner.CreateFolder(ctx, f)
	return made, x.account.tell(ctx, err)
}

func (x *target) Import(ctx context.Context, f mailbox.FolderID, s mailbox.Stream) (mailbox.ItemID, error) {
	id, err := x.inner.Import(ctx, f, s)
	return id, x.account.tell(ctx, err)
}

func (x *target) Replace(ctx context.Context, f mailbox.FolderID, old mailbox.Item, s mailbox.Stream) (mailbox.ItemID, error) {
	id, err := x.inner.Replace(ctx, f, old, s)
	return id, x.account.tell(ctx, err)
}
