package tables_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"github.com/mailferry/mailferry/shared/azuritetest"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/ledger/ledgertest"
	"github.com/mailferry/mailferry/shared/ledger/tables"
)

func TestTable(t *testing.T) {
	t.Parallel()
	s, err := aztables.NewServiceClientFromConnectionString(azuritetest.New(t).ConnectionString, nil)
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int32
	ledgertest.Table(t, func(t *testing.T) ledger.Table {
		table := tables.Of(s, fmt.Sprintf("suite%d", n.Add(1)))
		for range 2 { // making a table that is there is no error
			if err := table.Create(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return table
	})
}
