package receipt

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// Build makes a receipt, unsigned, and its leaves file in one pass over the leaves, which must come in the order of
// [Leaf.Compare]. Of the head, the caller fills in everything up to Counts, and Skipped; the rest follows from the leaves.
// It keeps a few KiB, besides the skipped items and one sum per folder and class.
func Build(head Receipt, leaves iter.Seq2[Leaf, error], file io.Writer) (Receipt, error) {
	out := bufio.NewWriter(file)
	var b building
	for l, err := range leaves {
		if err == nil {
			err = b.add(l, out)
		}
		if err != nil {
			return Receipt{}, fmt.Errorf("leaf %d: %w", b.tree.leaves+1, err)
		}
	}
	if err := out.Flush(); err != nil {
		return Receipt{}, fmt.Errorf("write leaves: %w", err)
	}
	r := b.finish(head)
	if field, what := r.wrong(); field != "" {
		return Receipt{}, fmt.Errorf("build receipt: %s: %s", field, what)
	}
	return r, nil
}

type building struct {
	tree    growing
	last    Leaf
	bytes   int64
	folders []FolderSum
	classes map[string]*ClassSum
}

func (b *building) add(l Leaf, out io.Writer) error {
	l = l.normal()
	if b.tree.leaves > 0 && l.Compare(b.last) < 0 {
		return fmt.Errorf("key %s in %q comes before key %s in %q; sort leaves by folder, then key",
			l.Key, strings.Join(l.Folder, " / "), b.last.Key, strings.Join(b.last.Folder, " / "))
	}
	line, h, err := l.encode()
	if err != nil {
		return err
	}
	if _, err := out.Write(line); err != nil {
		return fmt.Errorf("write leaf: %w", err)
	}
	b.tree.add(h)
	b.sum(l)
	b.last = l
	return nil
}

func (b *building) sum(l Leaf) {
	n := len(b.folders)
	if n == 0 || slices.Compare(b.folders[n-1].Folder, l.Folder) != 0 {
		b.folders, n = append(b.folders, FolderSum{Folder: l.Folder}), n+1
	}
	b.folders[n-1].Items++
	b.folders[n-1].Bytes += l.Bytes
	if b.classes == nil {
		b.classes = map[string]*ClassSum{}
	}
	if b.classes[l.Class] == nil {
		b.classes[l.Class] = &ClassSum{Class: l.Class}
	}
	b.classes[l.Class].Items++
	b.classes[l.Class].Bytes += l.Bytes
	b.bytes += l.Bytes
}

func (b *building) finish(r Receipt) Receipt {
	r.Type, r.Version, r.Signature = Type, Version, Signature{}
	r.Verified = whole(r.Verified)
	r.Tree = b.tree.tree()
	r.Items, r.Bytes = b.tree.leaves, b.bytes
	r.Folders, r.Classes = append([]FolderSum{}, b.folders...), []ClassSum{}
	for _, c := range b.classes {
		r.Classes = append(r.Classes, *c)
	}
	slices.SortFunc(r.Classes, func(a, b ClassSum) int { return cmp.Compare(a.Class, b.Class) })
	r.Skipped = append([]Skip{}, r.Skipped...)
	for i := range r.Skipped {
		r.Skipped[i].Folder, r.Skipped[i].Received = valid(r.Skipped[i].Folder), whole(r.Skipped[i].Received)
	}
	return r
}
