package fts

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
	"slices"
)

// digest gathers what the digest of one object is made from: a sum for each property and each child.
type digest struct {
	in          place
	order       int32 // row id or attachment number
	hidden      bool
	props       []hashed
	recipients  []child
	attachments []child // of an attachment: the embedded message
}

type hashed struct {
	key string
	sum [32]byte
}

type child struct {
	order int32
	sum   [32]byte
}

func newDigest(in place) *digest { return &digest{in: in} }

func (d *digest) child() child { return child{order: d.order, sum: d.sum()} }

// sum is SHA-256 over the kind of object, its properties in the order of their keys, its recipients and its attachments,
// each list with its length before it.
func (d *digest) sum() [32]byte {
	slices.SortFunc(d.props, func(a, b hashed) int {
		return cmp.Or(cmp.Compare(a.key, b.key), bytes.Compare(a.sum[:], b.sum[:]))
	})
	h := sha256.New()
	h.Write([]byte{byte(d.in)})
	length(h, len(d.props))
	for _, p := range d.props {
		length(h, len(p.key))
		io.WriteString(h, p.key)
		h.Write(p.sum[:])
	}
	for _, list := range [][]child{sorted(d.recipients), sorted(d.attachments)} {
		length(h, len(list))
		for _, c := range list {
			h.Write(c.sum[:])
		}
	}
	return [32]byte(h.Sum(nil))
}

func length(h hash.Hash, n int) {
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
}

// maxKept is the bytes of a value that a summary keeps: more than any property it shows has.
const maxKept = 32 << 10

// maxShort is the bytes of a string that is decoded at once: the decoder for longer ones has buffers of this size.
const maxShort = 4 << 10

// canonical hashes the current value: strings as UTF-8, booleans as 0 or 1, everything else as on the wire, values of a
// multi-value property by their own hashes. The first bytes of a value that is hashed also go to keep.
func (d *Reader) canonical(keep *bytes.Buffer) ([32]byte, error) {
	h := sha256.New()
	if !d.wire.multi {
		err := d.canonicalValue(h, keep)
		return [32]byte(h.Sum(nil)), err
	}
	for {
		ok, err := d.more()
		if err != nil {
			d.err = err
			return [32]byte{}, err
		}
		if !ok {
			return [32]byte(h.Sum(nil)), nil
		}
		one := sha256.New()
		if err := d.canonicalValue(one, nil); err != nil {
			return [32]byte{}, err
		}
		h.Write(one.Sum(nil))
	}
}

func (d *Reader) canonicalValue(h hash.Hash, keep *bytes.Buffer) error {
	var w io.Writer = h
	if keep != nil {
		w = io.MultiWriter(h, &first{to: keep})
	}
	if d.wire.page == 0 && d.wire.base != Bool {
		_, err := io.Copy(w, d.Bytes())
		return err
	}
	if d.left > maxShort {
		return decodeTo(w, d.wire.page, d.Bytes())
	}
	limit := int64(maxShort)
	v, err := d.single(&limit)
	if err != nil {
		d.err = err
		return err
	}
	b := []byte{}
	switch v := v.(type) {
	case string:
		b = append(b, v...)
	case bool:
		b, _ = appendFixed(b, Bool, v)
	}
	_, err = w.Write(b)
	return err
}

// first passes on no more than maxKept bytes.
type first struct{ to *bytes.Buffer }

func (f *first) Write(p []byte) (int, error) {
	f.to.Write(p[:min(len(p), maxKept-f.to.Len())])
	return len(p), nil
}
