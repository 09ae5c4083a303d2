package azure_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"

	"github.com/mailferry/mailferry/shared/azuritetest"
	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/blob/azure"
	"github.com/mailferry/mailferry/shared/blob/blobtest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	c, err := azblob.NewClientFromConnectionString(azuritetest.New(t).ConnectionString, nil)
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int32
	blobtest.Store(t, func(t *testing.T) blob.Store {
		s := azure.Of(c, fmt.Sprintf("suite%d", n.Add(1)))
		for range 2 { // making a container that is there is no error
			if err := s.Create(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return s
	})
}
