package ledger

import (
	"fmt"
	"strings"
)

// MaxBody is how many bytes a row's body may have. A Table storage entity is at most 1 MiB, a string in it at most
// 32 Ki characters of two bytes; the Azure table cuts bodies into such strings.
const MaxBody = 400 << 10

// CheckInsert says whether rows can be inserted together. Azurite takes what Table storage refuses, so the rules are
// checked here.
func CheckInsert(rows []Row) error {
	if len(rows) == 0 || len(rows) > MaxInsert {
		return fmt.Errorf("insert rows: %d rows, want 1 to %d", len(rows), MaxInsert)
	}
	for _, r := range rows {
		if r.Partition != rows[0].Partition {
			return fmt.Errorf("insert rows: two partitions in one transaction")
		}
		if err := CheckRow(r); err != nil {
			return err
		}
	}
	return nil
}

// CheckRow says whether a row can be stored.
func CheckRow(r Row) error {
	for _, k := range []string{r.Partition, r.Key} {
		if k == "" || len(k) > 512 || strings.ContainsAny(k, "/\\#?") || strings.ContainsFunc(k, func(c rune) bool { return c < ' ' || c >= 0x7F && c <= 0x9F }) {
			return fmt.Errorf("row key %q: want 1 to 512 characters without / \\ # ? and control characters", k)
		}
	}
	if len(r.Body) > MaxBody {
		return fmt.Errorf("row body: %d bytes, at most %d", len(r.Body), MaxBody)
	}
	for _, c := range r.Body {
		if c >= 0x80 {
			return fmt.Errorf("row body: want JSON in ASCII")
		}
	}
	return nil
}
