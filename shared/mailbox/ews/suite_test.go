package ews_test

import (
	"testing"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/ews"
	"github.com/mailferry/mailferry/shared/mailbox/ews/ewstest"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
)

func TestSourceContract(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]ewstest.Options{"whole pages": {}, "short pages": {ShortPages: 7}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mailboxtest.Source(t, func(t *testing.T, m *exchangetest.Mailbox) mailbox.Sources {
				server := ewstest.New(t, o)
				server.AddMailbox(m)
				server.AddAccount("svc", "secret", "CORP", ewstest.MayImpersonateAll())
				c, err := ews.New(ews.Options{URL: server.URL(), Accounts: []ews.Account{{User: "svc", Password: "secret", Domain: "CORP"}}})
				if err != nil {
					t.Fatal(err)
				}
				return c
			})
		})
	}
}
