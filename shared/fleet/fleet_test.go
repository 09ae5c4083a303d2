package fleet_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/fleet"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/ews"
	"github.com/mailferry/mailferry/shared/mailbox/ews/ewstest"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
)

// instance is one process with a client of its own.
func instance(t *testing.T, s *ewstest.Server, l *ledger.Ledger, clock clockwork.Clock) *fleet.Sources {
	t.Helper()
	c, err := ews.New(ews.Options{URL: s.URL(), Clock: clock, Patience: -1, Accounts: []ews.Account{{User: `CORP\svc`, Password: "secret"}}})
	if err != nil {
		t.Fatal(err)
	}
	return &fleet.Sources{Accounts: c, Ledger: l, Clock: clock, Log: slog.New(slog.DiscardHandler)}
}

func TestOneInstancesBackOffStopsTheOthers(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClockAt(time.Date(2026, 12, 1, 20, 0, 0, 0, time.UTC))
	s := ewstest.New(t, ewstest.Options{Clock: clock})
	s.AddAccount("svc", "secret", "CORP", ewstest.MayImpersonateAll())
	s.AddMailbox(exchangetest.New("ann@old.example", exchangetest.Options{Clock: clock}))
	l := ledger.NewMemory()
	first, second := instance(t, s, l, clock), instance(t, s, l, clock)

	open, err := first.Source(t.Context(), "ann@old.example")
	if err != nil {
		t.Fatal(err)
	}
	s.Busy("svc", 4*time.Minute, 1)
	if _, err := open.Folders(context.Background()); !throttled(err) {
		t.Fatalf("first instance: %v, want it throttled", err)
	}
	asked := s.Requests("GetFolder") + s.Refusals("svc")
	if _, err := second.Source(t.Context(), "ann@old.example"); !throttled(err) {
		t.Errorf("second instance: %v, want it throttled", err)
	}
	if now := s.Requests("GetFolder") + s.Refusals("svc"); now != asked {
		t.Errorf("the second instance sent %d requests, which prolongs the recovery", now-asked)
	}
	clock.Advance(4*time.Minute + time.Second)
	if _, err := second.Source(t.Context(), "ann@old.example"); err != nil {
		t.Errorf("after the back-off: %v", err)
	}
}

func throttled(err error) bool {
	_, ok := errors.AsType[*mailbox.Throttled](err)
	return ok
}
