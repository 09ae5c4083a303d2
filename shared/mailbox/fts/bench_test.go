package fts_test

import (
	"bytes"
	"testing"

	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

func BenchmarkSummarize(b *testing.B) {
	m := note()
	m.Attachments[0].Properties.Set(fts.Prop(fts.TagAttachData, make([]byte, 8<<20)))
	stream := write(b, m)
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := fts.Summarize(bytes.NewReader(stream)); err != nil {
			b.Fatal(err)
		}
	}
}
