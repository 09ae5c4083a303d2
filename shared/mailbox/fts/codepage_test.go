package fts

import (
	"bytes"
	"strings"
	"testing"
)

// A string is the same whether it is decoded at once or in constant memory, wherever its NULs fall.
func TestTextIsDecodedTheSameEitherWay(t *testing.T) {
	t.Parallel()
	for _, wire := range []string{"", "\x00", "\x00\x00", "a", "a\x00", strings.Repeat("a\x00\x00b\x00", 5000), strings.Repeat("\x00", 9001)} {
		for _, page := range []int{1200, 1252, 932, 65001} {
			want, err := decodeText(page, []byte(wire))
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := decodeTo(&got, page, strings.NewReader(wire)); err != nil || got.String() != want {
				t.Errorf("code page %d, %d bytes: %d bytes, %v, want %d", page, len(wire), got.Len(), err, len(want))
			}
		}
	}
}
