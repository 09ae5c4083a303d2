// Package ledgertest is the contract of ledger.Table as a test suite.
package ledgertest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mailferry/mailferry/shared/ledger"
)

// Table runs the suite against new, empty tables.
func Table(t *testing.T, open func(t *testing.T) ledger.Table) {
	row := func(p, k, body string) ledger.Row { return ledger.Row{Partition: p, Key: k, Body: []byte(body)} }

	t.Run("a row is read back as it was inserted", func(t *testing.T) {
		t.Parallel()
		tb, body := open(t), `{"a":"`+strings.Repeat(`\u00fc\ud83d\ude00`, 20_000)+`"}`
		if err := tb.Insert(t.Context(), row("p", "k", body)); err != nil {
			t.Fatal(err)
		}
		got, err := tb.Row(t.Context(), "p", "k")
		if err != nil || !bytes.Equal(got.Body, []byte(body)) || got.ETag == "" {
			t.Fatalf("row of %d bytes, ETag %q, err %v", len(got.Body), got.ETag, err)
		}
	})
	t.Run("a row that is there is not inserted again, nor are its companions", func(t *testing.T) {
		t.Parallel()
		tb := open(t)
		if err := tb.Insert(t.Context(), row("p", "b", "1")); err != nil {
			t.Fatal(err)
		}
		if err := tb.Insert(t.Context(), row("p", "b", "2")); !errors.Is(err, ledger.ErrExists) {
			t.Errorf("one row: err = %v, want ErrExists", err)
		}
		if err := tb.Insert(t.Context(), row("p", "a", "2"), row("p", "b", "2"), row("p", "c", "2")); !errors.Is(err, ledger.ErrExists) {
			t.Errorf("three rows: err = %v, want ErrExists", err)
		}
		if _, err := tb.Row(t.Context(), "p", "a"); !errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("companion: err = %v, want ErrNotFound", err)
		}
		if got, _ := tb.Row(t.Context(), "p", "b"); string(got.Body) != "1" {
			t.Errorf("body = %q, want the first", got.Body)
		}
	})
	t.Run("what Table storage refuses is refused", func(t *testing.T) {
		t.Parallel()
		tb := open(t)
		many := make([]ledger.Row, ledger.MaxInsert+1)
		for i := range many {
			many[i] = row("p", fmt.Sprint(i), "1")
		}
		for name, rows := range map[string][]ledger.Row{
			"two partitions": {row("p", "a", "1"), row("q", "b", "1")},
			"101 rows":       many, "no row": nil,
			"a slash in a key": {row("p", "a/b", "1")}, "a body that is not ASCII": {row("p", "a", `"ü"`)}, "a huge body": {row("p", "a", strings.Repeat("x", ledger.MaxBody+1))},
		} {
			if err := tb.Insert(t.Context(), rows...); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		if err := tb.Insert(t.Context(), many[:ledger.MaxInsert]...); err != nil {
			t.Errorf("100 rows: %v", err)
		}
	})
	t.Run("a row is replaced only as it was read", func(t *testing.T) {
		t.Parallel()
		tb := open(t)
		if err := tb.Insert(t.Context(), row("p", "k", "1")); err != nil {
			t.Fatal(err)
		}
		read, err := tb.Row(t.Context(), "p", "k")
		if err != nil {
			t.Fatal(err)
		}
		stale := read
		read.Body = []byte("2")
		fresh, err := tb.Replace(t.Context(), read)
		if err != nil {
			t.Fatal(err)
		}
		stale.Body = []byte("stale")
		if _, err := tb.Replace(t.Context(), stale); !errors.Is(err, ledger.ErrConflict) {
			t.Errorf("stale replace: err = %v, want ErrConflict", err)
		}
		if err := tb.Delete(t.Context(), stale); !errors.Is(err, ledger.ErrConflict) {
			t.Errorf("stale delete: err = %v, want ErrConflict", err)
		}
		fresh.Body = []byte("3")
		if _, err := tb.Replace(t.Context(), fresh); err != nil {
			t.Errorf("replace with the ETag that Replace gave: %v", err)
		}
		if err := tb.Delete(t.Context(), ledger.Row{Partition: "p", Key: "k", ETag: "*"}); err != nil {
			t.Error(err)
		}
		if err := tb.Delete(t.Context(), ledger.Row{Partition: "p", Key: "k", ETag: "*"}); err != nil {
			t.Errorf("delete twice: %v", err)
		}
		if _, err := tb.Replace(t.Context(), fresh); !errors.Is(err, ledger.ErrNotFound) && !errors.Is(err, ledger.ErrConflict) {
			t.Errorf("replace a row that is gone: err = %v", err)
		}
	})
	t.Run("of many who replace at once one wins", func(t *testing.T) {
		t.Parallel()
		tb := open(t)
		if err := tb.Insert(t.Context(), row("p", "k", "1")); err != nil {
			t.Fatal(err)
		}
		read, err := tb.Row(t.Context(), "p", "k")
		if err != nil {
			t.Fatal(err)
		}
		var won atomic.Int32
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if _, err := tb.Replace(t.Context(), read); err == nil {
					won.Add(1)
				} else if !errors.Is(err, ledger.ErrConflict) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Errorf("%d winners", won.Load())
		}
	})
	t.Run("rows are listed by prefix, sorted, over page ends", func(t *testing.T) {
		t.Parallel()
		tb := open(t)
		for lo := 0; lo < 1200; lo += 100 {
			rows := make([]ledger.Row, 100)
			for i := range rows {
				rows[i] = row("p", fmt.Sprintf("a%05d", lo+i), "{}")
			}
			if err := tb.Insert(t.Context(), rows...); err != nil {
				t.Fatal(err)
			}
		}
		if err := tb.Insert(t.Context(), row("p", "b", "{}")); err != nil {
			t.Fatal(err)
		}
		n, last := 0, ""
		for r, err := range tb.Rows(t.Context(), "p", "a") {
			if err != nil {
				t.Fatal(err)
			}
			if r.Key <= last {
				t.Fatalf("%s comes after %s", r.Key, last)
			}
			n, last = n+1, r.Key
		}
		if n != 1200 {
			t.Errorf("%d rows, want 1200", n)
		}
		for range tb.Rows(t.Context(), "nothing", "") {
			t.Error("a row in an empty partition")
		}
	})
}
