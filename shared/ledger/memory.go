package ledger

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Memory is a Table in memory. The zero Memory is empty.
type Memory struct {
	mu   sync.Mutex
	rows map[string]map[string]Row
	tag  int
}

// Insert implements Table.
func (t *Memory) Insert(ctx context.Context, rows ...Row) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := CheckInsert(rows); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range rows {
		if _, there := t.rows[r.Partition][r.Key]; there {
			return ErrExists
		}
	}
	for _, r := range rows {
		t.put(r)
	}
	return nil
}

func (t *Memory) put(r Row) Row {
	if t.rows == nil {
		t.rows = map[string]map[string]Row{}
	}
	if t.rows[r.Partition] == nil {
		t.rows[r.Partition] = map[string]Row{}
	}
	t.tag++
	r.ETag, r.Body = strconv.Itoa(t.tag), slices.Clone(r.Body)
	t.rows[r.Partition][r.Key] = r
	return r
}

// Row implements Table.
func (t *Memory) Row(ctx context.Context, partition, key string) (Row, error) {
	if err := ctx.Err(); err != nil {
		return Row{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.rows[partition][key]
	if !ok {
		return Row{}, ErrNotFound
	}
	r.Body = slices.Clone(r.Body)
	return r, nil
}

// Replace implements Table.
func (t *Memory) Replace(ctx context.Context, r Row) (Row, error) {
	if err := ctx.Err(); err != nil {
		return Row{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old, ok := t.rows[r.Partition][r.Key]
	switch {
	case !ok:
		return Row{}, ErrNotFound
	case old.ETag != r.ETag:
		return Row{}, ErrConflict
	}
	return t.put(r), nil
}

// Delete implements Table.
func (t *Memory) Delete(ctx context.Context, r Row) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old, ok := t.rows[r.Partition][r.Key]
	if ok && r.ETag != "*" && old.ETag != r.ETag {
		return ErrConflict
	}
	delete(t.rows[r.Partition], r.Key)
	return nil
}

// Rows implements Table.
func (t *Memory) Rows(ctx context.Context, partition, prefix string) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		t.mu.Lock()
		rows := maps.Clone(t.rows[partition])
		t.mu.Unlock()
		for _, k := range slices.Sorted(maps.Keys(rows)) {
			if !strings.HasPrefix(k, prefix) {
				continue
			}
			if err := ctx.Err(); err != nil {
				yield(Row{}, err)
				return
			}
			if !yield(rows[k], nil) {
				return
			}
		}
	}
}
