package blob

import (
	"bytes"
	"context"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Memory is a Store in memory. The zero Memory is empty.
type Memory struct {
	mu    sync.Mutex
	blobs map[string][]byte
}

// Put implements Store.
func (s *Memory) Put(ctx context.Context, name string, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.blobs[name]; there {
		return ErrExists
	}
	if s.blobs == nil {
		s.blobs = map[string][]byte{}
	}
	s.blobs[name] = b
	return nil
}

// Open implements Store.
func (s *Memory) Open(ctx context.Context, name string, offset int64) (io.ReadCloser, int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.blobs[name]
	if !ok {
		return nil, 0, ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(b[min(offset, int64(len(b))):])), int64(len(b)), nil
}

// Delete implements Store.
func (s *Memory) Delete(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.blobs, name)
	return ctx.Err()
}

// Names implements Store.
func (s *Memory) Names(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		s.mu.Lock()
		names := slices.Sorted(maps.Keys(s.blobs))
		s.mu.Unlock()
		for _, n := range names {
			if strings.HasPrefix(n, prefix) && !yield(n, ctx.Err()) {
				return
			}
		}
	}
}
