package mailboxtest_test

import (
	"testing"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
)

func world(_ *testing.T, m *exchangetest.Mailbox) mailboxtest.World {
	return mailboxtest.World{m.Address: m}
}

func TestMemoryIsASource(t *testing.T) {
	t.Parallel()
	mailboxtest.Source(t, func(t *testing.T, m *exchangetest.Mailbox) mailbox.Sources { return world(t, m) })
}

func TestMemoryIsATarget(t *testing.T) {
	t.Parallel()
	mailboxtest.Target(t, func(t *testing.T, m *exchangetest.Mailbox) mailbox.Targets { return world(t, m) })
}
