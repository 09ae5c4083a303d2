// Package ledger records what has happened: waves, mailboxes, groups, fences and problems. [Ledger] gives them their
// Go types over a [Table], of which there is one in Azure Table storage and one in memory.
package ledger

import (
	"context"
	"errors"
	"iter"
)

// Errors of a Table. Any other error is temporary.
var (
	ErrExists   = errors.New("row is already there")
	ErrNotFound = errors.New("no such row")
	ErrConflict = errors.New("row was changed meanwhile")
)

// MaxInsert is how many rows one Insert takes (Table storage: 100 operations per transaction).
const MaxInsert = 100

// Row is one row. Partition and Key hold none of / \ # ? and no control characters and are at most 512 characters
// long. Body is at most 400 KiB of ASCII: Azurite 3.35 reads and writes in pieces and spoils characters of several bytes
// that lie across two of them.
type Row struct {
	Partition, Key string
	ETag           string            // set by the table
	Body           []byte            // JSON in ASCII
	Shown          map[string]string // columns for people who look at the table in the portal; never read back
}

// Table is a store of rows that are replaced under the condition that nobody else did so meanwhile. It is safe for
// concurrent use.
type Table interface {
	// Insert adds rows of one partition, all or none: ErrExists if any is there.
	Insert(ctx context.Context, rows ...Row) error
	// Row reads one row: ErrNotFound if it is not there.
	Row(ctx context.Context, partition, key string) (Row, error)
	// Replace overwrites a row whose ETag is still the given one and returns it with the new ETag: ErrConflict if it
	// is not, ErrNotFound if the row is gone.
	Replace(ctx context.Context, r Row) (Row, error)
	// Delete removes a row whose ETag is still the given one, or any with the ETag "*". A row that is not there is
	// no error.
	Delete(ctx context.Context, r Row) error
	// Rows lists the rows of a partition whose keys begin with prefix, sorted by key.
	Rows(ctx context.Context, partition, prefix string) iter.Seq2[Row, error]
}
