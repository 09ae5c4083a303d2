package receipt

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// Proof shows that one item is in a receipt's tree, without the other items.
type Proof struct {
	Leaf  Leaf   `json:"leaf"`
	Index int    `json:"index"` // of its line, from 0
	Size  int    `json:"size"`  // leaves of the tree
	Path  []Hash `json:"path"`  // the audit path, from the leaf up (RFC 6962 section 2.1.1)
}

// Errors of Prove, besides those of reading the leaves.
var (
	ErrNoItem = errors.New("no such item in the receipt")
	ErrMany   = errors.New("more than one folder has the item")
)

// maxPath is above the path in any tree: indexes have 63 bits.
const maxPath = 64

// maxProof is above any proof: a leaf and its path.
const maxProof = maxLine + maxPath*70 + 1<<10

// Prove makes the proof for an item, which a folder's path tells apart from the items of that key in other folders; nil
// is any folder. It checks all leaves against the receipt, which [Verify] has checked.
func Prove(r Receipt, leaves io.Reader, item mailbox.Key, folder []string) (Proof, error) {
	f := finding{item: item, folder: folder, at: -1}
	if err := scan(r, leaves, &f); err != nil {
		return Proof{}, err
	}
	switch {
	case f.at < 0:
		return Proof{}, ErrNoItem
	case len(f.folders) > 1:
		return Proof{}, fmt.Errorf("%w: %s", ErrMany, strings.Join(f.folders, "; "))
	}
	p := Proof{Leaf: f.found, Index: f.at, Size: r.Tree.Leaves, Path: []Hash{}}
	p.Path = append(p.Path, pathTo(f.at%r.Tree.Width, f.hashes)...)
	p.Path = append(p.Path, pathTo(f.at/r.Tree.Width, r.Tree.Subtrees)...)
	return p, nil
}

// finding looks for one item.
type finding struct {
	item    mailbox.Key
	folder  []string
	folders []string // where it is, for people
	found   Leaf
	at      int
	hashes  []Hash // of the subtree it is in
}

func (f *finding) leaf(index int, l Leaf) {
	if l.Key != f.item || f.folder != nil && !slices.Equal(f.folder, l.Folder) {
		return
	}
	const enough = 10
	if name := strings.Join(l.Folder, " / "); len(f.folders) < enough && !slices.Contains(f.folders, name) {
		f.folders = append(f.folders, name)
	}
	if f.at < 0 {
		f.found, f.at = l, index
	}
}

func (f *finding) subtree(first int, hashes []Hash) {
	if f.at >= first && f.hashes == nil {
		f.hashes = slices.Clone(hashes)
	}
}

// CheckProof shows that the proof's item is in the receipt, which [Verify] or [Open] has checked: it returns the steps
// that lead from the item's leaf hash to the receipt's root, or an error when they lead elsewhere.
func CheckProof(r Receipt, p Proof) ([]Step, error) {
	if p.Size != r.Tree.Leaves || p.Index < 0 || p.Index >= p.Size {
		return nil, fmt.Errorf("proof: item %d of %d, the receipt has %d", p.Index, p.Size, r.Tree.Leaves)
	}
	_, h, err := p.Leaf.encode()
	if err != nil {
		return nil, fmt.Errorf("proof: leaf: %w", err)
	}
	steps, root, ok := climb(h, p)
	if !ok || root != r.Tree.Root {
		return nil, errors.New("proof: the path does not lead from the item to the receipt's root")
	}
	return steps, nil
}

// DecodeProof reads a proof as JSON.
func DecodeProof(b []byte) (Proof, error) {
	var p Proof
	if len(b) > maxProof {
		return p, fmt.Errorf("proof: %d bytes, at most %d", len(b), maxProof)
	}
	if err := strict(b, &p); err != nil {
		return p, fmt.Errorf("proof: %w", err)
	}
	if len(p.Path) > maxPath {
		return p, fmt.Errorf("proof: field path: %d hashes, at most %d", len(p.Path), maxPath)
	}
	if err := p.Leaf.check(); err != nil {
		return p, fmt.Errorf("proof: leaf: %w", err)
	}
	return p, nil
}
