package receipt

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func golden(f *testing.F, name string) []byte {
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		f.Fatal(err)
	}
	return b
}

// A line that is read is written again as a line that says the same.
func FuzzLeaf(f *testing.F) {
	for line := range bytes.Lines(golden(f, "golden.leaves.jsonl")) {
		f.Add(bytes.TrimSuffix(line, []byte("\n")))
	}
	f.Add([]byte(`{},"leaf":"`))
	f.Fuzz(func(t *testing.T, line []byte) {
		p, err := parseLeaf(line)
		if err != nil {
			return
		}
		again, h, err := p.Leaf.encode()
		if err != nil {
			t.Fatalf("read but not written: %v", err)
		}
		q, err := parseLeaf(bytes.TrimSuffix(again, []byte("\n")))
		if err != nil || q.computed != h || q.recorded != h || q.Compare(p.normal()) != 0 || q.Bytes != p.Bytes || q.Digest != p.Digest {
			t.Fatalf("%s\nbecomes %s: %v", line, again, err)
		}
	})
}

// A receipt that is read is written again as one that says the same, and no receipt that was changed is good.
func FuzzReceipt(f *testing.F) {
	file, leaves, public := golden(f, "golden.receipt.json"), golden(f, "golden.leaves.jsonl"), golden(f, "golden.pem")
	trusted, err := ParsePublic(public)
	if err != nil {
		f.Fatal(err)
	}
	payload, _, err := signed(file)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Add([]byte(`{"type":"mailferry receipt","version":1,"signature":{"value":""}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Verify(b, bytes.NewReader(leaves), trusted); err == nil {
			if got, _, _ := signed(b); !bytes.Equal(got, payload) {
				t.Fatalf("another receipt is good:\n%s", b)
			}
		}
		r, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		q, err := Decode(again)
		if err != nil {
			t.Fatalf("written but not read: %v", err)
		}
		third, err := Encode(q)
		if err != nil || !bytes.Equal(again, third) {
			t.Fatalf("written twice, two results: %v", err)
		}
	})
}

// No other leaves than the ones that were signed are good.
func FuzzLeaves(f *testing.F) {
	file, leaves := golden(f, "golden.receipt.json"), golden(f, "golden.leaves.jsonl")
	r, err := Decode(file)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(leaves)
	f.Add(leaves[:len(leaves)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := scan(r, bytes.NewReader(b), nil); err == nil && !bytes.Equal(b, leaves) {
			t.Fatalf("other leaves are good:\n%s", b)
		}
	})
}

func FuzzProof(f *testing.F) {
	file, leaves := golden(f, "golden.receipt.json"), golden(f, "golden.leaves.jsonl")
	r, err := Decode(file)
	if err != nil {
		f.Fatal(err)
	}
	first, _, _ := bytes.Cut(leaves, []byte("\n"))
	l, err := parseLeaf(first)
	if err != nil {
		f.Fatal(err)
	}
	p, err := Prove(r, bytes.NewReader(leaves), l.Key, l.Folder)
	if err != nil {
		f.Fatal(err)
	}
	b, err := compact(p)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := DecodeProof(b)
		if err != nil {
			return
		}
		if _, err := CheckProof(r, q); err != nil {
			return
		}
		known := false
		for line := range bytes.Lines(leaves) {
			got, _, _ := q.Leaf.encode()
			known = known || bytes.Equal(got, line)
		}
		if !known {
			t.Fatalf("an item is proved that is not there: %s", b)
		}
	})
}

func FuzzKeys(f *testing.F) {
	k, err := NewKey()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k.RevealPEM())
	f.Add(PublicPEM(k.Public()))
	f.Add([]byte("QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := ParseKey(string(b)); err == nil {
			again, err := ParseKey(string(k.RevealPEM()))
			if err != nil || !again.Public().Equal(k.Public()) {
				t.Fatalf("private key changes: %v", err)
			}
		}
		if ks, err := ParsePublic(b); err == nil {
			again, err := ParsePublic(PublicPEM(ks[0]))
			if err != nil || !again[0].Equal(ks[0]) {
				t.Fatalf("public key changes: %v", err)
			}
		}
	})
}
