// Package blobtest is the contract of blob.Store as a test suite.
package blobtest

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/mailferry/mailferry/shared/blob"
)

// Store runs the suite against new, empty stores.
func Store(t *testing.T, open func(t *testing.T) blob.Store) {
	read := func(t *testing.T, s blob.Store, name string, offset int64) (string, int64) {
		t.Helper()
		r, size, err := s.Open(t.Context(), name, offset)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b), size
	}
	t.Run("a blob is read back, whole and from an offset", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		if err := s.Put(t.Context(), "a/b", strings.NewReader("content")); err != nil {
			t.Fatal(err)
		}
		for offset, want := range map[int64]string{0: "content", 3: "tent", 7: ""} {
			if got, size := read(t, s, "a/b", offset); got != want || size != 7 {
				t.Errorf("offset %d: %q of %d bytes", offset, got, size)
			}
		}
	})
	t.Run("a large blob streams", func(t *testing.T) {
		t.Parallel()
		s, want := open(t), bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
		if err := s.Put(t.Context(), "large", io.MultiReader(bytes.NewReader(want))); err != nil {
			t.Fatal(err)
		}
		if got, size := read(t, s, "large", 5<<20); got != string(want[5<<20:]) || size != int64(len(want)) {
			t.Errorf("%d bytes of %d", len(got), size)
		}
	})
	t.Run("a blob is written once, by one of many", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		var won atomic.Int32
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				if err := s.Put(t.Context(), "once", strings.NewReader("x")); err == nil {
					won.Add(1)
				} else if !errors.Is(err, blob.ErrExists) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Errorf("%d writers", won.Load())
		}
	})
	t.Run("a reader that fails leaves nothing", func(t *testing.T) {
		t.Parallel()
		s, broken := open(t), errors.New("source broke")
		err := s.Put(t.Context(), "half", io.MultiReader(bytes.NewReader(make([]byte, 5<<20)), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) {
			t.Errorf("err = %v", err)
		}
		if _, _, err := s.Open(t.Context(), "half", 0); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("open: err = %v, want ErrNotFound", err)
		}
	})
	t.Run("names are listed by prefix and sorted; deleting twice is no error", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		for _, n := range []string{"p/2", "p/1", "q/1"} {
			if err := s.Put(t.Context(), n, strings.NewReader("")); err != nil {
				t.Fatal(err)
			}
		}
		list := func() (names []string) {
			for n, err := range s.Names(t.Context(), "p/") {
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, n)
			}
			return names
		}
		if got := list(); !slices.Equal(got, []string{"p/1", "p/2"}) {
			t.Errorf("names = %v", got)
		}
		for range 2 {
			if err := s.Delete(t.Context(), "p/1"); err != nil {
				t.Error(err)
			}
		}
		if got := list(); !slices.Equal(got, []string{"p/2"}) {
			t.Errorf("names after delete = %v", got)
		}
	})
}
