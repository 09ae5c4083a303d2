package blob_test

import (
	"testing"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/blob/blobtest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	blobtest.Store(t, func(*testing.T) blob.Store { return &blob.Memory{} })
}
