package graph_test

import (
	"testing"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/graph"
	"github.com/mailferry/mailferry/shared/mailbox/graph/graphtest"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
)

func TestTargetContract(t *testing.T) {
	t.Parallel()
	for name, page := range map[string]int{"whole pages": 0, "short pages": 7} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mailboxtest.Target(t, func(t *testing.T, m *exchangetest.Mailbox) mailbox.Targets {
				clock := newHasty()
				server := graphtest.New(t, graphtest.Options{Clock: clock.FakeClock})
				server.AddMailbox(m)
				c, err := graph.New(graph.Options{BaseURL: server.URL(), Credential: signed{server}, Clock: clock, PageSize: page})
				if err != nil {
					t.Fatal(err)
				}
				return c
			})
		})
	}
}
