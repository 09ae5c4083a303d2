package receipt

import (
	"encoding/hex"
	"fmt"
	"testing"
)

// The inputs and roots with which implementations of RFC 6962 are tested (certificate-transparency, merkle_tree_test).
var published = []struct{ leaf, root string }{
	{"", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
	{"00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"},
	{"10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"},
	{"2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"},
	{"3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"},
	{"40414243", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"},
	{"5051525354555657", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"},
	{"606162636465666768696a6b6c6d6e6f", "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"},
}

func TestTreeIsTheOneOfRFC6962(t *testing.T) {
	t.Parallel()
	var g growing
	if got := g.tree().Root.String(); got != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("no leaves: root %s, want the SHA-256 of nothing", got)
	}
	for i, p := range published {
		leaf, _ := hex.DecodeString(p.leaf)
		g.add(hashLeaf(leaf))
		if got := g.tree().Root.String(); got != p.root {
			t.Errorf("%d leaves: root %s, want %s", i+1, got, p.root)
		}
	}
}

// plainRoot and plainPath are the definitions of RFC 6962 section 2.1 word for word, over all leaves at once.
func plainRoot(d []Hash) Hash {
	if len(d) == 1 {
		return d[0]
	}
	k := 1
	for 2*k < len(d) {
		k *= 2
	}
	return hashNode(plainRoot(d[:k]), plainRoot(d[k:]))
}

func leavesOf(n int) []Hash {
	out := make([]Hash, n)
	for i := range out {
		out[i] = hashLeaf(fmt.Append(nil, i))
	}
	return out
}

func TestSubtreesDoNotChangeTheRoot(t *testing.T) {
	t.Parallel()
	all := leavesOf(9000)
	var g growing
	for n := 1; n <= len(all); n++ {
		g.add(all[n-1])
		if n > 40 && n%511 > 2 && n%1024 > 2 {
			continue
		}
		tree := g.tree()
		if tree.Root != plainRoot(all[:n]) {
			t.Errorf("%d leaves: another root", n)
		}
		if tree.Leaves != n || tree.Width != widthFor(n) || len(tree.Subtrees) != subtrees(n, tree.Width) {
			t.Errorf("%d leaves: %d leaves, width %d (want %d), %d subtrees", n, tree.Leaves, tree.Width, widthFor(n), len(tree.Subtrees))
		}
	}
}

func TestEveryPathLeadsToTheRootAndNoOtherDoes(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 65; n++ {
		all := leavesOf(n)
		root := plainRoot(all)
		for i := range n {
			p := Proof{Index: i, Size: n, Path: pathTo(i, all)}
			if _, got, ok := climb(all[i], p); !ok || got != root {
				t.Fatalf("item %d of %d: path does not lead to the root", i, n)
			}
			longer := p
			longer.Path = append(append([]Hash{}, p.Path...), Hash{})
			if _, got, ok := climb(all[i], longer); ok && got == root {
				t.Errorf("item %d of %d: a longer path is taken", i, n)
			}
			if len(p.Path) > 0 {
				shorter := p
				shorter.Path = p.Path[:len(p.Path)-1]
				if _, got, ok := climb(all[i], shorter); ok && got == root {
					t.Errorf("item %d of %d: a shorter path is taken", i, n)
				}
			}
			other := p
			other.Index = (i + 1) % n
			if _, got, ok := climb(all[i], other); n > 1 && ok && got == root {
				t.Errorf("item %d of %d: the path is taken for its neighbour", i, n)
			}
		}
	}
}

func TestWidthIsTheSmallestThatFits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ leaves, want int }{
		{0, 1}, {1, 1}, {1024, 1}, {1025, 2}, {2048, 2}, {2049, 4}, {12_700, 16}, {100_000, 128}, {1 << 62, 1 << 52},
	} {
		if got := widthFor(tt.leaves); got != tt.want {
			t.Errorf("%d leaves: width %d, want %d", tt.leaves, got, tt.want)
		}
	}
}
