package fleet_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/fleet"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/pace"
)

var (
	start   = time.Date(2026, 12, 1, 20, 0, 0, 0, time.UTC)
	errAway = errors.New("no route to host")
)

// account is one account that serves every mailbox of a world.
type account struct {
	*mailboxtest.Hooked
	fence *pace.Fence
}

func (a account) Account(string) (string, *pace.Fence) { return "svc", a.fence }

// world is a mailbox with some items, behind an account with its fence.
func world(t *testing.T, clock clockwork.Clock) account {
	t.Helper()
	m := exchangetest.New("ann@old.example", exchangetest.Options{Clock: clock})
	mailboxtest.Fill(t, m, "inbox", 0, 2)
	return account{&mailboxtest.Hooked{World: mailboxtest.World{"ann@old.example": m}}, &pace.Fence{}}
}

// use opens a mailbox and does everything with it that can be done.
func use(ctx context.Context, s *fleet.Sources) error {
	box, err := s.Source(ctx, "ann@old.example")
	if err != nil {
		return err
	}
	folders, err := box.Folders(ctx)
	if err != nil {
		return err
	}
	var ids []mailbox.ItemID
	for _, f := range folders {
		if _, err := box.Changes(ctx, f.ID, ""); err != nil {
			return err
		}
		for it, err := range box.Items(ctx, f.ID) {
			if err != nil {
				return err
			}
			ids = append(ids, it.ID)
		}
	}
	return box.Export(ctx, ids, func(_ int, _ io.Reader, err error) error { return err })
}

// Whatever call is told to back off, all instances hear of it; what fails for another reason is no back-off.
func TestEveryCallPassesABackOffOn(t *testing.T) {
	t.Parallel()
	for name, hook := range map[string]func(*mailboxtest.Hooked, func() error){
		"open":    func(h *mailboxtest.Hooked, f func() error) { h.Open = func(string) error { return f() } },
		"folders": func(h *mailboxtest.Hooked, f func() error) { h.Folders = f },
		"list":    func(h *mailboxtest.Hooked, f func() error) { h.List = func(mailbox.FolderID) error { return f() } },
		"changes": func(h *mailboxtest.Hooked, f func() error) {
			h.Changes = func(mailbox.FolderID, mailbox.SyncState, *mailbox.Changes) error { return f() }
		},
		"export": func(h *mailboxtest.Hooked, f func() error) { h.Export = func(mailbox.ItemID) error { return f() } },
	} {
		for _, told := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				clock, l := clockwork.NewFakeClockAt(start), ledger.NewMemory()
				a := world(t, clock)
				s := &fleet.Sources{Accounts: a, Ledger: l, Clock: clock, Log: slog.New(slog.DiscardHandler)}
				if err := use(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancel(t.Context())
				hook(a.Hooked, func() error {
					if told {
						a.fence.Raise(start.Add(time.Minute), "server busy")
					}
					stop() // what was said is passed on, also when the work is given up
					return errAway
				})
				if err := use(ctx, s); !errors.Is(err, errAway) {
					t.Errorf("error %v", err)
				}
				want := ledger.Fence{}
				if told {
					want = ledger.Fence{Account: "svc", Until: start.Add(time.Minute), Why: "server busy"}
				}
				if got, err := l.FenceOf(t.Context(), "svc"); err != nil || got != want {
					t.Errorf("told %+v, want %+v, %v", got, want, err)
				}
				another := world(t, clock)
				s.Accounts = another
				_, err := s.Source(t.Context(), "ann@old.example")
				back, ok := errors.AsType[*mailbox.Throttled](err)
				if ok != told || told && (!back.Until.Equal(want.Until) || back.By != want.Why) || !told && err != nil {
					t.Errorf("another instance: %v", err)
				}
				if until, by := another.fence.Until(); told && (!until.Equal(want.Until) || by != want.Why) {
					t.Errorf("the other instance's fence: %s by %q", until, by)
				}
				clock.Advance(time.Minute)
				if err := use(t.Context(), s); err != nil {
					t.Errorf("after the back-off: %v", err)
				}
			})
		}
	}
}

type awayTable struct {
	ledger.Table
	row bool
}

func (a awayTable) Row(ctx context.Context, partition, key string) (ledger.Row, error) {
	if a.row {
		return ledger.Row{}, errAway
	}
	return a.Table.Row(ctx, partition, key)
}

func (awayTable) Insert(context.Context, ...ledger.Row) error { return errors.New("not told") }

// A ledger that cannot be asked stops the work; one that cannot be told does not hide why it stopped.
func TestALedgerThatIsAway(t *testing.T) {
	t.Parallel()
	clock, l := clockwork.NewFakeClockAt(start), ledger.NewMemory()
	a := world(t, clock)
	s := &fleet.Sources{Accounts: a, Ledger: l, Clock: clock, Log: slog.New(slog.DiscardHandler)}
	fences := l.Fences
	l.Fences = awayTable{fences, true}
	if _, err := s.Source(t.Context(), "ann@old.example"); !errors.Is(err, errAway) {
		t.Errorf("error %v", err)
	}
	l.Fences = awayTable{fences, false}
	busy := &mailbox.Throttled{Until: start.Add(time.Minute), By: "server busy"}
	a.Folders = func() error { a.fence.Raise(busy.Until, busy.By); return busy }
	if err := use(t.Context(), s); err != error(busy) {
		t.Errorf("error %v, want %v", err, busy)
	}
}
