package ews

import (
	"hash/maphash"
	"net/http"
	"sync"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// Source is one mailbox. It is a mailbox.Source, and like that safe for concurrent use.
type Source struct {
	o       *Options
	account *account
	address string
	http    *http.Client
	root    mailbox.FolderID // msgfolderroot
	sizes   *sizes
}

// Expect tells Export how large an item is, in bytes as a listing counts them, when another process has listed it.
// Export needs it only to cut its requests well.
func (s *Source) Expect(id mailbox.ItemID, size int64) { s.sizes.add(id, size) }

// sizes remembers how large items are, in a few bytes for each. A clash of hashes makes a request larger or smaller
// than it should be, nothing else.
type sizes struct {
	mu   sync.Mutex
	seed maphash.Seed
	kib  map[uint64]uint32
}

// maxSizes bounds the memory to about 20 MB; then the sizes seen so far are forgotten.
const maxSizes = 1 << 20

// unknownSize is above the mean item, which has 75 KB, so that a request for items nobody has listed stays short.
const unknownSize = 1 << 20

func newSizes() *sizes { return &sizes{seed: maphash.MakeSeed(), kib: map[uint64]uint32{}} }

func (s *sizes) add(id mailbox.ItemID, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kib) >= maxSizes {
		clear(s.kib)
	}
	s.kib[maphash.String(s.seed, string(id))] = uint32(min(max(size, 0)>>10+1, 1<<31))
}

// size is in bytes.
func (s *sizes) size(id mailbox.ItemID) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kib, ok := s.kib[maphash.String(s.seed, string(id))]; ok {
		return int64(kib) << 10
	}
	return unknownSize
}
