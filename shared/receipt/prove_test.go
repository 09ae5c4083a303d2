package receipt_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/mailferry/mailferry/shared/receipt"
)

func prove(t *testing.T, m made, l receipt.Leaf) receipt.Proof {
	t.Helper()
	p, err := receipt.Prove(m.Receipt, bytes.NewReader(m.leaves), l.Key, l.Folder)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEveryItemCanBeProved(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3, 7, 64, 1025, 3001} {
		leaves := many(n)
		m := build(t, leaves)
		for i := 0; i < n; i += 1 + n/7 {
			p := prove(t, m, leaves[i])
			if p.Index != i || p.Size != n {
				t.Errorf("item %d of %d is proved as %d of %d", i, n, p.Index, p.Size)
			}
			if _, err := receipt.CheckProof(m.Receipt, p); err != nil {
				t.Errorf("item %d of %d: %v", i, n, err)
			}
		}
	}
}

func TestAProofTravelsAsJSON(t *testing.T) {
	t.Parallel()
	m := build(t, few())
	for _, l := range few() {
		b, err := json.Marshal(prove(t, m, l))
		if err != nil {
			t.Fatal(err)
		}
		p, err := receipt.DecodeProof(b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := receipt.CheckProof(m.Receipt, p); err != nil {
			t.Error(err)
		}
	}
}

func TestAForgedProofIsRefused(t *testing.T) {
	t.Parallel()
	m, other := build(t, many(50)), build(t, many(51))
	for name, change := range map[string]func(*receipt.Proof){
		"bytes":       func(p *receipt.Proof) { p.Leaf.Bytes++ },
		"folder":      func(p *receipt.Proof) { p.Leaf.Folder = []string{"Sent"} },
		"class":       func(p *receipt.Proof) { p.Leaf.Class = "IPM.Task" },
		"digest":      func(p *receipt.Proof) { p.Leaf.Digest = digest("forged") },
		"bad digest":  func(p *receipt.Proof) { p.Leaf.Digest = "forged" },
		"key":         func(p *receipt.Proof) { p.Leaf.Key.Ordinal++ },
		"depth":       func(p *receipt.Proof) { p.Leaf.Depth = receipt.Listing },
		"received":    func(p *receipt.Proof) { p.Leaf.Received = p.Leaf.Received.AddDate(0, 0, 1) },
		"index":       func(p *receipt.Proof) { p.Index++ },
		"below":       func(p *receipt.Proof) { p.Index = -1 },
		"above":       func(p *receipt.Proof) { p.Index = p.Size },
		"size":        func(p *receipt.Proof) { p.Size++ },
		"path":        func(p *receipt.Proof) { p.Path[0][0]++ },
		"path longer": func(p *receipt.Proof) { p.Path = append(p.Path, receipt.Hash{}) },
		"path cut":    func(p *receipt.Proof) { p.Path = p.Path[1:] },
		"no path":     func(p *receipt.Proof) { p.Path = nil },
	} {
		p := prove(t, m, many(50)[20])
		if _, err := receipt.CheckProof(other.Receipt, p); err == nil {
			t.Error("a proof for one receipt is taken for another")
		}
		change(&p)
		if _, err := receipt.CheckProof(m.Receipt, p); err == nil || !strings.HasPrefix(err.Error(), "proof: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestItemsThatCannotBeProved(t *testing.T) {
	t.Parallel()
	leaves := few()
	twin := leaves[0]
	twin.Folder = []string{"Archive"}
	leaves = append([]receipt.Leaf{twin}, leaves...)
	m := build(t, leaves)
	ask := func(k string, folder []string) error {
		item := key(k, 0)
		_, err := receipt.Prove(m.Receipt, bytes.NewReader(m.leaves), item, folder)
		return err
	}
	if err := ask("nobody", nil); !errors.Is(err, receipt.ErrNoItem) {
		t.Errorf("unknown key: %v", err)
	}
	if err := ask("c", []string{"Inbox"}); !errors.Is(err, receipt.ErrNoItem) {
		t.Errorf("another folder: %v", err)
	}
	if err := ask("a", nil); !errors.Is(err, receipt.ErrMany) || !strings.Contains(err.Error(), "Archive; Inbox") {
		t.Errorf("two folders: %v", err)
	}
	if err := ask("a", []string{"Archive"}); err != nil {
		t.Errorf("one of two folders: %v", err)
	}
	bad := bytes.Replace(m.leaves, []byte("75000"), []byte("75001"), 1)
	if _, err := receipt.Prove(m.Receipt, bytes.NewReader(bad), key("c", 0), nil); err == nil {
		t.Error("an item is proved from leaves that were tampered with")
	}
	if _, err := receipt.Prove(receipt.Receipt{Tree: receipt.Tree{Leaves: 1}}, bytes.NewReader(m.leaves), key("c", 0), nil); err == nil {
		t.Error("an item is proved from a receipt that nobody decoded")
	}
}
