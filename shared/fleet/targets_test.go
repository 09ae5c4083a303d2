package fleet_test

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/fleet"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/graph"
	"github.com/mailferry/mailferry/shared/mailbox/graph/graphtest"
)

type signed struct{ s *graphtest.Server }

func (c signed) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: c.s.Token()}, nil
}

// What Graph says of the app holds for all mailboxes and instances; what it says of a mailbox, for that mailbox alone.
func TestTheAppsLimitStopsEveryInstance(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		scope string
		all   bool
	}{{"Application/Read/1", true}, {"", false}} {
		clock := clockwork.NewFakeClockAt(time.Date(2026, 12, 1, 20, 0, 0, 0, time.UTC))
		s := graphtest.New(t, graphtest.Options{Clock: clock})
		for _, address := range []string{"ann@new.example", "bob@new.example"} {
			s.AddMailbox(exchangetest.New(address, exchangetest.Options{Clock: clock}))
		}
		busy := false
		s.Before(graphtest.ListFolders, func(w http.ResponseWriter, _ *http.Request) bool {
			if busy {
				w.Header().Set("Retry-After", "240")
				if test.scope != "" {
					w.Header().Set("x-ms-throttle-scope", test.scope)
				}
				w.WriteHeader(http.StatusTooManyRequests)
			}
			return busy
		})
		l := ledger.NewMemory()
		instance := func() *fleet.Targets {
			c, err := graph.New(graph.Options{BaseURL: s.URL(), Credential: signed{s}, Clock: clock, Patience: -1})
			if err != nil {
				t.Fatal(err)
			}
			return &fleet.Targets{Apps: c, Ledger: l, Clock: clock, Log: slog.New(slog.DiscardHandler)}
		}
		first, second := instance(), instance()
		open, err := first.Target(t.Context(), "ann@new.example")
		if err != nil {
			t.Fatal(err)
		}
		busy = true
		if _, err := open.Folders(t.Context()); !throttled(err) {
			t.Fatalf("first instance: %v, want it throttled", err)
		}
		busy = false
		if _, err := second.Target(t.Context(), "bob@new.example"); throttled(err) != test.all {
			t.Errorf("scope %q: another mailbox in another instance: %v", test.scope, err)
		}
		clock.Advance(241 * time.Second)
		if _, err := second.Target(t.Context(), "bob@new.example"); err != nil {
			t.Errorf("after the time is over: %v", err)
		}
	}
}
