package receipt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/migration"
)

// Type and Version say what the file is. A version is another format: a reader refuses one that it does not know.
const (
	Type    = "mailferry receipt"
	Version = 1
)

// MaxSkipped is how many skipped items a receipt lists; the counts are complete.
const MaxSkipped = 100_000

// maxReceipt is above any receipt with MaxSkipped items and as many folders as a mailbox holds (Exchange: 10,000).
const maxReceipt = 128 << 20

// Receipt is the proof of one mailbox. Its fields are signed in this order.
type Receipt struct {
	Type      string              `json:"type"`
	Version   int                 `json:"version"`
	Wave      migration.WaveID    `json:"wave"`
	Mailbox   migration.MailboxID `json:"mailbox"`
	Source    string              `json:"source"` // SMTP address
	Target    string              `json:"target"` // SMTP address
	Pass      int                 `json:"pass"`
	Kind      migration.Kind      `json:"kind"`
	Verified  time.Time           `json:"verified"`  // when, to the second, UTC
	Mailferry string              `json:"mailferry"` // the version that verified
	Verify    string              `json:"verify"`    // how deep: index, sample or full
	Counts    migration.Counts    `json:"counts"`
	Items     int                 `json:"items"` // leaves
	Bytes     int64               `json:"bytes"` // of the leaves
	Folders   []FolderSum         `json:"folders"`
	Classes   []ClassSum          `json:"classes"`
	Skipped   []Skip              `json:"skipped"`
	Tree      Tree                `json:"tree"`
	Signature Signature           `json:"signature"`
}

// FolderSum is what the leaves of one folder come to. Folders are sorted by path.
type FolderSum struct {
	Folder []string `json:"folder"` // names from the top
	Items  int      `json:"items"`
	Bytes  int64    `json:"bytes"`
}

// ClassSum is what the leaves of one item class come to. Classes are sorted.
type ClassSum struct {
	Class string `json:"class"`
	Items int    `json:"items"`
	Bytes int64  `json:"bytes"`
}

// Skip is an item that is not on the target, and why.
type Skip struct {
	Folder   []string       `json:"folder"` // names from the top
	Key      mailbox.Key    `json:"key"`
	Class    string         `json:"class"`
	Received time.Time      `json:"received,omitzero"`
	Size     int64          `json:"size"`
	Reason   mailbox.Reason `json:"reason"`
}

// Tree is the Merkle tree over the leaves file.
type Tree struct {
	Leaves   int    `json:"leaves"`
	Root     Hash   `json:"root"`
	Width    int    `json:"width"`    // leaves per subtree
	Subtrees []Hash `json:"subtrees"` // their roots, in order
}

// Encode writes a receipt for people and programs. The same receipt makes the same bytes.
func Encode(r Receipt) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return nil, fmt.Errorf("write receipt: %w", err)
	}
	if b.Len() > maxReceipt {
		return nil, fmt.Errorf("write receipt: %d bytes, at most %d", b.Len(), maxReceipt)
	}
	return b.Bytes(), nil
}

// Decode reads what Encode wrote and checks that it agrees with itself. It does not check the signature. An error is a
// [*Fault] that names the line.
func Decode(b []byte) (Receipt, error) {
	var r Receipt
	if len(b) > maxReceipt {
		return r, &Fault{File: InReceipt, What: fmt.Sprintf("%d bytes, at most %d", len(b), maxReceipt)}
	}
	// The version comes first: a later format may have fields that are not known here.
	var head struct {
		Type    string
		Version int
	}
	if err := json.Unmarshal(b, &head); err == nil && (head.Type != Type || head.Version != Version) {
		return r, &Fault{File: InReceipt, Line: lineOf(b, "type"), What: fmt.Sprintf(
			"type %q version %d, this version of Mailferry reads %q version %d", head.Type, head.Version, Type, Version)}
	}
	if err := strict(b, &r); err != nil {
		return r, notRead(b, err)
	}
	if field, what := r.wrong(); field != "" {
		return r, &Fault{File: InReceipt, Line: lineOf(b, field), What: field + ": " + what}
	}
	return r, nil
}

func notRead(b []byte, err error) *Fault {
	f := &Fault{File: InReceipt, Line: lineOf(b, "signature"), What: err.Error(), Err: err}
	if j, ok := errors.AsType[*jsonError](err); ok {
		f.What = j.what()
		if j.at >= 0 {
			f.Line = lineAt(b, int(j.at))
		}
	}
	return f
}

func lineAt(b []byte, at int) int { return 1 + bytes.Count(b[:min(at, len(b))], []byte("\n")) }

// lineOf is the line where a field first stands, 1 when there is none. The case of its name is that of encoding/json:
// any. A name inside a text has its quotes escaped and is not found.
func lineOf(b []byte, field string) int {
	return lineAt(b, max(0, bytes.Index(bytes.ToLower(b), []byte(`"`+field+`":`))))
}

// wrong names a field that cannot be, and says why.
func (r Receipt) wrong() (field, what string) {
	switch {
	case r.Wave == "":
		return "wave", "is empty"
	case r.Mailbox == "":
		return "mailbox", "is empty"
	case r.Source == "":
		return "source", "is empty"
	case r.Target == "":
		return "target", "is empty"
	case r.Pass < 1:
		return "pass", fmt.Sprintf("%d, want 1 or more", r.Pass)
	case r.Kind != migration.FullPass && r.Kind != migration.DeltaPass && r.Kind != migration.CutoverPass:
		return "kind", fmt.Sprintf("%q, want full, delta or cutover", r.Kind)
	case r.Verified.IsZero():
		return "verified", "is missing"
	case r.Mailferry == "":
		return "mailferry", "is empty"
	case r.Verify != "index" && r.Verify != "sample" && r.Verify != "full":
		return "verify", fmt.Sprintf("%q, want index, sample or full", r.Verify)
	case len(r.Skipped) > MaxSkipped:
		return "skipped", fmt.Sprintf("%d items, at most %d", len(r.Skipped), MaxSkipped)
	}
	return r.uneven()
}

// uneven names a field that does not agree with the others.
func (r Receipt) uneven() (field, what string) {
	t := r.Tree
	switch {
	case t.Leaves < 0 || r.Items != t.Leaves:
		return "items", fmt.Sprintf("%d, the tree has %d leaves", r.Items, t.Leaves)
	case t.Width != widthFor(t.Leaves):
		return "width", fmt.Sprintf("%d, %d leaves make it %d", t.Width, t.Leaves, widthFor(t.Leaves))
	case len(t.Subtrees) != subtrees(t.Leaves, t.Width):
		return "subtrees", fmt.Sprintf("%d, %d leaves make %d", len(t.Subtrees), t.Leaves, subtrees(t.Leaves, t.Width))
	case fold(t.Subtrees) != t.Root:
		return "root", "does not follow from the subtrees"
	}
	var items int
	var size int64
	for _, f := range r.Folders {
		items, size = items+f.Items, size+f.Bytes
	}
	if items != r.Items || size != r.Bytes {
		return "folders", fmt.Sprintf("come to %d items of %d bytes, the receipt has %d of %d", items, size, r.Items, r.Bytes)
	}
	items, size = 0, 0
	for _, c := range r.Classes {
		items, size = items+c.Items, size+c.Bytes
	}
	if items != r.Items || size != r.Bytes {
		return "classes", fmt.Sprintf("come to %d items of %d bytes, the receipt has %d of %d", items, size, r.Items, r.Bytes)
	}
	return "", ""
}
