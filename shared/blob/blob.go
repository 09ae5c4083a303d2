// Package blob keeps what is too large for the ledger: manifests, staged items, receipts and reports. There is one
// store in Azure Blob storage and one in memory.
package blob

import (
	"context"
	"errors"
	"io"
	"iter"
)

// Errors of a Store. Any other error is temporary.
var (
	ErrExists   = errors.New("blob is already there")
	ErrNotFound = errors.New("no such blob")
)

// Store is one container of blobs. It is safe for concurrent use. Names are path-like and hold no address.
type Store interface {
	// Put writes r to its end as a new blob: ErrExists if one of that name is there. Readers see all of it or
	// nothing. When r fails, nothing is written and its error is returned.
	Put(ctx context.Context, name string, r io.Reader) error
	// Open reads a blob from offset to its end: ErrNotFound if it is not there. size is the whole blob's.
	Open(ctx context.Context, name string, offset int64) (body io.ReadCloser, size int64, err error)
	// Delete removes a blob; one that is not there is no error.
	Delete(ctx context.Context, name string) error
	// Names lists the blobs whose names begin with prefix, sorted.
	Names(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// ReadAll reads a blob of at most limit bytes.
func ReadAll(ctx context.Context, s Store, name string, limit int64) ([]byte, error) {
	r, size, err := s.Open(ctx, name, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > limit {
		return nil, errors.New("blob is larger than expected")
	}
	return io.ReadAll(io.LimitReader(r, limit))
}
