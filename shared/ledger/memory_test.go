package ledger_test

import (
	"testing"

	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/ledger/ledgertest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	ledgertest.Table(t, func(*testing.T) ledger.Table { return &ledger.Memory{} })
}
