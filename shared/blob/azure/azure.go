// Package azure is blob.Store in Azure Blob storage.
package azure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	blobs "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/mailferry/mailferry/shared/blob"
)

// blockSize is how much of a blob is in memory while it is written. A blob has at most 50,000 blocks.
const blockSize = 4 << 20

// Store is one container of a storage account.
type Store struct{ container *container.Client }

// Of returns the container of that name, which must be there before it is used.
func Of(c *azblob.Client, name string) *Store {
	return &Store{c.ServiceClient().NewContainerClient(name)}
}

// Create makes the container if it is not there. In Azure, infra does so.
func (s *Store) Create(ctx context.Context) error {
	_, err := s.container.Create(ctx, nil)
	if err != nil && !bloberror.HasCode(err, bloberror.ContainerAlreadyExists) {
		return ours("create container", err)
	}
	return nil
}

// Put implements blob.Store. The blocks are committed under the condition that the blob is not there, so that of two
// writers the second one fails.
func (s *Store) Put(ctx context.Context, name string, r io.Reader) error {
	src := &remembering{r: r}
	_, err := s.container.NewBlockBlobClient(name).UploadStream(ctx, src, &blockblob.UploadStreamOptions{
		BlockSize: blockSize, Concurrency: 1,
		AccessConditions: &blobs.AccessConditions{ModifiedAccessConditions: &blobs.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)}},
	})
	if src.err != nil {
		return src.err
	}
	return ours("write blob", err)
}

// remembering keeps the reader's own error apart from the upload's.
type remembering struct {
	r   io.Reader
	err error
}

func (m *remembering) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if err != nil && err != io.EOF {
		m.err = err
	}
	return n, err
}

// Open implements blob.Store.
func (s *Store) Open(ctx context.Context, name string, offset int64) (io.ReadCloser, int64, error) {
	c := s.container.NewBlockBlobClient(name)
	props, err := c.GetProperties(ctx, nil)
	if err != nil {
		return nil, 0, ours("read blob", err)
	}
	size := *props.ContentLength
	if offset >= size {
		return io.NopCloser(eof{}), size, nil
	}
	got, err := c.DownloadStream(ctx, &blobs.DownloadStreamOptions{
		Range:            blobs.HTTPRange{Offset: offset},
		AccessConditions: &blobs.AccessConditions{ModifiedAccessConditions: &blobs.ModifiedAccessConditions{IfMatch: props.ETag}},
	})
	if err != nil {
		return nil, 0, ours("read blob", err)
	}
	return got.NewRetryReader(ctx, nil), size, nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// Delete implements blob.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	_, err := s.container.NewBlockBlobClient(name).Delete(ctx, nil)
	if err = ours("delete blob", err); errors.Is(err, blob.ErrNotFound) {
		return nil
	}
	return err
}

// Names implements blob.Store.
func (s *Store) Names(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		pages := s.container.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &prefix})
		for pages.More() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield("", ours("list blobs", err))
				return
			}
			for _, b := range page.Segment.BlobItems {
				if !yield(*b.Name, nil) {
					return
				}
			}
		}
	}
}

// ours turns an answer of the service into the store's errors. The client's own text quotes URLs, so only the code is
// kept.
func ours(verb string, err error) error {
	r, answered := errors.AsType[*azcore.ResponseError](err)
	switch {
	case err == nil:
		return nil
	case bloberror.HasCode(err, bloberror.BlobAlreadyExists, bloberror.ConditionNotMet):
		return fmt.Errorf("%s: %w", verb, blob.ErrExists)
	case bloberror.HasCode(err, bloberror.BlobNotFound, bloberror.ContainerNotFound) || answered && r.StatusCode == 404:
		return fmt.Errorf("%s: %w", verb, blob.ErrNotFound)
	case answered:
		return fmt.Errorf("%s: Blob storage answers %d %s", verb, r.StatusCode, r.ErrorCode)
	}
	return fmt.Errorf("%s: %w", verb, err)
}
