package receipt

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/bits"
	"strings"
)

// Hash is a SHA-256, written as 64 lower-case hexadecimal digits.
type Hash [sha256.Size]byte

// MaxSubtrees is how many subtree roots a receipt holds: 64 KiB of text.
const MaxSubtrees = 1024

// String is the hash in hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText is String.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what String writes and nothing else.
func (h *Hash) UnmarshalText(b []byte) error {
	sum, err := hex.DecodeString(string(b))
	if err != nil || len(sum) != len(h) || strings.ToLower(string(b)) != string(b) {
		return fmt.Errorf("hash %.80q: want %d lower-case hexadecimal digits", b, 2*len(h))
	}
	copy(h[:], sum)
	return nil
}

// The prefixes keep a node from being passed off as a leaf (RFC 6962 section 2.1).
const (
	leafPrefix = 0x00
	nodePrefix = 0x01
)

func hashLeaf(content []byte) (sum Hash) {
	h := sha256.New()
	h.Write([]byte{leafPrefix})
	h.Write(content)
	h.Sum(sum[:0])
	return sum
}

func hashNode(left, right Hash) Hash {
	var b [1 + 2*sha256.Size]byte
	b[0] = nodePrefix
	copy(b[1:], left[:])
	copy(b[1+sha256.Size:], right[:])
	return sha256.Sum256(b[:])
}

// fold is the root over the roots of neighbouring subtrees of equal width, of which the last may be narrower. Leaves are
// such subtrees. Because their width is a power of two, it is the root over all leaves below them.
func fold(roots []Hash) Hash {
	switch len(roots) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return roots[0]
	}
	k := split(len(roots))
	return hashNode(fold(roots[:k]), fold(roots[k:]))
}

// split is the largest power of two below n.
func split(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }

// pathTo is the audit path of one of the roots that fold takes, from the bottom up.
func pathTo(i int, roots []Hash) []Hash {
	if len(roots) < 2 {
		return nil
	}
	if k := split(len(roots)); i < k {
		return append(pathTo(i, roots[:k]), fold(roots[k:]))
	} else {
		return append(pathTo(i-k, roots[k:]), fold(roots[:k]))
	}
}

// Step is one level on the way from a leaf to the root.
type Step struct {
	Other Hash // from the audit path
	Left  bool // Other is on the left
	Node  Hash // over both
}

// climb goes from a leaf hash to the root, false when the path has the wrong length (RFC 9162 section 2.1.3.2).
func climb(h Hash, p Proof) (steps []Step, root Hash, ok bool) {
	at, last := p.Index, p.Size-1
	for _, other := range p.Path {
		if last == 0 {
			return steps, h, false
		}
		s := Step{Other: other, Left: at%2 == 1 || at == last}
		if s.Left {
			h = hashNode(other, h)
			for at%2 == 0 && at != 0 {
				at, last = at/2, last/2
			}
		} else {
			h = hashNode(h, other)
		}
		at, last, s.Node = at/2, last/2, h
		steps = append(steps, s)
	}
	return steps, h, last == 0
}

// widthFor is how many leaves a subtree of a receipt has.
func widthFor(leaves int) int {
	w := 1
	for subtrees(leaves, w) > MaxSubtrees {
		w *= 2
	}
	return w
}

// subtrees is how many subtrees of a width leaves make. It divides first: a hostile number must not overflow.
func subtrees(leaves, width int) int {
	n := leaves / width
	if leaves%width > 0 {
		n++
	}
	return n
}

// growing is a tree whose number of leaves is not known yet.
type growing struct {
	leaves, width int
	roots         []Hash // of complete subtrees
	open          []Hash // leaves of the subtree that is not complete
}

// add appends a leaf. When there is no room for another subtree, neighbours become one.
func (g *growing) add(h Hash) {
	if g.width == 0 {
		g.width = 1
	}
	if len(g.roots) == MaxSubtrees {
		for i := range MaxSubtrees / 2 {
			g.roots[i] = hashNode(g.roots[2*i], g.roots[2*i+1])
		}
		g.roots, g.width = g.roots[:MaxSubtrees/2], 2*g.width
	}
	g.leaves++
	if g.open = append(g.open, h); len(g.open) == g.width {
		g.roots, g.open = append(g.roots, fold(g.open)), g.open[:0]
	}
}

func (g *growing) tree() Tree {
	roots := append([]Hash{}, g.roots...)
	if len(g.open) > 0 {
		roots = append(roots, fold(g.open))
	}
	return Tree{Leaves: g.leaves, Root: fold(roots), Width: max(g.width, 1), Subtrees: roots}
}
